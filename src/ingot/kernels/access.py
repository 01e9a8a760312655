"""Where the elements that a vector of a kernel touches lie to each other, found from their addresses at sample points."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np

from ingot.ir.index import Ix, Var, evaluate, ix
from ingot.ir.nodes import Index, Read, Select, Value, value_variables, walk
from ingot.ir.program import Tensor
from ingot.schedule.layout import Layout

Layouts = Mapping[Tensor, Layout]


class Walk(Enum):
    """In a row, all the same one, in reach of one vector, evenly apart, or anyhow."""

    NEXT = "next"
    SAME = "same"
    NEAR = "near"
    APART = "apart"
    ANYHOW = "anyhow"


EVEN = frozenset((Walk.NEXT, Walk.SAME))


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of loop variables: arrays of one shape for those that change, numbers for the others."""

    at: Mapping[Var, Any]

    @cached_property
    def changing(self) -> frozenset[Var]:
        """The variables that differ between the points."""
        return frozenset(v for v, value in self.at.items() if np.ndim(value))


class Accesses:
    """Looks at accesses, and keeps what it found. sizes: values of the symbols."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._samples: dict[Hashable, Sample] = {}
        self._strides: dict[tuple[Tensor, Layout], list[int]] = {}
        self._indices: dict[tuple[Sample, Tensor, tuple[Ix, ...]], list[Any] | None] = {}
        self._walks: dict[tuple[Sample, Tensor, tuple[Ix, ...], Layout], Walk] = {}

    def size(self, extent: Ix) -> int:
        """What an extent is."""
        return extent.value if extent.is_const else evaluate(extent, self._sizes)

    def extent(self, variable: Var) -> int:
        """How many values a variable takes."""
        return self.size(ix(variable) if variable.extent is None else variable.extent)

    def sample(self, axes: Iterable[Var], inner: Iterable[Var], moving: Mapping[Var, Any]) -> Sample:
        """The points where `moving` has its values, the other axes are in the middle and the other inner variables 0."""
        at: dict[Var, Any] = {v: self.extent(v) // 2 for v in axes}
        return Sample({**at, **dict.fromkeys(inner, 0), **moving})

    def number(self, e: Ix, sample: Sample) -> Any:
        """`e` at the points, 0 for what data decides. Raises LookupError where that differs between the points."""
        total: Any = 0
        for monomial, coefficient in e.terms:
            term: Any = coefficient
            for factor in monomial:
                if isinstance(factor, Var):
                    term = term * (sample.at[factor] if factor in sample.at else self._sizes[factor.name])
                    continue
                if factor.kind == "data":
                    if sample.changing & value_variables(factor.args[0]):  # type: ignore[arg-type]
                        raise LookupError
                    term = 0
                    continue
                a, b = (self.number(x, sample) for x in factor.args if isinstance(x, Ix))
                if factor.kind in ("min", "max"):
                    term = term * (np.minimum if factor.kind == "min" else np.maximum)(a, b)
                else:
                    b = np.maximum(b, 1)
                    term = term * (a // b if factor.kind == "div" else a % b)
            total = total + term
        return total

    def offsets(self, tensor: Tensor, index: tuple[Ix, ...], layouts: Layouts, sample: Sample) -> Any:
        """The offsets of an access at the points; None where data decides."""
        root, origin = tensor.root()
        key = (sample, tensor, index)
        if key not in self._indices:
            try:
                found = [self.number(i + o, sample) for i, o in zip(index, origin, strict=True)]
            except LookupError:
                found = None
            self._indices[key] = found
        at, layout = self._indices[key], layouts[root]
        if at is None:
            return None
        if (root, layout) not in self._strides:
            self._strides[root, layout] = [self.size(s) for s in layout.strides(root.shape)]
        total: Any = 0
        for axis, stride in zip(layout.order, self._strides[root, layout], strict=False):
            total = total + stride * (at[axis] // layout.block if axis == layout.blocked else at[axis])
        return total if layout.blocked is None else total + at[layout.blocked] % layout.block

    def walk(self, tensor: Tensor, index: tuple[Ix, ...], layouts: Layouts, sample: Sample) -> Walk:
        """How the elements at the points lie."""
        key = (sample, tensor, index, layouts[tensor.root()[0]])
        if key not in self._walks:
            self._walks[key] = _kind(self.offsets(tensor, index, layouts, sample))
        return self._walks[key]

    def reads(self, values: Iterable[Value], layouts: Layouts, sample: Sample) -> list[Walk]:
        """Of every different read of some expressions."""
        found = dict.fromkeys(n for v in values for n in walk(v) if isinstance(n, Read))
        return [self.walk(read.tensor, read.index, layouts, sample) for read in found]


def _kind(offsets: Any) -> Walk:
    if offsets is None:
        return Walk.ANYHOW
    if np.ndim(offsets) == 0:
        return Walk.SAME
    gaps = np.diff(offsets)
    first = gaps[0] if len(gaps) else 0
    if (gaps == first).all():
        return Walk.SAME if first == 0 else Walk.NEXT if first == 1 else Walk.APART
    return Walk.NEAR if offsets.max() - offsets.min() < len(offsets) else Walk.ANYHOW


def tested(value: Value, variables: frozenset[Var]) -> bool:
    """Whether a side of some selection may be read only where a position that these variables change allows it."""
    return any(
        isinstance(node, Select)
        and node.guards
        and any(isinstance(n, Index) and variables & n.index.variables() for n in walk(node.cond))
        and any(isinstance(n, Read) for side in (node.then, node.otherwise) for n in walk(side))
        for node in walk(value)
    )
