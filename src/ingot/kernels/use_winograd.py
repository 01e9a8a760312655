"""3x3 convolutions of stride 1 become transforms and a batch of products, where that is estimated to be faster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingot.ir.index import Ix, Var, ix, show, var
from ingot.ir.nodes import DTYPES, Acc, Read, Value, reindex, rewrite
from ingot.ir.program import Dense, Operation, Program, Tensor, WinogradInput, WinogradOutput
from ingot.kernels.choice import Candidate, Choices
from ingot.kernels.winograd import TAPS, transform_weight
from ingot.target import Target

SIZES = {"f32": (4, 2), "bf16": (2,)}
"""Tile sizes considered, by precision. F(6) is faster on large maps but its rounding is twice F(4)'s, which is too much
where tiles are rounded to bf16."""

MOST = 5
"""Ways to compute a convolution that are told of."""
WORST = 2.0
"""How many times the least estimate one may cost to be told of."""


@dataclass(frozen=True)
class Method:
    """F(m) on `rows` rows of tiles at a time."""

    m: int
    rows: int


def use_winograd(program: Program, target: Target, choices: Choices, precision: str = "f32") -> int:
    """Replace convolutions. precision: of the products. Mutates the program; gives how many it replaced."""
    operations: list[Operation] = []
    count = 0
    for operation in program.operations:
        made: list[Operation] = [operation]
        fits = isinstance(operation, Dense) and _fits(operation)
        if isinstance(operation, Dense) and fits and (methods := _methods(operation, target, precision)):
            key = _key(operation) + (f" in {precision}" if precision != "f32" else "")
            method = choices.pick(key, methods, operation, method=True).value
            if method is not None:
                made = _replace(operation, method, count, target.lanes)
                count += 1
            choices.decided(key, made)
        operations += made
    program.operations = operations
    return count


def _key(conv: Dense) -> str:
    _, _, channels, features = conv.weight.shape
    shape = "x".join(map(show, conv.output.shape))
    reads = len(conv.reads())
    return f"method of 3x3x{channels}x{features} to {shape}" + (f", {reads} read at the end" if reads else "")


def _fits(conv: Dense) -> bool:
    """A 3x3 convolution of stride and dilation 1 over all channels of a tensor of known height and width."""
    if (
        len(conv.taps) != 2
        or conv.weight.shape[:2] != (TAPS, TAPS)
        or conv.output.rank != 4
        or conv.feature != 1
    ):
        return False
    n, _, y, x = conv.axes
    wanted = (ix(n), ix(conv.channel), ix(y) + ix(conv.taps[0]), ix(x) + ix(conv.taps[1]))
    if conv.x_index != wanted or conv.x.shape[1] != conv.channel.extent:
        return False
    return all(d.is_const for d in (*conv.x.shape[1:], *conv.output.shape[1:]))


def _tiles(conv: Dense, m: int) -> tuple[Ix, Ix]:
    return conv.output.shape[2].ceildiv(m), conv.output.shape[3].ceildiv(m)


def _methods(conv: Dense, target: Target, precision: str) -> list[Candidate[Method | None]]:
    """The ways to compute it, None for the direct convolution, the least estimated time first; [] for no choice.

    In cycles for one image: multiply-adds at one vector a cycle (of bf16 two), transforms at about four operations a
    loaded vector, weights from memory at 8 bytes a cycle where they overflow the L2 cache.
    """
    _, _, channels, features = conv.weight.shape
    if channels < target.lanes or features < target.lanes:
        return []
    height, width = (d.value for d in conv.output.shape[2:])
    lanes = target.lanes
    item = DTYPES[precision].itemsize
    rate = lanes * 4 // item

    def streaming(size: int) -> float:
        return size * item / 8 if size * item > target.l2 else 0.0

    direct_work = height * width * channels * features * TAPS * TAPS / rate
    direct = max(direct_work, streaming(conv.weight.size))
    found: list[Candidate[Method | None]] = [Candidate("direct", direct * 0.9, None)]
    for m in SIZES[precision]:
        n = m + TAPS - 1
        down, across = (t.value for t in _tiles(conv, m))
        tiles = down * across
        products = max(n * n * tiles * channels * features / rate, streaming(n * n * channels * features))
        transforms = tiles * n * n * 4.0 * (channels + features) / lanes
        overhead = 3000.0
        cost = products * (1.1 if tiles >= 8 else 14 / max(tiles, 1)) + transforms * 1.5 + overhead
        for share, rows in enumerate(_heights(conv, m, target, item)):
            found.append(Candidate(f"F({m}) by {rows}", cost + share * overhead, Method(m, rows)))
    found.sort(key=lambda c: c.cost)
    return [c for c in found if c.cost <= found[0].cost * WORST][:MOST]


def _heights(conv: Dense, m: int, target: Target, item: int) -> list[int]:
    """How many rows of tiles to do at a time: so many that what lies between the transforms stays in L2, or in half.

    item: bytes of an element of a transformed tile; products are f32.
    """
    n = m + TAPS - 1
    down, across = (t.value for t in _tiles(conv, m))
    _, _, channels, features = conv.weight.shape
    row_bytes = n * n * (channels * item + features * 4) * across
    together = min(max(target.l2 // 2 // row_bytes, -(-MINIMUM // across)), down)
    groups = -(-down // together)
    return list(dict.fromkeys(-(-down // g) for g in (groups, groups * 2, max(groups // 2, 1))))


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


MINIMUM = 28
"""Tiles multiplied together at least, where the image has them: fewer would read the weights too often."""


def _group(
    conv: Dense, weight: np.ndarray, m: int, first: int, rows: int, across: int, label: str, lanes: int
) -> list[Operation]:
    """The operations for rows [first, first + rows) of tiles."""
    n = m + TAPS - 1
    images = conv.output.shape[0]
    _, _, channels, features = conv.weight.shape
    top = first * m
    high = min(rows * m + TAPS - 1, conv.x.shape[2].value - top)
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
        WinogradInput(tiles, tile_axes, Acc("f32"), x, m, size, **shared),
        Dense(products, product_axes, Acc("f32"), 1, (), channel, tiles, at, weight, 0, **shared),
        WinogradOutput(out, axes, finish, products, m, size, **shared),
    ]


def _planes(name: str, shape: tuple[int, int, Ix, int], lanes: int) -> Tensor:
    """A tensor of planes [channels, images, tiles], which a transform walks all at once: padded, where need be, so that
    planes of one image do not start on the same few sets of the first cache."""
    planes, channels, images, tiles = shape
    blocks = -(-channels // lanes)
    padded = min(
        ((b, t) for b in (blocks, blocks + 1) for t in (tiles, tiles + 1)),
        key=lambda p: (math.gcd(p[0] * p[1] * lanes * 4, 4096) > 256, p[0] * p[1]),
    )
    wanted = (ix(planes), ix(channels), images, ix(tiles))
    if padded == (blocks, tiles):
        return Tensor(name, "f32", wanted)
    root = Tensor(f"{name}_padded", "f32", (ix(planes), ix(padded[0] * lanes), images, ix(padded[1])))
    return Tensor(name, "f32", wanted, region=(root, (ix(0),) * 4))


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
