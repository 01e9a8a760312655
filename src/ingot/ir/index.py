"""Integer expressions of loop variables, symbols and run-time integers: shapes, tensor indices and buffer offsets.

An `Ix` is a polynomial with integer coefficients, kept in normal form, so equal expressions compare equal.
Floor division and modulo are simplified with the ranges of the variables; that is what turns
`(c // 16) * 16 + c % 16` back into `c` once `c` is split as `16 * block + lane`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Union

IxLike = Union[int, "Ix", "Var"]


@dataclass(frozen=True, eq=False, slots=True)
class Var:
    """A loop variable (0 <= v < extent) or, with extent None, a symbol: an integer known at run time.

    least, limit: what a symbol is at least (1 for a dimension of an input) and at most; None where it may be any integer.
    counts: a symbol that numbers the turns of a loop over kernels; it may have an extent like a loop variable.
    """

    name: str
    extent: Ix | None = None
    least: int | None = 1
    limit: int | None = None
    counts: bool = False

    @property
    def is_symbol(self) -> bool:
        """Whether a kernel gets it as an argument."""
        return self.extent is None or self.counts

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Var) and self.name == other.name and self.extent == other.extent

    def __hash__(self) -> int:
        return hash(self.name)


class Atom:
    """An integer that is no polynomial: kind is "div", "mod", "min" or "max" of two `Ix`, or "data" of a value."""

    __slots__ = ("_hash", "_text", "args", "kind")

    def __init__(self, kind: str, args: tuple[object, ...]) -> None:
        self.kind, self.args = kind, args
        self._hash = hash((kind, args))
        self._text: str | None = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, Atom)
            and self._hash == other._hash
            and self.kind == other.kind
            and self.args == other.args
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        if self._text is None:
            self._text = f"{self.kind}({', '.join(map(repr, self.args))})"
        return self._text


Monomial = tuple[Var | Atom, ...]


def _rank(factor: Var | Atom) -> str:
    return factor.name if isinstance(factor, Var) else repr(factor)


class UnknownSizeError(ValueError):
    """An integer is needed where there is an expression of symbols."""


class Ix:
    """A polynomial: terms maps monomials (sorted factors) to coefficients, sorted, none zero."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Ix) and self._hash == other._hash and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    @property
    def is_const(self) -> bool:
        return not self.terms or (len(self.terms) == 1 and not self.terms[0][0])

    @property
    def value(self) -> int:
        """The integer this is. Raises UnknownSizeError if it is not a constant."""
        if not self.is_const:
            raise UnknownSizeError(f"{self} is not a constant")
        return self.terms[0][1] if self.terms else 0

    def __add__(self, other: IxLike) -> Ix:
        other = ix(other)
        if not other.terms:
            return self
        if not self.terms:
            return other
        total = dict(self.terms)
        for monomial, coefficient in other.terms:
            total[monomial] = total.get(monomial, 0) + coefficient
        return _make(total)

    __radd__ = __add__

    def __neg__(self) -> Ix:
        return Ix(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: IxLike) -> Ix:
        return self + (-ix(other))

    def __rsub__(self, other: IxLike) -> Ix:
        return ix(other) + (-self)

    def __mul__(self, other: IxLike) -> Ix:
        other = ix(other)
        if self.is_const and self.value == 1:
            return other
        if other.is_const:
            k = other.value
            return self if k == 1 else Ix(tuple((m, c * k) for m, c in self.terms)) if k else ix(0)
        total: dict[Monomial, int] = {}
        for ma, ca in self.terms:
            for mb, cb in other.terms:
                m = tuple(sorted(ma + mb, key=_rank))
                total[m] = total.get(m, 0) + ca * cb
        return _make(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: IxLike) -> Ix:
        return _divmod(self, ix(other))[0]

    def __rfloordiv__(self, other: IxLike) -> Ix:
        return _divmod(ix(other), self)[0]

    def __mod__(self, other: IxLike) -> Ix:
        return _divmod(self, ix(other))[1]

    def __rmod__(self, other: IxLike) -> Ix:
        return _divmod(ix(other), self)[1]

    def ceildiv(self, other: IxLike) -> Ix:
        other = ix(other)
        return (self + other - 1) // other

    def lower(self) -> int | None:
        """The least value over all values of the variables, or None where it is not known."""
        return _bound(self, upper=False)

    def upper(self) -> int | None:
        """The greatest value over all values of the variables, or None where it is not known."""
        return _bound(self, upper=True)

    def variables(self) -> set[Var]:
        """Every variable in it, also inside divisions and run-time values."""
        found: set[Var] = set()
        for monomial, _ in self.terms:
            for factor in monomial:
                if isinstance(factor, Var):
                    found.add(factor)
                elif factor.kind == "data":
                    from ingot.ir.nodes import value_variables

                    found |= value_variables(factor.args[0])  # type: ignore[arg-type]
                else:
                    for arg in factor.args:
                        found |= arg.variables()  # type: ignore[attr-defined]
        return found

    def linear(self, var: Var) -> tuple[Ix, Ix] | None:
        """(stride, rest) with self = stride * var + rest and var in neither; None where it is not so."""
        stride: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for monomial, coefficient in self.terms:
            others = tuple(f for f in monomial if f != var)
            if any(isinstance(f, Atom) and var in ix_of(f).variables() for f in others):
                return None
            if len(others) == len(monomial):
                rest[monomial] = coefficient
            elif len(others) == len(monomial) - 1:
                stride[others] = coefficient
            else:
                return None
        return _make(stride), _make(rest)

    def split(self, var: Var) -> tuple[int, Ix] | None:
        """As `linear`, with a stride that is an integer."""
        found = self.linear(var)
        if found is None or not found[0].is_const:
            return None
        return found[0].value, found[1]

    def __repr__(self) -> str:
        return show(self)


def ix_of(factor: Var | Atom) -> Ix:
    """The polynomial that is this one factor."""
    return Ix((((factor,), 1),))


def ix(value: IxLike | Var) -> Ix:
    """Coerce an integer, a variable or an `Ix`."""
    if isinstance(value, Ix):
        return value
    if isinstance(value, Var):
        return ix_of(value)
    value = int(value)
    return Ix((((), value),)) if value else _ZERO


_ZERO = Ix(())


def _make(terms: Mapping[Monomial, int]) -> Ix:
    kept = [(m, c) for m, c in terms.items() if c]
    if len(kept) > 1:
        kept.sort(key=_order)
    return Ix(tuple(kept))


def _order(term: tuple[Monomial, int]) -> tuple[str, ...]:
    return tuple([_rank(f) for f in term[0]])


def weighted_sum(pairs: Iterable[tuple[Ix, Ix]]) -> Ix:
    """The sum of products of pairs, the second of each usually a constant; parts of one number become it again."""
    total: dict[Monomial, int] = {}
    for e, weight in pairs:
        if weight.is_const:
            k = weight.value
            for monomial, coefficient in e.terms:
                total[monomial] = total.get(monomial, 0) + coefficient * k
        else:
            for monomial, coefficient in (e * weight).terms:
                total[monomial] = total.get(monomial, 0) + coefficient
    return _rejoin(_make(total))


def _rejoin(e: Ix) -> Ix:
    """x // k * k + x % k made x again."""
    for monomial, coefficient in e.terms:
        for factor in monomial:
            if not isinstance(factor, Atom) or factor.kind != "mod" or not factor.args[1].is_const:  # type: ignore[attr-defined]
                continue
            x, k = factor.args
            assert isinstance(x, Ix)
            assert isinstance(k, Ix)
            rest = list(monomial)
            rest.remove(factor)
            joined = e + (x - x // k * k - x % k) * _make({tuple(rest): coefficient})
            if _derived(joined) < _derived(e):
                return _rejoin(joined)
    return e


def _derived(e: Ix) -> int:
    """How many terms are more than products of variables."""
    return sum(any(isinstance(f, Atom) for f in monomial) for monomial, _ in e.terms)


def var(name: str, extent: IxLike) -> Var:
    """A loop variable running over [0, extent)."""
    return Var(name, ix(extent))


def symbol(name: str, least: int | None = 1, limit: int | None = None) -> Var:
    """An integer known at run time."""
    return Var(name, None, least, limit)


def _factor_bound(factor: Var | Atom, upper: bool) -> int | None:
    if isinstance(factor, Var):
        if factor.extent is None:
            return factor.limit if upper else factor.least
        if not upper:
            return 0
        top = factor.extent.upper()
        return None if top is None else max(top - 1, 0)
    if factor.kind == "data":
        return None
    a, b = factor.args
    assert isinstance(a, Ix)
    assert isinstance(b, Ix)
    if factor.kind == "mod":
        top = b.upper()
        return 0 if not upper else None if top is None else top - 1
    if factor.kind == "div":
        low, high = b.lower(), b.upper()
        if upper:
            top = a.upper()
            return None if top is None or low is None or low < 1 else top // low if top >= 0 else -1
        bottom = a.lower()
        if bottom is None or low is None or low < 1:
            return None
        return (bottom // high if high is not None else 0) if bottom >= 0 else bottom // low
    pick = min if factor.kind == "min" else max
    one, two = (x.upper() if upper else x.lower() for x in (a, b))
    if one is not None and two is not None:
        return pick(one, two)
    if (factor.kind == "min") == upper:
        return one if two is None else two
    return None


@lru_cache(maxsize=200_000)
def _bound(e: Ix, upper: bool) -> int | None:
    total = 0
    for monomial, coefficient in e.terms:
        want_upper = upper == (coefficient > 0)
        product = 1
        for factor in monomial:
            low = _factor_bound(factor, False)
            high = _factor_bound(factor, True)
            if len(monomial) > 1 and (low is None or low < 0):
                return None
            bound = high if want_upper else low
            if bound is None:
                return None
            product *= bound
        total += coefficient * product
    return total


def _substitute_extents(e: Ix) -> Ix | None:
    """An upper bound of `e` as a polynomial of symbols: every loop variable at its end. None where it is not known."""
    total = ix(0)
    for monomial, coefficient in e.terms:
        product = ix(coefficient)
        for factor in monomial:
            if isinstance(factor, Var):
                if factor.extent is None:
                    if len(monomial) > 1 and (factor.least is None or factor.least < 0):
                        return None
                    product = product * ix_of(factor)
                elif coefficient > 0:
                    product = product * (factor.extent - 1)
                else:
                    product = ix(0)
            elif factor.kind == "mod" and coefficient > 0 and len(monomial) == 1:
                product = product * (factor.args[1] - 1)  # type: ignore[operator]
            else:
                return None
        total = total + product
    return total


def less(a: Ix, b: Ix) -> bool:
    """Whether a < b can be proven for all values of the variables."""
    gap = (b - a).lower()
    if gap is not None and gap > 0:
        return True
    top = _substitute_extents(a)
    if top is None:
        return False
    gap = (b - top).lower()
    return gap is not None and gap > 0


def nonnegative(e: Ix) -> bool:
    """Whether e >= 0 can be proven."""
    low = e.lower()
    return low is not None and low >= 0


@lru_cache(maxsize=200_000)
def _divmod(e: Ix, d: Ix) -> tuple[Ix, Ix]:
    if d.is_const:
        k = d.value
        if k == 0:
            raise ZeroDivisionError(f"{e} // 0")
        if k == 1:
            return e, ix(0)
        if e.is_const:
            return ix(e.value // k), ix(e.value % k)
    if e == d:
        return ix(1), ix(0)
    quotient, remainder = _extract(e, d)
    if nonnegative(remainder) and less(remainder, d):
        return quotient, remainder
    if d.is_const:
        k = d.value
        constant = dict(remainder.terms).get((), 0)
        whole = remainder - constant
        for common in sorted({gcd(k, c) for _, c in whole.terms} - {1}, reverse=True):
            coarse = _make({m: c // common for m, c in whole.terms if c % common == 0}) + constant // common
            fine = _make({m: c for m, c in whole.terms if c % common}) + constant % common
            if coarse.terms and nonnegative(fine) and less(fine, ix(common)):
                q, r = _divmod(coarse, ix(k // common))
                return quotient + q, r * common + fine
        if len(whole.terms) == 1 and len(whole.terms[0][0]) == 1 and nonnegative(remainder):
            factor = whole.terms[0][0][0]
            if isinstance(factor, Atom) and factor.kind == "mod" and whole.terms[0][1] == 1 and constant == 0:
                base, modulus = factor.args
                if isinstance(modulus, Ix) and modulus.is_const and modulus.value % k == 0:
                    assert isinstance(base, Ix)
                    q, r = _divmod(base, d)
                    return quotient + q % (modulus.value // k), r
            if isinstance(factor, Atom) and factor.kind == "div" and whole.terms[0][1] == 1 and constant == 0:
                base, divisor = factor.args
                assert isinstance(base, Ix)
                assert isinstance(divisor, Ix)
                q = base // (divisor * k)
                return quotient + q, ix_of(Atom("mod", (remainder, d)))
    return quotient + ix_of(Atom("div", (remainder, d))), ix_of(Atom("mod", (remainder, d)))


def _extract(e: Ix, d: Ix) -> tuple[Ix, Ix]:
    """(q, r) with e = q * d + r, moving into q every term that the divisor divides."""
    if d.is_const:
        k = d.value
        q = {m: c // k for m, c in e.terms if m and c % k == 0}
        constant = dict(e.terms).get((), 0)
        rest = {m: c for m, c in e.terms if m and c % k}
        low = _make(rest).lower()
        whole = (constant + (low or 0)) // k if low is not None else constant // k
        q[()] = whole
        rest[()] = constant - whole * k
        return _make(q), _make(rest)
    if len(d.terms) == 1:
        (divisor, k) = d.terms[0]
        q, rest = {}, {}
        for monomial, c in e.terms:
            left = list(monomial)
            try:
                for factor in divisor:
                    left.remove(factor)
            except ValueError:
                rest[monomial] = c
                continue
            if c % k:
                rest[monomial] = c
            else:
                q[tuple(left)] = c // k
        return _make(q), _make(rest)
    for monomial, c in e.terms:
        lead, k = d.terms[-1]
        if monomial and set(lead) <= set(monomial) and c % k == 0:
            left = list(monomial)
            for factor in lead:
                if factor in left:
                    left.remove(factor)
            q_term = _make({tuple(left): c // k})
            rest_ix = e - q_term * d
            if len(rest_ix.terms) < len(e.terms):
                q_more, rest_more = _extract(rest_ix, d)
                return q_term + q_more, rest_more
    return ix(0), e


def minimum(a: IxLike, b: IxLike) -> Ix:
    a, b = ix(a), ix(b)
    if nonnegative(b - a):
        return a
    if nonnegative(a - b):
        return b
    return ix_of(Atom("min", (a, b)))


def maximum(a: IxLike, b: IxLike) -> Ix:
    a, b = ix(a), ix(b)
    if nonnegative(a - b):
        return a
    if nonnegative(b - a):
        return b
    return ix_of(Atom("max", (a, b)))


def product(values: object) -> Ix:
    total = ix(1)
    for v in values:  # type: ignore[attr-defined]
        total = total * v
    return total


def substitute(e: Ix, mapping: Mapping[Var, Ix], data: Callable[[object], object] | None = None) -> Ix:
    """`e` with variables replaced and simplified anew; `data` rewrites the values inside run-time integers."""
    if not mapping and data is None:
        return e
    total = ix(0)
    for monomial, coefficient in e.terms:
        term = ix(coefficient)
        for factor in monomial:
            term = term * _substitute_factor(factor, mapping, data)
        total = total + term
    return total


def _substitute_factor(
    factor: Var | Atom, mapping: Mapping[Var, Ix], data: Callable[[object], object] | None
) -> Ix:
    if isinstance(factor, Var):
        return mapping.get(factor, ix_of(factor))
    if factor.kind == "data":
        return ix_of(Atom("data", (data(factor.args[0]),))) if data else ix_of(factor)
    a, b = (substitute(x, mapping, data) for x in factor.args)  # type: ignore[arg-type]
    if factor.kind == "div":
        return a // b
    if factor.kind == "mod":
        return a % b
    return minimum(a, b) if factor.kind == "min" else maximum(a, b)


def evaluate(
    e: Ix,
    values: Mapping[str, int],
    data: Callable[[object], int] | None = None,
    loops: Mapping[str, int] | None = None,
) -> int:
    """The integer that `e` is when its variables have `values` (by name); loops: those of loop variables, where apart.

    A quotient of 0 is 0: an empty tensor asks for no element.
    """
    total = 0
    for monomial, coefficient in e.terms:
        term = coefficient
        for factor in monomial:
            if isinstance(factor, Var):
                term *= (values if loops is None or factor.is_symbol else loops)[factor.name]
            elif factor.kind == "data":
                assert data is not None
                term *= data(factor.args[0])
            else:
                a, b = (evaluate(x, values, data, loops) for x in factor.args)  # type: ignore[arg-type]
                if factor.kind == "div":
                    term *= a // b if b else 0
                elif factor.kind == "mod":
                    term *= a % b if b else a
                else:
                    term *= min(a, b) if factor.kind == "min" else max(a, b)
        total += term
    return total


def show(e: Ix) -> str:
    """A readable form, also used for symbols in shapes."""
    if not e.terms:
        return "0"
    parts = []
    for monomial, coefficient in e.terms:
        names = [_show_factor(f) for f in monomial]
        if coefficient != 1 or not names:
            names.insert(0, str(coefficient))
        parts.append("*".join(names))
    return " + ".join(parts)


def _show_factor(factor: Var | Atom) -> str:
    if isinstance(factor, Var):
        return factor.name
    if factor.kind == "data":
        return f"[{factor.args[0]}]"
    signs = {"div": "//", "mod": "%"}
    if factor.kind in signs:
        return f"(({factor.args[0]}) {signs[factor.kind]} ({factor.args[1]}))"
    return f"{factor.kind}({factor.args[0]}, {factor.args[1]})"
