"""Kernels of Routine: every statement, several results, scratch, and layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import numpy as np
from kernel import PLANAR, SOME, Kernel, Layouts, N, by_channel, loops, tensor

from ingot.ir.index import IxLike, Var, ix, maximum, minimum, var
from ingot.ir.nodes import Acc, Const, Index, Op, Read, Select, as_index
from ingot.ir.program import Routine, Tensor
from ingot.lower.writer import Writer
from ingot.schedule.layout import Layout, row_major
from ingot.target import Target
from ingot.testing import Array, Feed


def routine(
    results: Sequence[Tensor], tasks: Sequence[IxLike | Var], body: Callable[[Writer], None]
) -> Routine:
    numbers = count()
    points = tuple(var(f"t{i}", ix(d)) for i, d in enumerate(tasks))
    writer = Writer(lambda stem: f"{stem}{next(numbers)}", points)
    body(writer)
    first = results[0]
    return Routine(
        first, loops("a", first.shape), Acc(first.dtype), "routine", tuple(results), (), points, writer.statements(), ix(9)
    )  # fmt: skip


def histogram(name: str, rows: int | Var, length: int | Var, bins: int) -> Kernel:
    """How often each of 0 … bins - 1 stands in a row; others count for the nearest."""
    x, y = tensor("x", [rows, length], "i64"), tensor("y", [rows, bins], "i64")

    def body(r: Writer) -> None:
        (row,) = r.tasks
        with r.loop(bins) as i:
            r.write(y, [row, i], Const(0, "i64"))
        with r.loop(x.shape[1]) as i:
            found = maximum(minimum(as_index(Read(x, (row, i))), ix(bins - 1)), 0)
            at = [row, r.define(found, bins)]
            r.write(y, at, Op("add", (r.read(y, at), Const(1, "i64")), "i64"))

    def formula(feed: Feed) -> Array:
        inside = np.clip(feed["x"], 0, bins - 1)
        return np.stack([(inside == i).sum(1) for i in range(bins)], 1)

    layouts: Layouts = {x: row_major(2), y: row_major(2)}
    return Kernel(
        f"routine_histogram_{name}", routine([y], [rows], body), layouts, formula, sizes=SOME, rows=rows is N
    )


def tails(name: str, shape: Sequence[int | Var], layout: Layout) -> Kernel:
    """At each place the sum of what follows along the last axis, by way of a reversed scratch tensor; where the first
    element of the row is negative, the negated sum."""
    x, y, scratch = tensor("x", shape), tensor("y", shape), tensor("scratch", shape)
    last = x.shape[-1]

    def body(r: Writer) -> None:
        row = list(r.tasks)
        with r.loop(last) as i:
            r.write(scratch, [*row, last - 1 - i], Read(x, (*row, i)))
        total = r.let(Const(0.0, "f32"), "total")
        with r.loop(last) as i:
            place = [*row, last - 1 - i]
            first = Op("lt", (Read(x, (*row, ix(0))), Const(0.0, "f32")), "bool")
            with r.when(first):
                r.write(y, place, Op("neg", (total,), "f32"))
            with r.otherwise():
                r.write(y, place, total)
            r.assign(total, Op("add", (total, r.read(scratch, [*row, i])), "f32"))

    def formula(feed: Feed) -> Array:
        sums = np.cumsum(feed["x"][..., ::-1], -1)[..., ::-1] - feed["x"]
        return np.where(feed["x"][..., :1] < 0, -sums, sums)

    layouts = {x: layout, y: layout, scratch: layout}
    operation = routine([y, scratch], shape[:-1], body)
    return Kernel(f"routine_tails_{name}", operation, layouts, formula, sizes=SOME, rows=shape[0] is N)


def triangle(name: str, size: int | Var) -> Kernel:
    """Ones below the diagonal, which loops from a run-time start to a run-time stop write."""
    y = tensor("y", [size, size])

    def body(r: Writer) -> None:
        with r.loop(y.shape[0]) as row:
            with r.loop(y.shape[1], stop=row) as i:
                r.write(y, [row, i], Const(1.0, "f32"))
            with r.loop(y.shape[1], start=row) as i:
                on = Op("eq", (Index(row), Index(i)), "bool")
                r.write(y, [row, i], Select(on, Const(2.0, "f32"), Const(0.0, "f32")))

    def formula(feed: Feed) -> Array:
        n = feed["y"].shape[0]
        return np.tri(n, k=-1, dtype=np.float32) + 2 * np.eye(n, dtype=np.float32)

    return Kernel(f"routine_triangle_{name}", routine([y], [], body), {y: row_major(2)}, formula, sizes=SOME)


def table(target: Target) -> list[Kernel]:
    return [
        *(histogram(f"{name}", *shape) for name, shape in (("3_by_7", (3, 7, 4)), ("rows", (N, 5, 3)), ("length", (2, N, 5)))),
        histogram("nothing", 0, 4, 3),
        histogram("empty_rows", 2, 0, 3),
        *(tails(f"to_{n}", [2, 3, n], row_major(3)) for n in (0, 1, 2, 9)),
        tails("planar", [N, 5, 2, 3], PLANAR),
        tails("blocked", [N, 5, 2, 3], by_channel(4)),
        *(triangle(f"of_{n}", n) for n in (1, 4)),
        triangle("of_n", N),
    ]  # fmt: skip
