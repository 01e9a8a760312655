"""Kernels of products of matrices: Dense with rows of features, MatMul and Attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from kernel import SOME, Kernel, Layouts, N, around, asking, drawn, epilogue, loops, tensor, within

from ingot.ir.index import Var, ix, var
from ingot.ir.nodes import Acc, Const, Op, Read, Value
from ingot.ir.program import Attention, Dense, MatMul, Tensor
from ingot.schedule.layout import Layout, blocked_by, row_major
from ingot.target import Target
from ingot.testing import CLOSE, REDUCED, Array, Feed


def gemm(
    name: str, rows: Sequence[int | Var], k: int, features: int, *, x: Layout | None = None, y: Layout | None = None,
    finish: str = "plain", sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """(rows…, k) times a constant."""
    given, made = tensor("x", [*rows, k]), tensor("y", [*rows, features])
    axes, channel = loops("a", made.shape), var("c", k)
    weight = drawn("weight", [k, features])
    layouts: Layouts = {given: x or row_major(given.rank), made: y or row_major(made.rank)}
    last = made.rank - 1
    value, finished = epilogue(finish, made, axes, last, layouts)
    index = (*map(ix, axes[:-1]), ix(channel))
    operation = Dense(made, axes, value, last, (), channel, given, index, weight)

    def formula(feed: Feed) -> Array:
        return finished(feed["x"] @ weight, feed)

    return Kernel(
        f"gemm_{name}", operation, layouts, formula, sizes=sizes, rows=rows[:1] == [N] and rows.count(N) == 1
    )


def matmul(
    name: str, m: int | Var, k: int | Var, n: int | Var, target: Target, *, batch: int | Var = 1, a: str = "rows",
    shared: bool = False, finish: str = "plain", y: Layout | None = None, sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """a: "rows", "columns" (stored as (k, m)) or "blocked". shared: one b for the whole batch. b lies in rows of whole
    vectors, as `kernels/operands.py` sees to."""
    left = tensor("a", [batch, k, m] if a == "columns" else [batch, m, k])
    right, made = tensor("b", [k, n] if shared else [batch, k, n]), tensor("y", [batch, m, n])
    axes, over = loops("a", made.shape), var("k", ix(k))
    layouts = {
        left: blocked_by(3, 2, target.lanes) if a == "blocked" else row_major(3),
        right: row_major(right.rank, target.lanes),
        made: y or row_major(3, target.lanes),
    }
    at = (ix(axes[0]), ix(over), ix(axes[1])) if a == "columns" else (ix(axes[0]), ix(axes[1]), ix(over))
    row = (ix(over), ix(axes[2]))
    if finish == "plain":
        value, finished = epilogue(finish, made, axes, 2, layouts)
    else:
        other = tensor("other", made.shape)
        layouts[other] = layouts[made]
        value = Op("add", (Acc("f32"), Read(other, tuple(map(ix, axes)))), "f32")
    operation = MatMul(
        made, axes, value, over, Read(left, at), Read(right, row if shared else (ix(axes[0]), *row))
    )

    def formula(feed: Feed) -> Array:
        product = (feed["a"].swapaxes(1, 2) if a == "columns" else feed["a"]) @ feed["b"]
        return finished(product, feed) if finish == "plain" else product + feed["other"]

    rows = batch is N and not shared
    return Kernel(f"matmul_{name}", operation, layouts, formula, sizes=sizes, rows=rows)


def attention(
    name: str, m: int | Var, n: int | Var, k: int, d: int, target: Target, *, batch: int | Var = 1, masked: bool = False,
    causal: int = 0, blocked: bool = False, dtype: str = "f32", sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """causal: side of a constant mask that leaves out the columns after the row's own. blocked: q is, along k. dtype: of
    what is multiplied."""
    q, keys, values = (
        tensor("q", [batch, m, k], dtype),
        tensor("keys", [batch, k, n], dtype),
        tensor("values", [batch, n, d], dtype),
    )
    weights = tensor("weights", [batch, m, n], dtype) if dtype != "f32" else None
    made, scratch = tensor("y", [batch, m, d]), tensor("scratch", [batch, m, n])
    axes, inner, column = loops("a", made.shape), var("k", k), var("n", ix(n))
    layouts = {q: blocked_by(3, 2, target.lanes) if blocked else row_major(3), made: row_major(3)}
    layouts |= {t: row_major(3, target.lanes) for t in (keys, values, scratch, weights) if t is not None}
    first, row = ix(axes[0]), ix(axes[1])
    score: Value = Op("mul", (Acc("f32"), Const(0.125, "f32")), "f32")
    if masked:
        mask = tensor("mask", [m, n])
        layouts[mask] = row_major(2)
        score = Op("add", (score, Read(mask, (row, ix(column)))), "f32")
    seen = np.triu(np.full((causal, causal), -np.inf, np.float32), 1)
    if causal:
        mask = Tensor("causal", "f32", (ix(causal), ix(causal)), "const", seen)
        layouts[mask] = row_major(2)
        score = Op("add", (score, Read(mask, (row, ix(column)))), "f32")
    operation = Attention(
        made, axes, Acc("f32"), inner, column,
        Read(q, (first, row, ix(inner))), Read(keys, (first, ix(inner), ix(column))), score,
        Read(values, (first, ix(column), ix(axes[2]))), scratch, weights,
    )  # fmt: skip

    def formula(feed: Feed) -> Array:
        scores = feed["q"].astype(np.float64) @ feed["keys"].astype(np.float64) * 0.125 + (
            feed["mask"] if masked else 0
        )
        if causal:
            scores = scores + seen[: scores.shape[1], : scores.shape[2]]
        if not scores.shape[-1]:
            return np.zeros((*scores.shape[:-1], d), np.float32)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True) @ feed["values"].astype(np.float64)).astype(np.float32)

    return Kernel(
        f"attention_{name}",
        operation,
        layouts,
        formula,
        sizes=sizes,
        level=CLOSE if dtype == "f32" else REDUCED,
        reduction=64,
        rows=batch is N,
    )


def table(target: Target) -> list[Kernel]:
    lanes = target.lanes
    wide = around(lanes, 2 * lanes, 4 * lanes)
    last = blocked_by(2, 1, lanes)
    half = blocked_by(2, 1, max(lanes // 2, 4))
    return [
        *(gemm(f"rows_{m}", [m], 19, lanes + 3) for m in (*range(1, 18), 25, 29, 31)),
        *(gemm(f"features_{n}_{f}", [3], 5, n, finish=f) for n in wide for f in ("plain", "residual")),
        *(gemm(f"steps_{k}", [2], k, 9) for k in (0, 1, 2, 3, 4, 5, 17, 64)),
        *(gemm(f"blocked_{n}_{f}", [7], 5, n, y=last, finish=f) for n in (lanes, 2 * lanes + 1) for f in ("bias", "residual", "mixed")),
        *(gemm(f"of_blocked_{k}", [7], k, 9, x=last) for k in around(lanes)),
        *(asking(gemm(f"of_{k}_to_{n}", [50], k, n)) for k in (0, 3, 5, 16, 27, 64) for n in (1, 4 * lanes, 9 * lanes + 3)),
        asking(gemm("of_blocked", [50], 5 * lanes + 3, 5 * lanes, x=last, y=last)),
        gemm("half", [7], 5, lanes + 3, y=half, finish="mixed"),
        *(gemm(f"heavy_{r}", [r], 5, 2 * lanes + 3, finish="heavy") for r in (1, 9)),
        gemm("heavy_batch", [N], 5, 2 * lanes + 3, finish="heavy"),
        *(within(gemm(f"features_{n}", [7], 5, n, finish="bias"), [1, 3]) for n in around(lanes)),
        within(gemm("blocked", [7], 5, 2 * lanes, y=last), [1, lanes]),
        *(within(matmul(f"columns_{n}_into", 3, 5, n, target, y=row_major(3)), [1, 2, 3]) for n in around(lanes)),
        *(within(attention(f"depth_{d}_into", 3, 5, 4, d, target), [1, 2, 3]) for d in around(lanes)),
        *(gemm(f"batch_{f}", [N], 5, lanes + 1, finish=f) for f in ("plain", "residual")),
        gemm("batch_blocked", [N], 5, lanes + 1, y=last, x=last),
        gemm("sequence", [2, 7], 5, lanes + 1),
        gemm("sequences", [N, 7], lanes + 1, 2 * lanes, x=blocked_by(3, 2, lanes), y=blocked_by(3, 2, lanes)),
        gemm("n_of_n", [N, N], 3, lanes, sizes=(1, 2, 5)),
        gemm("vector", [], 5, lanes + 1),
        *(matmul(f"columns_{n}", 3, 5, n, target) for n in wide),
        *(matmul(f"columns_{n}_tight", 3, 5, n, target, y=row_major(3), finish="residual") for n in around(lanes)),
        *(matmul(f"rows_{m}", m, 19, 2 * lanes + 1, target) for m in (*range(1, 17), 29)),
        *(matmul(f"steps_{k}", 3, k, lanes, target) for k in (0, 1, 2, 3, 16)),
        *(matmul(f"a_in_{a}", 5, 2 * lanes + 1, lanes + 1, target, batch=2, a=a) for a in ("columns", "blocked")),
        matmul("shared", 5, 7, lanes + 1, target, batch=3, shared=True),
        matmul("residual", 5, 7, lanes + 1, target, finish="residual"),
        matmul("batch", 5, 7, lanes + 1, target, batch=N),
        *(matmul(f"n_{n.count('n')}_{n}", *(N if c == "n" else 5 for c in n), target) for n in ("nkc", "mnc", "mkn", "nnn")),
        *(attention(f"columns_{n}", 3, n, 5, lanes + 1, target) for n in wide),
        *(attention(f"rows_{m}", m, lanes + 1, 4, lanes, target) for m in (*range(1, 9), 13, 15)),
        *(attention(f"depth_{d}", 3, 5, 4, d, target) for d in wide),
        *(attention(f"steps_{k}", 3, 5, k, lanes, target) for k in (1, 2, 3, 17)),
        *(attention(f"masked_{n}", 5, n, 4, lanes + 1, target, masked=True) for n in around(lanes)),
        *(attention(f"causal_{n}_of_{d}", n, n, 4, d, target, causal=n) for n in around(2 * lanes) for d in (4, lanes + 1)),
        *(attention(f"rows_of_halves_{m}", m, lanes + 1, 4, max(lanes // 2, 4), target) for m in (1, 5, 11, 12, 13, 17)),
        *(attention(f"blocked_{k}", 3, 5, k, lanes, target, blocked=True) for k in (3, lanes, lanes + 1, 2 * lanes)),
        *(
            attention(f"pairs_{m}_{n}_{k}_{d}", m, n, k, d, target, blocked=k % lanes == 0, dtype="bf16", masked=masked)
            for m, n, k, d, masked in (
                (3, 2, 2, lanes, False), (5, lanes + 2, 6, lanes + 1, True), (17, 5 * lanes, 2 * lanes, 5 * lanes, False),
                (3, lanes + 1, 4, lanes, False), (3, lanes, 5, 2, False),
            )
        ),
        attention("causal_sequence", N, N, 4, 4, target, causal=40, sizes=(1, 2, 5, 16, 31, 33)),
        attention("of_nothing", 3, 0, 4, lanes, target),
        attention("batch", 5, lanes + 1, 4, lanes + 1, target, batch=N),
        attention("over_n", 3, N, 4, lanes + 1, target),
        attention("sequence", N, N, 4, lanes + 1, target, masked=True, sizes=(1, 2, 5, 16, 31, 33)),
    ]  # fmt: skip
