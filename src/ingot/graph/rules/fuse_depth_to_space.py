"""Reshape(Transpose(Reshape(x, [n, b, b, c, h, w])), [n, c, h * b, w * b])  ->  DepthToSpace<b>(x), of mode DCR or CRD

Refuses other orders, sizes that are not known to be these, and parts that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_PATTERN = op("Reshape", op("Transpose", op("Reshape", Var("x"), name="split"), name="turn"))
_MODES: dict[tuple[int, ...], tuple[str, tuple[int, int, int]]] = {
    (0, 3, 4, 1, 5, 2): ("DCR", (1, 2, 3)),
    (0, 1, 4, 2, 5, 3): ("CRD", (2, 3, 1)),
}
"""Permutation -> mode, and the axes of the blocks' rows and columns and of the channels."""


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 11:
        return 0
    fired, names = 0, edit.Names(model)
    for found in match.each(model, _PATTERN):
        if tuple(found.named["turn"].attributes.get_ints("perm") or ()) in _MODES:
            fired += trace.outcome(found.root, _fuse(found, names))
    return fired


def _fuse(found: match.Match, names: edit.Names) -> str | None:
    mode, axes = _MODES[tuple(found.named["turn"].attributes.get_ints("perm") or ())]
    block = _block(found, axes)
    if block is None:
        return "its sizes are not known to be those of blocks"
    attributes = [ir.AttrInt64("blocksize", block), ir.AttrString("mode", mode)]
    return found.leak() or match.fuse(found, "DepthToSpace", "x", attributes, names)


def _block(found: match.Match, axes: tuple[int, int, int]) -> int | None:
    x, split, out = (
        edit.dims(value)
        for value in (found.values["x"], found.named["split"].outputs[0], found.root.outputs[0])
    )
    if x is None or split is None or out is None or (len(x), len(split), len(out)) != (4, 6, 4):
        return None
    rows, columns, channels = (split[axis] for axis in axes)
    if not isinstance(rows, int) or rows != columns or not isinstance(channels, int):
        return None
    if x[1] != rows * rows * channels or out[1] != channels:
        return None
    scaled = [(x[axis], out[axis]) for axis in (2, 3)]
    known = all(isinstance(a, int) and isinstance(b, int) and b == a * rows for a, b in scaled)
    kept = [edit.same_dim(x[axis], split[place]) for axis, place in ((2, 4), (3, 5))]
    return rows if known and all(kept) else None
