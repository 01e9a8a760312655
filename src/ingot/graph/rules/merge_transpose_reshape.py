"""Reshape(Transpose<0, 2, 1>(Reshape(x, [-1, c, d])), [a, b, d, c])  ->  Transpose<0, 1, 3, 2>(x), x of [a, b, c, d]

Refuses sizes that are not known to be these, and parts that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_PATTERN = op("Reshape", op("Transpose", op("Reshape", Var("x"), name="inner"), name="swap"))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    swap = [ir.AttrInt64s("perm", (0, 1, 3, 2))]
    return sum(
        trace.outcome(
            found.root, found.leak() or _unfit(found) or match.fuse(found, "Transpose", "x", swap, names)
        )
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    x, middle, out = (
        edit.dims(value)
        for value in (found.values["x"], found.named["inner"].outputs[0], found.root.outputs[0])
    )
    if x is None or middle is None or out is None or (len(x), len(middle), len(out)) != (4, 3, 4):
        return "it does not merge two axes of four and split them again"
    if tuple(found.named["swap"].attributes.get_ints("perm") or ()) != (0, 2, 1):
        return "it does not swap the last two axes"
    kept = [(x[2], middle[1]), (x[3], middle[2]), (x[3], out[2]), (x[2], out[3]), (x[1], out[1])]
    return None if all(edit.same_dim(a, b) for a, b in kept) else "its sizes are not known to fit"
