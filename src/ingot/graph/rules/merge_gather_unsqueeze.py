"""Unsqueeze(Gather(x, i), a)  ->  Gather(x, [i]), i one constant index along axis a

Refuses another axis, and an element that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node, inner in edit.pairs(model, ("Unsqueeze",), ("Gather",)):
        index = edit.constant(inner.inputs[1])
        given = edit.input_at(node, 1)
        axes = node.attributes.get_ints("axes") if given is None else edit.integers(given)
        if index is None or index.ndim:
            continue
        if axes is None or list(axes) != [inner.attributes.get_int("axis", 0)]:
            trace.refused(node, "it adds another axis than the one that was taken from")
        elif edit.only_user(inner.outputs[0]) is not node:
            trace.refused(node, "the element has other users")
        else:
            assert node.graph is not None
            where = names.add_constant(
                node.graph, f"{node.outputs[0].name}.index", np.asarray(index).reshape(1)
            )
            new = ir.Node(
                "", "Gather", [inner.inputs[0], where], list(inner.attributes.values()), num_outputs=1
            )
            new.outputs[0].name = names.fresh(f"{node.outputs[0].name}.taken")
            node.graph.insert_before(node, new)
            replaced = edit.bypass(node, new.outputs[0])
            assert replaced
            edit.remove(inner)
            fired += trace.fired(inner)
    return fired
