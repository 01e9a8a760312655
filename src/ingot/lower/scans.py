"""Running sums and products, and sequences read backwards."""

from __future__ import annotations

from ingot.ir.index import Ix, ix, product
from ingot.ir.nodes import Const, Index, Local, Op, Select, Value, as_index
from ingot.lower.context import Context
from ingot.lower.elementwise import op
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import sum_dtype
from ingot.lower.registry import lowers
from ingot.lower.values import all_of, cast
from ingot.lower.writer import Writer


@lowers("CumSum", "CumProd")
def scan(ctx: Context, node: Node) -> Operand:
    """The sum or product of the elements up to each, along an axis that may be known only at run time."""
    x, axis = node.input(0), node.input(1)
    if axis.data is None:
        return _scan_along(ctx, node, x, axis)
    at = int(axis.data.reshape(-1)[0])
    if not -x.rank <= at < x.rank:
        raise node.unsupported(f"axis {at} is outside a tensor of rank {x.rank}")
    at %= x.rank
    output = ctx.tensor(x.dtype, x.shape)

    def body(r: Writer) -> None:
        total = _start(r, node, x)
        with r.loop(x.shape[at]) as i:
            step = x.shape[at] - 1 - i if node.get("reverse", 0) else i
            place = [*r.tasks[:at], step, *r.tasks[at:]]
            r.write(output, place, _step(r, node, total, ctx.read(x, place)))

    rows = [*x.shape[:at], *x.shape[at + 1 :]]
    return ctx.routine("scan", [output], body, tasks=rows, work=_length(x.shape[at]))[0]


def _scan_along(ctx: Context, node: Node, x: Operand, axis: Operand) -> Operand:
    """Over the elements as [before, axis, after], the three sizes being picked by the axis."""
    ctx.check_indices(ctx.reshape(axis, [1]), [ix(x.rank)])
    given = cast(ctx.read(axis, [0] * axis.rank), "i64")
    flat = ctx.reshape(x, [product(x.shape)])
    output = ctx.tensor(x.dtype, flat.shape)

    def body(r: Writer) -> None:
        chosen = r.let(
            Select(op("lt", given, Const(0, "i64")), op("add", given, Const(x.rank, "i64")), given), "axis"
        )

        def size(sizes: list[Ix]) -> Ix:
            value: Value = Index(sizes[-1])
            for i in range(x.rank - 2, -1, -1):
                value = Select(op("eq", chosen, Const(i, "i64")), Index(sizes[i]), value)
            return as_index(r.let(value, "size"))

        most = flat.shape[0]
        length = size(list(x.shape))
        after = size([product(x.shape[i + 1 :]) for i in range(x.rank)])
        before = size([product(x.shape[:i]) for i in range(x.rank)])
        with r.loop(most, stop=before) as i, r.loop(most, stop=after) as k:
            total = _start(r, node, x)
            with r.loop(most, stop=length) as j:
                step = length - 1 - j if node.get("reverse", 0) else j
                place = [r.define((i * length + step) * after + k, most)]
                r.write(output, place, _step(r, node, total, ctx.read(flat, place)))

    return ctx.reshape(ctx.routine("scan", [output], body, work=_length(flat.shape[0]))[0], x.shape)


def _start(r: Writer, node: Node, x: Operand) -> Local:
    return r.let(Const(0 if node.operator == "CumSum" else 1, sum_dtype(x.dtype)), "total")


def _step(r: Writer, node: Node, total: Local, value: Value) -> Value:
    """What stands at the next element, which the total then includes."""
    name = "add" if node.operator == "CumSum" else "mul"
    if not node.get("exclusive", 0):
        r.assign(total, op(name, total, cast(value, total.dtype)))
        return cast(total, value.dtype)
    result = r.let(cast(total, value.dtype), "result")
    r.assign(total, op(name, total, cast(value, total.dtype)))
    return result


def _length(length: Ix) -> Ix:
    return length * 4 if length.is_const else ix(1000)


@lowers("ReverseSequence")
def reverse_sequence(ctx: Context, node: Node) -> Operand:
    """Along the time axis the first lengths[b] elements in reverse, the others as they are."""
    x, lengths = node.input(0), node.input(1)
    time, batch = int(node.get("time_axis", 0)), int(node.get("batch_axis", 1))
    if {time, batch} != {0, 1}:
        raise node.unsupported(f"time_axis={time} and batch_axis={batch}", "use 0 and 1, or 1 and 0")
    steps = x.shape[time]
    ctx.require_all(lengths.shape, [x.shape[batch]])

    def inside(axes: tuple[object, ...]) -> Value:
        length = cast(ctx.read(lengths, axes), "i64")  # type: ignore[arg-type]
        return all_of([op("ge", length, Const(0, "i64")), op("le", length, Index(steps))])

    ctx.demand(lengths.shape, inside, f"a length is outside 0 to {steps}")

    def source(*axes: Ix) -> list[Ix]:
        at, length = axes[time], cast(ctx.read(lengths, [axes[batch]]), "i64")
        back = op("sub", op("sub", length, Const(1, "i64")), Index(at))
        turned = Select(Op("lt", (Index(at), length), "bool"), back, Index(at), guards=False)
        index = list(axes)
        index[time] = as_index(turned)
        return index

    return ctx.view(x, x.shape, source)


@lowers("Det")
def det(ctx: Context, node: Node) -> Operand:
    """The determinant of each matrix: the product of the pivots of elimination with row exchanges."""
    x = node.input(0)
    size = x.shape[-1]
    ctx.require(x.shape[-2], size)
    output, rows = ctx.tensor(x.dtype, x.shape[:-2]), ctx.tensor(x.dtype, x.shape)

    def body(r: Writer) -> None:
        matrix = list(r.tasks)

        def at(i: Ix, j: Ix) -> Value:
            return r.read(rows, [*matrix, i, j])

        with r.loops([size, size]) as place:
            r.write(rows, [*matrix, *place], ctx.read(x, [*matrix, *place]))
        result = r.let(Const(1, x.dtype), "result")
        with r.loop(size) as k:
            best = r.let(Index(k), "best")
            with r.loop(size, start=k + 1) as i:
                larger = op("gt", op("abs", at(i, k)), op("abs", at(as_index(best), k)))
                r.assign(best, Select(larger, Index(i), best))
            with r.when(op("ne", best, Index(k))):
                r.assign(result, op("neg", result))
                with r.loop(size) as j:
                    kept = r.let(at(k, j), "kept")
                    r.write(rows, [*matrix, k, j], at(as_index(best), j))
                    r.write(rows, [*matrix, as_index(best), j], kept)
            pivot = r.let(at(k, k), "pivot")
            r.assign(result, op("mul", result, pivot))
            with r.when(op("ne", pivot, Const(0, x.dtype))), r.loop(size, start=k + 1) as i:
                factor = r.let(op("div", at(i, k), pivot), "factor")
                with r.loop(size, start=k + 1) as j:
                    r.write(rows, [*matrix, i, j], op("sub", at(i, j), op("mul", factor, at(k, j))))
        r.write(output, matrix, result)

    work = size * size * size if size.is_const else ix(1000)
    return ctx.routine("determinant", [output, rows], body, tasks=x.shape[:-2], work=work)[0]
