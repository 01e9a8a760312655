"""Reshape(x, computed)  ->  Reshape(x, constant), with 0 for a dimension of x that stays and -1 for one other

Refuses a target with two dimensions that are neither known nor those of x in the same place.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, "Reshape"):
        if edit.is_constant(edit.input_at(node, 1)) or node.attributes.get_int("allowzero"):
            continue
        target = _target(edit.dims(edit.input_at(node, 0)), edit.dims(node.outputs[0]))
        graph = node.graph
        if target is None or graph is None:
            trace.refused(node, "more than one dimension of its output is not known")
            continue
        shape = names.add_constant(graph, f"{node.outputs[0].name}.shape", np.array(target, np.int64))
        node.replace_input_with(1, shape)
        fired += trace.fired(node)
    return fired


def _target(source: list[edit.Dim] | None, wanted: list[edit.Dim] | None) -> list[int] | None:
    if wanted is None or 0 in wanted:
        return None
    target: list[int] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int):
            target.append(dim)
        elif source is not None and axis < len(source) and edit.same_dim(source[axis], dim):
            target.append(0)
        else:
            target.append(-1)
    return target if target.count(-1) <= 1 else None
