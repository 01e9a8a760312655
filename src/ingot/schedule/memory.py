"""One arena for everything between inputs and outputs, planned at compile time from lifetimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingot.ir.bounds import most
from ingot.ir.index import Ix, Monomial, evaluate, ix, maximum
from ingot.ir.nodes import Read, Text, size_of, walk
from ingot.ir.program import (
    Attention,
    Fill,
    Operation,
    Program,
    Recurrent,
    Routine,
    Row,
    Tensor,
    loop_locals,
)
from ingot.schedule.layout import Layout

ALIGN = 64
ROUNDS = 32
"""How often an order of tensors is changed for a smaller arena."""
WORK = 2_000_000
"""Pairs of tensors that changing one order may look at."""


@dataclass
class Plan:
    """Where every temporary lies.

    offsets: bytes from the arena's start, by tensor; size: bytes of the arena; both expressions of the symbols. lives:
    what the arena holds, and when. lower_bound, typical_size: the largest sum of bytes alive at once, and `size`, where
    the symbols have `typical` values.
    """

    offsets: dict[Tensor, Ix]
    size: Ix
    typical: dict[str, int]
    lower_bound: int
    typical_size: int
    lives: list[Life]


@dataclass
class Life:
    """The bytes that some tensors share, from the first to the last operation. size: the bytes at typical values."""

    tensors: list[Tensor]
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
    return Plan(
        offsets, size, values, _lower_bound(lives, [x.size for x in lives]), evaluate(size, values), lives
    )


def typical_values(program: Program) -> dict[str, int]:
    """The symbol values at which sizes are compared and reported: the largest where there is one, otherwise 1 for a first
    dimension (a batch), else 64."""
    first = {t.shape[0] for t in program.inputs if t.shape}
    values = {v.name: v.limit or (1 if ix(v) in first else 64) for v in program.symbols}
    for symbol, bound in program.bounds().items():
        values[symbol.name] = 0 if bound is None else evaluate(bound, values)
    return values


def _lifetimes(program: Program, layouts: Mapping[Tensor, Layout], values: Mapping[str, int]) -> list[Life]:
    """A life for each storage; operations that can work in place share one.

    What a loop and something outside of it touch lives for the whole loop: turns come back to its start. Bytes that
    strings lie in live to the end.
    """
    bounds = program.bounds()
    spans: dict[Tensor, list[int]] = {}
    writers: dict[Tensor, int] = {}
    for i, operation in enumerate(program.operations):
        written = operation.writes()
        for root in {t.root()[0]: None for t in [*written, *operation.inputs()]}:
            if root.kind in ("temp", "state"):
                spans.setdefault(root, [i, i])[1] = i
        for root in {t.root()[0]: None for t in written}:
            writers[root] = writers.get(root, 0) + 1
    for operation in program.operations:
        for value in operation.expressions():
            for node in walk(value):
                if isinstance(node, Text) and isinstance(node.at, Read) and node.at.tensor in spans:
                    spans[node.at.tensor][1] = len(program.operations)
    lasting: set[Tensor] = set()
    for first, last, own in loop_locals(program.operations).values():
        for tensor, span in spans.items():
            if tensor not in own and span[0] <= last and first <= span[1]:
                span[:] = [min(span[0], first), max(span[1], last)]
                lasting.add(tensor)
    storage = {tensor: tensor for tensor in spans}
    for i, operation in enumerate(program.operations):
        output = operation.output
        if output in spans and output.region is None and writers[output] == 1:
            for tensor in operation.inputs():
                source = tensor.root()[0]
                if source in lasting or output in lasting:
                    continue
                if source in spans and spans[source][1] == i and works_in_place(operation, source, layouts):
                    storage[output] = storage[source]
                    break
    lives: dict[Tensor, Life] = {}
    for tensor, (first, last) in spans.items():
        owner = storage[tensor]
        if owner not in lives:
            size = most(layouts[owner].size(owner.shape), bounds)
            assert size is not None, f"{owner} has no bound"
            padded = _aligned(size * size_of(owner.dtype))
            lives[owner] = Life([owner], first, last, padded, evaluate(padded, values))
        if tensor is not owner:
            lives[owner].tensors.append(tensor)
        lives[owner].first = min(lives[owner].first, first)
        lives[owner].last = max(lives[owner].last, last)
    return list(lives.values())


def works_in_place(operation: Operation, source: Tensor, layouts: Mapping[Tensor, Layout]) -> bool:
    """Whether the output may overwrite `source`, which nothing reads later: every element of it is read only where
    the same element of the output is written, and before. A Row keeps its values in the output until it finishes."""
    output = operation.output
    if size_of(source.dtype) != size_of(output.dtype) or isinstance(
        operation, Attention | Recurrent | Routine | Fill
    ):
        return False
    if layouts[source].size(source.shape) != layouts[output].size(output.shape):
        return False
    if any(t.root()[0] is source for t in [*operation.tensors(), *operation.flags()]):
        return False
    here = layouts[output].offset([ix(a) for a in operation.axes], output.shape)
    for name, value in operation.values().items():
        for node in walk(value):
            if not isinstance(node, Read) or node.tensor.root()[0] is not source:
                continue
            _, origin = node.tensor.root()
            at = [i + o for i, o in zip(node.index, origin, strict=True)]
            once = name == ("value" if isinstance(operation, Row) else "finish")
            if not once or layouts[source].offset(at, source.shape) != here:
                return False
    return True


def _aligned(size: Ix) -> Ix:
    """At least `size` bytes, a multiple of the alignment: where symbols scale it, each unit of them is one."""
    if len(size.terms) == 1:
        ((monomial, coefficient),) = size.terms
        return Ix(((monomial, -(-coefficient // ALIGN) * ALIGN),))
    return size.ceildiv(ALIGN) * ALIGN


def _lower_bound(lives: list[Life], sizes: Sequence[int]) -> int:
    """The most that lives at once, of lives of such sizes."""
    sized = list(zip(lives, sizes, strict=True))
    moments = {life.first for life in lives}
    return max((sum(n for x, n in sized if x.first <= t <= x.last) for t in moments), default=0)


_ORDERS: tuple[Callable[[Life], tuple[int, int]], ...] = (
    lambda x: (-x.size, x.first),
    lambda x: (-x.size * (x.last - x.first + 1), x.first),
    lambda x: (x.first, -x.size),
    lambda x: (-(x.last - x.first), -x.size),
)


def _by_unit(lives: list[Life], values: Mapping[str, int]) -> Placed:
    """Tensors whose sizes are multiples of the same product of symbols are placed together, in that unit; each unit
    has a part of the arena, and sizes that are no such multiple share slots in the last part."""
    units: dict[Monomial | None, list[Life]] = {}
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
            numbers, top = _best(members, unit)
            placed, size = {tensor: scale * at for tensor, at in numbers.items()}, scale * top
        offsets |= {tensor: base + at for tensor, at in placed.items()}
        base = base + size
    return offsets, base


def _best(lives: list[Life], unit: Monomial) -> tuple[dict[Tensor, int], int]:
    """The lowest of several orders; where none reaches the bound, what lies highest goes first, and so on."""
    bound = _lower_bound(lives, [_count(life, unit) for life in lives])
    rounds = max(1, min(ROUNDS, WORK // len(lives) ** 2))
    best: tuple[dict[Tensor, int], int] | None = None
    for key in _ORDERS:
        order = sorted(lives, key=key)
        for _ in range(rounds):
            offsets, top = _fit(order, unit)
            if best is None or top < best[1]:
                best = offsets, top
            if top == bound:
                return best
            highest = next(x for x in order if offsets[x.tensors[0]] + _count(x, unit) == top)
            if highest is order[0]:
                break
            order.remove(highest)
            order.insert(0, highest)
    assert best is not None
    return best


def _count(life: Life, unit: Monomial) -> int:
    """Its bytes, in multiples of the unit."""
    return dict(life.bytes.terms).get(unit, 0)


def _fit(order: Sequence[Life], unit: Monomial) -> tuple[dict[Tensor, int], int]:
    """Each in turn at the lowest offset free during its life; all in multiples of the unit."""
    placed: list[tuple[int, int, Life]] = []
    top = 0
    for life in order:
        size = _count(life, unit)
        busy = sorted((at, end) for at, end, x in placed if x.first <= life.last and life.first <= x.last)
        offset = 0
        for start, end in busy:
            if start - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, life))
        top = max(top, offset + size)
    return {tensor: at for at, _, x in placed for tensor in x.tensors}, top


def _slots(lives: list[Life]) -> Placed:
    """Tensors that never live together share a slot as large as the largest of them."""
    slots: list[list[Life]] = []
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
            offsets |= dict.fromkeys(life.tensors, at)
        at = at + size
    return offsets, at
