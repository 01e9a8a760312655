"""What expressions of sizes that only a run tells are at most."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.ir.index import Atom, Ix, Var, ix, ix_of, maximum, minimum


def most(e: Ix, bounds: Mapping[Var, Ix | None]) -> Ix | None:
    """An expression that `e` never exceeds, free of the symbols in `bounds`, which gives the most that each may be.

    None where there is none. The symbols are taken to be at least 0.
    """
    total = ix(0)
    for monomial, coefficient in e.terms:
        if coefficient < 0 and any(v in bounds for f in monomial for v in ix_of(f).variables()):
            continue
        term = ix(coefficient)
        for factor in monomial:
            part = _most_of_factor(factor, bounds)
            if part is None:
                return None
            term = term * part
        total = total + term
    return total


def _most_of_factor(factor: Var | Atom, bounds: Mapping[Var, Ix | None]) -> Ix | None:
    if isinstance(factor, Var):
        return bounds.get(factor, ix_of(factor))
    if factor.kind == "data":
        return None
    a, b = factor.args
    assert isinstance(a, Ix)
    assert isinstance(b, Ix)
    varies = not b.variables().isdisjoint(bounds)
    first = most(a, bounds)
    if factor.kind == "div":
        return first if varies or first is None else first // b
    second = most(b, bounds)
    if factor.kind == "mod":
        ends = [x for x in (first, None if second is None else second - 1) if x is not None]
        return None if not ends else ends[0] if len(ends) == 1 else minimum(*ends)
    if factor.kind == "min":
        ends = [x for x in (first, second) if x is not None]
        return None if not ends else ends[0] if len(ends) == 1 else minimum(*ends)
    return None if first is None or second is None else maximum(first, second)
