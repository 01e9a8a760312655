"""Softmax and normalisations: all passes over a row in one kernel.

A row is everything along the normalised axes. Where the innermost physical axis is one of them and the row fills half a
vector, vectors run along the row and are folded; else vectors hold neighbouring rows.
"""

from __future__ import annotations

from collections.abc import Callable

from ingot.ir.index import Ix, Var, ix, minimum, product
from ingot.ir.nodes import Cast, Const, Fold, Index, Iota, Local, Op, Read, Select, Value
from ingot.ir.program import Row
from ingot.kernels.builder import Builder, Built, Lane
from ingot.kernels.elementwise import value_cost

Visit = Callable[[dict[Var, Ix], "Lane | None"], None]


def build_row(builder: Builder, operation: Row) -> Built:
    output, axes = operation.output, operation.axes
    root = output.root()[0]
    layout = builder.layouts[root]
    inner_axis = layout.blocked if layout.blocked is not None else layout.order[-1]
    narrow = _narrow(builder, operation, inner_axis)
    if narrow is not None:
        inner_axis = narrow
    along = axes[inner_axis] in operation.over
    outer: list[tuple[Var, Ix]] = []
    rows: list[tuple[int, Ix]] = []
    mapping: dict[Var, Ix] = {}
    lane: Lane | None = None
    for axis in layout.order:
        extent = output.shape[axis]
        if axes[axis] in operation.over:
            rows.append((axis, extent))
            continue
        if axis == inner_axis and not along:
            width = layout.block if layout.blocked is not None else builder.target.lanes
            variable, spread = builder.fresh_var(extent.ceildiv(width)), builder.fresh_var(width)
            outer.append((variable, extent.ceildiv(width)))
            mapping[axes[axis]] = ix(variable) * width + ix(spread)
            count = None
            if not (extent.is_const and extent.value % width == 0):
                count = minimum(extent - ix(variable) * width, width)
            lane = Lane(spread, width, count)
            continue
        variable = builder.fresh_var(extent)
        outer.append((variable, extent))
        mapping[axes[axis]] = ix(variable)
    task, tasks = builder.tasks(outer)
    length = product(e for _, e in rows)
    block = layout.block if layout.blocked is not None else 1
    if narrow is None or lane is None or lane.count is None:
        _Row(builder, operation, mapping, rows, lane, block).build(length)
    else:
        whole = Op("eq", (Index(lane.count), Const(lane.lanes, "i64")), "bool")
        with builder.when(whole):
            _Row(builder, operation, mapping, rows, Lane(lane.var, lane.lanes), block).build(length)
        with builder.when(Op("not", (whole,), "bool")):
            _Row(builder, operation, mapping, rows, lane, block).build(length)
    work = (value_cost(operation.value) + value_cost(operation.finish) + 20) * (
        length.value if length.is_const else 128
    )
    return builder.finish(operation.op, task, tasks, work if lane else work / 8)


def _narrow(builder: Builder, operation: Row, inner_axis: int) -> int | None:
    """The axis to run vectors along where a row is shorter than half a vector: the innermost that is not normalised."""
    layout = builder.layouts[operation.output.root()[0]]
    length = product(v.extent for v in operation.over)
    if layout.blocked is not None or not length.is_const or length.value >= builder.target.lanes // 2:
        return None
    if operation.axes[inner_axis] not in operation.over:
        return None
    kept = [a for a in layout.order if operation.axes[a] not in operation.over]
    return next((a for a in reversed(kept) if operation.output.shape[a] != ix(1)), None)


class _Row:
    def __init__(
        self,
        builder: Builder,
        operation: Row,
        mapping: dict[Var, Ix],
        rows: list[tuple[int, Ix]],
        lane: Lane | None,
        block: int,
    ) -> None:
        self.builder, self.operation, self.mapping, self.rows = builder, operation, mapping, rows
        self.lane, self.block = lane, block
        self.lanes = lane.lanes if lane else (block if block > 1 else builder.target.lanes)
        self.plain = isinstance(operation.value, Read)

    def each(self, visit: Visit) -> None:
        """Visit all of the row, a vector at a time."""
        builder, axes = self.builder, self.operation.axes
        layout = builder.layouts[self.operation.output.root()[0]]

        def nested(depth: int, at: dict[Var, Ix]) -> None:
            if depth == len(self.rows):
                visit(at, self.lane)
                return
            axis, extent = self.rows[depth]
            last = self.lane is None and axis == (
                layout.blocked if layout.blocked is not None else layout.order[-1]
            )
            if not last:
                with builder.loop(extent) as i:
                    nested(depth + 1, {**at, axes[axis]: ix(i)})
                return
            width = self.lanes
            full = extent // width
            with builder.loop(extent.ceildiv(width), stop=full) as i:
                self.inside(nested, depth, at, axes[axis], ix(i), None)
            if not (extent.is_const and extent.value % width == 0):
                left = extent - full * width
                if left.is_const:
                    self.inside(nested, depth, at, axes[axis], full, left)
                else:
                    with builder.when(Op("gt", (Index(left), Const(0, "i64")), "bool")):
                        self.inside(nested, depth, at, axes[axis], full, left)

        nested(0, dict(self.mapping))

    def inside(
        self,
        nested: Callable[[int, dict[Var, Ix]], None],
        depth: int,
        at: dict[Var, Ix],
        axis: Var,
        i: Ix,
        count: Ix | None,
    ) -> None:
        variable = self.builder.fresh_var(self.lanes)
        outer_lane = self.lane
        self.lane = Lane(variable, self.lanes, count)
        try:
            nested(depth + 1, {**at, axis: i * self.lanes + ix(variable)})
        finally:
            self.lane = outer_lane

    def vector(self, value: Value) -> Value:
        return self.builder.splat(value, self.lanes)

    def element(self, at: dict[Var, Ix], lane: Lane) -> Value:
        return self.vector(self.builder.value(self.operation.value, at, lane))

    def again(self, at: dict[Var, Ix], lane: Lane) -> Value:
        """The row's value in a later pass: from its source, or from the output where it was kept."""
        if self.plain:
            return self.element(at, lane)
        stored = Read(self.operation.output, tuple(map(ix, self.operation.axes)))
        return self.builder.value(stored, at, lane)

    def keep(self, at: dict[Var, Ix], lane: Lane, value: Value) -> None:
        self.builder.store(self.operation.output, list(map(ix, self.operation.axes)), at, lane, value)

    def masked(self, value: Value, lane: Lane, neutral: float) -> Value:
        """The lanes past a partial vector replaced, where vectors run along the row."""
        if lane.count is None or self.lane_is_kept(lane):
            return value
        real = Op("lt", (Iota(ix(0), 1, self.lanes), self.vector(Index(lane.count))), "bool")
        return self.builder.let(Select(real, value, self.vector(Const(neutral, value.dtype))))

    def lane_is_kept(self, lane: Lane) -> bool:
        return any(lane.var in m.variables() for m in self.mapping.values())

    def fold(self, name: str, acc: Local) -> Value:
        """The row's total, in every lane."""
        if self.lane is not None:
            return acc
        return self.builder.let(self.vector(self.builder.let(Fold(name, acc))))

    def build(self, length: Ix) -> None:
        getattr(self, self.operation.op)(length)

    def _pass(
        self,
        name: str,
        start: float,
        step: Callable[[Value], Value],
        *,
        first: bool,
        write: Callable[[Value], Value] | None = None,
    ) -> Value:
        """Reduce step(x) over the row; write, where given, replaces what the output holds."""
        builder = self.builder
        dtype = self.operation.value.dtype
        acc = builder.let(self.vector(Const(start, dtype)), "a")

        def visit(at: dict[Var, Ix], lane: Lane | None) -> None:
            assert lane is not None
            x = self.element(at, lane) if first else self.again(at, lane)
            if first and not self.plain:
                self.keep(at, lane, x)
            if write is not None:
                term: Value = builder.let(write(x))
                self.keep(at, lane, term)
            else:
                term = step(x)
            term = self.masked(term, lane, start)
            builder.assign(acc, Op(name, (acc, term), dtype))

        self.each(visit)
        return self.fold(name, acc)

    def _finish(self, change: Callable[[Value], Value], *, stored: bool) -> None:
        builder, operation = self.builder, self.operation

        def visit(at: dict[Var, Ix], lane: Lane | None) -> None:
            assert lane is not None
            if stored:
                x = builder.value(Read(operation.output, tuple(map(ix, operation.axes))), at, lane)
            else:
                x = self.again(at, lane)
            result = builder.value(operation.finish, at, lane, builder.let(change(x)))
            self.keep(at, lane, self.vector(result))

        self.each(visit)

    def op(self, name: str, *args: Value) -> Value:
        return Op(name, tuple(self.vector(a) for a in args), self.operation.value.dtype)

    def const(self, value: float) -> Value:
        return Const(value, self.operation.value.dtype)

    def softmax(self, length: Ix) -> None:
        top = self._pass("max", float("-inf"), lambda x: x, first=True)
        total = self._pass(
            "add", 0.0, lambda x: x, first=False, write=lambda x: self.op("exp", self.op("sub", x, top))
        )
        scale = self.builder.let(self.op("div", self.const(1.0), total))
        self._finish(lambda x: self.op("mul", x, scale), stored=True)

    def log_softmax(self, length: Ix) -> None:
        top = self._pass("max", float("-inf"), lambda x: x, first=True)
        total = self._pass("add", 0.0, lambda x: self.op("exp", self.op("sub", x, top)), first=False)
        shift = self.builder.let(self.op("add", self.op("log", total), top))
        self._finish(lambda x: self.op("sub", x, shift), stored=False)

    def inverse_length(self, length: Ix) -> Value:
        if length.is_const:
            return self.const(1.0 / max(length.value, 1))
        return self.builder.let(
            self.op("div", self.const(1.0), Cast(Index(length), self.operation.value.dtype))
        )

    def scale_of(self, total: Value, length: Ix) -> Value:
        """1 / sqrt(total / length + epsilon)."""
        mean = self.builder.let(self.op("mul", total, self.inverse_length(length)))
        shifted = self.builder.let(self.op("add", mean, self.const(self.operation.epsilon)))
        root = self.builder.let(self.op("sqrt", shifted))
        return self.builder.let(self.op("div", self.const(1.0), root))

    def layer_norm(self, length: Ix) -> None:
        total = self._pass("add", 0.0, lambda x: x, first=True)
        mean = self.builder.let(self.op("mul", total, self.inverse_length(length)))

        def squared(x: Value) -> Value:
            centred = self.builder.let(self.op("sub", x, mean))
            return self.op("mul", centred, centred)

        scale = self.scale_of(self._pass("add", 0.0, squared, first=False), length)
        self._finish(lambda x: self.op("mul", self.op("sub", x, mean), scale), stored=False)

    def rms_norm(self, length: Ix) -> None:
        scale = self.scale_of(self._pass("add", 0.0, lambda x: self.op("mul", x, x), first=True), length)
        self._finish(lambda x: self.op("mul", x, scale), stored=False)
