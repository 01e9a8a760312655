"""Operators that only move elements: each is an index expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ingot.ir.index import Ix, IxLike, ix, maximum, minimum, product
from ingot.ir.nodes import DTYPES, Const, Index, Op, Select, Value, as_index
from ingot.lower.context import (
    Anything,
    Context,
    Node,
    Operand,
    cast,
    wrap_index,
    wrapped,
)
from ingot.lower.elementwise import FLOATS, dtype_name
from ingot.lower.registry import lowers


def axis_of(node: Node, rank: int, default: int = 0, name: str = "axis") -> int:
    """The attribute `axis`, counted from the front. Raises IngotError unsupported when it is out of range."""
    axis = node.get(name, default)
    if not -rank <= axis < max(rank, 1):
        raise node.unsupported(f"axis {axis} is outside a tensor of rank {rank}")
    return int(axis % rank) if rank else 0


def integers(ctx: Context, node: Node, i: int, what: str, attribute: str | None = None) -> list[Ix] | None:
    """Integers from an attribute (older opsets) or from input i, as expressions of symbols. None where absent."""
    if attribute is not None and attribute in node.attributes:
        return [ix(v) for v in node.attributes[attribute]]
    operand = node.optional(i)
    return None if operand is None else [ix(v) for v in ctx.integers(operand, what).reshape(-1)]


def known_axes(node: Node, i: int, rank: int) -> list[int] | None:
    """Axes from the attribute or from input i, counted from the front. None where absent or known only at run time."""
    if "axes" in node.attributes:
        return [int(a) % rank for a in node.attributes["axes"]]
    operand = node.optional(i)
    if operand is None or operand.known is None or not all(a.is_const for a in operand.known.reshape(-1)):
        return None
    return [a.value % rank for a in operand.known.reshape(-1)]


def axes_from(ctx: Context, node: Node, i: int, rank: int) -> list[int] | None:
    """Axes as `known_axes` gives them, None where absent. Raises IngotError unsupported where they are not known."""
    found = known_axes(node, i, rank)
    if found is None and node.optional(i) is not None:
        raise node.unsupported("its axes are computed at run time", "make them a constant of the model")
    return found


@lowers("Constant")
def constant(ctx: Context, node: Node) -> Operand:
    if "value" in node.attributes:
        return ctx.constant(node.attributes["value"].numpy())
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return ctx.constant(np.array(node.attributes[name], dtype))
    raise node.unsupported("a constant that is no dense tensor of numbers", "make it one")


@lowers("Identity")
def forward(ctx: Context, node: Node) -> Anything:
    """Also of sequences and optionals."""
    value = node.value(0)
    return node.input(0) if value is None else value


@lowers("Reshape")
def reshape(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    wanted = integers(ctx, node, 1, "the shape", "shape") or []
    if any(ctx.is_loose(d) for d in wanted):
        return ctx.reshape(x, _run_time_shape(ctx, node, x, wanted))
    shape: list[Ix] = []
    hole = None
    for i, d in enumerate(wanted):
        if d.is_const and d.value == -1:
            hole = i
            shape.append(ix(1))
        elif d.is_const and d.value == 0 and not node.get("allowzero", 0):
            shape.append(x.shape[i])
        else:
            shape.append(d)
    if hole is not None:
        total, rest = product(x.shape), product(shape)
        shape[hole] = total // rest
    return ctx.reshape(x, shape)


def _run_time_shape(ctx: Context, node: Node, x: Operand, wanted: Sequence[Ix]) -> list[Ix]:
    """The sizes that a shape asks for in which 0 and -1 may stand where a run decides."""
    sizes: list[Value] = [Index(d) for d in wanted]
    if not node.get("allowzero", 0):
        for i, d in enumerate(x.shape[: len(sizes)]):
            sizes[i] = Select(_equal(sizes[i], 0), Index(d), sizes[i])
    rest: Value = Const(1, "i64")
    for size in sizes:
        rest = Op("mul", (rest, Select(_equal(size, -1), Const(1, "i64"), size)), "i64")
    total = product(x.shape)
    hole = Op("div", (Index(total), Op("max", (rest, Const(1, "i64")), "i64")), "i64")
    return [ctx.size(Select(_equal(size, -1), hole, size), total, 0, i) for i, size in enumerate(sizes)]


def _equal(a: Value, b: int) -> Value:
    return Op("eq", (a, Const(b, "i64")), "bool")


@lowers("Flatten")
def flatten(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axis = node.get("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return ctx.reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])])


@lowers("Squeeze")
def squeeze(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axes = known_axes(node, 1, x.rank)
    if axes is None and node.optional(1) is not None:
        flags = axis_flags(ctx, node, 1, x.rank)
        return ctx.reshape(x, kept_sizes(ctx, x, flags, x.rank - node.input(1).shape[0].value))
    if axes is None:
        axes = [i for i, d in enumerate(x.shape) if d.is_const and d.value == 1]
    return ctx.reshape(x, [d for i, d in enumerate(x.shape) if i not in axes])


@lowers("Unsqueeze")
def unsqueeze(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    found = integers(ctx, node, 1, "axes", "axes") or []
    rank = x.rank + len(found)
    if any(ctx.is_loose(a) for a in found):
        flags = axis_flags(ctx, node, 1, rank)
        return ctx.reshape(x, _spread_sizes(ctx, x, flags))
    axes = {a.value % rank for a in found}
    dims = iter(x.shape)
    return ctx.reshape(x, [ix(1) if i in axes else next(dims) for i in range(rank)])


def axis_flags(ctx: Context, node: Node, i: int, rank: int) -> list[Value]:
    """For each axis of a tensor of this rank, whether input i, integers known only at run time, names it."""
    given = [Index(a) for a in ctx.integers(node.input(i), "its axes").reshape(-1)]
    flags = []
    for axis in range(rank):
        flag: Value = Const(False, "bool")
        for a in given:
            named = Op("or", (_equal(a, axis), _equal(a, axis - rank)), "bool")
            flag = named if flag == Const(False, "bool") else Op("or", (flag, named), "bool")
        flags.append(flag)
    return flags


def kept_sizes(ctx: Context, x: Operand, flags: Sequence[Value], count: int) -> list[Ix]:
    """The sizes of the `count` axes that have no flag, in order."""
    largest = ix(0)
    for d in x.shape:
        largest = maximum(largest, d)
    sizes = []
    for wanted in range(count):
        size: Value = Const(1, "i64")
        before: Value = Const(0, "i64")
        for flag, d in zip(flags, x.shape, strict=True):
            here = Op("and", (Op("eq", (flag, Const(False, "bool")), "bool"), _equal(before, wanted)), "bool")
            size = Select(here, Index(d), size)
            step = Select(flag, Const(0, "i64"), Const(1, "i64"))
            before = Op("add", (before, step), "i64")
        sizes.append(ctx.size(size, largest, 0, wanted))
    return sizes


def _spread_sizes(ctx: Context, x: Operand, flags: Sequence[Value]) -> list[Ix]:
    """1 for each axis with a flag, and the sizes of x, in order, for the others."""
    largest = ix(1)
    for d in x.shape:
        largest = maximum(largest, d)
    sizes = []
    before: Value = Const(0, "i64")
    for axis, flag in enumerate(flags):
        size: Value = Const(1, "i64")
        for i, d in enumerate(x.shape):
            size = Select(_equal(before, i), Index(d), size)
        sizes.append(ctx.size(Select(flag, Const(1, "i64"), size), largest, 0, axis))
        step = Select(flag, Const(0, "i64"), Const(1, "i64"))
        before = Op("add", (before, step), "i64")
    return sizes


@lowers("Transpose")
def transpose(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    perm = [int(p) for p in node.get("perm", range(x.rank - 1, -1, -1))]
    return ctx.view(x, [x.shape[p] for p in perm], lambda *axes: [axes[perm.index(i)] for i in range(x.rank)])


@lowers("Concat")
def concat(ctx: Context, node: Node) -> Operand:
    operands = node.operands()
    return joined(ctx, operands, axis_of(node, operands[0].rank))


def joined(ctx: Context, operands: Sequence[Operand], axis: int) -> Operand:
    """Operands one after the other along an axis; empty ones are left out."""
    full = [x for x in operands if x.shape[axis] != ix(0)] or operands[:1]
    return full[0] if len(full) == 1 else ctx.concat(full, axis)


@lowers("Split")
def split(ctx: Context, node: Node) -> list[Operand]:
    x = node.input(0)
    axis = axis_of(node, x.rank)
    sizes = integers(ctx, node, 1, "split", "split")
    if sizes is not None and any(ctx.is_loose(d) for d in sizes):
        dim = x.shape[axis]
        ctx.require(sum(sizes, ix(0)), dim)
        sizes = [ctx.size(d, dim, i, axis) for i, d in enumerate(sizes)]
    if sizes is None:
        count = len(node.outputs)
        chunk = x.shape[axis].ceildiv(count)
        sizes = [chunk] * (count - 1)
        sizes.append(maximum(x.shape[axis] - chunk * (count - 1), 0))
    else:
        ctx.require(x.shape[axis], sum(sizes, ix(0)))
    results, at = [], ix(0)
    for size in sizes:
        results.append(window(ctx, x, {axis: (at, size, 1)}))
        at = at + size
    return results


def window(ctx: Context, x: Operand, cut: Mapping[int, tuple[Ix, Ix, IxLike]]) -> Operand:
    """x[start : … : step] with `size` elements along each axis of cut."""
    shape = [cut[i][1] if i in cut else d for i, d in enumerate(x.shape)]
    return ctx.view(
        x, shape, lambda *axes: [cut[i][0] + a * cut[i][2] if i in cut else a for i, a in enumerate(axes)]
    )


@lowers("Slice")
def slice_(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    starts = integers(ctx, node, 1, "starts", "starts") or []
    ends = integers(ctx, node, 2, "ends", "ends") or []
    steps = integers(ctx, node, 4, "steps") or [ix(1)] * len(starts)
    given = known_axes(node, 3, x.rank)
    if (given is None and node.optional(3) is not None) or any(map(ctx.is_loose, [*starts, *ends, *steps])):
        return _run_time_slice(ctx, node, x, given, starts, ends, steps)
    axes = given or list(range(len(starts)))
    cut = {}
    for axis, start, end, step_ix in zip(axes, starts, ends, steps, strict=True):
        dim, step = x.shape[axis], step_ix.value
        low, high = (ix(0), dim) if step > 0 else (ix(-1), dim - 1)
        first = _clamp(start, dim, ix(0), dim if step > 0 else dim - 1)
        last = _clamp(end, dim, low, high)
        count = (last - first).ceildiv(step) if step > 0 else (first - last).ceildiv(-step)
        cut[axis] = (first, maximum(count, 0), step)
    return window(ctx, x, cut)


def _run_time_slice(
    ctx: Context,
    node: Node,
    x: Operand,
    axes: Sequence[int] | None,
    starts: Sequence[Ix],
    ends: Sequence[Ix],
    steps: Sequence[Ix],
) -> Operand:
    """A Slice whose bounds, steps or axes only a run tells."""
    if axes is None and node.optional(3) is None:
        axes = range(len(starts))
    places = [Index(a) for a in ctx.integers(node.input(3), "its axes").reshape(-1)] if axes is None else []
    cut: dict[int, tuple[Ix, Ix, Ix]] = {}
    for axis in range(x.rank) if axes is None else axes:
        dim = x.shape[axis]
        parts: list[Value] = [
            _chosen(places, axis, x.rank, values, default)
            if axes is None
            else Index(values[list(axes).index(axis)])
            for values, default in ((starts, ix(0)), (ends, dim), (steps, ix(1)))
        ]
        first, count = _window_of(parts[0], parts[1], parts[2], dim)
        size = ctx.size(count, dim, 0, axis)
        cut[axis] = ctx.measure(ctx.scalar(first)), size, ctx.measure(ctx.scalar(parts[2]))
    return window(ctx, x, cut)


def _chosen(places: Sequence[Value], axis: int, rank: int, values: Sequence[Ix], default: Ix) -> Value:
    """The one of the values whose place is the axis."""
    found: Value = Index(default)
    for place, value in zip(places, values, strict=True):
        here = Op("or", (_equal(place, axis), _equal(place, axis - rank)), "bool")
        found = Select(here, Index(value), found)
    return found


def _window_of(start: Value, end: Value, step: Value, dim: Ix) -> tuple[Value, Value]:
    """The first position and the number of elements of a slice, as ONNX clamps it."""
    size, zero, one = Index(dim), Const(0, "i64"), Const(1, "i64")

    def op(name: str, a: Value, b: Value) -> Value:
        return Op(name, (a, b), "i64")

    def clamped(at: Value, low: Value, high: Value) -> Value:
        at = Select(Op("lt", (at, zero), "bool"), op("add", at, size), at)
        return op("min", op("max", at, low), high)

    forward = Op("gt", (step, zero), "bool")
    low = Select(forward, zero, Const(-1, "i64"))
    last = op("sub", size, one)
    first = clamped(start, zero, Select(forward, size, last))
    stop = clamped(end, low, Select(forward, size, last))
    stride = op("max", Op("abs", (step,), "i64"), one)
    gap = op("max", Select(forward, op("sub", stop, first), op("sub", first, stop)), zero)
    return first, op("div", op("add", gap, op("sub", stride, one)), stride)


def _clamp(at: Ix, dim: Ix, low: Ix, high: Ix) -> Ix:
    if at.is_const:
        value = at.value
        if value >= 2**31 - 1:
            return high
        if value <= -(2**31) + 1:
            return low
        if value < 0:
            at = at + dim
            if not dim.is_const:
                return maximum(at, low) if high == dim else minimum(maximum(at, low), high)
    return minimum(maximum(at, low), high)


@lowers("Expand")
def expand(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    target = integers(ctx, node, 1, "the shape") or []
    if any(ctx.is_loose(d) for d in target):
        target = _run_time_target(ctx, node, x, target)
    shape = ctx.broadcast(x.shape, tuple(target))
    return ctx.map(shape, x.dtype, lambda axes: ctx.read_broadcast(x, axes))


def _run_time_target(ctx: Context, node: Node, x: Operand, target: Sequence[Ix]) -> list[Ix]:
    """The sizes that x is expanded to: those of x wherever they are not 1."""
    rank = max(x.rank, len(target))
    shape: list[Ix] = [*[ix(1)] * (rank - x.rank), *x.shape]
    for i, wanted in enumerate(target, rank - len(target)):
        if shape[i] == ix(1):
            shape[i] = ctx.size(wanted, None, 0, i)
        elif ctx.is_loose(wanted):
            one = Op("eq", (Index(wanted), Const(1, "i64")), "bool")
            given = ctx.scalar(Select(one, Index(shape[i]), Index(wanted)))
            ctx.require(ctx.measure(given), shape[i])
    return shape


@lowers("Tile")
def tile(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    repeats = integers(ctx, node, 1, "repeats") or []
    shape = [ctx.size(d * r, None, 0, i) for i, (d, r) in enumerate(zip(x.shape, repeats, strict=True))]
    return ctx.view(
        x, shape, lambda *axes: [ix(0) if d == ix(0) else a % d for a, d in zip(axes, x.shape, strict=True)]
    )


@lowers("Pad")
def pad(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    amounts = integers(ctx, node, 1, "pads", "pads") or []
    axes = known_axes(node, 3, x.rank)
    mode = node.get("mode", "constant")
    fill_in_run = node.optional(2) is not None and node.input(2).data is None
    if (axes is None and node.optional(3) is not None) or any(map(ctx.is_loose, amounts)) or fill_in_run:
        return _run_time_pad(ctx, node, x, mode, axes, amounts)
    axes = axes or list(range(x.rank))
    n = len(axes)
    pads: list[tuple[Ix, Ix]] = [(ix(0), ix(0))] * x.rank
    for i, axis in enumerate(axes):
        pads[axis] = (amounts[i], amounts[n + i])
    cropped = {
        i: (-minimum(a, 0), x.shape[i] + minimum(a, 0) + minimum(b, 0), 1)
        for i, (a, b) in enumerate(pads)
        if (a.lower() or 0) < 0 or (b.lower() or 0) < 0
    }
    if cropped:
        x = window(ctx, x, cropped)
        pads = [(maximum(a, 0), maximum(b, 0)) for a, b in pads]
    if mode == "constant":
        fill: float = node.get("value", 0.0)
        given = node.optional(2)
        if given is not None:
            fill = node.constant(2, "the fill value").reshape(-1)[0].item()
        return ctx.pad(x, pads, fill)
    shape = [d + a + b for d, (a, b) in zip(x.shape, pads, strict=True)]

    def source(i: int, at: Ix) -> Ix:
        before, after = pads[i]
        return at if before == after == ix(0) else _mirrored(at - before, x.shape[i], mode)

    return ctx.view(x, shape, lambda *axes: [source(i, a) for i, a in enumerate(axes)])


def _mirrored(at: Ix, dim: Ix, mode: str) -> Ix:
    """The element of an axis that stands at a position outside it, in a mode other than constant."""
    if mode == "edge":
        return maximum(minimum(at, dim - 1), 0)
    if mode == "wrap":
        return (at + dim) % dim
    return maximum(minimum(maximum(at, -at), (dim - 1) * 2 - at), 0)


def _run_time_pad(
    ctx: Context, node: Node, x: Operand, mode: str, axes: Sequence[int] | None, amounts: Sequence[Ix]
) -> Operand:
    """A Pad whose amounts or axes only a run tells."""
    if axes is None and node.optional(3) is None:
        axes = range(x.rank)
    n = len(amounts) // 2
    pads = [(ix(0), ix(0))] * x.rank
    if axes is not None:
        for i, axis in enumerate(axes):
            pads[axis] = amounts[i], amounts[n + i]
    else:
        places = [Index(a) for a in ctx.integers(node.input(3), "its axes").reshape(-1)]
        for axis in range(x.rank):
            chosen = [_chosen(places, axis, x.rank, part, ix(0)) for part in (amounts[:n], amounts[n:])]
            pads[axis] = ctx.measure(ctx.scalar(chosen[0])), ctx.measure(ctx.scalar(chosen[1]))
    shape = [ctx.size(d + a + b, None, 0, i) for i, (d, (a, b)) in enumerate(zip(x.shape, pads, strict=True))]
    if mode != "constant":
        return ctx.view(
            x,
            shape,
            lambda *out: [
                _mirrored(o - before, d, mode) for o, d, (before, _) in zip(out, x.shape, pads, strict=True)
            ],
        )
    given = node.optional(2)
    fill: Value = Const(node.get("value", 0), x.dtype)
    if given is not None:
        fill = ctx.read(given, [0] * given.rank)
    return _placed(ctx, x, shape, [before for before, _ in pads], fill)


def _placed(ctx: Context, x: Operand, shape: Sequence[Ix], starts: Sequence[Ix], fill: Value) -> Operand:
    """A tensor of `fill` with x laid into it from `starts` on, which may be negative: what lies outside is cut off."""

    def value(out: tuple) -> Value:  # type: ignore[type-arg]
        index = [ix(o) - start for o, start in zip(out, starts, strict=True)]
        inside: Value | None = None
        for at, d, size, start in zip(index, x.shape, shape, starts, strict=True):
            if start == ix(0) and d == size:
                continue
            for test in (
                Op("ge", (Index(at), Const(0, "i64")), "bool"),
                Op("lt", (Index(at), Index(d)), "bool"),
            ):
                inside = test if inside is None else Op("and", (inside, test), "bool")
        found = ctx.read(x, index)
        return found if inside is None else Select(inside, found, fill)

    return ctx.map(shape, x.dtype, value)


@lowers("CenterCropPad")
def center_crop_pad(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    wanted = integers(ctx, node, 1, "the shape") or []
    axes = [int(a) % x.rank for a in node.get("axes", range(x.rank))]
    shape, starts = list(x.shape), [ix(0)] * x.rank
    for axis, size in zip(axes, wanted, strict=True):
        d = x.shape[axis]
        shape[axis] = ctx.size(size, None, 0, axis)
        starts[axis] = maximum(shape[axis] - d, 0) // 2 - maximum(d - shape[axis], 0) // 2
    return _placed(ctx, x, shape, starts, Const(0, x.dtype))


@lowers("Gather")
def gather(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    axis = axis_of(node, x.rank)
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    exact = _in_range(indices.data, x.shape[axis])
    ctx.check_indices(indices, x.shape[axis : axis + 1])

    def at(axes: Sequence[Ix]) -> Ix:
        value = ctx.read(indices, axes[axis : axis + indices.rank])
        return as_index(value) if exact else wrap_index(value, x.shape[axis])

    return ctx.view(x, shape, lambda *axes: [*axes[:axis], at(axes), *axes[axis + indices.rank :]])


def _in_range(data: np.ndarray | None, dim: Ix) -> bool:
    return data is not None and dim.is_const and bool(((data >= 0) & (data < dim.value)).all())


@lowers("GatherElements")
def gather_elements(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    axis = axis_of(node, x.rank)
    ctx.check_indices(indices, x.shape[axis : axis + 1])

    def source(*axes: Ix) -> list[Ix]:
        found = list(axes)
        found[axis] = wrap_index(ctx.read(indices, axes), x.shape[axis])
        return found

    return ctx.view(x, indices.shape, source)


@lowers("GatherND")
def gather_nd(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    batch = node.get("batch_dims", 0)
    depth = indices.shape[-1].value
    shape = [*indices.shape[:-1], *x.shape[batch + depth :]]
    n = indices.rank - 1
    ctx.check_indices(indices, x.shape[batch : batch + depth])

    def source(*axes: Ix) -> list[Ix]:
        picked = [wrap_index(ctx.read(indices, [*axes[:n], k]), x.shape[batch + k]) for k in range(depth)]
        return [*axes[:batch], *picked, *axes[n:]]

    return ctx.view(x, shape, source)


@lowers("DepthToSpace")
def depth_to_space(ctx: Context, node: Node) -> Operand:
    x, b = node.input(0), int(node.attributes["blocksize"])
    n, c, h, w = x.shape
    depth = c // (b * b)

    def source(i: Ix, f: Ix, y: Ix, z: Ix) -> list[Ix]:
        dy, dz = y % b, z % b
        if node.get("mode", "DCR") == "CRD":
            channel = (f * b + dy) * b + dz
        else:
            channel = (dy * b + dz) * depth + f
        return [i, channel, y // b, z // b]

    return ctx.view(x, [n, depth, h * b, w * b], source)


@lowers("SpaceToDepth")
def space_to_depth(ctx: Context, node: Node) -> Operand:
    x, b = node.input(0), int(node.attributes["blocksize"])
    n, c, h, w = x.shape

    def source(i: Ix, f: Ix, y: Ix, z: Ix) -> list[Ix]:
        if node.get("mode", "DCR") == "CRD":
            block, channel = f % (b * b), f // (b * b)
        else:
            block, channel = f // c, f % c
        return [i, channel, y * b + block // b, z * b + block % b]

    return ctx.view(x, [n, c * b * b, h // b, w // b], source)


@lowers("Trilu")
def trilu(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    offset = integers(ctx, node, 1, "k")
    k = offset[0] if offset else ix(0)
    upper = bool(node.get("upper", 1))

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        row, column = ix(axes[-2]) + k, ix(axes[-1])
        keep = Op("ge" if upper else "le", (Index(column), Index(row)), "bool")
        return Select(keep, ctx.read(x, axes), Const(False if x.dtype == "bool" else 0, x.dtype))

    return ctx.map(x.shape, x.dtype, value)


@lowers("OneHot")
def one_hot(ctx: Context, node: Node) -> Operand:
    indices, values = node.input(0), node.input(2)
    rank = indices.rank + 1
    axis = node.get("axis", -1) % rank
    depth = ctx.size((integers(ctx, node, 1, "depth") or [ix(0)])[0], None, 0, axis)
    shape = [*indices.shape[:axis], depth, *indices.shape[axis:]]

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        at = cast(ctx.read(indices, [a for i, a in enumerate(axes) if i != axis]), "i64")
        at = Select(Op("lt", (at, Const(0, "i64")), "bool"), Op("add", (at, Index(depth)), "i64"), at)
        hit = Op("eq", (at, Index(ix(axes[axis]))), "bool")
        return Select(hit, ctx.read(values, [1]), ctx.read(values, [0]))

    return ctx.map(shape, values.dtype, value)


@lowers("Shape")
def shape_of(ctx: Context, node: Node) -> Operand:
    dims = list(node.input(0).shape)[slice(node.get("start", 0), node.get("end", None))]
    return known(ctx, np.array(dims, object))


@lowers("Size")
def size(ctx: Context, node: Node) -> Operand:
    total = np.empty((), object)
    total[()] = product(node.input(0).shape)
    return known(ctx, total)


def known(ctx: Context, values: np.ndarray, dtype: str = "i64") -> Operand:
    """An operand of integers known up to symbols."""
    if all(v.is_const for v in values.reshape(-1)):
        numbers = [bool(v.value) if dtype == "bool" else wrapped(v.value, dtype) for v in values.reshape(-1)]
        return ctx.constant(np.array(numbers, DTYPES[dtype]).reshape(values.shape))
    return Operand(ctx.unique("k"), dtype, tuple(ix(d) for d in values.shape), known=values)


@lowers("ConstantOfShape")
def constant_of_shape(ctx: Context, node: Node) -> Operand:
    wanted = integers(ctx, node, 0, "the shape") or []
    shape = [ctx.size(d, None, 0, i) for i, d in enumerate(wanted)]
    value = node.get("value")
    data = np.zeros(1, np.float32) if value is None else value.numpy()
    fill = ctx.constant(data.reshape(-1)[:1])
    return ctx.map(shape, fill.dtype, lambda axes: ctx.read(fill, [0]))


MAX_RANGE = 2**24
"""Elements of a range that becomes a constant."""


def _count(start: float, stop: float, step: float) -> float:
    """Of a range, about."""
    return (stop - start) / step if step else float("inf")


@lowers("Range")
def range_(ctx: Context, node: Node) -> Operand:
    bounds = [node.input(i) for i in range(3)]
    start = bounds[0]
    data = [x.data.reshape(-1)[0] for x in bounds if x.data is not None]
    if len(data) == 3 and _count(*map(float, data)) <= MAX_RANGE:
        return ctx.constant(np.arange(*data, dtype=DTYPES[start.dtype]))
    known_bounds = [x.known.reshape(-1)[0] for x in bounds if x.known is not None]
    if len(known_bounds) < 3 or not known_bounds[2].is_const or any(map(ctx.is_loose, known_bounds)):
        return _run_time_range(ctx, node, bounds)
    a, b, step = known_bounds
    count = maximum((b - a).ceildiv(step) if step.value > 0 else (a - b).ceildiv(-step), 0)
    return ctx.map([count], start.dtype, lambda axes: cast(Index(a + ix(axes[0]) * step), start.dtype))


def _run_time_range(ctx: Context, node: Node, bounds: Sequence[Operand]) -> Operand:
    """A Range of scalars that only a run tells."""
    dtype = bounds[0].dtype
    start, limit, step = (ctx.read(x, [0] * x.rank) for x in bounds)
    gap = Op("sub", (limit, start), dtype)
    if dtype in FLOATS:
        count = cast(Op("ceil", (Op("div", (gap, step), dtype),), dtype), "i64")
    else:
        wide, by = cast(gap, "i64"), cast(step, "i64")
        by = Select(_equal(by, 0), Const(1, "i64"), by)
        even = Op("eq", (Op("mul", (Op("div", (wide, by), "i64"), by), "i64"), wide), "bool")
        same = Op("eq", (_negative(wide), _negative(by)), "bool")
        up = Select(even, Const(0, "i64"), Select(same, Const(1, "i64"), Const(0, "i64")))
        count = Op("add", (Op("div", (wide, by), "i64"), up), "i64")
    size = ctx.size(Op("max", (count, Const(0, "i64")), "i64"), None, 0, 0)

    def element(axes: tuple) -> Value:  # type: ignore[type-arg]
        return Op("add", (start, Op("mul", (cast(Index(ix(axes[0])), dtype), step), dtype)), dtype)

    return ctx.map([size], dtype, element)


def _negative(a: Value) -> Value:
    return Op("lt", (a, Const(0, "i64")), "bool")


@lowers("EyeLike")
def eye_like(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    dtype = dtype_name(node.attributes["dtype"], node) if "dtype" in node.attributes else x.dtype
    k = node.get("k", 0)
    return ctx.map(
        x.shape,
        dtype,
        lambda axes: cast(Op("eq", (Index(ix(axes[1])), Index(ix(axes[0]) + k)), "bool"), dtype),
    )
