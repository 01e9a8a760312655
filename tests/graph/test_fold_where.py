from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fold_where


def text(condition: str, body: str = "y = Where(c, x, z)") -> str:
    return f"g (float[2] x, float[2] z, float w) => (float[2] y) <bool[2] c = {{{condition}}}> {{ {body} }}"


@pytest.mark.parametrize(("condition", "taken"), [("1, 1", "x"), ("0, 0", "z")])
def test_folds(condition: str, taken: str) -> None:
    got = apply(fold_where, text(condition, "a = Where(c, x, z) y = Neg(a)"))
    assert (got.fired, got.ops) == (1, ["Neg"])
    assert got.node("Neg").inputs[0].name == taken


def test_equal_branches_and_negated_conditions() -> None:
    got = apply(fold_where, text("1, 0", "a = Where(c, x, x) y = Neg(a)"))
    assert got.ops == ["Neg"]
    given = "g (bool[2] c, float[2] x, float[2] z) => (float[2] y) { n = Not(c) y = Where(n, x, z) }"
    got = apply(fold_where, given)
    assert got.fired == 1
    assert [value.name for value in got.node("Where").inputs] == ["c", "z", "x"]


def test_refuses() -> None:
    assert apply(fold_where, text("1, 0")).fired == 0
    assert apply(fold_where, text("1, 1")).refused == ["it is an output of its graph"]
    got = apply(fold_where, text("1, 1", "a = Where(c, w, z) y = Neg(a)"))
    assert got.refused == ["the branch is not known to have the shape of the result"]
