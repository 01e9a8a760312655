"""Attention: a tile of query rows computes its scores, their softmax and the weighted sum before the next tile starts.

softmax(s) c = (sum over n of exp(s_n - max) c_n) / (sum over n of exp(s_n - max)): the division is left to the end.
"""

from __future__ import annotations

from collections.abc import Callable

from ingot.ir.index import Ix, Var, ix, minimum
from ingot.ir.nodes import Const, Fold, Index, Iota, Local, Op, Read, Select, Splat, Value
from ingot.ir.program import Attention
from ingot.kernels.builder import Builder, Built, Lane
from ingot.kernels.tiles import cut, most_rows


def build_attention(builder: Builder, operation: Attention) -> Built:
    """A task is a tile of rows of one batch element."""
    m = operation.output.shape[-2]
    vectors = 4 if builder.target.registers >= 32 else 2
    most = most_rows(builder.target, vectors)
    batch = [(builder.fresh_var(e), e) for e in operation.output.shape[:-2]]
    runs = cut(m, most)
    tiles = sum((r.count for r in runs), ix(0))
    tile = builder.fresh_var(tiles)
    task, tasks = builder.tasks([*batch, (tile, tiles)])
    mapping = {a: ix(v) for a, (v, _) in zip(operation.axes, batch, strict=False)}
    first = ix(0)
    for run in runs:
        here = ix(tile) - first
        inside = Op("lt", (Index(here), Index(run.count)), "bool")
        if first != ix(0):
            inside = Op("and", (Op("ge", (Index(here), Const(0, "i64")), "bool"), inside), "bool")
        with builder.when(inside):
            top = ix(builder.define(run.start + here * run.size, m))
            rows = [{**mapping, operation.axes[-2]: top + p} for p in range(run.size)]
            _Tile(builder, operation, rows, vectors).build()
        first = first + run.count
    n, k, d = operation.n.extent, operation.k.extent, operation.output.shape[-1]
    assert n is not None
    assert k is not None
    macs = 1.0
    for extent in (ix(most), n, k + d):
        macs *= extent.value if extent.is_const else 64
    return builder.finish(f"attention_f32_{most}x{vectors * builder.target.lanes}", task, tasks, macs / 50)


class _Tile:
    """Some rows of m. vectors: how many vectors of columns are in registers at once."""

    def __init__(
        self, builder: Builder, operation: Attention, rows: list[dict[Var, Ix]], vectors: int
    ) -> None:
        self.builder, self.operation, self.rows, self.vectors = builder, operation, rows, vectors
        self.lanes = builder.target.lanes
        self.scores = Read(operation.scratch, (*map(ix, operation.axes[:-1]), ix(operation.n)))

    def build(self) -> None:
        n, d = self.operation.n, self.operation.axes[-1]
        assert n.extent is not None
        assert d.extent is not None
        self.panels(n, n.extent, self.score)
        self.totals = [self.softmax(row, n.extent) for row in self.rows]
        self.panels(d, d.extent, self.weigh)

    def panels(self, axis: Var, extent: Ix, body: Callable[[Ix, int, Ix | None], None]) -> None:
        """body(first column, vectors, count) over all columns of an axis, `vectors` at a time, then one at a time."""
        width = self.vectors * self.lanes
        full = extent // width
        with self.builder.loop(extent.ceildiv(width), stop=full) as i:
            body(ix(i) * width, self.vectors, None)
        left = extent - full * width
        if left == ix(0):
            return
        whole = extent.is_const and extent.value % self.lanes == 0
        with self.builder.loop(left.ceildiv(self.lanes)) as i:
            first = ix(self.builder.define(full * width + ix(i) * self.lanes, extent))
            body(first, 1, None if whole else minimum(extent - first, self.lanes))

    def multiply(
        self, k: Var, left: Value, right: Value, axis: Var, first: Ix, vectors: int, lane: Lane
    ) -> list[list[Local]]:
        """Sums over k of left(row, k) * right(k, column), a register for each row and vector of columns."""
        builder = self.builder
        zero = Splat(Const(0.0, "f32"), self.lanes)
        accs = [[builder.let(zero, "a") for _ in range(vectors)] for _ in self.rows]
        assert k.extent is not None
        with builder.loop(k.extent, unroll=2) as i:
            columns = [
                builder.value(
                    right, {**self.rows[0], k: ix(i), axis: first + v * self.lanes + ix(lane.var)}, lane
                )
                for v in range(vectors)
            ]
            for row, sums in zip(self.rows, accs, strict=True):
                x = builder.let(Splat(builder.value(left, {**row, k: ix(i)}), self.lanes), "x")
                for column, acc in zip(columns, sums, strict=True):
                    builder.assign(acc, Op("fma", (x, column, acc), "f32"))
        return accs

    def score(self, first: Ix, vectors: int, count: Ix | None) -> None:
        """Scores of some columns, kept in the scratch tensor."""
        op, builder = self.operation, self.builder
        lane = Lane(builder.fresh_var(self.lanes), self.lanes, count)
        accs = self.multiply(op.k, op.a, op.b, op.n, first, vectors, lane)
        for row, sums in zip(self.rows, accs, strict=True):
            for v, acc in enumerate(sums):
                at = {**row, op.n: first + v * self.lanes + ix(lane.var)}
                value = builder.value(op.score, at, lane, acc)
                builder.store(op.scratch, list(self.scores.index), at, lane, value)

    def weigh(self, first: Ix, vectors: int, count: Ix | None) -> None:
        """Some columns of the result."""
        op, builder = self.operation, self.builder
        lane = Lane(builder.fresh_var(self.lanes), self.lanes, count)
        axis = op.axes[-1]
        accs = self.multiply(op.n, self.scores, op.c, axis, first, vectors, lane)
        for row, sums, total in zip(self.rows, accs, self.totals, strict=True):
            for v, acc in enumerate(sums):
                at = {**row, axis: first + v * self.lanes + ix(lane.var)}
                scaled = builder.let(Op("mul", (acc, total), "f32"))
                result = builder.value(op.finish, at, lane, scaled)
                builder.store(op.output, list(map(ix, op.axes)), at, lane, result)

    def softmax(self, row: dict[Var, Ix], extent: Ix) -> Value:
        """Replace a row's scores by exp(score - largest); the vector of 1 / their sum, or of 0 where there are none."""
        builder = self.builder
        top = builder.let(Splat(Const(float("-inf"), "f32"), self.lanes), "a")
        self.each(row, extent, lambda at, lane: self.largest(top, at, lane))
        peak = builder.let(Splat(builder.let(Fold("max", top)), self.lanes))
        total = builder.let(Splat(Const(0.0, "f32"), self.lanes), "a")
        self.each(row, extent, lambda at, lane: self.exponent(total, peak, at, lane))
        whole = builder.let(Fold("add", total))
        scale: Value = Op("div", (Const(1.0, "f32"), whole), "f32")
        if not extent.is_const or extent.value == 0:
            scale = Select(Op("eq", (whole, Const(0.0, "f32")), "bool"), Const(0.0, "f32"), scale)
        return builder.let(Splat(builder.let(scale), self.lanes))

    def each(self, row: dict[Var, Ix], extent: Ix, body: Callable[[dict[Var, Ix], Lane], None]) -> None:
        """body(mapping, lane) over a row's scores, a vector at a time."""
        builder, lanes = self.builder, self.lanes
        full = extent // lanes
        spread = builder.fresh_var(lanes)
        with builder.loop(extent.ceildiv(lanes), stop=full) as i:
            body({**row, self.operation.n: ix(i) * lanes + ix(spread)}, Lane(spread, lanes))
        left = extent - full * lanes
        if left == ix(0):
            return
        with builder.when(Op("gt", (Index(left), Const(0, "i64")), "bool")):
            body({**row, self.operation.n: full * lanes + ix(spread)}, Lane(spread, lanes, left))

    def largest(self, top: Local, at: dict[Var, Ix], lane: Lane) -> None:
        value = self.builder.value(self.scores, at, lane)
        if lane.count is not None:
            value = self.real(value, lane.count, float("-inf"))
        self.builder.assign(top, Op("max", (top, value), "f32"))

    def exponent(self, total: Local, peak: Value, at: dict[Var, Ix], lane: Lane) -> None:
        builder = self.builder
        shifted = Op("sub", (builder.value(self.scores, at, lane), peak), "f32")
        value: Value = builder.let(Op("exp", (shifted,), "f32"))
        builder.store(self.operation.scratch, list(self.scores.index), at, lane, value)
        if lane.count is not None:
            value = self.real(value, lane.count, 0.0)
        builder.assign(total, Op("add", (total, value), "f32"))

    def real(self, value: Value, count: Ix, neutral: float) -> Value:
        """The lanes past a partial vector replaced."""
        inside = Op("lt", (Iota(ix(0), 1, self.lanes), Splat(Index(count), self.lanes)), "bool")
        return Select(inside, value, Splat(Const(neutral, "f32"), self.lanes))
