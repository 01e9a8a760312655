"""3x3 and 5x5 convolutions of stride 1 become transforms and a batch of products, where that is estimated to be faster."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingot.ir.index import Ix, Var, ix, show, var
from ingot.ir.nodes import DTYPES, Acc, Read, Value, reindex, rewrite
from ingot.ir.program import Dense, Operation, Program, Tensor, WinogradInput, WinogradOutput
from ingot.kernels.choice import METHODS, Candidate, Choices
from ingot.kernels.winograd import transform_weight
from ingot.target import Target

ERRORS = {(2, 3): 9e-7, (4, 3): 9e-6, (6, 3): 2.2e-5, (2, 5): 9e-6, (4, 5): 1.5e-5}
"""Largest error of F(m, r), relative to the largest output, that `tests/test_winograd.py` finds for random inputs; a
direct sum's is below 2e-6."""

FORMS: dict[str, Collection[tuple[int, int]]] = {"f32": ERRORS, "bf16": [(2, 3)]}
"""What is considered, by precision: larger forms lose too much where tiles are rounded to bf16."""

DEFAULT_ERROR = 1.5e-5
"""The bound on that error unless the user sets one. F(6, 3) is left out: it gains little over F(4, 3), its transforms
being larger than the registers."""

INPUT_CYCLES, OUTPUT_CYCLES = {4: 4.1, 6: 6.5, 8: 11.0}, {4: 3.6, 6: 5.4, 8: 8.4}
"""Cycles to transform a vector of n x n tiles, loads and stores included, by n; measured."""

OVERHEAD = 1500.0
"""Cycles that the operations in place of one cost besides."""

FEWEST = 4
"""Tiles that a product takes as long for as for fewer, its weights being read all the same."""

MOST = 5
"""Ways to compute a convolution that are told of."""
WORST = 2.0
"""How many times the least estimate one may cost to be told of."""


@dataclass(frozen=True)
class Method:
    """F(m) on `rows` rows of tiles at a time."""

    m: int
    rows: int


def use_winograd(
    program: Program, target: Target, choices: Choices, precision: str = "f32", error: float = DEFAULT_ERROR
) -> float:
    """Replace convolutions by F(m, r) whose error is at most `error`. Mutates the program; gives the largest error used.

    precision: of the products. Of bf16 the error is that of its rounding, which is not counted here.
    """
    operations: list[Operation] = []
    used = 0.0
    for number, operation in enumerate(program.operations):
        made: list[Operation] = [operation]
        fits = isinstance(operation, Dense) and _fits(operation)
        if (
            isinstance(operation, Dense)
            and fits
            and (methods := _methods(operation, target, precision, error))
        ):
            key = _key(operation) + (f" in {precision}" if precision != "f32" else "")
            method = choices.pick(key, methods, operation, stage=METHODS).value
            if method is not None:
                made = _replace(operation, method, number, target.lanes)
                if precision == "f32":
                    used = max(used, ERRORS[method.m, operation.weight.shape[0]])
            choices.decided(key, made)
        operations += made
    program.operations = operations
    return used


def _key(conv: Dense) -> str:
    r, _, channels, features = conv.weight.shape
    shape = "x".join(map(show, conv.output.shape))
    reads = len(conv.reads())
    return f"method of {r}x{r}x{channels}x{features} to {shape}" + (
        f", {reads} read at the end" if reads else ""
    )


def _fits(conv: Dense) -> bool:
    """A convolution of stride and dilation 1 over all channels of a tensor of known height and width, whose weights are not
    whole numbers: those of quantised models are, and their sums are exact but for a transform."""
    if len(conv.taps) != 2 or conv.output.rank != 4 or conv.feature != 1:
        return False
    n, _, y, x = conv.axes
    wanted = (ix(n), ix(conv.channel), ix(y) + ix(conv.taps[0]), ix(x) + ix(conv.taps[1]))
    if conv.x_index != wanted or conv.x.shape[1] != conv.channel.extent:
        return False
    if not all(d.is_const for d in (*conv.x.shape[1:], *conv.output.shape[1:])):
        return False
    with np.errstate(invalid="ignore"):
        return not np.array_equal(conv.weight, np.rint(conv.weight))


def _tiles(conv: Dense, m: int) -> tuple[Ix, Ix]:
    return conv.output.shape[2].ceildiv(m), conv.output.shape[3].ceildiv(m)


def _methods(conv: Dense, target: Target, precision: str, error: float) -> list[Candidate[Method | None]]:
    """The ways to compute it, None for the direct convolution, the least estimated time first; [] for no choice.

    In cycles for one image: multiply-adds at one vector a cycle (of bf16 two), transforms at `INPUT_CYCLES` and `OUTPUT_CYCLES`, weights from
    memory at 8 bytes a cycle where they overflow the L2 cache. Winograd has to gain 5 %.
    """
    high, wide, channels, features = conv.weight.shape
    lanes = target.lanes
    forms = [
        (m, r)
        for (m, r), rounding in ERRORS.items()
        if (r, r) == (high, wide) and rounding <= error and (m, r) in FORMS[precision]
    ]
    height, width = (d.value for d in conv.output.shape[2:])
    if not forms or channels < lanes // 2 or features < lanes // 2 or not height * width:
        return []
    vectors = -(-features // lanes)
    item = DTYPES[precision].itemsize
    rate = 4 / item

    def streaming(size: int) -> float:
        return size * item / 8 if size * item > target.l2 else 0.0

    direct = max(height * width * channels * vectors * high * wide / rate, streaming(conv.weight.size))
    found: list[Candidate[Method | None]] = [Candidate("direct", direct * 0.95, None)]
    for m, r in forms:
        n = m + r - 1
        down, across = (t.value for t in _tiles(conv, m))
        tiles = max(down * across, FEWEST)
        products = max(
            1.05 * n * n * tiles * channels * vectors / rate, streaming(n * n * channels * features)
        )
        transforms = (
            down * across * n * n * (-(-channels // lanes) * INPUT_CYCLES[n] + vectors * OUTPUT_CYCLES[n])
        )
        for share, rows in enumerate(_heights(conv, m, target, item)):
            cost = products + transforms + (1 + share) * OVERHEAD
            found.append(Candidate(f"F({m}) by {rows}", cost, Method(m, rows)))
    found.sort(key=lambda c: c.cost)
    return [c for c in found if c.cost <= found[0].cost * WORST][:MOST]


def _heights(conv: Dense, m: int, target: Target, item: int) -> list[int]:
    """How many rows of tiles to do at a time: so many that what lies between the transforms takes `GROUP` times L2, or
    twice as many, or half.

    item: bytes of an element of a transformed tile; products are f32.
    """
    r, _, channels, features = conv.weight.shape
    n = m + r - 1
    down, across = (t.value for t in _tiles(conv, m))
    row_bytes = n * n * (channels * item + features * 4) * across
    together = min(max(int(target.l2 * GROUP) // row_bytes, -(-MINIMUM // across)), down)
    groups = -(-down // together)
    return list(dict.fromkeys(-(-down // g) for g in (groups, min(groups * 2, down), max(groups // 2, 1))))


def _replace(conv: Dense, method: Method, number: int, lanes: int) -> list[Operation]:
    """The transforms and products of some rows of tiles at a time."""
    m, together = method.m, method.rows
    down, across = (t.value for t in _tiles(conv, m))
    weight = transform_weight(conv.weight, m)
    operations: list[Operation] = []
    for first in range(0, down, together):
        rows = min(together, down - first)
        operations += _group(conv, weight, m, first, rows, across, f"{number}_{first}", lanes)
    return operations


GROUP = 2.5
"""Share of L2 that lies between the transforms. Less gains some per cent on one thread and loses more on two, which wait
for each other three times a group."""

MINIMUM = 8
"""Tiles multiplied together at least, where the image has them: fewer would read the weights too often."""


def _group(
    conv: Dense, weight: np.ndarray, m: int, first: int, rows: int, across: int, label: str, lanes: int
) -> list[Operation]:
    """The operations for rows [first, first + rows) of tiles."""
    r, _, channels, features = conv.weight.shape
    n = m + r - 1
    images = conv.output.shape[0]
    top = first * m
    high = min(rows * m + r - 1, conv.x.shape[2].value - top)
    x = _rows_of(conv.x, 2, top, high)
    out = _rows_of(conv.output, 2, top, min(rows * m, conv.output.shape[2].value - top))
    name = f"{conv.output.name}_{label}"
    tiles = _planes(f"{name}_tiles", (n * n, channels, images, rows * across), lanes)
    products = _planes(f"{name}_products", (n * n, features, images, rows * across), lanes)
    tile_axes, product_axes, axes = (
        tuple(var(f"winograd_{label}_{stem}{i}", d) for i, d in enumerate(t.shape))
        for stem, t in (("v", tiles), ("p", products), ("o", out))
    )
    channel = var(f"winograd_{label}_c", channels)
    moved = {old: ix(new) for old, new in zip(conv.axes, axes, strict=True)}
    moved[conv.axes[2]] = ix(axes[2]) + top
    finish = _shift_reads(reindex(conv.finish, moved), axes[2], top)
    shared: dict[str, Any] = {"nodes": conv.nodes, "guard": conv.guard}
    at = (ix(product_axes[0]), ix(channel), ix(product_axes[2]), ix(product_axes[3]))
    size = (ix(rows), ix(across))
    return [
        WinogradInput(tiles, tile_axes, Acc("f32"), x, m, r, size, **shared),
        Dense(products, product_axes, Acc("f32"), 1, (), channel, tiles, at, weight, 0, **shared),
        WinogradOutput(out, axes, finish, products, m, r, size, **shared),
    ]


def _planes(name: str, shape: tuple[int, int, Ix, int], lanes: int) -> Tensor:
    """A tensor of planes [channels, images, tiles], which a transform walks all at once: padded, where need be, so that
    planes of one image do not start on the same few sets of the first cache."""
    planes, channels, images, tiles = shape
    blocks = -(-channels // lanes)
    whole = channels % lanes == 0
    more, longer = min(
        ((b, t) for b in (range(2) if whole else (0,)) for t in range(2)),
        key=lambda p: (math.gcd((blocks + p[0]) * (tiles + p[1]) * lanes * 4, 4096) > 256, (blocks + p[0]) * (tiles + p[1])),
    )  # fmt: skip
    wanted = (ix(planes), ix(channels), images, ix(tiles))
    if not more and not longer:
        return Tensor(name, "f32", wanted)
    padded = (ix(planes), ix(channels + more * lanes), images, ix(tiles + longer))
    return Tensor(name, "f32", wanted, region=(Tensor(f"{name}_padded", "f32", padded), (ix(0),) * 4))


def _rows_of(tensor: Tensor, axis: int, start: int, size: int) -> Tensor:
    """The part of a tensor from `start` on along an axis."""
    if start == 0 and tensor.shape[axis] == ix(size):
        return tensor
    origin = tuple(ix(start) if i == axis else ix(0) for i in range(tensor.rank))
    shape = tuple(ix(size) if i == axis else d for i, d in enumerate(tensor.shape))
    return Tensor(f"{tensor.name}_{start}", tensor.dtype, shape, tensor.kind, region=(tensor, origin))


def _shift_reads(value: Value, row: Var, start: int) -> Value:
    """Reads at row + start made reads at row of the part from start on: equal for every group of rows."""

    def leaf(node: Value) -> Value | None:
        if not isinstance(node, Read) or start == 0:
            return None
        for axis, at in enumerate(node.index):
            if at == ix(row) + start and node.tensor.shape[axis].is_const:
                part = _rows_of(node.tensor, axis, start, node.tensor.shape[axis].value - start)
                index = tuple(ix(row) if i == axis else e for i, e in enumerate(node.index))
                return Read(part, index)
        return None

    return rewrite(value, leaf)
