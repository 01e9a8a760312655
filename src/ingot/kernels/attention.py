"""Attention: a tile of query rows computes its scores, their softmax and the weighted sum before the next tile starts.

softmax(s) c = (sum over n of exp(s_n - max) c_n) / (sum over n of exp(s_n - max)): the division is left to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ingot.ir.index import Ix, Var, ix, minimum, substitute
from ingot.ir.nodes import (
    Const,
    Fold,
    Index,
    Iota,
    Load,
    Local,
    Op,
    Pack,
    Read,
    Select,
    Shuffle,
    Splat,
    Value,
    as_index,
)
from ingot.ir.program import Attention
from ingot.kernels.builder import Builder, Built, Lane, Packed
from ingot.kernels.tiles import cut, most_rows


def build_attention(builder: Builder, operation: Attention) -> Built:
    """A task is a tile of rows of one batch element."""
    m, d = operation.output.shape[-2:]
    vectors = 4 if builder.target.registers >= 32 else 2
    most = most_rows(builder.target, vectors)
    lanes = builder.target.lanes
    while d.is_const and d.value <= lanes // 2 and lanes > 4:
        lanes //= 2
    across = d.ceildiv(lanes)
    parts = 2 if across.is_const and 2 * across.value <= vectors else 1
    batch = [(builder.fresh_var(e), e) for e in operation.output.shape[:-2]]
    runs = cut(m, most * parts)
    tiles = sum((r.count for r in runs), ix(0))
    tile = builder.fresh_var(tiles)
    task, tasks = builder.tasks([*batch, (tile, tiles)])
    mapping = {a: ix(v) for a, (v, _) in zip(operation.axes, batch, strict=False)}
    columns = reach(operation, builder.target.lanes)
    reached = None if columns is None else Packed("reach", columns)
    first = ix(0)
    for run in runs:
        here = ix(tile) - first
        inside = Op("lt", (Index(here), Index(run.count)), "bool")
        if first != ix(0):
            inside = Op("and", (Op("ge", (Index(here), Const(0, "i64")), "bool"), inside), "bool")
        with builder.when(inside):
            top = ix(builder.define(run.start + here * run.size, m))
            rows = [{**mapping, operation.axes[-2]: top + p} for p in range(run.size)]
            _Tile(builder, operation, rows, most, vectors, lanes, reached).build()
        first = first + run.count
    n, k = operation.n.extent, operation.k.extent
    assert n is not None
    assert k is not None
    macs = 1.0
    for extent in (ix(most * parts), n, k + d):
        macs *= extent.value if extent.is_const else 64
    return builder.finish(
        f"attention_f32_{most * parts}x{vectors * builder.target.lanes}", task, tasks, macs / 50
    )


def reach(operation: Attention, lanes: int) -> np.ndarray | None:
    """How many columns of each row count where a constant mask adds -inf to the others, in whole vectors."""
    score = operation.score
    if not isinstance(score, Op) or score.name != "add":
        return None
    for mask in score.args:
        if not isinstance(mask, Read) or mask.tensor.data is None or mask.tensor.dtype != "f32":
            continue
        m, n = operation.axes[-2], operation.n
        if mask.index[-2:] != (ix(m), ix(n)) or not all(i.is_const for i in mask.index[:-2]):
            continue
        seen = mask.tensor.data[tuple(i.value for i in mask.index[:-2])] != -np.inf
        if not seen.size:
            continue
        last = np.where(seen.any(1), seen.shape[1] - seen[:, ::-1].argmax(1), 1)
        return np.asarray(-(-last // lanes) * lanes, np.int64)
    return None


class _Tile:
    """Some rows of m. most, vectors: how many rows and vectors of scores are in registers at once.

    lanes: of the vectors along the output's columns. reached: what `reach` gives.
    """

    def __init__(
        self,
        builder: Builder,
        operation: Attention,
        rows: list[dict[Var, Ix]],
        most: int,
        vectors: int,
        lanes: int,
        reached: Packed | None,
    ) -> None:
        self.builder, self.operation, self.rows, self.vectors = builder, operation, rows, vectors
        self.reached = reached
        self.lanes, self.columns = builder.target.lanes, lanes
        self.parts = [rows[i : i + most] for i in range(0, len(rows), most)]
        at = (*map(ix, operation.axes[:-1]), ix(operation.n))
        self.scores, self.weights = (
            Read(t, at) for t in (operation.scratch, operation.weights or operation.scratch)
        )

    def build(self) -> None:
        d = self.operation.axes[-1]
        assert d.extent is not None
        live = self.live()
        self.totals: list[Value] = []
        for rows in self.parts:
            peaks = self.score(rows, live)
            self.totals += self.softmax(rows, live, peaks)
        self.panels(d.extent, self.columns, lambda *at: self.weigh(live, *at))

    def live(self) -> Ix:
        """How many columns some row of the tile has; the scores of the others are -inf."""
        builder, n = self.builder, self.operation.n.extent
        assert n is not None
        if self.reached is None:
            return n
        name = builder.buffer(self.reached)
        most: Value | None = None
        for row in self.rows:
            one: Value = Load(name, row[self.operation.axes[-2]], "i64")
            most = one if most is None else Op("max", (most, one), "i64")
        assert most is not None
        return ix(builder.define(minimum(as_index(builder.let(most)), n), n + 1))

    def panels(self, extent: Ix, lanes: int, body: Callable[[Ix, int, Ix | None], None]) -> None:
        """body(first column, vectors, count) over all columns, `vectors` at a time, then one at a time."""
        width = self.vectors * lanes
        full = extent // width
        with self.builder.loop(extent.ceildiv(width), stop=full) as i:
            body(ix(i) * width, self.vectors, None)
        left = extent - full * width
        if left == ix(0):
            return
        whole = extent.is_const and extent.value % lanes == 0
        if left.ceildiv(lanes) == ix(1):
            body(full * width, 1, None if whole else left)
            return
        with self.builder.loop(left.ceildiv(lanes)) as i:
            first = ix(self.builder.define(full * width + ix(i) * lanes, extent))
            body(first, 1, None if whole else minimum(extent - first, lanes))

    def multiply(
        self,
        rows: list[dict[Var, Ix]],
        over: Var,
        stop: Ix,
        left: Value,
        right: Value,
        columns: list[dict[Var, Ix]],
        lane: Lane,
    ) -> list[list[Local]]:
        """Sums over `over` of left(row) * right(column), a register for each row and vector of columns."""
        builder = self.builder
        zero = Splat(Const(0.0, "f32"), lane.lanes)
        accs = [[builder.let(zero, "a") for _ in columns] for _ in rows]
        pairs = self.in_pairs(over, stop, left, right, columns[0], lane)
        width = 2 if pairs else 1
        for at in self.steps(over, stop, left, width):
            factors = [
                self.pairs_of(right, {**self.rows[0], **c}, over, at, lane)
                if pairs
                else builder.value(right, {**self.rows[0], **c, over: at}, lane)
                for c in columns
            ]
            for row, sums in zip(rows, accs, strict=True):
                one = self.pair(left, row, over, at) if pairs else builder.value(left, {**row, over: at})
                x = builder.let(Splat(one, width * lane.lanes), "x")
                for factor, acc in zip(factors, sums, strict=True):
                    total = (
                        Op("dot", (acc, x, factor), "f32") if pairs else Op("fma", (x, factor, acc), "f32")
                    )
                    builder.assign(acc, total)
        return accs

    def in_pairs(
        self, over: Var, stop: Ix, left: Value, right: Value, column: dict[Var, Ix], lane: Lane
    ) -> bool:
        """Whether two products of bf16 can be taken in a step, from vectors of neighbouring columns."""
        if not isinstance(left, Read) or not isinstance(right, Read) or lane.lanes == 1:
            return False
        if not stop.is_const or stop.value % 2 or {left.tensor.dtype, right.tensor.dtype} != {"bf16"}:
            return False
        split = self.offset(right, {**self.rows[0], **column, over: ix(0)})[1].split(lane.var)
        return split is not None and split[0] == 1

    def offset(self, read: Value, at: dict[Var, Ix]) -> tuple[str, Ix]:
        assert isinstance(read, Read)
        return self.builder.place(read.tensor, [substitute(i, at) for i in read.index])

    def pair(self, read: Value, row: dict[Var, Ix], over: Var, at: Ix) -> Value:
        """The elements of a row at `at` and the next."""
        (buffer, one), (_, two) = (self.offset(read, {**row, over: at + i}) for i in range(2))
        if two == one + 1:
            return Load(buffer, one, "bf16", 2)
        return Pack((Load(buffer, one, "bf16"), Load(buffer, two, "bf16")))

    def pairs_of(self, read: Value, column: dict[Var, Ix], over: Var, at: Ix, lane: Lane) -> Local:
        """The same of a vector of columns, interleaved."""
        builder, lanes, halves = self.builder, lane.lanes, []
        for i in range(2):
            buffer, flat = self.offset(read, {**column, over: at + i})
            split = flat.split(lane.var)
            assert split is not None
            halves.append(builder.let(Load(buffer, split[1], "bf16", lanes, 1, lane.count), "w"))
        picks = tuple(i // 2 + i % 2 * lanes for i in range(2 * lanes))
        return builder.let(Shuffle(halves[0], halves[1], picks), "w")

    def steps(self, over: Var, stop: Ix, left: Value, width: int) -> Iterator[Ix]:
        """Loops over [0, stop), `width` at a time: two where `left` lies in blocks along it, so that each walks it evenly."""
        builder = self.builder
        extent = over.extent
        assert extent is not None
        assert isinstance(left, Read)
        layout = builder.layouts[left.tensor.root()[0]]
        block = layout.block
        if layout.blocked is None or left.index[layout.blocked].split(over) is None:
            block = 1
        if block > 1 and stop.is_const and stop.value % block == 0:
            with builder.loop(stop.value // block) as i, builder.loop(block // width, unroll=2) as j:
                yield ix(i) * block + ix(j) * width
        else:
            with builder.loop(extent // width, stop=stop // width, unroll=2) as i:
                yield ix(i) * width

    def score(self, rows: list[dict[Var, Ix]], live: Ix) -> list[Local]:
        """The rows' scores, kept in the scratch tensor, and a vector of the largest ones of each row."""
        op, builder = self.operation, self.builder
        lowest = Splat(Const(float("-inf"), "f32"), self.lanes)
        peaks = [builder.let(lowest, "a") for _ in rows]

        def body(first: Ix, vectors: int, count: Ix | None) -> None:
            lane = Lane(builder.fresh_var(self.lanes), self.lanes, count)
            assert op.k.extent is not None
            columns = [{op.n: first + v * self.lanes + ix(lane.var)} for v in range(vectors)]
            accs = self.multiply(rows, op.k, op.k.extent, op.a, op.b, columns, lane)
            for row, sums, peak in zip(rows, accs, peaks, strict=True):
                for column, acc in zip(columns, sums, strict=True):
                    at = {**row, **column}
                    value = builder.value(op.score, at, lane, acc)
                    builder.store(op.scratch, list(self.scores.index), at, lane, value)
                    if count is not None:
                        value = self.real(value, count, float("-inf"))
                    builder.assign(peak, Op("max", (peak, value), "f32"))

        self.panels(live, self.lanes, body)
        return peaks

    def weigh(self, live: Ix, first: Ix, vectors: int, count: Ix | None) -> None:
        """Some columns of the result."""
        op, builder = self.operation, self.builder
        lane = Lane(builder.fresh_var(self.columns), self.columns, count)
        columns = [{op.axes[-1]: first + v * self.columns + ix(lane.var)} for v in range(vectors)]
        accs = self.multiply(self.rows, op.n, live, self.weights, op.c, columns, lane)
        for row, sums, total in zip(self.rows, accs, self.totals, strict=True):
            scale = builder.let(Splat(total, self.columns))
            for column, acc in zip(columns, sums, strict=True):
                at = {**row, **column}
                scaled = builder.let(Op("mul", (acc, scale), "f32"))
                result = builder.value(op.finish, at, lane, scaled)
                builder.store(op.output, list(map(ix, op.axes)), at, lane, result)

    def softmax(self, rows: list[dict[Var, Ix]], live: Ix, peaks: list[Local]) -> list[Value]:
        """Make exp(score - largest) of the rows' scores; 1 / their sum, or 0 where there are none, for each row."""
        builder, lanes = self.builder, self.lanes
        tops = [builder.let(Splat(builder.let(Fold("max", p)), lanes)) for p in peaks]
        totals = [builder.let(Splat(Const(0.0, "f32"), lanes), "a") for _ in rows]
        full = live // lanes
        spread = builder.fresh_var(lanes)

        def body(first: Ix, lane: Lane) -> None:
            for row, top, total in zip(rows, tops, totals, strict=True):
                at = {**row, self.operation.n: first + ix(spread)}
                self.exponent(total, top, at, lane)

        with builder.loop(live.ceildiv(lanes), stop=full) as i:
            body(ix(i) * lanes, Lane(spread, lanes))
        left = live - full * lanes
        if left != ix(0):
            with builder.when(Op("gt", (Index(left), Const(0, "i64")), "bool")):
                body(full * lanes, Lane(spread, lanes, left))
        scales: list[Value] = []
        for total in totals:
            whole = builder.let(Fold("add", total))
            scale: Value = Op("div", (Const(1.0, "f32"), whole), "f32")
            if not live.is_const or live.value == 0:
                scale = Select(Op("eq", (whole, Const(0.0, "f32")), "bool"), Const(0.0, "f32"), scale)
            scales.append(builder.let(scale))
        return scales

    def exponent(self, total: Local, peak: Value, at: dict[Var, Ix], lane: Lane) -> None:
        builder = self.builder
        shifted = Op("sub", (builder.value(self.scores, at, lane), peak), "f32")
        value: Value = builder.let(Op("exp", (shifted,), "f32"))
        builder.store(self.weights.tensor, list(self.weights.index), at, lane, value)
        if lane.count is not None:
            value = self.real(value, lane.count, 0.0)
        builder.assign(total, Op("add", (total, value), "f32"))

    def real(self, value: Value, count: Ix, neutral: float) -> Value:
        """The lanes past a partial vector replaced."""
        inside = Op("lt", (Iota(ix(0), 1, self.lanes), Splat(Index(count), self.lanes)), "bool")
        return Select(inside, value, Splat(Const(neutral, "f32"), self.lanes))
