"""Where(c, x, y)  ->  x or y, c constant and the same everywhere

Refuses a branch that is not known to have the shape of the result.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Where"):
        array = edit.constant(node.inputs[0])
        if array is None or not array.size or not (array.all() or not array.any()):
            continue
        taken = node.inputs[1 if array.all() else 2]
        if taken is None or not edit.same_dims(edit.dims(taken), edit.dims(node.outputs[0])):
            trace.refused(node, "the branch is not known to have the shape of the result")
        elif edit.bypass(node, taken):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it is an output of its graph")
    return fired
