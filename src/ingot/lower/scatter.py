"""Operators that write elements where data says."""

from __future__ import annotations

from collections.abc import Callable

from ingot.ir.index import IxLike, maximum, minimum
from ingot.ir.nodes import Const, Value, as_index
from ingot.ir.program import Tensor
from ingot.lower.context import Context
from ingot.lower.elementwise import extreme, op
from ingot.lower.movement import axis_of, inside_all_but
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast, wrap_index
from ingot.lower.writer import Writer


def combine(node: Node, old: Value, new: Value) -> Value:
    """What an update makes of an element, by the attribute `reduction`."""
    reduction = node.get("reduction", "none")
    if reduction == "none":
        return new
    if reduction in ("max", "min"):
        return extreme(reduction, old, new)
    if reduction not in ("add", "mul"):
        raise node.unsupported(f"reduction={reduction}", "use none, add, mul, max or min")
    if old.dtype == "bool":
        return op("or" if reduction == "add" else "and", old, new)
    return op(reduction, old, new)


def scattered(
    ctx: Context, data: Operand, body: Callable[[Writer, Tensor], None], tasks: tuple[IxLike, ...]
) -> Operand:
    """A copy of data that `body` then updates."""
    output = ctx.copy(data)
    return ctx.routine("scatter", [output], lambda r: body(r, output), tasks=tasks, updates=[output])[0]


@lowers("ScatterElements", "Scatter")
def scatter_elements(ctx: Context, node: Node) -> Operand:
    """output[.., indices[i, j, k], ..] = updates[i, j, k] over a copy of data, in the order of the updates."""
    data, indices, updates = (node.input(i) for i in range(3))
    axis = axis_of(node, data.rank)
    ctx.require_all(updates.shape, indices.shape)
    inside_all_but(ctx, axis, indices, data)
    ctx.check_indices(indices, data.shape[axis : axis + 1])

    def body(r: Writer, output: Tensor) -> None:
        with r.loops(indices.shape[axis:]) as inner:
            at = [*r.tasks, *inner]
            place = list(at)
            place[axis] = r.define(wrap_index(ctx.read(indices, at), data.shape[axis]), data.shape[axis])
            r.write(output, place, combine(node, r.read(output, place), ctx.read(updates, at)))

    return scattered(ctx, data, body, indices.shape[:axis])


@lowers("ScatterND")
def scatter_nd(ctx: Context, node: Node) -> Operand:
    """output[indices[i, :]] = updates[i] over a copy of data, in the order of the updates.

    Tasks share out what each update writes, as two updates may write to the same place.
    """
    data, indices, updates = (node.input(i) for i in range(3))
    depth = indices.shape[-1].value
    ctx.require_all(updates.shape, [*indices.shape[:-1], *data.shape[depth:]])
    ctx.check_indices(indices, data.shape[:depth])
    inner = data.shape[depth:]
    shared = inner[:1] if len(inner) > 1 else ()

    def body(r: Writer, output: Tensor) -> None:
        with r.loops(indices.shape[:-1]) as row:
            found = [wrap_index(ctx.read(indices, [*row, k]), data.shape[k]) for k in range(depth)]
            start = [r.define(i, d) for i, d in zip(found, data.shape, strict=False)]
            with r.loops(inner[len(shared) :]) as rest:
                at, place = [*row, *r.tasks, *rest], [*start, *r.tasks, *rest]
                r.write(output, place, combine(node, r.read(output, place), ctx.read(updates, at)))

    return scattered(ctx, data, body, shared)


@lowers("TensorScatter")
def tensor_scatter(ctx: Context, node: Node) -> Operand:
    """output[b, .., start[b] + i, ..] = update[b, .., i, ..] over a copy of the cache; the place wraps around where
    mode is "circular"."""
    cache, update, starts = node.input(0), node.input(1), node.optional(2)
    axis, mode = axis_of(node, cache.rank, -2), node.get("mode", "linear")
    if mode not in ("linear", "circular"):
        raise node.unsupported(f"mode={mode}", "use linear or circular")
    size = cache.shape[axis]
    ctx.require_all(
        update.shape[:axis] + update.shape[axis + 1 :], cache.shape[:axis] + cache.shape[axis + 1 :]
    )
    if starts is not None:
        ctx.require_all(starts.shape, cache.shape[:1])
    if mode == "linear":
        ctx.require_inside([update.shape[axis]], [size])
    if starts is not None and mode == "linear":
        ctx.check_indices(starts, [size - update.shape[axis] + 1], low=0)

    def body(r: Writer, output: Tensor) -> None:
        start: Value = Const(0, "i64")
        if starts is not None:
            start = r.let(cast(ctx.read(starts, r.tasks[:1]), "i64"), "start")
        with r.loops(update.shape[axis:]) as inner:
            at = as_index(start) + inner[0]
            at = at % size if mode == "circular" else maximum(minimum(at, size - 1), 0)
            place = [*r.tasks, r.define(at, size), *inner[1:]]
            r.write(output, place, ctx.read(update, [*r.tasks, *inner]))

    return scattered(ctx, cache, body, cache.shape[:axis])
