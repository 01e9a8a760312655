"""Reductions: windows (pooling, depthwise convolution), sums along an axis, arg max; general but for the vector axis.

Three forms, tried in this order: vectors along a kept axis, with several positions in flight; vectors along the
reduced axis, folded at the end; scalars.
"""

from __future__ import annotations

from ingot.ir.index import Ix, Var, ix, minimum, product, substitute
from ingot.ir.nodes import Const, Fold, Index, Local, Op, Read, Select, Value, has_text, reindex, walk
from ingot.ir.ops import neutral
from ingot.ir.program import Reduce
from ingot.kernels.builder import Builder, Built, Lane
from ingot.kernels.choice import Candidate
from ingot.kernels.elementwise import value_cost
from ingot.kernels.nest import Nest, nest_of

UNROLL = 64
"""Reductions of at most this many constant steps are written out."""
MOST = 10
"""Accumulators at most."""
IN_FLIGHT = 8
"""Accumulators that keep the arithmetic units busy while each waits for its last operation."""
LATENCY = 4
"""Cycles from one operation on an accumulator to the next."""
TOLD = 4
"""Candidates that are told of."""
CHAIN = 8
"""Scalar comparisons of which each needs the last, at most: LLVM's loop vectoriser takes time exponential in them."""


def combine(name: str, acc: Value, value: Value) -> Value:
    """One step of a reduction; a product that is summed is fused."""
    if name == "add" and isinstance(value, Op) and value.name == "mul" and value.dtype in ("f32", "f64"):
        return Op("fma", (*value.args, acc), acc.dtype)
    return Op(name, (acc, value), acc.dtype)


def _kept_loops(operation: Reduce) -> int:
    """What a scalar loop says of unrolling: 1, that it stays a loop, where it would be a long chain of comparisons."""
    compares = operation.op in ("max", "min", "maximum", "minimum", "argmax", "argmin")
    steps = product(v.extent for v in operation.over)
    return int(compares and steps.is_const and steps.value > CHAIN)


def build_reduce(builder: Builder, operation: Reduce) -> Built:
    if operation.op in ("argmax", "argmin"):
        return _arg(builder, operation)
    nest = nest_of(builder, operation.output, operation.axes, [operation.value, operation.finish])
    if nest.lane is not None and _walks_evenly(builder, operation, nest):
        return _kept_lane(builder, operation, nest)
    return _folded(builder, operation, nest)


def _walks_evenly(builder: Builder, operation: Reduce, nest: Nest) -> bool:
    """Whether every read is a vector load or a broadcast along the nest's lane."""
    assert nest.lane is not None
    for node in walk(reindex(operation.value, nest.mapping)):
        if isinstance(node, Read):
            flat = builder.flat(node.tensor, node.index)[1]
            split = flat.split(nest.lane.var)
            if split is None or split[0] not in (0, 1):
                return False
    return True


def _steps(over: tuple[Var, ...]) -> int | None:
    """How many steps to write out; None for loops."""
    total = product(v.extent for v in over)
    return total.value if total.is_const and 0 < total.value <= UNROLL else None


def _kept_lane(builder: Builder, operation: Reduce, nest: Nest) -> Built:
    assert nest.lane is not None
    lanes = nest.lane.lanes
    steps = _steps(operation.over)
    work = value_cost(operation.value) * (float(_const(product(v.extent for v in operation.over), 256)))
    if not nest.loops:
        task, tasks = builder.tasks([])
        _positions(builder, operation, nest, [{}], nest.lane, steps)
        return builder.finish("reduce", task, tasks, work)
    *outer, (variable, extent) = nest.loops
    if nest.strip is not None:
        task, tasks = builder.tasks(nest.loops)
        left = nest.strip - ix(variable) * lanes
        lane = Lane(nest.lane.var, lanes, minimum(left, lanes))
        _positions(builder, operation, nest, [{}], lane, steps)
        return builder.finish("reduce", task, tasks, work)
    together = IN_FLIGHT
    if extent.is_const:
        together = builder.choose(_together(extent.value))
    task, tasks = builder.tasks(outer)
    if extent.is_const and extent.value <= together:
        at = [{variable: ix(p)} for p in range(extent.value)]
        _positions(builder, operation, nest, at, nest.lane, steps)
    else:
        full = extent // together
        with builder.loop(full) as i:
            at = [{variable: ix(i) * together + p} for p in range(together)]
            _positions(builder, operation, nest, at, nest.lane, steps)
        if not (extent.is_const and extent.value % together == 0):
            with builder.loop(extent, start=full * together) as i:
                _positions(builder, operation, nest, [{variable: ix(i)}], nest.lane, steps)
    return builder.finish("reduce", task, tasks, work * _const(extent, 64))


def _together(extent: int) -> list[Candidate[int]]:
    """How many neighbouring positions to reduce together; the estimate is cycles of one step of all of them."""

    def cost(size: int) -> float:
        return extent // size * (max(size, LATENCY) + 0.5) + extent % size * (LATENCY + 0.5)

    sizes = range(min(MOST, extent), 0, -1)
    return [Candidate(str(t), cost(t), t) for t in sorted(sizes, key=cost)[:TOLD]]


def _const(e: Ix, otherwise: int) -> int:
    return e.value if e.is_const else otherwise


def _positions(
    builder: Builder,
    operation: Reduce,
    nest: Nest,
    positions: list[dict[Var, Ix]],
    lane: Lane,
    steps: int | None,
) -> None:
    """Reduce several neighbouring positions together, then finish and store each."""
    dtype = operation.value.dtype
    start = Const(neutral(operation.op, dtype), dtype)
    mappings = [{a: substitute(m, p) for a, m in nest.mapping.items()} for p in positions]
    lane_list = [
        Lane(lane.var, lane.lanes, None if lane.count is None else substitute(lane.count, p))
        for p in positions
    ]
    accs: list[Local]
    if steps is not None:
        values: list[Value | None] = [None] * len(positions)
        memo: dict[Value, Value] = {}

        def unrolled(depth: int, taps: dict[Var, Ix]) -> None:
            if depth < len(operation.over):
                for t in range(operation.over[depth].extent.value):  # type: ignore[union-attr]
                    unrolled(depth + 1, {**taps, operation.over[depth]: ix(t)})
                return
            for p, mapping in enumerate(mappings):
                term = _term(builder, operation, {**mapping, **taps}, lane_list[p], memo)
                current = values[p]
                if current is None:
                    current = builder.splat(start, lane.lanes)
                    local = builder.let(
                        combine(operation.op, current, term) if operation.op == "add" else term, "a"
                    )
                    values[p] = local
                else:
                    builder.assign(current, combine(operation.op, current, term))  # type: ignore[arg-type]

        unrolled(0, {})
        accs = [v for v in values if isinstance(v, Local)]
    else:
        accs = [builder.let(builder.splat(start, lane.lanes), "a") for _ in positions]

        def nested(depth: int, taps: dict[Var, Ix]) -> None:
            if depth < len(operation.over):
                extent = operation.over[depth].extent
                assert extent is not None
                with builder.loop(extent) as i:
                    nested(depth + 1, {**taps, operation.over[depth]: ix(i)})
                return
            memo: dict[Value, Value] = {}
            for p, mapping in enumerate(mappings):
                term = _term(builder, operation, {**mapping, **taps}, lane_list[p], memo)
                builder.assign(accs[p], combine(operation.op, accs[p], term))

        nested(0, {})
    for p, mapping in enumerate(mappings):
        one = lane_list[p]
        result = builder.value(operation.finish, mapping, one, accs[p])
        builder.store(operation.output, list(map(ix, operation.axes)), mapping, one, result)


def _term(
    builder: Builder, operation: Reduce, mapping: dict[Var, Ix], lane: Lane, memo: dict[Value, Value]
) -> Value:
    """The value of one step; a product is left open, so that it can be fused into the sum."""
    value = operation.value
    if (
        operation.op == "add"
        and isinstance(value, Op)
        and value.name == "mul"
        and value.dtype in ("f32", "f64")
    ):
        args = [builder.value(a, mapping, lane, None, memo) for a in value.args]
        return Op("mul", tuple(builder.splat(a, lane.lanes) for a in args), value.dtype)
    return builder.splat(builder.value(value, mapping, lane, None, memo), lane.lanes)


def _folded(builder: Builder, operation: Reduce, nest: Nest) -> Built:
    """Each output element on its own; vectors along the innermost reduced axis where it is walked evenly."""
    lanes_at = nest.lane.lanes if nest.lane else 1
    loops = list(nest.loops)
    mapping = dict(nest.mapping)
    inside: list[tuple[Var, Ix]] = []
    if nest.lane is not None:
        inside.append((nest.lane.var, ix(lanes_at)))
    task, tasks = builder.tasks(loops)
    count = product(v.extent for v in operation.over)
    work = value_cost(operation.value) * _const(count, 256) * lanes_at / 4

    def body(at: dict[Var, Ix]) -> None:
        here = {a: substitute(m, at) for a, m in mapping.items()}
        total = _fold_one(builder, operation, here)
        result = builder.value(operation.finish, here, None, total)
        builder.store(operation.output, list(map(ix, operation.axes)), here, None, result)

    if not inside:
        body({})
    else:
        assert nest.lane is not None
        stop: Ix = ix(lanes_at)
        layout = builder.layouts[operation.output.root()[0]]
        if nest.strip is not None:
            stop = minimum(nest.strip - ix(loops[-1][0]) * lanes_at, lanes_at)
        elif layout.blocked is not None:
            first = nest.mapping[operation.axes[layout.blocked]].split(nest.lane.var)
            assert first is not None
            stop = minimum(operation.output.shape[layout.blocked] - first[1], lanes_at)
        with builder.loop(lanes_at, stop=stop) as i:
            body({nest.lane.var: ix(i)})
    return builder.finish("reduce", task, tasks, work)


def _fold_one(builder: Builder, operation: Reduce, mapping: dict[Var, Ix]) -> Value:
    dtype = operation.value.dtype
    start = Const(neutral(operation.op, dtype), dtype)
    over = operation.over
    inner = _vector_axis(builder, operation, mapping)
    if inner is None:
        acc = builder.let(start, "a")
        unroll = _kept_loops(operation)

        def nested(depth: int, taps: dict[Var, Ix]) -> None:
            if depth < len(over):
                with builder.loop(over[depth].extent, unroll=unroll) as i:  # type: ignore[arg-type]
                    nested(depth + 1, {**taps, over[depth]: ix(i)})
                return
            value = builder.value(operation.value, {**mapping, **taps})
            builder.assign(acc, combine(operation.op, acc, value))

        nested(0, {})
        return acc
    lanes = builder.target.lanes
    others = [v for v in over if v is not inner]
    vector = builder.let(builder.splat(start, lanes), "a")
    tail = builder.let(start, "a")
    extent = inner.extent
    assert extent is not None
    full = extent // lanes

    def rows(depth: int, taps: dict[Var, Ix]) -> None:
        if depth < len(others):
            with builder.loop(others[depth].extent) as i:  # type: ignore[arg-type]
                rows(depth + 1, {**taps, others[depth]: ix(i)})
            return
        with builder.loop(full) as i:
            variable = builder.fresh_var(lanes)
            at = {**mapping, **taps, inner: ix(i) * lanes + ix(variable)}
            term = _term(builder, operation, at, Lane(variable, lanes), {})
            builder.assign(vector, combine(operation.op, vector, term))
        if not (extent.is_const and extent.value % lanes == 0):
            with builder.loop(extent, start=full * lanes) as i:
                value = builder.value(operation.value, {**mapping, **taps, inner: ix(i)})
                builder.assign(tail, combine(operation.op, tail, value))

    rows(0, {})
    return builder.let(combine(operation.op, tail, Fold(operation.op, vector)), "a")


def _vector_axis(builder: Builder, operation: Reduce, mapping: dict[Var, Ix]) -> Var | None:
    """A reduced axis that every read walks contiguously or not at all."""
    if operation.op not in (
        "add",
        "max",
        "min",
        "maximum",
        "minimum",
        "mul",
    ) or operation.value.dtype not in ("f32", "i32", "f64"):
        return None
    if has_text(operation.value):
        return None
    lanes = builder.target.lanes
    for variable in reversed(operation.over):
        extent = variable.extent
        assert extent is not None
        if extent.is_const and extent.value < 2 * lanes:
            continue
        block, lane = builder.fresh_var(extent // lanes), builder.fresh_var(lanes)
        placed = reindex(operation.value, {**mapping, variable: ix(block) * lanes + ix(lane)})
        splits = []
        for node in walk(placed):
            if isinstance(node, Read):
                flat = builder.flat(node.tensor, node.index)[1]
                splits.append(flat.split(lane))
            elif isinstance(node, Index | Select):
                splits.append(None)
        if (
            splits
            and all(s is not None and s[0] in (0, 1) for s in splits)
            and any(s[0] == 1 for s in splits if s)
        ):
            return variable
    return None


def _arg(builder: Builder, operation: Reduce) -> Built:
    """Index of the largest or smallest element; NaN counts as neither."""
    nest = nest_of(builder, operation.output, operation.axes, [])
    loops = [(v, e) for v, e in nest.loops]
    mapping = dict(nest.mapping)
    if nest.lane is not None:
        if nest.strip is not None:
            variable = builder.fresh_var(nest.strip)
            outer = loops[-1][0]
            change = {outer: ix(variable) // nest.lane.lanes, nest.lane.var: ix(variable) % nest.lane.lanes}
            loops[-1] = (variable, nest.strip)
        else:
            variable = builder.fresh_var(nest.lane.lanes)
            change = {nest.lane.var: ix(variable)}
            loops.append((variable, ix(nest.lane.lanes)))
        mapping = {a: substitute(m, change) for a, m in mapping.items()}
    task, tasks = builder.tasks(loops)
    (over,) = operation.over
    start = neutral({"argmax": "max", "argmin": "min"}[operation.op], operation.value.dtype)
    best = builder.let(Const(start, operation.value.dtype), "a")
    where = builder.let(Const(0, "i64"), "a")
    better = {"argmax": ("gt", "ge"), "argmin": ("lt", "le")}[operation.op][int(operation.last)]
    assert over.extent is not None
    with builder.loop(over.extent, unroll=_kept_loops(operation)) as i:
        candidate = builder.value(operation.value, {**mapping, over: ix(i)})
        wins = builder.let(Op(better, (candidate, best), "bool"))
        builder.assign(best, Select(wins, candidate, best))
        builder.assign(where, Select(wins, Index(ix(i)), where))
    result = builder.value(operation.finish, mapping, None, where)
    builder.store(operation.output, list(map(ix, operation.axes)), mapping, None, result)
    return builder.finish(operation.op, task, tasks, 4.0 * _const(over.extent, 256))
