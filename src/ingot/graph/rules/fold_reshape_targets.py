"""Reshape(x, computed)  ->  Reshape(x, constant), with 0 for a dimension of x that stays and -1 for one other

Dimensions are known from the inferred shape, or from a Concat of constants and dimensions of values that are known. Refuses a
target with two dimensions that are neither known nor those of x in the same place.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules import fold_shapes


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, "Reshape"):
        if edit.is_constant(edit.input_at(node, 1)) or node.attributes.get_int("allowzero"):
            continue
        source, graph = edit.dims(edit.input_at(node, 0)), node.graph
        target = _target(source, edit.dims(node.outputs[0]))
        if target is None:
            joined = _joined(edit.input_at(node, 1))
            target = _target(source, joined)
            if target is not None and joined is not None:
                node.outputs[0].shape = _shape(source, joined, target)
        if target is None or graph is None:
            trace.refused(node, "more than one dimension of its output is not known")
            continue
        shape = names.add_constant(graph, f"{node.outputs[0].name}.shape", np.array(target, np.int64))
        node.replace_input_with(1, shape)
        fired += trace.fired(node)
    return fired


def _joined(value: ir.Value | None) -> list[edit.Dim] | None:
    """The dimensions that a computed shape consists of."""
    given, node = edit.integers(value), value.producer() if value is not None else None
    if given is not None:
        return None if 0 in given else list[edit.Dim](given)
    if node is None or node.domain:
        return None
    if node.op_type == "Concat":
        parts = [_joined(part) for part in node.inputs]
        return None if None in parts else [dim for part in parts for dim in part or ()]
    if node.op_type == "Unsqueeze":
        return _joined(node.inputs[0])
    dims = fold_shapes.computed(node)
    return None if dims is None else list(dims.reshape(-1))


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


def _shape(source: list[edit.Dim] | None, joined: list[edit.Dim], target: list[int]) -> ir.Shape | None:
    """The shape of a target, None where what is left for its -1 is not known."""
    if -1 not in target:
        return ir.Shape(joined)
    kept = [axis for axis, dim in enumerate(target) if dim == 0]
    left = [dim for axis, dim in enumerate(source or ()) if axis not in kept]
    known = [dim for dim in left if isinstance(dim, int)]
    others = edit.elements([dim for dim in target if dim > 0])
    if source is None or len(known) < len(left) or not others:
        return None
    return ir.Shape(
        [edit.elements(known) // others if target[axis] == -1 else dim for axis, dim in enumerate(joined)]
    )
