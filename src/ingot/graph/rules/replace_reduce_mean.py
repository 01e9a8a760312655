"""ReduceMean(x), all axes after the channels, which it keeps  ->  GlobalAveragePool(x)

Runtimes and chips know that as a pooling. Refuses other axes, inputs of fewer than three, and integers.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_PATTERN = op("ReduceMean", Var("x"))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _unfit(found) or match.fuse(found, "GlobalAveragePool", "x", [], names))
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    node, x = found.root, found.values["x"]
    dims, given = edit.dims(x), edit.input_at(node, 1)
    axes = node.attributes.get_ints("axes") if given is None else edit.integers(given)
    if dims is None or axes is None or x.dtype is None or not x.dtype.is_floating_point():
        return "its axes are not known, or it is of integers"
    if node.attributes.get_int("keepdims", 1) != 1:
        return "it does not keep its axes"
    if len(dims) < 3 or sorted(axis % len(dims) for axis in axes) != list(range(2, len(dims))):
        return "it is not over all axes after the channels"
    return None
