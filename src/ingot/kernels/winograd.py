"""Winograd's minimal filtering for r x r convolutions of stride 1: fewer multiplies, at the price of transforms and rounding.

Y = A^T [(G g G^T) . (B^T d B)] A on tiles of m x m outputs (A. Lavin and S. Gray, arXiv 1509.09308). The matrices come
from Cook and Toom's construction at the points 0, 1, -1, 2, -2, 1/2, -1/2 in exact fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np

from ingot.ir.index import Ix, Var, ix, minimum
from ingot.ir.nodes import Const, Index, Op, Read, Value
from ingot.ir.program import WinogradInput, WinogradOutput
from ingot.kernels.builder import Builder, Built, Lane

_POINTS = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2), Fraction(1, 2), Fraction(-1, 2))

Matrix = tuple[tuple[float, ...], ...]

PARTS = {4: ((0, 1, 2, 3),), 6: ((0, 1, 2), (3, 4, 5)), 8: ((0, 1, 2), (3, 4), (5, 6, 7))}
"""Rows of a tile of n x n inputs that are transformed together, so that registers hold what lies between the two products
with B; those that share their halves are in one part. Each part reads the patch anew."""


@cache
def matrices(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """(A^T, G, B^T) of F(m, r): shapes (m, n), (n, r) and (n, n), where n = m + r - 1 <= 8."""
    n = m + r - 1
    points = _POINTS[: n - 1]
    scale = [math.prod(p - q for q in points if q != p) for p in points]
    at = [[*(p**i for p in points), Fraction(int(i == m - 1))] for i in range(m)]
    g = [[p**j / s for j in range(r)] for p, s in zip(points, scale, strict=True)]
    g.append([Fraction(int(j == r - 1)) for j in range(r)])
    bt = [_polynomial([q for q in points if q != p]) for p in points]
    bt = [[*row, *[Fraction(0)] * (n - len(row))] for row in bt]
    bt.append(_polynomial(list(points)))
    for i, row in enumerate(bt[:-1]):
        lead = next(c for c in reversed(row) if c)
        if lead < 0 or scale[i] < 0:
            sign = -1 if scale[i] < 0 else 1
            bt[i] = [c * sign for c in row]
            g[i] = [c * sign for c in g[i]]
    return _floats(at), _floats(g), _floats(bt)


def _floats(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(map(float, row)) for row in rows)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the product of (x - root)."""
    out = [Fraction(1)]
    for root in roots:
        out = [a - root * b for a, b in zip([Fraction(0), *out], [*out, Fraction(0)], strict=True)]
    return out


def transform_weight(weight: np.ndarray, m: int) -> np.ndarray:
    """[r, r, channels, features] -> [(m + r - 1)^2, channels, features], computed in float64 and rounded once."""
    g = np.array(matrices(m, weight.shape[0])[1], dtype=np.float64)
    rows = np.tensordot(g, weight.astype(np.float64), (1, 0))
    wide = np.moveaxis(np.tensordot(g, rows, (1, 1)), 0, 1)
    rounded: np.ndarray = wide.reshape(-1, *weight.shape[2:]).astype(np.float32)
    return rounded


def _apply(builder: Builder, rows: Matrix, values: Sequence[Value], lanes: int) -> list[Value]:
    """A matrix times a vector of vectors; rows that differ by the signs of the odd columns share their halves."""
    results: list[Value | None] = [None] * len(rows)
    for i, row in enumerate(rows):
        if results[i] is not None:
            continue
        mirrored = tuple(-c if j % 2 else c for j, c in enumerate(row))
        twin = next((k for k in range(i + 1, len(rows)) if rows[k] == mirrored and results[k] is None), None)
        if twin is None or mirrored == row:
            results[i] = _combine(builder, row, values, lanes)
            continue
        even = _combine(builder, [0.0 if j % 2 else c for j, c in enumerate(row)], values, lanes)
        odd = _combine(builder, [c if j % 2 else 0.0 for j, c in enumerate(row)], values, lanes)
        results[i] = builder.let(Op("add", (even, odd), "f32"))
        results[twin] = builder.let(Op("sub", (even, odd), "f32"))
    return [r for r in results if r is not None]


def _combine(builder: Builder, row: Sequence[float], values: Sequence[Value], lanes: int) -> Value:
    total: Value | None = None
    terms = sorted(((c, v) for c, v in zip(row, values, strict=True) if c), key=lambda t: t[0] != 1)
    for c, v in terms:
        if total is None:
            total = v if c == 1 else builder.let(Op("mul", (v, _constant(c, lanes, builder)), "f32"))
        elif abs(c) == 1:
            total = builder.let(Op("add" if c == 1 else "sub", (total, v), "f32"))
        else:
            total = builder.let(Op("fma", (v, _constant(c, lanes, builder), total), "f32"))
    assert total is not None
    return total


def _constant(c: float, lanes: int, builder: Builder) -> Value:
    return builder.splat(Const(c, "f32"), lanes)


def _both(builder: Builder, matrix: Matrix, square: list[list[Value]], lanes: int) -> list[list[Value]]:
    """matrix . square . matrix^T."""
    across = [_apply(builder, matrix, row, lanes) for row in square]
    down = [_apply(builder, matrix, [row[j] for row in across], lanes) for j in range(len(matrix))]
    return [[down[j][i] for j in range(len(matrix))] for i in range(len(matrix))]


def build_winograd_input(builder: Builder, operation: WinogradInput) -> Built:
    """V[a * n + b, c, image, t] = (B^T d B)[a, b] for the tile t of x; a task is a row of tiles of one block of channels."""
    m, x = operation.m, operation.x
    n = m + operation.r - 1
    output = operation.output
    layout = builder.layouts[output.root()[0]]
    lanes = layout.block if layout.blocked is not None else 1
    batch, channels, height, width = x.shape
    down, across = operation.tiles
    block, row, image = (builder.fresh_var(e) for e in (channels.ceildiv(lanes), down, batch))
    loops = [(image, batch), (block, channels.ceildiv(lanes)), (row, down)]
    task, tasks = builder.tasks(loops)
    root, origin = x.root()
    padded = (
        builder.layouts[root].blocked == 1 and builder.layouts[root].block == lanes and origin[1] == ix(0)
    )
    whole = padded or (channels.is_const and channels.value % lanes == 0)
    real = None if whole else minimum(channels - ix(block) * lanes, lanes)
    matrix = matrices(m, operation.r)[2]
    with builder.loop(across) as column:
        spread = builder.fresh_var(lanes)
        lane = Lane(spread, lanes, real) if lanes > 1 else None
        channel = ix(block) * lanes + (ix(spread) if lanes > 1 else 0)
        top = [ix(builder.define(minimum(ix(row) * m + i, height - 1), height)) for i in range(n)]
        left = [ix(builder.define(minimum(ix(column) * m + j, width - 1), width)) for j in range(n)]
        tile = ix(builder.define(ix(row) * across + ix(column), output.shape[3]))
        for some in PARTS[n]:
            part = tuple(matrix[a] for a in some)
            down_columns = []
            for j in range(n):
                patch = [
                    builder.value(Read(x, (ix(image), channel, top[i], left[j])), {}, lane) for i in range(n)
                ]
                down_columns.append(_apply(builder, part, patch, lanes))
            for a, values in zip(some, zip(*down_columns, strict=True), strict=True):
                for b, result in enumerate(_apply(builder, matrix, values, lanes)):
                    builder.store(output, [ix(a * n + b), channel, ix(image), tile], {}, lane, result)
    work = float(n * n * 4) * (across.value if across.is_const else 16) / 3
    return builder.finish(f"winograd_input_f{m}x{operation.r}", task, tasks, work)


def build_winograd_output(builder: Builder, operation: WinogradOutput) -> Built:
    """output = finish((A^T M A)), a row of tiles of one block of features a task; partial tiles write what exists."""
    m, products = operation.m, operation.products
    n = m + operation.r - 1
    output, axes = operation.output, operation.axes
    layout = builder.layouts[output.root()[0]]
    source = builder.layouts[products.root()[0]]
    lanes = layout.block if layout.blocked == 1 and layout.block == source.block else source.block
    batch, features, height, width = output.shape
    down, across = operation.tiles
    block, row, image = (builder.fresh_var(e) for e in (features.ceildiv(lanes), down, batch))
    task, tasks = builder.tasks([(image, batch), (block, features.ceildiv(lanes)), (row, down)])
    spread = builder.fresh_var(lanes)
    channel = ix(block) * lanes + ix(spread)
    ragged = not (features.is_const and features.value % lanes == 0)
    count = minimum(features - ix(block) * lanes, lanes) if ragged else None
    lane = Lane(spread, lanes, count)

    def tile(column: Ix, rows: int, columns: int) -> None:
        at = ix(builder.define(ix(row) * across + column, products.shape[3]))
        grid = [
            [
                builder.value(Read(products, (ix(a * n + b), channel, ix(image), at)), {}, lane)
                for b in range(n)
            ]
            for a in range(n)
        ]
        result = _both(builder, matrices(m, operation.r)[0], grid, lanes)
        for i in range(rows):
            for j in range(columns):
                here: dict[Var, Ix] = {
                    axes[0]: ix(image),
                    axes[1]: channel,
                    axes[2]: ix(row) * m + i,
                    axes[3]: column * m + j,
                }
                value = builder.value(operation.finish, here, lane, result[i][j])
                builder.store(output, list(map(ix, axes)), here, lane, value)

    def strip(rows: int) -> None:
        last = width.value % m
        with builder.loop(across, stop=across - (1 if last else 0)) as column:
            tile(ix(column), rows, m)
        if last:
            tile(across - 1, rows, last)

    bottom = height.value % m
    if not bottom:
        strip(m)
    elif down == ix(1):
        strip(bottom)
    else:
        with builder.when(Op("lt", (Index(ix(row)), Index(down - 1)), "bool")):
            strip(m)
        with builder.when(Op("eq", (Index(ix(row)), Index(down - 1)), "bool")):
            strip(bottom)
    work = float(n * n * 4) * (across.value if across.is_const else 16) / 3
    return builder.finish(f"winograd_output_f{m}x{operation.r}", task, tasks, work)
