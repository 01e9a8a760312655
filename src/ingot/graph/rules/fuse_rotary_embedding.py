"""x * cos + Concat(Neg(x2), x1) * sin, x1, x2 = Split(x)  ->  RotaryEmbedding(x, c, s), cos = [c c], sin = [s s]

x is [batch, heads, length, size]. The halves are those of constants, or of Unsqueeze(Cos(Concat(a, a))), a [batch, length,
size / 2]. Raises the operator set to 23. Refuses other angles, a batch and a length that are not known to be those of the angles, doubles,
parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Var, op
from ingot.graph.writer import Writer

_X = Var("x")
_TURNED = op(
    "Concat",
    op("Neg", op("Split", _X, name="halves", output=1)),
    op("Split", _X, name="halves", output=0),
    name="turned",
)
_PATTERN = op("Add", op("Mul", _X, Var("cos")), op("Mul", _TURNED, Var("sin")))
_ANGLES = op(
    "Unsqueeze", op("Cos|Sin", op("Concat", Var("a"), Var("a"), name="twice"), name="wave"), name="heads"
)


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _unfit(found) or found.leak() or _fuse(model, found, names))
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    dims = edit.dims(found.values["x"])
    if dims is None or len(dims) != 4 or not isinstance(dims[3], int) or dims[3] % 2:
        return "it is not known to have four axes and an even size"
    halves, turned = found.named["halves"], found.named["turned"]
    parts = [edit.dims(out) for out in halves.outputs]
    if any(part is None or part[-1] != dims[3] // 2 for part in parts):
        return "its halves are not those of the last axis"
    if len(turned.inputs) != 2 or turned.attributes.get_int("axis", 0) not in (-1, 3):
        return "its halves are not joined along the last axis"
    return match.double(found.values["x"])


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    x = found.values["x"]
    dims = edit.dims(x) or []
    waves = [found.values[name] for name in ("cos", "sin")]
    tables = [_table(wave, dims) for wave in waves]
    angles = [_angle(wave, kind, dims) for wave, kind in zip(waves, ("Cos", "Sin"), strict=True)]
    constant = tables[0] is not None and tables[1] is not None and isinstance(dims[0], int)
    if not constant and (angles[0] is None or angles[0] is not angles[1]):
        return "its angles are not known to be twice those of a half, for this batch"
    reason = opset.raise_to(model, 23)
    if reason is not None:
        return reason
    writer = Writer(found.root, names, edit.opset(model))
    if not constant:
        inputs = [x, *(writer.op(kind, angles[0]) for kind in ("Cos", "Sin"))]
        return match.fuse(found, "RotaryEmbedding", inputs, [], names)
    places = np.broadcast_to(np.arange(dims[2], dtype=np.int64), (dims[0], dims[2]))  # type: ignore[arg-type]
    inputs = [x, *(writer.constant(table, x.dtype, "table") for table in tables), writer.constant(places)]
    return match.fuse(found, "RotaryEmbedding", inputs, [], names)


def _table(wave: ir.Value, dims: list[edit.Dim]) -> edit.Array | None:
    """[length, size / 2] of a constant whose halves are equal."""
    array = edit.constant(wave)
    if (
        array is None
        or array.ndim < 2
        or array.shape[-2:] != tuple(dims[2:])
        or array.size != edit.elements(array.shape[-2:])
    ):
        return None
    first, second = np.split(array.reshape(array.shape[-2:]), 2, axis=1)
    return first if np.array_equal(first, second) else None


def _angle(wave: ir.Value, kind: str, dims: list[edit.Dim]) -> ir.Value | None:
    """[batch, length, size / 2] of whose cosine or sine `wave` is twice a row."""
    producer = wave.producer()
    found = match.find(_ANGLES, producer) if producer is not None else None
    if found is None or found.named["wave"].op_type != kind:
        return None
    given = edit.dims(found.values["a"])
    axes = edit.integers(edit.input_at(found.named["heads"], 1))
    twice = found.named["twice"]
    if given is None or len(given) != 3 or not edit.same_dims(given[:2], [dims[0], dims[2]]):
        return None
    last = twice.attributes.get_int("axis", 0) in (-1, 2) and len(twice.inputs) == 2
    return found.values["a"] if axes == [1] and last else None
