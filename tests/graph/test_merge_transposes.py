from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_transposes


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("<perm = [0, 2, 3, 1]>", "<perm = [0, 3, 1, 2]>", [0, 1, 2, 3]),
        ("<perm = [1, 2, 3, 0]>", "<perm = [1, 2, 3, 0]>", [2, 3, 0, 1]),
        ("", "<perm = [1, 0, 2, 3]>", [2, 3, 1, 0]),
        ("<perm = [0, 2, 1, 3]>", "", [3, 1, 2, 0]),
    ],
)
def test_permutations_compose(first: str, second: str, merged: list[int]) -> None:
    got = apply(
        merge_transposes,
        f"g (float[2, 3, 4, 5] x) => (float[A, B, C, D] y) {{ a = Transpose{first}(x) y = Transpose{second}(a) }}",
    )
    assert got.fired == 1
    last = got.model.graph[-1]
    assert list(last.attributes["perm"].as_ints()) == merged
    assert last.inputs[0] is got.model.graph.inputs[0]


def test_a_first_one_with_other_users_stays() -> None:
    got = apply(
        merge_transposes,
        "g (float[2, 3] x) => (float[2, 3] y, float[3, 2] z) { a = Transpose(x) y = Transpose(a) z = Neg(a) }",
    )
    assert got.fired == 1
    assert got.ops == ["Transpose", "Transpose", "Neg"]


def test_refuses_unknown_permutations() -> None:
    got = apply(
        merge_transposes,
        "g (float[2, 3] x) => (float[A, B] y) { a = custom.Mystery(x) b = Transpose(a) y = Transpose<perm = [1, 0]>(b) }",
        run=False,
    )
    assert got.refused == ["a permutation is not known"]
    assert (
        apply(merge_transposes, "g (float[2, 3] x) => (float[3, 2] y) { a = Neg(x) y = Transpose(a) }").fired
        == 0
    )
