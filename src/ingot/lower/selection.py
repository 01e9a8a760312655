"""Operators whose outputs are as many elements as data says: each has a bound, and a size that the run measures."""

from __future__ import annotations

from collections.abc import Callable

from ingot.ir.index import Ix, ix, minimum, product
from ingot.ir.nodes import Const, Index, Op, Select, Value, as_index
from ingot.lower.context import Context
from ingot.lower.elementwise import op
from ingot.lower.movement import axis_of
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.sorting import increase, number, order_of, precedes
from ingot.lower.values import cast, unravel
from ingot.lower.writer import Writer


def places(ctx: Context, length: Ix, holds: Callable[[Ix], Value]) -> tuple[Value, Operand]:
    """How many of 0 … length - 1 hold, and which, at the front of a tensor of that length."""
    count, found = ctx.tensor("i64", []), ctx.tensor("i64", [length])

    def body(r: Writer) -> None:
        total = r.let(Const(0, "i64"), "total")
        with r.loop(length) as i, r.when(holds(i)):
            r.write(found, [as_index(total)], number(i))
            increase(r, total)
        r.write(count, [], total)

    work = length * 4 if length.is_const else ix(1000)
    total, which = ctx.routine("select", [count, found], body, work=work)
    return ctx.read(total, []), which


@lowers("NonZero")
def non_zero(ctx: Context, node: Node) -> Operand:
    """The indices of the elements that are not zero, one a column; a scalar has one or none, of no rows."""
    x = node.input(0)
    shape = x.shape
    if product(shape) == ix(0):
        return ctx.map([x.rank, 0], "i64", lambda _: Const(0, "i64"))
    flat = ctx.reshape(x, [product(shape)])
    count, which = places(ctx, product(shape), lambda i: cast(ctx.read(flat, [i]), "bool"))
    size = ctx.size(count, product(shape), 0, 1)
    if not shape:
        return ctx.map([0, size], "i64", lambda _: Const(0, "i64"))

    def index(axes: tuple[Ix, ...]) -> Value:
        at = unravel(as_index(ctx.read(which, [axes[1]])), shape)
        value: Value = Index(at[-1])
        for i in range(len(shape) - 2, -1, -1):
            value = Select(Op("eq", (Index(ix(axes[0])), Const(i, "i64")), "bool"), Index(at[i]), value)
        return value

    return ctx.map([len(shape), size], "i64", lambda axes: index(tuple(map(ix, axes))))


@lowers("Compress")
def compress(ctx: Context, node: Node) -> Operand:
    """The slices along an axis, or the elements, that a condition picks; it may be shorter than the axis."""
    x, condition = node.input(0), node.input(1)
    axis = axis_of(node, x.rank) if "axis" in node.attributes else None
    if axis is None:
        x, axis = ctx.reshape(x, [product(x.shape)]), 0
    length = minimum(condition.shape[0], x.shape[axis])
    count, which = places(ctx, length, lambda i: ctx.read(condition, [i]))
    shape = list(x.shape)
    shape[axis] = ctx.size(count, length, 0, axis)
    return ctx.view(
        x, shape, lambda *at: [*at[:axis], as_index(ctx.read(which, [at[axis]])), *at[axis + 1 :]]
    )


@lowers("NonMaxSuppression")
def non_max_suppression(ctx: Context, node: Node) -> Operand:
    """Boxes by falling score, those left out that overlap one taken before; (batch, class, box) a row.

    A task is a class of an image; what the tasks take is then listed in order.
    """
    boxes, scores = node.input(0), node.input(1)
    batch, classes, count = scores.shape
    ctx.require(boxes.shape[1], count)
    most: Ix = ix(0)
    if node.optional(2) is not None:
        (most,) = ctx.integers(node.input(2), "max_output_boxes_per_class").reshape(-1)
    bound = minimum(most, count) if most.is_const else count

    def scalar(i: int) -> Value | None:
        operand = node.optional(i)
        return None if operand is None else ctx.read(operand, [0] * operand.rank)

    overlap, least = scalar(3) or Const(0.0, boxes.dtype), scalar(4)

    def before(r: Writer, row: list[Ix], a: Ix, b: Ix) -> Value:
        return precedes(ctx.read(scores, [*row, a]), ctx.read(scores, [*row, b]), descending=True)

    order = order_of(ctx, [batch, classes], count, before)
    taken, numbers = ctx.tensor("i64", [batch, classes, bound]), ctx.tensor("i64", [batch, classes])

    def take(r: Writer) -> None:
        row = list(r.tasks)
        found = r.let(Const(0, "i64"), "found")
        with r.loop(count) as i, r.when(op("lt", found, number(minimum(bound, most)))):
            box = r.let(ctx.read(order, [*row, i]), "box")
            keeps = r.let(Const(True, "bool"), "keeps")
            if least is not None:
                r.assign(keeps, op("gt", ctx.read(scores, [*row, as_index(box)]), least))
            mine = _corners(ctx, r, node, boxes, row[0], as_index(box))
            with r.loop(bound, stop=as_index(found)) as j, r.when(keeps):
                other = r.let(r.read(taken, [*row, j]), "other")
                theirs = _corners(ctx, r, node, boxes, row[0], as_index(other))
                r.assign(keeps, op("not", _overlaps(r, mine, theirs, overlap)))
            with r.when(keeps):
                r.write(taken, [*row, as_index(found)], box)
                increase(r, found)
        r.write(numbers, row, found)

    cost = count * 100 if count.is_const else ix(10000)
    chosen, often = ctx.routine("suppress", [taken, numbers], take, tasks=[batch, classes], work=cost)
    total, rows = ctx.tensor("i64", []), ctx.tensor("i64", [batch * classes * bound, 3])

    def gather(r: Writer) -> None:
        found = r.let(Const(0, "i64"), "found")
        with r.loops([batch, classes]) as row, r.loop(bound, stop=as_index(ctx.read(often, row))) as j:
            for part, value in enumerate((number(row[0]), number(row[1]), ctx.read(chosen, [*row, j]))):
                r.write(rows, [as_index(found), part], value)
            increase(r, found)
        r.write(total, [], found)

    listed = ctx.routine("list", [total, rows], gather)
    size = ctx.size(ctx.read(listed[0], []), batch * classes * bound, 0, 0)
    return ctx.view(listed[1], [size, 3], lambda *at: at)


def _corners(ctx: Context, r: Writer, node: Node, boxes: Operand, image: Ix, box: Ix) -> list[Value]:
    """The lower and upper end along one axis, then along the other."""
    parts = [r.let(ctx.read(boxes, [image, box, i]), "part") for i in range(4)]
    if node.get("center_point_box", 0):
        half = [r.let(op("div", parts[i], Const(2, boxes.dtype)), "half") for i in (2, 3)]
        return [r.let(op(sign, parts[i], half[i]), "end") for i in (0, 1) for sign in ("sub", "add")]
    return [r.let(op(end, parts[i], parts[i + 2]), "end") for i in (0, 1) for end in ("min", "max")]


def _overlaps(r: Writer, a: list[Value], b: list[Value], threshold: Value) -> Value:
    """Whether what two boxes share is more than a part of what they cover together."""
    zero = Const(0, a[0].dtype)
    sides = [op("sub", op("min", a[i + 1], b[i + 1]), op("max", a[i], b[i])) for i in (0, 2)]
    width, height = (r.let(side, "side") for side in sides)
    shared = r.let(op("mul", width, height), "shared")
    areas = [r.let(op("mul", op("sub", e[1], e[0]), op("sub", e[3], e[2])), "area") for e in (a, b)]
    covered = r.let(op("sub", op("add", areas[0], areas[1]), shared), "covered")
    test: Value = op("gt", op("div", shared, covered), threshold)
    for positive in (width, height, shared, *areas, covered):
        test = op("and", op("gt", positive, zero), test)
    return test
