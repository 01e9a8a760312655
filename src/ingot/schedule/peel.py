"""A padded convolution of few channels reads its input where it lies: at the borders with the taps that are inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from ingot.ir.index import Ix, Var, ix, substitute, var
from ingot.ir.nodes import Const, Read, reindex
from ingot.ir.program import Dense, Fill, Map, Operation, Program, Tensor

CHANNELS = 4
"""Most channels of the input; with more of them its copy costs little beside the products."""
PIECES = 9
"""Most parts that the output may fall into."""

Run = tuple[int, int, int, int]
"""Neighbouring outputs of an axis that use the same taps: the first and how many, the first tap and how many."""


def peel_borders(program: Program) -> int:
    """Where a tensor is copied into a border of zeros for one convolution, convolve the tensor itself in parts.

    Each output element sums the same products in the same order, less those with zeros of the border. Mutates program.
    """
    uses = program.uses()
    fills = {o.output: o for o in program.operations if isinstance(o, Fill)}
    copies = {o.output: o for o in program.operations if type(o) is Map}
    gone: set[Operation] = set()
    made: list[Operation] = []
    for operation in program.operations:
        fill = fills.get(operation.x) if isinstance(operation, Dense) else None
        copy = copies.get(fill.inner) if fill is not None else None
        parts = None
        if isinstance(operation, Dense) and fill is not None and copy is not None:
            if uses[fill.output] == [operation] and fill.inner not in uses:
                parts = _parts(operation, fill, copy)
            if parts is not None:
                gone |= {fill, copy}
        made.extend(parts or [operation])
    program.operations = [o for o in made if o not in gone]
    return len(gone) // 2


def _parts(operation: Dense, fill: Fill, copy: Map) -> list[Operation] | None:
    read, region = copy.finish, copy.output.region
    assert region is not None
    if not isinstance(read, Read) or read.index != tuple(map(ix, copy.axes)) or region[0] is not fill.output:
        return None
    if not isinstance(fill.finish, Const) or fill.finish.value != 0 or read.tensor.dtype != "f32":
        return None
    few = operation.channel.extent
    if few is None or not few.is_const or few.value > CHANNELS or operation.batched is not None:
        return None
    if not operation.guard == fill.guard == copy.guard:
        return None
    source, origin = read.tensor, region[1]
    if source.shape != copy.output.shape:
        return None
    padded = [a for a in range(source.rank) if source.shape[a] != fill.output.shape[a]]
    found = [_runs(operation, a, origin[a], source.shape[a]) for a in padded]
    walks = [w for w in found if w is not None]
    if len(walks) < len(found):
        return None
    count = 1
    for _, _, runs in walks:
        count *= len(runs)
    if count > PIECES:
        return None
    index = [i - o for i, o in zip(operation.x_index, origin, strict=True)]
    return list(_pieces(operation, source, index, walks))


def _runs(operation: Dense, axis: int, low: Ix, size: Ix) -> tuple[int, int, list[Run]] | None:
    """Which axis of the output and which tap walk an axis of x, and the runs; None where they do so otherwise."""
    at = operation.x_index[axis] - low
    outputs = [i for i, v in enumerate(operation.axes) if v in at.variables()]
    taps = [i for i, v in enumerate(operation.taps) if v in at.variables()]
    if len(outputs) != 1 or len(taps) != 1 or len(at.variables()) != 2 or not size.is_const:
        return None
    walk, tap = operation.axes[outputs[0]], operation.taps[taps[0]]
    by_output = at.split(walk)
    by_tap = by_output[1].split(tap) if by_output is not None else None
    if by_output is None or by_tap is None or not by_tap[1].is_const:
        return None
    assert walk.extent is not None
    assert tap.extent is not None
    if not walk.extent.is_const or not tap.extent.is_const:
        return None
    runs: list[Run] = []
    for o in range(walk.extent.value):
        start = by_tap[1].value + by_output[0] * o
        inside = [t for t in range(tap.extent.value) if 0 <= start + by_tap[0] * t < size.value]
        if not inside:
            return None
        if runs and runs[-1][2:] == (inside[0], len(inside)):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, *runs[-1][2:])
        else:
            runs.append((o, 1, inside[0], len(inside)))
    return outputs[0], taps[0], runs


def _pieces(
    operation: Dense, source: Tensor, index: list[Ix], walks: list[tuple[int, int, list[Run]]]
) -> Iterator[Operation]:
    output = operation.output
    for number, chosen in enumerate(product(*(runs for _, _, runs in walks))):
        axes, taps, weight = list(operation.axes), list(operation.taps), operation.weight
        origin = [ix(0)] * output.rank
        moved: dict[Var, Ix] = {}
        for (axis, tap, _), (start, length, first, some) in zip(walks, chosen, strict=True):
            axes[axis], taps[tap] = var(axes[axis].name, length), var(taps[tap].name, some)
            moved[operation.axes[axis]] = ix(axes[axis]) + start
            moved[operation.taps[tap]] = ix(taps[tap]) + first
            origin[axis] = ix(start)
            weight = weight.take(range(first, first + some), axis=tap)
        shape = tuple(
            ix(v.extent) if v.extent is not None else d for v, d in zip(axes, output.shape, strict=True)
        )
        piece = Tensor(f"{output.name}_{number}", output.dtype, shape, region=(output, tuple(origin)))
        yield replace(
            operation,
            output=piece,
            axes=tuple(axes),
            finish=reindex(operation.finish, moved),
            taps=tuple(taps),
            x=source,
            x_index=tuple(substitute(i, moved) for i in index),
            weight=weight,
        )
