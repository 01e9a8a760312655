"""One arena for everything between inputs and outputs, planned at compile time from lifetimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingot.ir.index import Ix, Monomial, evaluate, ix, maximum
from ingot.ir.nodes import DTYPES
from ingot.ir.program import Program, Recurrent, Tensor
from ingot.schedule.layout import Layout

ALIGN = 64


@dataclass
class Plan:
    """Where every temporary lies.

    offsets: bytes from the arena's start, by tensor; size: bytes of the arena; both expressions of the symbols.
    lower_bound, typical_size: the largest sum of bytes alive at once, and `size`, where the symbols have `typical` values.
    """

    offsets: dict[Tensor, Ix]
    size: Ix
    typical: dict[str, int]
    lower_bound: int
    typical_size: int


@dataclass
class _Life:
    """A tensor's bytes, from its first to its last operation. size: the bytes at typical values."""

    tensor: Tensor
    first: int
    last: int
    bytes: Ix
    size: int


Placed = tuple[dict[Tensor, Ix], Ix]


def plan(program: Program, layouts: Mapping[Tensor, Layout]) -> Plan:
    """Place every temporary at an offset where nothing else lives at the same time."""
    values = typical_values(program)
    lives = _lifetimes(program, layouts, values)
    candidates = [_by_unit(lives, values)]
    if any(not life.bytes.is_const for life in lives):
        candidates.append(_slots(lives))
    offsets, size = min(candidates, key=lambda placed: evaluate(placed[1], values))
    return Plan(offsets, size, values, _lower_bound(lives), evaluate(size, values))


def typical_values(program: Program) -> dict[str, int]:
    """The symbol values at which sizes are compared and reported: 1 for a first dimension (a batch), else 64."""
    first = {t.shape[0] for t in program.inputs if t.shape}
    return {v.name: 1 if ix(v) in first else 64 for v in program.symbols}


def _lifetimes(program: Program, layouts: Mapping[Tensor, Layout], values: Mapping[str, int]) -> list[_Life]:
    lives: dict[Tensor, _Life] = {}
    for i, operation in enumerate(program.operations):
        touched = [operation.output, *operation.inputs()]
        if isinstance(operation, Recurrent):
            touched += operation.last
        for tensor in touched:
            root = tensor.root()[0]
            if root.kind != "temp":
                continue
            if root not in lives:
                padded = _aligned(layouts[root].size(root.shape) * DTYPES[root.dtype].itemsize)
                lives[root] = _Life(root, i, i, padded, evaluate(padded, values))
            lives[root].last = i
    return list(lives.values())


def _aligned(size: Ix) -> Ix:
    """At least `size` bytes, a multiple of the alignment: where symbols scale it, each unit of them is one."""
    if len(size.terms) == 1:
        ((monomial, coefficient),) = size.terms
        return Ix(((monomial, -(-coefficient // ALIGN) * ALIGN),))
    return size.ceildiv(ALIGN) * ALIGN


def _lower_bound(lives: list[_Life]) -> int:
    moments = {life.first for life in lives}
    return max((sum(x.size for x in lives if x.first <= t <= x.last) for t in moments), default=0)


_ORDERS: tuple[Callable[[_Life], tuple[int, int]], ...] = (
    lambda x: (-x.size, x.first),
    lambda x: (-x.size * (x.last - x.first + 1), x.first),
    lambda x: (x.first, -x.size),
    lambda x: (-(x.last - x.first), -x.size),
)


def _by_unit(lives: list[_Life], values: Mapping[str, int]) -> Placed:
    """Tensors whose sizes are multiples of the same product of symbols are placed together, in that unit; each unit
    has a part of the arena, and sizes that are no such multiple share slots in the last part."""
    units: dict[Monomial | None, list[_Life]] = {}
    for life in lives:
        unit = life.bytes.terms[0][0] if len(life.bytes.terms) == 1 else () if life.bytes.is_const else None
        units.setdefault(unit, []).append(life)
    offsets: dict[Tensor, Ix] = {}
    base = ix(0)
    for unit, members in units.items():
        if unit is None:
            placed, size = _slots(members)
        else:
            scale = Ix(((unit, 1),))
            sizes = {life.tensor: dict(life.bytes.terms).get(unit, 0) for life in members}
            numbers, top = min(
                (_fit(members, sizes, order) for order in _ORDERS), key=lambda fitted: fitted[1]
            )
            placed, size = {tensor: scale * at for tensor, at in numbers.items()}, scale * top
        offsets |= {tensor: base + at for tensor, at in placed.items()}
        base = base + size
    return offsets, base


def _fit(
    lives: list[_Life], sizes: Mapping[Tensor, int], order: Callable[[_Life], tuple[int, int]]
) -> tuple[dict[Tensor, int], int]:
    """Each in turn at the lowest offset free during its life."""
    placed: list[tuple[int, _Life]] = []
    top = 0
    for life in sorted(lives, key=order):
        size = sizes[life.tensor]
        busy = sorted(
            (at, at + sizes[x.tensor]) for at, x in placed if x.first <= life.last and life.first <= x.last
        )
        offset = 0
        for start, end in busy:
            if start - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, life))
        top = max(top, offset + size)
    return {x.tensor: at for at, x in placed}, top


def _slots(lives: list[_Life]) -> Placed:
    """Tensors that never live together share a slot as large as the largest of them."""
    slots: list[list[_Life]] = []
    for life in sorted(lives, key=lambda x: (-x.size, x.first)):
        for slot in slots:
            if all(x.last < life.first or life.last < x.first for x in slot):
                slot.append(life)
                break
        else:
            slots.append([life])
    offsets: dict[Tensor, Ix] = {}
    at = ix(0)
    for slot in slots:
        size = ix(0)
        for life in slot:
            size = maximum(size, life.bytes)
            offsets[life.tensor] = at
        at = at + size
    return offsets, at
