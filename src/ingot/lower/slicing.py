"""Operators that cut a part out of a tensor, or lay a tensor into a larger one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.ir.index import Ix, IxLike, ix, maximum, minimum
from ingot.ir.nodes import Const, Index, Op, Select, Value
from ingot.lower.context import Context
from ingot.lower.elementwise import op
from ingot.lower.movement import axis_of, equal, integers, known_axes
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import nothing


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
        here = Op("or", (equal(place, axis), equal(place, axis - rank)), "bool")
        found = Select(here, Index(value), found)
    return found


def _window_of(start: Value, end: Value, step: Value, dim: Ix) -> tuple[Value, Value]:
    """The first position and the number of elements of a slice, as ONNX clamps it."""
    size, zero, one = Index(dim), Const(0, "i64"), Const(1, "i64")

    def clamped(at: Value, low: Value, high: Value) -> Value:
        at = Select(op("lt", at, zero), op("add", at, size), at)
        return op("min", op("max", at, low), high)

    forward = op("gt", step, zero)
    low = Select(forward, zero, Const(-1, "i64"))
    last = op("sub", size, one)
    first = clamped(start, zero, Select(forward, size, last))
    stop = clamped(end, low, Select(forward, size, last))
    stride = op("max", op("abs", step), one)
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
        fill = node.get("value", nothing(x.dtype).value)
        if node.optional(2) is not None:
            fill = node.constant(2, "the fill value").reshape(-1)[:1].item()
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
    fill: Value = Const(node.get("value", nothing(x.dtype).value), x.dtype)
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
    return _placed(ctx, x, shape, starts, nothing(x.dtype))
