"""Maps and fills: whatever an index expression says, over the output's physical order."""

from __future__ import annotations

from ingot.ir.index import Ix, Var, ix, minimum, product, substitute
from ingot.ir.nodes import Const, Define, Index, Op, Store, Value, has_text, stored, walk
from ingot.ir.ops import OPS
from ingot.ir.program import Fill, Map
from ingot.kernels.builder import Builder, Built, Lane
from ingot.kernels.nest import Nest, nest_of, space, turned

CHUNK = 4096
"""Elements of a flat loop that make one task."""


def value_cost(value: Value) -> float:
    """Cycles to evaluate a value once for one vector."""
    return 1.0 + sum(OPS[n.name].cost for n in walk(value) if isinstance(n, Op))


def build_map(builder: Builder, operation: Map) -> Built:
    """One pass over the output: vectors along the innermost physical axis where all reads walk it evenly."""
    nest = nest_of(builder, operation.output, operation.axes, [operation.finish])
    if not nest.lane and nest.loops and not has_text(operation.finish):
        crossed = turned(builder, nest, operation.output, operation.axes, [operation.finish])
        if crossed is not None:
            return _build_turned(builder, operation, nest, *crossed)
        space(builder, nest, operation.output, operation.axes, [operation.finish])
    lanes = nest.lane.lanes if nest.lane else 1
    cost = value_cost(operation.finish) / 3 * (1 if nest.lane else 4)
    if not nest.loops:
        task, tasks = builder.tasks([])
        _element(builder, operation, nest, nest.lane)
        return builder.finish("map", task, tasks, cost)
    *outer, (variable, extent) = nest.loops
    rows = product(e for _, e in outer)
    if extent.is_const and rows.is_const and (extent.value * lanes <= CHUNK or rows.value >= 64):
        task, tasks = builder.tasks(outer)
        stop, start = extent, ix(0)
        work = cost * extent.value
    else:
        size = max(CHUNK // lanes, 1)
        chunk = builder.fresh_var(extent.ceildiv(size))
        task, tasks = builder.tasks([*outer, (chunk, extent.ceildiv(size))])
        start = ix(chunk) * size
        stop = minimum(start + size, extent)
        work = cost * size
    _strip_loop(builder, operation, nest, variable, extent, start, stop)
    return builder.finish("map", task, tasks, work)


def _build_turned(builder: Builder, operation: Map, nest: Nest, place: int, lanes: int) -> Built:
    """Squares of lanes x lanes elements, read along one loop and written along the innermost one."""
    inner, extent = nest.loops[-1]
    across, size = nest.loops[place]
    block = builder.fresh_var(size // lanes)
    outer = nest.loops[:-1]
    outer[place] = (block, size // lanes)
    task, tasks = builder.tasks(outer)
    finish = stored(operation.finish, operation.output.dtype)

    def square(first: Ix, count: Ix | None) -> None:
        rows = []
        for i in range(lanes):
            lane = Lane(builder.fresh_var(lanes), lanes)
            at = first + i if count is None else minimum(first + i, extent - 1)
            change = {across: ix(block) * lanes + ix(lane.var), inner: at}
            mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
            rows.append(builder.splat(builder.value(finish, mapping, lane), lanes))
        for i, column in enumerate(builder.turn(rows)):
            lane = Lane(builder.fresh_var(lanes), lanes, count)
            change = {across: ix(block) * lanes + i, inner: first + ix(lane.var)}
            mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
            builder.store(operation.output, list(map(ix, operation.axes)), mapping, lane, column)

    full = extent // lanes
    with builder.loop(extent.ceildiv(lanes), stop=full) as i:
        square(ix(i) * lanes, None)
    left = extent - full * lanes
    if left != ix(0):
        with builder.when(Op("gt", (Index(left), Const(0, "i64")), "bool")):
            square(full * lanes, left)
    work = value_cost(operation.finish) / 3 + 2
    return builder.finish("map", task, tasks, work * (extent.value if extent.is_const else 64))


def _strip_loop(
    builder: Builder, operation: Map, nest: Nest, variable: Var, extent: Ix, start: Ix, stop: Ix
) -> None:
    if nest.strip is None:
        with builder.loop(extent, start=start, stop=stop) as i:
            _element(builder, operation, _at(nest, variable, i), nest.lane)
        return
    assert nest.lane is not None
    full = nest.strip // nest.lane.lanes
    with builder.loop(extent, start=start, stop=minimum(stop, full)) as i:
        _element(builder, operation, _at(nest, variable, i), nest.lane)
    left = nest.strip - full * nest.lane.lanes
    ends = Op(
        "and",
        (Op("eq", (Index(stop), Index(extent)), "bool"), Op("gt", (Index(left), Const(0, "i64")), "bool")),
        "bool",
    )
    with builder.when(ends):
        tail = builder.fresh_var(extent)
        builder.emit(Define(tail, full))
        _element(builder, operation, _at(nest, variable, tail), Lane(nest.lane.var, nest.lane.lanes, left))


def _at(nest: Nest, variable: Var, by: Var) -> Nest:
    change = {variable: ix(by)}
    moved = {k: substitute(v, change) for k, v in nest.mapping.items()}
    lane = nest.lane
    if lane is not None and lane.count is not None:
        lane = Lane(lane.var, lane.lanes, substitute(lane.count, change))
    return Nest(nest.loops, moved, lane)


def _element(builder: Builder, operation: Map, nest: Nest, lane: Lane | None) -> None:
    lane = nest.lane if nest.lane is not None and nest.lane.count is not None else lane
    value = builder.value(stored(operation.finish, operation.output.dtype), nest.mapping, lane)
    builder.store(operation.output, list(map(ix, operation.axes)), nest.mapping, lane, value)


def build_fill(builder: Builder, operation: Fill) -> Built:
    """Set the border of the whole around the box of `inner`: for each axis, the slabs before and after the box."""
    whole = operation.output
    root, origin = operation.inner.root()
    assert root is whole.root()[0]
    outer_origin = whole.root()[1]
    low = [a - b for a, b in zip(origin, outer_origin, strict=True)]
    high = [a + d for a, d in zip(low, operation.inner.shape, strict=True)]
    layout = builder.layouts[root]
    fill = operation.finish
    spatial = [a for a in layout.order if low[a] != ix(0) or high[a] != whole.shape[a]]
    free = [a for a in layout.order if a not in spatial]
    loops = []
    mapping: dict[int, Ix] = {}
    lanes = 1
    for axis in free:
        extent = whole.shape[axis]
        if axis == layout.blocked:
            lanes = layout.block
            extent = extent.ceildiv(lanes)
        variable = builder.fresh_var(extent)
        loops.append((variable, extent))
        mapping[axis] = ix(variable) * (lanes if axis == layout.blocked else 1)
    task, tasks = builder.tasks(loops)
    assert isinstance(fill, Const)
    value = builder.splat(fill, lanes) if lanes > 1 else fill

    def slab(depth: int, at: dict[int, Ix]) -> None:
        """Fill all of the remaining axes."""
        if depth == len(spatial):
            name, offset = builder.place(whole, [at[a] for a in range(whole.rank)], written=True)
            builder.emit(Store(name, offset, stored(value, whole.dtype)))
            return
        with builder.loop(whole.shape[spatial[depth]]) as i:
            slab(depth + 1, {**at, spatial[depth]: ix(i)})

    def border(depth: int, at: dict[int, Ix]) -> None:
        """Fill before and after the box along this axis, and recurse inside it."""
        if depth == len(spatial):
            return
        axis = spatial[depth]
        for start, stop in ((ix(0), low[axis]), (high[axis], whole.shape[axis])):
            if start == stop:
                continue
            with builder.loop(whole.shape[axis], start=start, stop=stop) as i:
                slab(depth + 1, {**at, axis: ix(i)})
        if depth + 1 < len(spatial):
            with builder.loop(whole.shape[axis], start=low[axis], stop=high[axis]) as i:
                border(depth + 1, {**at, axis: ix(i)})

    border(0, mapping)
    around = product(whole.shape[a] for a in spatial)
    inside = product(operation.inner.shape[a] for a in spatial)
    border_size = around - inside
    return builder.finish(
        "fill", task, tasks, float(border_size.value) * 0.5 if border_size.is_const else 100.0
    )
