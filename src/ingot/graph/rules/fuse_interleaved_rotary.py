"""The pairs of x's last axis, each turned by an angle  ->  RotaryEmbedding<interleaved = 1>(x, c, s)

Stack(e * c - o * s, e * s + o * c) or x * cos + Stack(-o, e) * sin, e and o the even and the odd elements of x: Slices with steps
of 2, or what Split, Gather or Slice takes of Reshape(x, […, size / 2, 2]). cos and sin are constants that have each angle twice.
x is [batch, heads, length, size], or [batch, length, heads, size] and then reshaped. Raises the operator set to 23. Refuses
angles that do not lie along the length alone, shapes that are not known, doubles, parts that others use too, and models that
cannot be raised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Pattern, Var, op
from ingot.graph.rules.merge_slices import cuts
from ingot.graph.writer import Writer

_E, _O, _C, _S = (Var(name) for name in "eocs")


def _stack(even: Pattern, odd: Pattern) -> match.Op:
    pair = op("Concat", op("Unsqueeze", even, name="first"), op("Unsqueeze", odd, name="second"), name="pair")
    return op("Reshape", pair, name="flat")


_TURNED = _stack(
    op("Sub", op("Mul", _E, _C), op("Mul", _O, _S)), op("Add", op("Mul", _E, _S), op("Mul", _O, _C))
)
_SUM = op("Add", op("Mul", Var("x"), _C), op("Mul", _stack(op("Neg", _O), _E), _S))


@dataclass(frozen=True)
class _Turn:
    """x of four axes, the one of them along which the angles lie, and the cosines and sines of half its size."""

    x: ir.Value
    length: int
    waves: tuple[ir.Value | edit.Array, ...]


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    fired = 0
    for found in match.each(model, _TURNED, _SUM):
        turn = _read(found)
        reason = turn if isinstance(turn, str) else found.leak() or _fuse(model, found, turn, names)
        fired += trace.outcome(found.root, reason)
    return fired


def _read(found: match.Match) -> _Turn | str:
    values = found.values
    sides = [(values["e"], values["o"]), (values["c"], values["s"])]
    side = next((i for i, (e, o) in enumerate(sides) if _parts(e, o) is not None), None)
    if side is None:
        return "its pairs are not those of one value"
    x = _parts(*sides[side])
    dims = edit.dims(x)
    if x is None or dims is None or len(dims) != 4 or not isinstance(dims[3], int):
        return "it is not known to have four axes"
    if values.get("x", x) is not x or not _stacks(found, dims):
        return "its pairs are not put back in their places"
    waves: tuple[ir.Value | edit.Array, ...] = sides[1 - side]
    if "x" in values:
        halves = [_half(wave) for wave in sides[1]]
        if halves[0] is None or halves[1] is None:
            return "its angles are not constants that come twice"
        waves = (halves[0], halves[1])
    shapes = [_shape(wave) for wave in waves]
    length = next((axis for axis in (1, 2) if all(_along(shape, dims, axis) for shape in shapes)), None)
    if length is None:
        return "its angles do not lie along the length alone"
    if length == 1 and not isinstance(dims[2], int):
        return "the number of its heads is not known"
    return match.double(x) or _Turn(x, length, waves)


def _parts(even: ir.Value, odd: ir.Value) -> ir.Value | None:
    """The value of whose last axis these are the even and the odd elements."""
    found = [_part(even), _part(odd)]
    if found[0] is None or found[1] is None:
        return None
    return found[0][0] if (found[0][1], found[1][1]) == (0, 1) and found[0][0] is found[1][0] else None


def _part(value: ir.Value) -> tuple[ir.Value, int] | None:
    """A value, and which of each two elements of its last axis are taken."""
    node = value.producer()
    x = None if node is None or node.domain or not node.inputs else node.inputs[0]
    if node is None or x is None:
        return None
    if node.op_type == "Slice":
        return _stepped(node, x)
    if node.op_type == "Squeeze":
        return _squeezed(node, x)
    index = edit.constant(edit.input_at(node, 1))
    if node.op_type == "Gather" and index is not None and index.ndim == 0:
        return _of_pairs(x, node.attributes.get_int("axis", 0), int(index))
    return None


def _stepped(node: ir.Node, x: ir.Value) -> tuple[ir.Value, int] | None:
    dims, cut = edit.dims(x), cuts(node)
    if dims is None or cut is None or list(cut) != [len(dims) - 1] or not isinstance(dims[-1], int):
        return None
    start, end, step = cut[len(dims) - 1]
    whole = step == 2 and start in (0, 1) and end >= dims[-1] and dims[-1] % 2 == 0
    return (x, start) if whole else None


def _squeezed(node: ir.Node, x: ir.Value) -> tuple[ir.Value, int] | None:
    """Of one element of each pair with its axis kept."""
    dims, taken = edit.dims(x), x.producer()
    source = edit.input_at(taken, 0) if taken is not None and not taken.domain else None
    if dims is None or taken is None or source is None or dims[-1] != 1:
        return None
    if edit.integers(edit.input_at(node, 1)) not in ([-1], [len(dims) - 1]):
        return None
    if taken.op_type == "Split":
        return _of_pairs(source, taken.attributes.get_int("axis", 0), taken.outputs.index(x))
    cut = cuts(taken) if taken.op_type == "Slice" else None
    if cut is None or list(cut) != [len(dims) - 1]:
        return None
    return _of_pairs(source, -1, cut[len(dims) - 1][0])


def _of_pairs(value: ir.Value, axis: int, index: int) -> tuple[ir.Value, int] | None:
    """value: Reshape(x, […, size / 2, 2]), of whose last axis an element is taken."""
    node, dims = value.producer(), edit.dims(value)
    if node is None or node.op_type != "Reshape" or node.domain or dims is None:
        return None
    x, given = node.inputs[0], edit.dims(node.inputs[0])
    if x is None or given is None or not isinstance(given[-1], int) or given[-1] % 2:
        return None
    split = [*given[:-1], given[-1] // 2, 2]
    target = edit.integers(edit.input_at(node, 1)) or []
    kept = len(target) == len(split) and all(
        t == 0 or t == dim for t, dim in zip(target[:-2], split, strict=False)
    )
    pairs = edit.same_dims(dims, split) or (kept and target[-2:] in ([-1, 2], split[-2:]))
    return (x, index % 2) if pairs and axis % len(dims) == len(given) else None


def _stacks(found: match.Match, dims: list[edit.Dim]) -> bool:
    """Whether pairs are put into a last axis of their own and flattened to `dims`."""
    pair, flat = found.named["pair"], found.named["flat"]
    axes = [edit.integers(edit.input_at(found.named[name], 1)) for name in ("first", "second")]
    joined = pair.attributes.get_int("axis", 0) in (-1, 4) and len(pair.inputs) == 2
    return joined and all(a in ([-1], [4]) for a in axes) and edit.same_dims(edit.dims(flat.outputs[0]), dims)


def _half(wave: ir.Value) -> edit.Array | None:
    """Every second element of a constant that has each one twice."""
    array = edit.constant(wave)
    if array is None or array.ndim < 2 or not np.array_equal(array[..., ::2], array[..., 1::2]):
        return None
    return array[..., ::2]


def _shape(wave: ir.Value | edit.Array) -> list[edit.Dim]:
    """As it broadcasts against four axes, [] where that is not known."""
    dims = edit.dims(wave) if isinstance(wave, ir.Value) else list(wave.shape)
    return [] if dims is None or len(dims) > 4 else [*[1] * (4 - len(dims)), *dims]


def _along(shape: list[edit.Dim], dims: list[edit.Dim], axis: int) -> bool:
    """Whether waves have the angles of the length on `axis`, those of a head for all of them, and of a sample or of all."""
    assert isinstance(dims[3], int)
    if not shape or shape[3 - axis] != 1 or shape[3] != dims[3] // 2:
        return False
    return edit.same_dim(shape[axis], dims[axis]) and (shape[0] == 1 or edit.same_dim(shape[0], dims[0]))


def _fuse(model: ir.Model, found: match.Match, turn: _Turn, names: edit.Names) -> str | None:
    reason = opset.raise_to(model, 23)
    if reason is not None:
        return reason
    writer, x, dims = Writer(found.root, names, edit.opset(model)), turn.x, edit.dims(turn.x) or []
    waves = [_table(writer, wave, turn) for wave in turn.waves]
    turned = [ir.AttrInt64("interleaved", 1)]
    if turn.length == 2:
        return match.fuse(found, "RotaryEmbedding", [x, *waves], turned, names)
    heads, size = dims[2:]
    assert isinstance(heads, int)
    assert isinstance(size, int)
    flat = writer.op("Reshape", x, writer.ints(0, 0, heads * size))
    y = writer.op("RotaryEmbedding", flat, *waves, interleaved=1, num_heads=heads)
    return match.fuse(found, "Reshape", [y, writer.ints(0, 0, heads, size)], [], names)


def _table(writer: Writer, wave: ir.Value | edit.Array, turn: _Turn) -> ir.Value:
    """[batch, length, size / 2]."""
    shape, batch = _shape(wave), (edit.dims(turn.x) or [])[0]
    if not isinstance(wave, ir.Value):
        wave = writer.constant(wave, turn.x.dtype, "table")
    if isinstance(shape[0], int):
        assert isinstance(shape[3], int)
        wave = writer.op("Reshape", wave, writer.ints(shape[0], -1, shape[3]))
    else:
        wave = writer.op("Squeeze", wave, writer.ints(3 - turn.length))
    if shape[0] != 1 or batch == 1:
        return wave
    if isinstance(batch, int):
        return writer.op("Expand", wave, writer.ints(batch, 1, 1))
    whole = writer.op("Concat", writer.op("Shape", turn.x, end=1), writer.ints(1, 1), axis=0)
    return writer.op("Expand", wave, whole)
