"""What is found of sizes that nothing bounds."""

from __future__ import annotations

import pytest

from ingot.ir.index import Ix, Var, ix
from ingot.lower.ties import Ties

SIZE = Var("size", None, 0)
PLACE = ("value", 0)


@pytest.mark.parametrize(
    ("stated", "most"), [(ix(SIZE) * 2 + 1, {PLACE: ix(3)}), (9 - ix(SIZE), {}), (5 - ix(SIZE), {})]
)
def test_a_limit_bounds_what_grows_with_the_size(stated: Ix, most: dict[tuple[str, int], Ix]) -> None:
    ties = Ties({"k": 7}, looking=True)
    ties.note(PLACE, ix(SIZE))
    ties.stated([stated], ["k"])
    assert ties.solved([]).most == most
