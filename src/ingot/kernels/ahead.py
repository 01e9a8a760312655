"""Weights that a kernel asks for before it, or the one after it, uses them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ingot.ir.index import Ix, ix
from ingot.ir.nodes import Prefetch
from ingot.ir.program import Dense, Operation
from ingot.kernels.builder import Builder
from ingot.target import Target

STRETCH = 16
"""Products of a sum between two requests for weights."""
LINE = 64
"""Bytes of a cache line."""


def bytes_ahead(operations: Iterable[Operation], target: Target) -> int:
    """How long before their use, in bytes, a program's kernels ask for weights, which are stored in the order of use: half
    of the second cache, or 0 where it holds them all."""
    total = sum(o.weight.nbytes for o in operations if isinstance(o, Dense))
    return target.l2 // 2 if total > target.l2 else 0


@dataclass
class Share:
    """The weights that one tile asks for, from element `start` on: a panel's elements, of which each of `tiles` takes as
    many. line: elements of a cache line."""

    builder: Builder
    weights: str
    start: Ix
    panel: int
    tiles: int
    line: int

    def _lines(self, elements: int) -> int:
        return -(-elements // (self.tiles * self.line))

    def at_once(self) -> bool:
        """Whether they are too few to be asked for between the products."""
        return self._lines(self.panel) <= 4

    def ask(self, width: int, k: Ix, count: int) -> None:
        """Asks for the share that goes with products k to k + count of `width` elements each."""
        first = ix(self.builder.define(self.start + k * width // self.tiles))
        for i in range(self._lines(count * width)):
            self.builder.emit(Prefetch(self.weights, first + i * self.line))
