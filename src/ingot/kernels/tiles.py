"""How a loop is cut into register tiles, and which tile is best."""

from __future__ import annotations

from dataclasses import dataclass

from ingot.ir.index import Ix, ix, maximum, minimum
from ingot.target import Target


@dataclass(frozen=True)
class Run:
    """`count` tiles of `size` elements, the first at `start`."""

    start: Ix
    count: Ix
    size: int


def cut(extent: Ix, most: int) -> list[Run]:
    """Cover [0, extent) with tiles of at most `most`: a constant extent evenly (128 = 8 x 13 + 2 x 12), any other by
    full tiles, tiles of a little more than half, and a rest of fours, twos and ones. Two of the halves stand for a full
    tile and a rest of two (16 = 8 + 8), in which each weight would serve two rows alone."""
    if extent.is_const:
        n = extent.value
        tiles = -(-n // most)
        if tiles == 0:
            return []
        large, size = n % tiles or tiles, -(-n // tiles)
        runs = [Run(ix(0), ix(large), size)]
        if large < tiles:
            runs.append(Run(ix(large * size), ix(tiles - large), size - 1))
        return runs
    runs, start = [], ix(0)

    def add(count: Ix, size: int) -> None:
        nonlocal start
        runs.append(Run(start, count, size))
        start = start + count * size

    if most >= 6:
        most -= most % 2
        half, full, rest = most // 2 + 1, extent // most, extent % most
        split = rest % 4 // 2 * (1 - rest // half) * minimum(full, 1)
        add(full - split, most)
        add(rest // half + split * 2, half)
    else:
        add(extent // most, most)
    for size in (4, 2, 1):
        if size < most:
            add((extent - start) // size, size)
    return runs


def most_rows(target: Target, vectors: int) -> int:
    """The rows of accumulators that fit beside `vectors` weight vectors and one broadcast; for one vector, compilers want
    two registers more, or keep sums in memory."""
    return max((target.registers - vectors - (3 if vectors == 1 else 1)) // vectors, 1)


DEEP = 128
"""Products of a sum from which on a panel of weights does not stay in the first cache between two tiles."""


def tile_cost(rows: int, vectors: int, half: bool, steps: int) -> float:
    """Cycles of a tile: of each multiply step arithmetic, loads or latency, whichever is longest; lines of x that come
    from L2, where the channels are too many to be read ahead; weights that come from there; and start and end. A tile that
    needs all registers takes longer, most of all where addresses of x need some.

    half: the vectors have 32 bytes at most, so that two are multiplied in a cycle.
    """
    unit = 0.5 if half else 1.0
    step = max(rows * vectors * unit, (rows + vectors) * 0.5, 4.0)
    sums = rows * vectors
    if steps >= DEEP:
        step += 0.24 * vectors
    if half:
        step += 0.3 + (0.1 * rows if vectors == 1 else 0.0) + (0.7 if sums >= 28 else 0.0)
        return steps * step + 20.0
    edges = max(2.2 * sums - 24.0, 5.0)
    if sums >= 28:
        edges, step = edges + 25.0, step + 0.3
    return steps * (step + 0.04 * rows * min(steps / 128, 1.0)) + edges


@dataclass(frozen=True)
class Tile:
    """rows x columns positions (columns along the last axis) times vectors of features."""

    rows: int
    columns: int
    vectors: int


UNEVEN = 1.05
"""What tiles of several rows cost more, measured at 7x7."""
WORST = 1.5
"""How many times the least estimate a tile may cost to be told of."""


def rank(
    target: Target,
    steps: int,
    rows: Ix,
    columns: Ix,
    vectors: int,
    half: bool,
    *,
    from_memory: bool = False,
) -> list[tuple[float, Tile]]:
    """The best tile of each width for rows x columns positions and so many vectors of features, the least estimate first.

    Each with the estimate in cycles. steps: multiply-adds of each sum. half: the vectors are half of the target's.
    from_memory: the weights overflow the caches, so the first tile of a panel waits for them. Rows whose number is known
    only at run time count as one, columns as a long row; what is empty counts as one too.
    """
    half = half or target.lanes <= 8
    rows, columns, vectors = maximum(rows, 1), maximum(columns, 1), max(vectors, 1)
    best: list[tuple[float, Tile]] = []
    limit = 8 if columns == ix(1) else 4
    for v in range(1, min(limit, vectors) + 1):
        arriving = ((4.0 if half else 6.0) + 2.0 / v) * steps if from_memory else 0.0
        most = min(most_rows(target, v), 16)
        panels = [v] * (vectors // v) + ([vectors % v] if vectors % v else [])
        found: list[tuple[float, Tile]] = []
        for tall in (1, 2, 3, 4, 7):
            if tall > most:
                continue
            if tall > 1 and not (
                rows.is_const and columns.is_const and columns.value * tall <= most and rows.value >= tall
            ):
                continue
            width = most // tall
            cost = 0.0
            for p in panels:
                tiles = [
                    (across[0] * down[0], tile_cost(across[1] * down[1], p, half, steps))
                    for across in _sizes(columns, width, 64)
                    for down in _sizes(rows, tall, 1)
                ]
                cost += sum(n * c for n, c in tiles)
                cost += max(arriving * p - tiles[0][1], 0.0)
            found.append((cost * (UNEVEN if tall > 1 else 1.0), Tile(tall, width, v)))
        best.append(min(found, key=lambda pair: pair[0]))
    least = min(cost for cost, _ in best)
    best.sort(key=lambda pair: round(pair[0] / least, 3))
    return [pair for pair in best if pair[0] <= least * WORST]


def _sizes(extent: Ix, most: int, usual: int) -> list[tuple[int, int]]:
    """(how many, size) of the tiles of an extent; one that is known only at run time counts as `usual`."""
    return [
        (run.count.value, run.size)
        for run in (cut(extent, most) if extent.is_const else [Run(ix(0), ix(max(usual // most, 1)), most)])
    ]
