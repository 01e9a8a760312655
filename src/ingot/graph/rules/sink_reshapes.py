"""Reshape(f(Reshape(x)))  ->  Reshape(Reshape(f(x))), f an operator of one element, alone or with constants of one

Also Flatten, Squeeze and Unsqueeze; `merge_reshapes` then makes one of the two. Refuses an f or a first reshape that others use
too, constants that may add axes, and computed shapes.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE
from ingot.graph.rules.hoist_slices import WITH_CONSTANTS, only_input

_SHAPERS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, *sorted(ELEMENTWISE | WITH_CONSTANTS)):
        value, user = only_input(node), edit.only_user(node.outputs[0])
        inner = value.producer() if value is not None else None
        if inner is None or user is None or not _shapes(inner) or not _shapes(user):
            continue
        reason = _unfit(node, inner)
        x = inner.inputs[0]
        if reason is None and x is not None:
            out = edit.swap(inner, node, x)
            out.shape = x.shape
        fired += trace.outcome(node, reason)
    return fired


def _shapes(node: ir.Node) -> bool:
    return node.op_type in _SHAPERS and not node.domain


def _unfit(node: ir.Node, inner: ir.Node) -> str | None:
    if edit.only_user(inner.outputs[0]) is not node or inner.graph is not node.graph:
        return "the reshape before it has other users"
    if any(not edit.is_constant(value) for value in inner.inputs[1:] if value is not None):
        return "the shape before it is computed"
    ranks = [len(edit.dims(v) or ()) for v in node.inputs if v is not None and edit.is_constant(v)]
    dims = edit.dims(inner.inputs[0])
    return None if dims is not None and max(ranks, default=0) <= len(dims) else "its constants may add axes"
