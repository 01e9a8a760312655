"""Convolutions and products with constant weights: a register tile of positions x features, weights packed by panel.

The plain definition is `Reduce`: output = finish(sum over taps and channels). Each output element sums its products
in the order taps, channels, whatever the tile, so the bits do not depend on tiling, threads or batch. With weights of
bf16 a step takes a pair of neighbouring channels, of which there is an even number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ingot.ir.index import Ix, Var, ix, minimum, product, substitute
from ingot.ir.nodes import (
    DTYPES,
    NAMES,
    Cast,
    Const,
    Index,
    Load,
    Local,
    Op,
    Pack,
    Splat,
    Store,
    Value,
    computed,
    reindex,
)
from ingot.ir.program import Dense
from ingot.kernels.ahead import LINE, STRETCH, Share
from ingot.kernels.builder import Builder, Built, Lane, Packed
from ingot.kernels.choice import Candidate
from ingot.kernels.elementwise import value_cost
from ingot.kernels.tiles import DEEP, Run, Tile, cut, rank
from ingot.schedule.layout import Layout, natural_block

HEAVY = 12.0
"""Cycles of an epilogue whose constants take the place of sums in the registers."""
LONG_ROW = 32
"""Positions of a row that make walking all weights for it worth while."""
LARGE_MAP = 14
"""Rows, and positions of each, that threads share evenly enough."""


@dataclass
class _Plan:
    lanes: int
    vectors: int
    tile: Tile
    row: int | None
    column: int | None
    outer: list[int]
    rows_first: bool


def build_dense(builder: Builder, operation: Dense) -> Built:
    plan = builder.choose(_plans(builder, operation))
    output, axes = operation.output, operation.axes
    features = operation.weight.shape[-1]
    groups = operation.weight.shape[0] if operation.batched is not None else 1
    steps = int(np.prod(operation.weight.shape[:-1])) // groups
    full, rest = divmod(plan.vectors, plan.tile.vectors)
    weights = builder.buffer(Packed("weights", _pack(operation.weight, groups, plan)))
    panels = full + (1 if rest else 0)
    panel = builder.fresh_var(panels)
    outer_vars = {a: builder.fresh_var(output.shape[a]) for a in plan.outer}
    mapping = {axes[a]: ix(v) for a, v in outer_vars.items()}
    down = cut(output.shape[plan.row], plan.tile.rows) if plan.row is not None else [Run(ix(0), ix(1), 1)]
    row_tiles = sum((r.count for r in down), ix(0))
    across = [Run(ix(0), ix(1), 1)]
    if plan.column is not None:
        across = cut(output.shape[plan.column], plan.tile.columns)
    row_length = sum((r.count for r in across), ix(0))
    tiles = row_tiles * row_length
    row = builder.fresh_var(row_tiles)
    loops = [(v, output.shape[a]) for a, v in outer_vars.items()]
    position_loops = [(panel, ix(panels)), (row, row_tiles)]
    if plan.rows_first:
        position_loops.reverse()
    task, tasks = builder.tasks([*loops, *position_loops])

    def share(vectors: int, base: Ix, before: Ix) -> Share | None:
        """Of the tile that has so many before it in its row and panel. None where fewer than three share a panel, as reading
        that takes the time then; and in Winograd's products, which walk their weights for each group of tiles.
        """
        unused = not builder.ahead or operation.batched is not None
        if unused or not tiles.is_const or tiles.value < 3:
            return None
        item = operation.weight.itemsize
        size, far = steps * vectors * plan.lanes, builder.ahead // item
        if plan.rows_first:
            whole = steps * plan.vectors * plan.lanes
            start = (ix(row) * whole + base) // row_tiles + before * size // tiles + max(whole, far)
        else:
            start = base + (ix(row) * row_length + before) * size // tiles + max(size, far)
        return Share(builder, weights, start, size, tiles.value, LINE // item)

    def for_vectors(vectors: int, base: Ix) -> None:
        first = ix(0)
        for run in down:
            if len(down) == 1:
                rows_at(run, ix(row), vectors, base)
                continue
            here = ix(row) - first
            inside = Op("lt", (Index(here), Index(run.count)), "bool")
            if first != ix(0):
                inside = Op("and", (Op("ge", (Index(here), Const(0, "i64")), "bool"), inside), "bool")
            with builder.when(inside):
                rows_at(run, here, vectors, base)
            first = first + run.count

    def rows_at(run: Run, index: Ix, vectors: int, base: Ix) -> None:
        start = run.start + index * run.size
        top = ix(builder.define(start, output.shape[plan.row])) if plan.row is not None else ix(0)
        before = ix(0)
        for columns in across:
            if columns.count.is_const and columns.count.value == 0:
                continue
            with builder.loop(columns.count) as i:
                left = columns.start + ix(i) * columns.size
                positions = [(y, x) for y in range(run.size) for x in range(columns.size)]
                _tile(
                    builder,
                    operation,
                    plan,
                    weights,
                    steps,
                    mapping,
                    top,
                    left,
                    positions,
                    vectors,
                    base,
                    ix(panel),
                    share(vectors, base, before + ix(i)),
                )
            before = before + columns.count

    main_base = ix(panel) * (plan.tile.vectors * plan.lanes * steps)
    if operation.batched is not None:
        main_base = main_base + mapping[axes[operation.batched]] * (plan.vectors * plan.lanes * steps)
    if rest and full:
        with builder.when(Op("lt", (Index(ix(panel)), Const(full, "i64")), "bool")):
            for_vectors(plan.tile.vectors, main_base)
        with builder.when(Op("eq", (Index(ix(panel)), Const(full, "i64")), "bool")):
            for_vectors(rest, main_base)
    else:
        for_vectors(rest if not full else plan.tile.vectors, main_base)
    total = product(output.shape[a] for a in (plan.row, plan.column) if a is not None)
    macs = float(steps * features) * (total.value if total.is_const else 256)
    count = (ix(panels) * row_tiles).value if row_tiles.is_const else 16
    name = "conv" if operation.taps else "winograd_gemm" if groups > 1 else "gemm"
    tile = plan.tile
    label = f"{name}_{NAMES[operation.weight.dtype]}_{tile.rows * tile.columns}x{tile.vectors * plan.lanes}"
    return builder.finish(label, task, tasks, macs / max(count, 1) / 50)


def _plans(builder: Builder, operation: Dense) -> list[Candidate[_Plan]]:
    """The tiles, and for the best one the other order of rows and panels."""
    output, feature = operation.output, operation.feature
    features = operation.weight.shape[-1]
    root = output.root()[0]
    layout = builder.layouts[root]
    group = _group(builder, operation)
    lanes = width_of(operation, layout, builder.target.lanes, group)
    vectors = -(-features // lanes)
    positions = [a for a in range(output.rank) if a not in (feature, operation.batched)]
    column = positions[-1] if positions else None
    row = positions[-2] if len(positions) > 1 else None
    one = ix(1)
    if column is not None and row is not None and output.shape[column] == one and output.shape[row] != one:
        row, column = column, row
    outer = [a for a in range(output.rank) if a not in (feature, row, column)]
    height, width = (output.shape[a] if a is not None else one for a in (row, column))
    rows_first = _rows_first(builder, operation, height, width)
    groups = operation.weight.shape[0] if operation.batched is not None else 1
    steps = operation.weight.nbytes // (4 * groups * features)
    candidates: dict[str, Candidate[_Plan]] = {}

    def add(tile: Tile, cost: float, rows_first: bool) -> None:
        name = f"{tile.rows}x{tile.columns}x{tile.vectors} {'rows' if rows_first else 'panels'} first"
        plan = _Plan(lanes, vectors, tile, row, column, outer, rows_first)
        candidates.setdefault(name, Candidate(name, cost, plan))

    for cost, tile in rank(
        builder.target,
        steps,
        output.shape[row] if row is not None else one,
        output.shape[column] if column is not None else one,
        vectors if group == features else group // lanes,
        lanes < builder.target.lanes,
        from_memory=operation.weight.nbytes > builder.target.l2,
    ):
        if group < features:
            whole = max(v for v in range(1, tile.vectors + 1) if group // lanes % v == 0)
            tile = replace(tile, vectors=whole)
        add(tile, cost, rows_first)
    best = next(iter(candidates.values()))
    tile = best.value.tile
    if vectors > tile.vectors and row is not None and output.shape[row] != one:
        add(tile, best.cost, not rows_first)
    return list(candidates.values())


def width_of(operation: Dense, layout: Layout, lanes: int, group: int) -> int:
    """The lanes of its vectors. layout: of what it writes. lanes: the target's. group: how many neighbouring features read
    the same elements of x."""
    features: int = operation.weight.shape[-1]
    if layout.blocked == operation.feature:
        width = layout.block
    else:
        width = natural_block(ix(features), lanes)
        while width > 4 and features <= width // 2:
            width //= 2
    while group % width and group < features:
        width //= 2
    return width


def _group(builder: Builder, operation: Dense) -> int:
    """How many neighbouring features read the same elements of x; the tile may not go beyond them."""
    features: int = operation.weight.shape[-1]
    feature = operation.axes[operation.feature]
    read = [i for i in operation.x_index if feature in i.variables()]
    if not read:
        return features
    for width in (w for w in range(features // 2, 1, -1) if features % w == 0):
        outer, inner = builder.fresh_var(features // width), builder.fresh_var(width)
        placed = [substitute(i, {feature: ix(outer) * width + ix(inner)}) for i in read]
        if all(inner not in i.variables() for i in placed):
            return width
    return 1


def _pack(weight: np.ndarray, groups: int, plan: _Plan) -> np.ndarray:
    """[group, taps…, channels, features] -> for each group panels, each [taps…, channels][vectors * lanes], the
    features padded with zeros; of bf16 [taps…, channels / 2][vectors * lanes][2]."""
    flat = weight.reshape(groups, -1, weight.shape[-1])
    padded = np.zeros((*flat.shape[:2], plan.vectors * plan.lanes), weight.dtype)
    padded[:, :, : flat.shape[2]] = flat
    width = plan.tile.vectors * plan.lanes
    panels = [padded[:, :, at : at + width] for at in range(0, padded.shape[2], width)]
    if NAMES[weight.dtype] == "bf16":
        panels = [p.reshape(groups, -1, 2, p.shape[-1]).swapaxes(2, 3) for p in panels]
    panels = [p.reshape(groups, -1) for p in panels]
    return np.concatenate(panels, axis=1).reshape(-1)


def _rows_first(builder: Builder, operation: Dense, height: Ix, width: Ix) -> bool:
    """Whether to keep a row of positions and walk the panels: where the second cache holds the weights and either x
    overflows it or walking the weights for each row takes no time, as rows are long or the weights come from there for
    each tile anyway. Threads then share the rows, and most of what one reads it has written itself or reads alone.
    """
    l2 = builder.target.l2
    if operation.weight.nbytes >= l2 * 0.5:
        return False
    if operation.batched is None and width.is_const:
        deep = int(np.prod(operation.weight.shape[:-1])) >= DEEP
        large = height.is_const and min(height.value, width.value) >= LARGE_MAP
        if width.value >= LONG_ROW or (deep and large):
            return True
    size = product(operation.x.shape[1:])
    return size.is_const and size.value * DTYPES[operation.x.dtype].itemsize > l2 * 0.6


def _tile(
    builder: Builder,
    operation: Dense,
    plan: _Plan,
    weights: str,
    steps: int,
    mapping: dict[Var, Ix],
    top: Ix,
    left: Ix,
    positions: Sequence[tuple[int, int]],
    vectors: int,
    base: Ix,
    panel: Ix,
    share: Share | None,
) -> None:
    """All products of one register tile, then its epilogue."""
    axes, lanes = operation.axes, plan.lanes
    left = ix(builder.define(left, operation.output.shape[plan.column])) if plan.column is not None else left

    def place(y: Ix, x: Ix) -> dict[Var, Ix]:
        at = dict(mapping)
        if plan.row is not None:
            at[axes[plan.row]] = top + y
        if plan.column is not None:
            at[axes[plan.column]] = left + x
        return at

    maps = [place(ix(y), ix(x)) for y, x in positions]
    feature_base = (panel * plan.tile.vectors) * lanes
    zero = Splat(Const(0.0, "f32"), lanes)
    accs = [[builder.let(zero, "a") for _ in range(vectors)] for _ in positions]

    def source(at: dict[Var, Ix], inner: dict[Var, Ix]) -> Ix:
        first_feature = {axes[operation.feature]: feature_base}
        index = [substitute(i, {**at, **first_feature, **inner}) for i in operation.x_index]
        return builder.place(operation.x, index)[1]

    x_buffer, x_dtype = builder.place(operation.x, operation.x_index)[0], operation.x.dtype
    step = _step if _width(operation) == 1 else _pair_step

    def load(flat: Ix, count: int = 1) -> Value:
        return Load(x_buffer, flat, x_dtype, count)

    ask = None
    if share is not None and share.at_once():
        share.ask(share.panel, ix(0), 1)
    elif share is not None:
        ask = partial(share.ask, vectors * lanes)

    _reduction(
        builder,
        operation,
        lambda inner: [source(at, inner) for at in maps],
        lambda flats, k: step(builder, load, flats, weights, base, k, accs, vectors, lanes),
        ask,
    )
    spread = builder.fresh_var(lanes)
    features = operation.weight.shape[-1]
    ragged = features % lanes != 0
    root = operation.output.root()[0]
    blocks = builder.layouts[root].blocked == operation.feature

    def finish(at: dict[Var, Ix], sums: Sequence[Value], memo: dict[Value, Value]) -> None:
        for v, acc in enumerate(sums):
            first = feature_base + v * lanes
            here = {**at, axes[operation.feature]: first + ix(spread)}
            lane = Lane(spread, lanes)
            if ragged and not (blocks and not builder.overruns(reindex(operation.finish, here), lane)):
                lane.count = minimum(ix(features) - first, lanes)
            result = builder.value(operation.finish, here, lane, acc, memo)
            builder.store(operation.output, list(map(ix, axes)), here, lane, result)

    if value_cost(operation.finish) < HEAVY or len(positions) * vectors <= builder.target.registers // 2:
        memo: dict[Value, Value] = {}
        for at, sums in zip(maps, accs, strict=True):
            finish(at, sums, memo)
        return
    # Compilers keep the constants of such an epilogue in registers all along, and sums in memory between two blocks of
    # channels. Sums that end in an array stay in registers until there.
    array = builder.array("f32", len(positions) * vectors * lanes)
    for i, acc in enumerate(acc for sums in accs for acc in sums):
        builder.emit(Store(array, ix(i * lanes), acc))
    rows, columns = (len({p[i] for p in positions}) for i in (0, 1))
    with builder.loop(rows, unroll=1) as y, builder.loop(columns, unroll=1) as x:
        first = (ix(y) * columns + ix(x)) * (vectors * lanes)
        finish(
            place(ix(y), ix(x)), [Load(array, first + v * lanes, "f32", lanes) for v in range(vectors)], {}
        )


def _step(
    builder: Builder,
    load: Callable[..., Value],
    flats: Sequence[Ix],
    weights: str,
    base: Ix,
    k: Ix,
    accs: list[list[Local]],
    vectors: int,
    lanes: int,
) -> None:
    at = base + k * (vectors * lanes)
    columns = [builder.let(Load(weights, at + v * lanes, "f32", lanes), "w") for v in range(vectors)]
    for p, flat in enumerate(flats):
        x = load(flat)
        scalar = Splat(x if x.dtype == "f32" else Cast(x, computed(x.dtype)), lanes)
        value: Value = builder.let(scalar, "x") if vectors > 1 else scalar
        for v in range(vectors):
            acc = accs[p][v]
            builder.assign(acc, Op("fma", (value, columns[v], acc), "f32"))


def _width(operation: Dense) -> int:
    """How many products of one output element a step takes."""
    return 2 if NAMES[operation.weight.dtype] == "bf16" else 1


def _pair_step(
    builder: Builder,
    load: Callable[..., Value],
    flats: Sequence[Ix],
    weights: str,
    base: Ix,
    k: Ix,
    accs: list[list[Local]],
    vectors: int,
    lanes: int,
) -> None:
    """flats: of the first channel for every position, then of the second."""
    at = base + k * (vectors * lanes)
    wide = 2 * lanes
    columns = [builder.let(Load(weights, at + v * wide, "bf16", wide), "w") for v in range(vectors)]
    for p, sums in enumerate(accs):
        one, two = flats[p], flats[len(accs) + p]
        pair = Splat(load(one, 2) if two == one + 1 else Pack((load(one), load(two))), wide)
        value: Value = builder.let(pair, "x") if vectors > 1 else pair
        for column, acc in zip(columns, sums, strict=True):
            builder.assign(acc, Op("dot", (acc, value, column), "f32"))


def _reduction(
    builder: Builder,
    operation: Dense,
    source: Callable[[dict[Var, Ix]], list[Ix]],
    step: Callable[[Sequence[Ix], Ix], None],
    ask: Callable[[Ix, int], None] | None,
) -> None:
    """Loops over taps and channels; inside, step gets every position's offset and the number of the product. ask, if any, is
    called before stretches of products, with the first one's number and how many there are.

    Of a pair of channels step gets the offsets of the first for every position, then those of the second.
    """
    width = _width(operation)
    loops: list[tuple[list[Var], Ix]] = [([t], t.extent) for t in operation.taps if t.extent is not None]
    channel = operation.channel
    assert channel.extent is not None
    probe = source({})
    block = _affine_block(operation, builder, source, channel)
    if block is None:
        loops.append(([channel], channel.extent))
        _merge_taps(loops, probe)
        _loops(builder, loops, source, step, ask, {}, ix(0), None, width)
    else:
        _loops(builder, loops, source, step, ask, {}, ix(0), (channel, max(block, width)), width)


def _affine_block(
    operation: Dense, builder: Builder, source: Callable[[dict[Var, Ix]], list[Ix]], channel: Var
) -> int | None:
    """None where offsets are even in the channel; else the block inside which they are."""
    if all(f.linear(channel) is not None for f in source({})):
        return None
    assert channel.extent is not None
    for block in (64, 32, 16, 8, 4, 2):
        if channel.extent.is_const and block > channel.extent.value:
            continue
        outer, inner = builder.fresh_var(channel.extent.ceildiv(block)), builder.fresh_var(block)
        if all(f.linear(inner) is not None for f in source({channel: ix(outer) * block + ix(inner)})):
            return block
    return 1


def _merge_taps(loops: list[tuple[list[Var], Ix]], flats: list[Ix]) -> None:
    """Join the innermost two loops while every offset walks them as one."""
    while len(loops) > 1:
        (outer, outer_extent), (inner, inner_extent) = loops[-2], loops[-1]
        a = [f.linear(outer[-1]) for f in flats]
        b = [f.linear(inner[-1]) for f in flats]
        if any(s is None or t is None or s[0] != inner_extent * t[0] for s, t in zip(a, b, strict=True)):
            return
        loops[-2:] = [(outer + inner, outer_extent * inner_extent)]


def _loops(
    builder: Builder,
    loops: list[tuple[list[Var], Ix]],
    source: Callable[[dict[Var, Ix]], list[Ix]],
    step: Callable[[Sequence[Ix], Ix], None],
    ask: Callable[[Ix, int], None] | None,
    inner: dict[Var, Ix],
    k: Ix,
    blocked: tuple[Var, int] | None,
    width: int,
) -> None:
    if not loops and blocked is None:
        step(source(inner), k)
        return
    if not loops:
        assert blocked is not None
        channel, block = blocked
        extent = channel.extent
        assert extent is not None
        with builder.loop(extent.ceildiv(block), stop=extent // block, unroll=1) as q:
            at = ix(q) * block
            _innermost(builder, source, step, ask, inner, k + at, [channel], at, ix(block), width)
        left = extent - extent // block * block
        if left != ix(0):
            at = extent - left
            _innermost(builder, source, step, ask, inner, k + at, [channel], at, left, width)
        return
    (variables, extent), *rest = loops
    deeper = product(e for _, e in rest)
    if blocked is not None:
        assert blocked[0].extent is not None
        deeper = deeper * blocked[0].extent
    if not rest and blocked is None:
        _innermost(builder, source, step, ask, inner, k, variables, ix(0), extent, width)
        return
    with builder.loop(extent, unroll=1) as i:
        here = {**inner, **_spread(variables, ix(i))}
        _loops(builder, rest, source, step, ask, here, k + ix(i) * deeper, blocked, width)


def _spread(variables: list[Var], at: Ix) -> dict[Var, Ix]:
    """A joined loop's variables from its counter."""
    found: dict[Var, Ix] = {}
    for i, v in enumerate(variables):
        below = product(w.extent for w in variables[i + 1 :])
        assert v.extent is not None
        found[v] = at // below % v.extent if i else at // below
    return found


def _innermost(
    builder: Builder,
    source: Callable[[dict[Var, Ix]], list[Ix]],
    step: Callable[[Sequence[Ix], Ix], None],
    ask: Callable[[Ix, int], None] | None,
    inner: dict[Var, Ix],
    k: Ix,
    variables: list[Var],
    start: Ix,
    extent: Ix,
    width: int,
) -> None:
    """The loop that holds the products: addresses are a base named outside it plus the counter times a stride."""
    if extent == ix(width) and len(variables) == 1:
        step([f for j in range(width) for f in source({**inner, variables[0]: start + j})], k)
        return
    counter = builder.fresh_var(extent)
    if len(variables) == 1:
        flats = source({**inner, variables[0]: start + ix(counter)})
    else:
        flats = [_joined(f, variables, counter) for f in source(inner)]
    base_var: Var | None = None
    moved: list[Ix] = []
    for flat in flats:
        parts = flat.linear(counter)
        assert parts is not None, "the innermost reduction is affine"
        stride, origin = parts
        if base_var is None:
            base_var, first = builder.define(origin), origin
        gap = origin - first
        at = ix(base_var) + gap if gap.is_const else ix(builder.define(origin))
        moved.append(at + ix(counter) * stride)
    k_base = builder.define(k)

    def steps(number: Ix) -> None:
        at = number * width
        flats = [substitute(f, {counter: at + j}) for j in range(width) for f in moved]
        step(flats, ix(k_base) + at)

    unroll = 4 if len(flats) < 8 else 2
    if ask is not None and extent.is_const and extent.value > STRETCH and extent.value % STRETCH == 0:
        stretch = STRETCH // width
        with builder.loop(extent // STRETCH, unroll=1) as q:
            ask(ix(k_base) + ix(q) * STRETCH, STRETCH)
            with builder.loop(stretch, unroll=unroll) as i:
                steps(ix(q) * stretch + ix(i))
        return
    if ask is not None and extent.is_const:
        ask(ix(k_base), extent.value)
    if extent.is_const and extent.value <= 4 * width:
        for number in range(extent.value // width):
            steps(ix(number))
        return
    with builder.loop(extent // width, unroll=unroll) as i:
        steps(ix(i))


def _joined(flat: Ix, variables: list[Var], counter: Var) -> Ix:
    """An offset that walks joined loops evenly, by their one counter."""
    total = flat
    for v in variables[:-1]:
        parts = total.linear(v)
        assert parts is not None
        total = parts[1]
    last = total.linear(variables[-1])
    assert last is not None
    return last[1] + ix(counter) * last[0]
