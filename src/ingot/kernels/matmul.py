"""Products of two computed tensors: the same register tile as `dense`, with b read in place, a row of n at a time."""

from __future__ import annotations

from ingot.ir.index import Ix, Var, ix, minimum
from ingot.ir.nodes import Const, Index, Local, Op, Splat, Value
from ingot.ir.program import MatMul
from ingot.kernels.builder import Builder, Built, Lane
from ingot.kernels.choice import Candidate
from ingot.kernels.tiles import Run, cut, rank


def build_matmul(builder: Builder, operation: MatMul) -> Built:
    output, axes = operation.output, operation.axes
    m, n = output.shape[-2:]
    lanes = builder.target.lanes
    while n.is_const and n.value <= lanes // 2 and lanes > 4:
        lanes //= 2
    vectors = n.ceildiv(lanes)
    k = operation.k.extent
    assert k is not None
    tile = builder.choose(
        [
            Candidate(f"{t.columns}x{t.vectors}", cost, t)
            for cost, t in rank(
                builder.target,
                k.value if k.is_const else 64,
                ix(1),
                m,
                vectors.value if vectors.is_const else 4,
                lanes < builder.target.lanes,
            )
        ]
    )
    batch = [(builder.fresh_var(e), e) for e in output.shape[:-2]]
    mapping = {a: ix(v) for a, (v, _) in zip(axes, batch, strict=False)}
    full = n // (tile.vectors * lanes)
    panels = n.ceildiv(tile.vectors * lanes)
    panel = builder.fresh_var(panels)
    task, tasks = builder.tasks([*batch, (panel, panels)])
    whole_vectors = n.is_const and n.value % lanes == 0

    def rows(vectors: int, count: Ix | None, first: Ix) -> None:
        for run in cut(m, tile.columns):
            with builder.loop(run.count) as i:
                top = ix(builder.define(run.start + ix(i) * run.size, m))
                _tile(builder, operation, mapping, top, run, first, vectors, lanes, count)

    def columns() -> None:
        with builder.when(Op("lt", (Index(ix(panel)), Index(full)), "bool")):
            rows(tile.vectors, None, ix(panel) * tile.vectors * lanes)
        with builder.when(Op("eq", (Index(ix(panel)), Index(full)), "bool")):
            start = full * tile.vectors * lanes
            with builder.loop((n - start).ceildiv(lanes)) as v:
                first = ix(builder.define(start + ix(v) * lanes, n))
                rows(1, None if whole_vectors else minimum(n - first, lanes), first)

    exact = n.is_const and n.value % (tile.vectors * lanes) == 0
    if exact:
        rows(tile.vectors, None, ix(panel) * tile.vectors * lanes)
    else:
        columns()
    macs = float(m.value if m.is_const else 64) * (k.value if k.is_const else 64) * tile.vectors * lanes
    return builder.finish(f"matmul_f32_{tile.columns}x{tile.vectors * lanes}", task, tasks, macs / 50)


def _tile(
    builder: Builder,
    operation: MatMul,
    mapping: dict[Var, Ix],
    top: Ix,
    run: Run,
    first: Ix,
    vectors: int,
    lanes: int,
    count: Ix | None,
) -> None:
    axes = operation.axes
    spread = builder.fresh_var(lanes)
    zero = Splat(Const(0.0, "f32"), lanes)
    accs: list[list[Local]] = [[builder.let(zero, "a") for _ in range(vectors)] for _ in range(run.size)]
    lane = Lane(spread, lanes, count)
    k = operation.k
    assert k.extent is not None
    with builder.loop(k.extent, unroll=2) as i:
        base = {**mapping, k: ix(i)}
        b = [
            builder.value(operation.b, {**base, axes[-1]: first + v * lanes + ix(spread)}, lane)
            for v in range(vectors)
        ]
        for p in range(run.size):
            a: Value = Splat(builder.value(operation.a, {**base, axes[-2]: top + p}), lanes)
            a = builder.let(a, "x") if vectors > 1 else a
            for v in range(vectors):
                builder.assign(accs[p][v], Op("fma", (a, b[v], accs[p][v]), "f32"))
    for p in range(run.size):
        for v in range(vectors):
            at = {**mapping, axes[-2]: top + p, axes[-1]: first + v * lanes + ix(spread)}
            result = builder.value(operation.finish, at, lane, accs[p][v])
            builder.store(operation.output, list(map(ix, axes)), at, lane, result)
