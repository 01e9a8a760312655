"""One arena for everything between inputs and outputs, planned at compile time from lifetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingot.ir.index import Ix, evaluate, ix, maximum
from ingot.ir.nodes import DTYPES
from ingot.ir.program import Program, Recurrent, Tensor
from ingot.schedule.layout import Layout

ALIGN = 64


@dataclass
class Plan:
    """offsets: bytes from the arena's start, by tensor. size: bytes of the arena. lower_bound: the largest sum of
    bytes alive at once, at the same symbol values. Sizes are expressions of the symbols."""

    offsets: dict[Tensor, Ix]
    size: Ix
    lower_bound: int
    representative: int


@dataclass
class _Life:
    tensor: Tensor
    first: int
    last: int
    bytes: Ix
    size: int


def plan(program: Program, layouts: Mapping[Tensor, Layout], bound: int = 64) -> Plan:
    """Place every temporary. bound: the value at which symbols are weighed against each other."""
    values = {v.name: bound for v in program.symbols}
    lives = _lifetimes(program, layouts, values)
    lower = _lower_bound(lives)
    if any(not life.bytes.is_const for life in lives):
        offsets, size = _slots(lives, values)
    else:
        offsets, size = min((_fit(lives, key) for key in _ORDERS), key=lambda r: r[1].value)
    return Plan(offsets, size, lower, evaluate(size, values))


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
                raw = layouts[root].size(root.shape) * DTYPES[root.dtype].itemsize
                padded = raw.ceildiv(ALIGN) * ALIGN
                lives[root] = _Life(root, i, i, padded, evaluate(padded, values))
            lives[root].last = i
    return list(lives.values())


def _lower_bound(lives: list[_Life]) -> int:
    moments = {life.first for life in lives}
    return max((sum(x.size for x in lives if x.first <= t <= x.last) for t in moments), default=0)


_ORDERS = (
    lambda x: (-x.size, x.first),
    lambda x: (-x.size * (x.last - x.first + 1), x.first),
    lambda x: (x.first, -x.size),
    lambda x: (-(x.last - x.first), -x.size),
)


def _fit(lives: list[_Life], key: object) -> tuple[dict[Tensor, Ix], Ix]:
    """Each in turn at the lowest offset free during its life."""
    placed: list[tuple[int, _Life]] = []
    top = 0
    for life in sorted(lives, key=key):  # type: ignore[call-overload]
        busy = sorted((at, at + x.size) for at, x in placed if x.first <= life.last and life.first <= x.last)
        offset = 0
        for start, end in busy:
            if start - offset >= life.size:
                break
            offset = max(offset, end)
        placed.append((offset, life))
        top = max(top, offset + life.size)
    return {x.tensor: ix(at) for at, x in placed}, ix(top)


def _slots(lives: list[_Life], values: Mapping[str, int]) -> tuple[dict[Tensor, Ix], Ix]:
    """Sizes known at run time: tensors that never live together share a slot as large as the largest of them."""
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


