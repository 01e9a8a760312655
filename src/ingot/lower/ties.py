"""Sizes that nothing bounds where they arise, told by what uses them.

A first lowering gives each of them a symbol as its bound and collects what must be equal: the two operands of an
elementwise operator, a tensor and what it is reshaped to, an output and the shape that the model states for it. Where
that says what a size must be, a second lowering has it, and the run checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ingot.ir.index import Ix, Var, ix, minimum, nonnegative, substitute

Place = tuple[str, int]
"""The name of a node's output and the axis; axis TURNS, of the first output with a name: the turns of a loop."""
TURNS = -1


@dataclass
class Ties:
    """limits: what the user says that symbols of shapes are at most. known: what sizes must be, by their places. most: what
    others cannot exceed. looking: whether this lowering is the first. open: the sizes without a bound that it has met."""

    limits: Mapping[str, int] = field(default_factory=dict)
    known: dict[Place, Ix] = field(default_factory=dict)
    most: dict[Place, Ix] = field(default_factory=dict)
    looking: bool = False
    open: dict[Ix, Place] = field(default_factory=dict)
    _equal: list[tuple[Ix, Ix]] = field(default_factory=list)
    _limited: list[tuple[Ix, int]] = field(default_factory=list)

    def hole(self, unique: Callable[[str], str]) -> Ix | None:
        """A bound that stands for the unknown one, where such are looked for."""
        return ix(Var(unique("bound"), None, 0)) if self.looking else None

    def note(self, place: Place, size: Ix) -> None:
        """A size whose bound is a hole."""
        self.open[size] = place

    def equal(self, a: Ix, b: Ix) -> None:
        """Two sizes that are equal in every run."""
        if self.looking and a != b:
            self._equal.append((a, b))

    def stated(self, shape: Sequence[Ix], declared: Sequence[int | str | None] | None) -> None:
        """A shape, and what the model states for it: equal where that is an integer, no more than a symbol's limit."""
        if self.open and declared is not None:
            for d, size in zip(shape, declared, strict=False):
                if isinstance(size, int):
                    self.equal(d, ix(size))
                elif size is not None and size in self.limits:
                    self._limited.append((d, self.limits[size]))

    def solved(self, inputs: Collection[Var]) -> Ties:
        """What is found of the open sizes, in expressions of the inputs' symbols."""
        places = {next(iter(size.variables())): place for size, place in self.open.items()}
        gaps = [a - b for a, b in self._equal]
        found: dict[Var, Ix] = {}
        progress = True
        while progress:
            progress = False
            for gap in gaps:
                solution = _solve(substitute(gap, found), places.keys() - found.keys(), inputs)
                if solution is not None:
                    found = {s: substitute(value, dict([solution])) for s, value in found.items()}
                    found[solution[0]] = solution[1]
                    progress = True
        tops: dict[Var, Ix] = {}
        reached = [_tops(substitute(gap, found)) for gap in gaps]
        reached += [_tops(substitute(d, found) - limit, exact=False) for d, limit in self._limited]
        for symbol, top in (pair for some in reached for pair in some.items()):
            tops[symbol] = minimum(tops.get(symbol, top), top)
        exact = {s: value for s, value in found.items() if value.variables() <= set(inputs)}
        for s in places.keys() - exact.keys():
            same = next(iter(found.get(s, ix(s)).variables()))
            if same in tops:
                tops[s] = tops[same]
        return Ties(self.limits, _by_place(places, exact), _by_place(places, tops))


def _by_place(places: Mapping[Var, Place], values: Mapping[Var, Ix]) -> dict[Place, Ix]:
    """Values by place; none where a place has several sizes that do not agree."""
    found: dict[Place, set[Ix | None]] = {}
    for symbol, place in places.items():
        found.setdefault(place, set()).add(values.get(symbol))
    return {p: v for p, several in found.items() for v in several if len(several) == 1 and v is not None}


def _solve(gap: Ix, unknown: Collection[Var], inputs: Collection[Var]) -> tuple[Var, Ix] | None:
    """An unknown of an expression that is 0, and what it must be: of symbols of inputs, or another unknown."""
    symbols = gap.variables()
    mine = sorted(symbols & set(unknown), key=lambda v: v.name)
    if len(mine) == 2 and gap in (ix(mine[0]) - mine[1], ix(mine[1]) - mine[0]):
        return mine[0], ix(mine[1])
    if len(mine) != 1 or not symbols - set(mine) <= set(inputs):
        return None
    parts = gap.split(mine[0])
    if parts is None or not parts[0]:
        return None
    factor, rest = parts if parts[0] < 0 else (-parts[0], -parts[1])
    value = rest // -factor
    return (mine[0], value) if value * -factor == rest and nonnegative(value) else None


def _tops(gap: Ix, exact: bool = True) -> dict[Var, Ix]:
    """What the symbols of a sum that is 0 are at most, where all but a constant has one sign, and they are sizes.
    exact: or else the sum may be less than 0."""
    total = dict(gap.terms).get((), 0)
    terms = [(monomial, abs(c), c < 0) for monomial, c in gap.terms if monomial]
    factors = [f for monomial, _, _ in terms for f in monomial]
    sizes = all(isinstance(f, Var) and f.least is not None and f.least >= 0 for f in factors)
    if (
        not sizes
        or {negative for _, _, negative in terms} != {total > 0}
        or not total
        or (total > 0 and not exact)
    ):
        return {}
    return {
        f: ix(abs(total) // c)
        for monomial, c, _ in terms
        for f in monomial
        if isinstance(f, Var) and (len(monomial) == 1 or len(terms) == 1)
    }
