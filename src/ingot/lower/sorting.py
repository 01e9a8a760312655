"""Sorting, and operators that rest on it. Ties keep the order of the elements; a NaN counts as the largest, as in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.ir.index import Ix, IxLike, ix, minimum, product
from ingot.ir.nodes import Const, Index, Local, Select, Value, as_index
from ingot.lower.context import Context
from ingot.lower.elementwise import FLOATS, op
from ingot.lower.movement import axis_of
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast
from ingot.lower.writer import Writer

FEW = 32
"""Elements of a row that are kept in order while the row is read, instead of sorting it."""

Before = Callable[[Writer, list[Ix], Ix, Ix], Value]
"""Whether, in a row, one element stands strictly before another; it may write statements first."""


def precedes(a: Value, b: Value, descending: bool = False) -> Value:
    """Whether a stands strictly before b in ascending or descending order."""
    if a.dtype == "bool":
        a, b = cast(a, "u8"), cast(b, "u8")
    if descending:
        a, b = b, a
    less = op("lt", a, b)
    if a.dtype not in FLOATS:
        return less
    return op("or", less, op("and", op("isnan", b), op("not", op("isnan", a))))


def number(value: IxLike) -> Value:
    """An integer as a value."""
    return Index(ix(value))


def increase(r: Writer, local: Local) -> None:
    r.assign(local, op("add", local, Const(1, "i64")))


def order_of(ctx: Context, rows: Sequence[Ix], length: Ix, before: Before) -> Operand:
    """The positions 0 … length - 1 in sorted order, for each row: a stable merge sort, a row a task.

    Runs of a width are merged into runs of twice that from one half of the scratch tensor to the other.
    """
    order = ctx.tensor("i64", [*rows, length])
    halves = ctx.tensor("i64", [*rows, 2, length])
    levels = max(length.value - 1, 0).bit_length() if length.is_const else 63

    def body(r: Writer) -> None:
        row = list(r.tasks)
        width, half = r.let(Const(1, "i64"), "width"), r.let(Const(0, "i64"), "half")
        with r.loop(length) as i:
            r.write(halves, [*row, 0, i], number(i))
        with r.loop(levels), r.when(op("lt", width, number(length))):
            step = as_index(width)
            with r.loop(length, stop=length.ceildiv(step * 2)) as pair:
                first = r.define(pair * step * 2, length)
                middle = r.define(minimum(first + step, length), length + 1)
                last = r.define(minimum(middle + step, length), length + 1)
                left, right = r.let(number(first), "left"), r.let(number(middle), "right")
                with r.loop(length, start=first, stop=last) as to:
                    take = r.let(op("lt", left, number(middle)), "take")
                    both = op("and", take, op("lt", right, number(last)))
                    a, b = [*row, as_index(half), as_index(left)], [*row, as_index(half), as_index(right)]
                    with r.when(both):
                        one, two = r.let(r.read(halves, a), "one"), r.let(r.read(halves, b), "two")
                        sooner = before(r, row, as_index(two), as_index(one))
                        r.assign(take, op("not", sooner))
                    other = [*row, 1 - as_index(half), to]
                    with r.when(take):
                        r.write(halves, other, r.read(halves, a))
                        increase(r, left)
                    with r.otherwise():
                        r.write(halves, other, r.read(halves, b))
                        increase(r, right)
            r.assign(width, op("add", width, width))
            r.assign(half, op("sub", Const(1, "i64"), half))
        with r.loop(length) as i:
            r.write(order, [*row, i], r.read(halves, [*row, as_index(half), i]))

    cost = length.value * levels * 8 if length.is_const else 1000
    return ctx.routine("sort", [order, halves], body, tasks=rows, work=cost)[0]


@lowers("TopK")
def top_k(ctx: Context, node: Node) -> list[Operand]:
    """The k largest or smallest elements along an axis, in order, and where they stand."""
    x = node.input(0)
    axis, descending = axis_of(node, x.rank, -1), bool(node.get("largest", 1))
    dim, rows = x.shape[axis], [*x.shape[:axis], *x.shape[axis + 1 :]]
    if "k" in node.attributes:
        k = ix(int(node.attributes["k"]))
    else:
        (k,) = ctx.integers(node.input(1), "k").reshape(-1)
    if k.is_const and dim.is_const and not 0 <= k.value <= dim.value:
        raise node.unsupported(f"k = {k} of {dim} elements", "use at most as many as there are")
    k = ctx.size(k, dim, 0, axis)
    ctx.require_inside([k], [dim])

    def place(row: Sequence[IxLike], at: IxLike) -> list[IxLike]:
        return [*row[:axis], at, *row[axis:]]

    if k.is_const and k.value <= FEW:
        return _kept(ctx, x, rows, dim, k.value, place, descending, axis)

    def before(r: Writer, row: list[Ix], a: Ix, b: Ix) -> Value:
        return precedes(ctx.read(x, place(row, a)), ctx.read(x, place(row, b)), descending)

    order = order_of(ctx, rows, dim, before)
    shape = place(x.shape[:axis] + x.shape[axis + 1 :], k)

    def found(axes: Sequence[IxLike]) -> Value:
        return ctx.read(order, [*axes[:axis], *axes[axis + 1 :], axes[axis]])

    def element(axes: Sequence[IxLike]) -> Value:
        return ctx.read(x, place([*axes[:axis], *axes[axis + 1 :]], as_index(found(axes))))

    return [ctx.map(shape, x.dtype, element), ctx.map(shape, "i64", found)]


def _kept(
    ctx: Context,
    x: Operand,
    rows: Sequence[Ix],
    dim: Ix,
    k: int,
    place: Callable[[Sequence[IxLike], IxLike], list[IxLike]],
    descending: bool,
    axis: int,
) -> list[Operand]:
    """The first k of a row, kept in order while it is read: an element that precedes one of them moves the rest on."""
    shape = place(list(rows), k)
    if k == 0:
        return [
            ctx.map(shape, x.dtype, lambda _: Const(0, x.dtype)),
            ctx.map(shape, "i64", lambda _: Const(0, "i64")),
        ]
    values, indices = ctx.tensor(x.dtype, shape), ctx.tensor("i64", shape)

    def body(r: Writer) -> None:
        row = list(r.tasks)
        with r.loop(dim) as i:
            value, at = r.let(ctx.read(x, place(row, i)), "value"), r.let(number(i), "at")
            enters = r.let(op("lt", at, Const(k, "i64")), "enters")
            with r.when(op("not", enters)):
                r.assign(enters, precedes(value, r.read(values, place(row, k - 1)), descending))
            with r.when(enters):
                moves = r.let(Const(False, "bool"), "moves")
                with r.loop(k, stop=minimum(i + 1, k)) as j:
                    here = place(row, j)
                    free = op("eq", number(j), number(i))
                    with r.when(op("not", moves)):
                        r.assign(
                            moves,
                            Select(
                                free,
                                Const(True, "bool"),
                                precedes(value, r.read(values, here), descending),
                            ),
                        )
                    with r.when(moves):
                        old_value = r.let(Select(free, value, r.read(values, here)), "old")
                        old_at = r.let(Select(free, at, r.read(indices, here)), "place")
                        r.write(values, here, value)
                        r.write(indices, here, at)
                        r.assign(value, old_value)
                        r.assign(at, old_at)

    cost = dim * 4 if dim.is_const else ix(1000)
    return ctx.routine("top_k", [values, indices], body, tasks=rows, work=cost)


@lowers("Unique")
def unique(ctx: Context, node: Node) -> list[Operand]:
    """The distinct elements, or slices along an axis: where each first stands, which each is, and how often it does."""
    x = node.input(0)
    axis = axis_of(node, x.rank) if "axis" in node.attributes else None
    if axis is None:
        x, axis = ctx.reshape(x, [product(x.shape)]), 0
    length, inner = x.shape[axis], [*x.shape[:axis], *x.shape[axis + 1 :]]

    def compared(r: Writer, a: Ix, b: Ix) -> Local:
        """-1, 0 or 1: how two slices compare, by the first element that differs."""
        sign = r.let(Const(0, "i64"), "sign")
        with r.loops(inner) as at, r.when(op("eq", sign, Const(0, "i64"))):
            one, two = (r.let(ctx.read(x, [*at[:axis], i, *at[axis:]]), "element") for i in (a, b))
            later = Select(precedes(two, one), Const(1, "i64"), Const(0, "i64"))
            r.assign(sign, Select(precedes(one, two), Const(-1, "i64"), later))
        return sign

    def before(r: Writer, row: list[Ix], a: Ix, b: Ix) -> Value:
        return op("lt", compared(r, a, b), Const(0, "i64"))

    order = order_of(ctx, [], length, before)
    first, which, counts, names = (ctx.tensor("i64", [length]) for _ in range(4))
    total = ctx.tensor("i64", [])

    def group(r: Writer) -> None:
        found = r.let(Const(0, "i64"), "found")
        last = r.let(Const(0, "i64"), "last")
        with r.loop(length) as i:
            element = r.let(ctx.read(order, [i]), "element")
            new = r.let(op("eq", number(i), Const(0, "i64")), "new")
            with r.when(op("not", new)):
                r.assign(new, op("ne", compared(r, as_index(last), as_index(element)), Const(0, "i64")))
            with r.when(new):
                increase(r, found)
                here = [as_index(found) - 1]
                r.write(first, here, element)
                r.write(counts, here, Const(0, "i64"))
            here = [as_index(found) - 1]
            r.write(counts, here, op("add", r.read(counts, here), Const(1, "i64")))
            r.write(which, [as_index(element)], op("sub", found, Const(1, "i64")))
            r.assign(last, element)
        r.write(total, [], found)
        if node.get("sorted", 1):
            with r.loop(length, stop=as_index(found)) as i:
                r.write(names, [i], number(i))
            return
        r.assign(found, Const(0, "i64"))
        with r.loop(length) as i:
            mine = r.let(r.read(which, [i]), "mine")
            with r.when(op("eq", r.read(first, [as_index(mine)]), number(i))):
                r.write(names, [as_index(found)], mine)
                increase(r, found)

    groups = ctx.routine("unique", [total, first, which, counts, names], group, work=_work(length))
    size = ctx.size(ctx.read(groups[0], []), length, 0, axis)
    position = as_index

    def name(i: IxLike) -> Ix:
        return position(ctx.read(groups[4], [i]))

    firsts = ctx.map([size], "i64", lambda axes: ctx.read(groups[1], [name(axes[0])]))
    shape = [*inner[:axis], size, *inner[axis:]]
    values = ctx.view(
        x, shape, lambda *at: [*at[:axis], position(ctx.read(firsts, [at[axis]])), *at[axis + 1 :]]
    )
    inverse = groups[2]
    if not node.get("sorted", 1):
        ranks = ctx.tensor("i64", [length])

        def rank(r: Writer) -> None:
            with r.loop(length, stop=size) as i:
                r.write(ranks, [name(i)], number(i))

        ranked = ctx.routine("rank", [ranks], rank)[0]
        inverse = ctx.map([length], "i64", lambda at: ctx.read(ranked, [position(ctx.read(groups[2], at))]))
    often = ctx.map([size], "i64", lambda axes: ctx.read(groups[3], [name(axes[0])]))
    return [values, firsts, inverse, often]


def _work(length: Ix) -> Ix:
    return length * 10 if length.is_const else ix(1000)
