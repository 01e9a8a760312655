"""3x3 convolutions of stride 1 become transforms and a batch of products, where that is estimated to be faster."""

from __future__ import annotations

from ingot.ir.index import Ix, ix, var
from ingot.ir.nodes import Acc
from ingot.ir.program import Dense, Operation, Program, Tensor, WinogradInput, WinogradOutput
from ingot.kernels.winograd import TAPS, transform_weight
from ingot.target import Target

SIZES = (4, 2)
"""Tile sizes considered. F(6) is faster on large maps but its rounding is twice F(4)'s."""


def use_winograd(program: Program, target: Target) -> int:
    """Replace convolutions. Mutates the program; gives how many it replaced."""
    operations: list[Operation] = []
    count = 0
    for operation in program.operations:
        m = _best(operation, target) if isinstance(operation, Dense) and _fits(operation) else None
        if m is None:
            operations.append(operation)
        else:
            assert isinstance(operation, Dense)
            operations += _replace(operation, m, count)
            count += 1
    program.operations = operations
    return count


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


def _best(conv: Dense, target: Target) -> int | None:
    """The tile size with the least estimated time, None for the direct convolution.

    In cycles for one image: multiply-adds at one vector a cycle, transforms at about four operations a loaded vector,
    weights from memory at 8 bytes a cycle where they overflow the L2 cache.
    """
    _, _, channels, features = conv.weight.shape
    if channels < target.lanes or features < target.lanes:
        return None
    height, width = (d.value for d in conv.output.shape[2:])
    lanes = target.lanes

    def streaming(size: int) -> float:
        return size * 4 / 8 if size * 4 > target.l2 else 0.0

    direct_work = height * width * channels * features * TAPS * TAPS / lanes
    best, choice = max(direct_work, streaming(conv.weight.size)), None
    for m in SIZES:
        n = m + TAPS - 1
        down, across = (t.value for t in _tiles(conv, m))
        tiles = down * across
        products = max(n * n * tiles * channels * features / lanes, streaming(n * n * channels * features))
        transforms = tiles * n * n * 4.0 * (channels + features) / lanes
        overhead = 3000.0
        cost = products * (1.1 if tiles >= 8 else 14 / max(tiles, 1)) + transforms * 1.5 + overhead
        if cost < best * 0.9:
            best, choice = cost, m
    return choice


def _replace(conv: Dense, m: int, number: int) -> list[Operation]:
    n = m + TAPS - 1
    images = conv.output.shape[0]
    down, across = _tiles(conv, m)
    _, _, channels, features = conv.weight.shape
    name = conv.output.name
    tiles = Tensor(f"{name}_tiles", "f32", (ix(n * n), ix(channels), images, down * across))
    products = Tensor(f"{name}_products", "f32", (ix(n * n), ix(features), images, down * across))
    stem = f"winograd{number}_"
    tile_axes = tuple(var(f"{stem}v{i}", d) for i, d in enumerate(tiles.shape))
    axes = tuple(var(f"{stem}p{i}", d) for i, d in enumerate(products.shape))
    channel = var(f"{stem}c", channels)
    shared = {"nodes": conv.nodes, "guard": conv.guard}
    multiply = Dense(
        products,
        axes,
        Acc("f32"),
        1,
        (),
        channel,
        tiles,
        (ix(axes[0]), ix(channel), ix(axes[2]), ix(axes[3])),
        transform_weight(conv.weight, m),
        0,
        **shared,  # type: ignore[arg-type]
    )
    return [
        WinogradInput(tiles, tile_axes, Acc("f32"), conv.x, m, (down, across), **shared),  # type: ignore[arg-type]
        multiply,
        WinogradOutput(conv.output, conv.axes, conv.finish, products, m, (down, across), **shared),  # type: ignore[arg-type]
    ]
