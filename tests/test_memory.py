"""The arena: what lives at the same time lies apart, and orders that are changed need less room than those that are not."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from ingot.ir.index import ix, symbol
from ingot.ir.program import Tensor
from ingot.schedule.memory import _ORDERS, Life, _best, _fit, _lower_bound


def lives_of(seed: int, count: int) -> list[Life]:
    draw = random.Random(seed)
    lives = []
    for i in range(count):
        first, size = draw.randrange(count), 64 * draw.randrange(1, 50)
        tensor = Tensor(f"t{i}", (ix(size),), "u8")
        lives.append(Life([tensor], first, first + draw.randrange(count // 4), ix(size), size))
    return lives


def plainly(lives: list[Life]) -> int:
    return min(_fit(sorted(lives, key=order), ())[1] for order in _ORDERS)


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", range(10))
def test_what_lives_together_lies_apart(seed: int, count: int) -> None:
    lives = lives_of(seed, max(count, 4))[:count]
    offsets, top = _best(lives, ())
    spans = [(offsets[x.tensors[0]], offsets[x.tensors[0]] + x.size, x) for x in lives]
    for (at, end, x), (other, other_end, y) in combinations(spans, 2):
        apart = x.last < y.first or y.last < x.first
        assert apart or end <= other or other_end <= at
    assert top == max(end for _, end, _ in spans)
    assert _lower_bound(lives, [x.size for x in lives]) <= top <= plainly(lives)


def test_changed_orders_come_nearer_to_the_bound() -> None:
    plain = best = bound = 0
    for seed in range(20):
        lives = lives_of(seed, 40)
        plain += plainly(lives)
        best += _best(lives, ())[1]
        bound += _lower_bound(lives, [x.size for x in lives])
    assert best - bound < (plain - bound) / 2


def test_tensors_that_scale_with_a_symbol_are_placed_in_its_unit() -> None:
    n = ix(symbol("n"))
    sizes = [n * 64 * (1 + i % 2) for i in range(5)]
    lives = [Life([Tensor(f"t{i}", (size,), "u8")], i, i + 1, size, 0) for i, size in enumerate(sizes)]
    assert _best(lives, n.terms[0][0])[1] == 64 + 128
