"""The least sum of costs, each of which depends on a few choices: exact where the choices hang together in a tree, or
nearly so, and improved step by step where they do not.

Choices are eliminated one after the other: all costs that depend on one become a table over its neighbours, which holds
the least of them (R. Dechter, "Bucket elimination", 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LARGEST = 1 << 18
"""Entries of a table. Choices that would need a larger one are left to the improvement by steps."""
SWEEPS = 50

Table = NDArray[np.int64]


@dataclass(frozen=True)
class Factor:
    """A cost: an axis of `table` for each of the choices, by number and in ascending order."""

    choices: tuple[int, ...]
    table: Table


@dataclass(frozen=True)
class Found:
    """picks: of each choice. cost: their sum. exact: whether no other picks have a smaller one."""

    picks: list[int]
    cost: int
    exact: bool


@dataclass
class _State:
    sizes: Sequence[int]
    factors: dict[int, list[Factor]] = field(default_factory=dict)

    def around(self, choice: int) -> tuple[int, ...]:
        """The choices that share a cost with one."""
        found = {c for f in self.factors[choice] for c in f.choices}
        return tuple(sorted(found - {choice}))

    def entries(self, choice: int) -> int:
        return math.prod(self.sizes[c] for c in self.around(choice)) * self.sizes[choice]


def total(factors: Sequence[Factor], picks: Sequence[int]) -> int:
    """The sum of all costs with some picks."""
    return sum(int(f.table[tuple(picks[c] for c in f.choices)]) for f in factors)


def minimise(sizes: Sequence[int], factors: Sequence[Factor], largest: int = LARGEST) -> Found:
    """The best pick for each choice, of which there are `sizes`; where all zeros are among the best, all zeros."""
    state = _State(sizes, {c: [] for c in range(len(sizes))})
    for factor in factors:
        for choice in factor.choices:
            state.factors[choice].append(factor)
    left = {choice: state.entries(choice) for choice in range(len(sizes))}
    eliminated: list[tuple[int, tuple[int, ...], Table]] = []
    while left:
        choice = min(left, key=lambda c: (left[c], c))
        if left[choice] > largest:
            break
        del left[choice]
        around = state.around(choice)
        joint = _sum(state.factors[choice], (*around, choice), sizes)
        eliminated.append((choice, around, joint.argmin(axis=-1)))
        made = Factor(around, joint.min(axis=-1))
        for other in around:
            state.factors[other] = [f for f in state.factors[other] if choice not in f.choices] + [made]
        for other in around:
            left[other] = state.entries(other)
    picks = [0] * len(sizes)
    if left:
        _improve(sorted(left), state, picks)
    for choice, around, best in reversed(eliminated):
        picks[choice] = int(best[tuple(picks[c] for c in around)])
    return Found(picks, total(factors, picks), not left)


def _sum(factors: Sequence[Factor], choices: tuple[int, ...], sizes: Sequence[int]) -> Table:
    """The sum of tables, an axis for each of `choices`."""
    place = {choice: axis for axis, choice in enumerate(choices)}
    summed = np.zeros([sizes[c] for c in choices], np.int64)
    for factor in factors:
        order = sorted(range(len(factor.choices)), key=lambda i: place[factor.choices[i]])
        shape = [sizes[c] if c in factor.choices else 1 for c in choices]
        summed += factor.table.transpose(order).reshape(shape)
    return summed


def _improve(choices: Sequence[int], state: _State, picks: list[int]) -> None:
    """One choice after the other takes its best pick beside the others', from all equal picks on, until none changes."""
    held = {id(f): f for c in choices for f in state.factors[c]}
    best: tuple[int, list[int]] | None = None
    for start in range(max(state.sizes[c] for c in choices)):
        trial = list(picks)
        for choice in choices:
            trial[choice] = min(start, state.sizes[choice] - 1)
        for _ in range(SWEEPS):
            changed = False
            for choice in choices:
                costs = _row(state.factors[choice], choice, trial, state.sizes[choice])
                if costs.min() < costs[trial[choice]]:
                    trial[choice] = int(costs.argmin())
                    changed = True
            if not changed:
                break
        cost = total(list(held.values()), trial)
        if best is None or cost < best[0]:
            best = cost, trial
    assert best is not None
    picks[:] = best[1]


def _row(factors: Sequence[Factor], choice: int, picks: Sequence[int], size: int) -> Table:
    """What each pick of a choice costs beside the picks of all others."""
    row = np.zeros(size, np.int64)
    for factor in factors:
        row += factor.table[tuple(slice(None) if c == choice else picks[c] for c in factor.choices)]
    return row
