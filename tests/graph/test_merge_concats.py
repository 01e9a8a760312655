from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_concats


def text(body: str) -> str:
    return f"g (float[2, 2] x, float[2, 2] z) => (float[A, B] y) {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        "a = Concat<axis = 1>(x, z) y = Concat<axis = 1>(a, x)",
        "a = Concat<axis = -1>(x, z) y = Concat<axis = 1>(x, a, z)",
        "a = Concat<axis = 0>(x, z) b = Concat<axis = 0>(z, z) y = Concat<axis = 0>(a, b)",
    ],
)
def test_merges(body: str) -> None:
    got = apply(merge_concats, text(body))
    assert (got.fired, got.ops) == (1, ["Concat"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Concat<axis = 0>(x, z) y = Concat<axis = 1>(a, a)", "the inner Concat has other users"),
        ("a = Concat<axis = 0>(x, z) b = Concat<axis = 0>(z, x) y = Concat<axis = 1>(a, b)", "they are not known to be along the same axis"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(merge_concats, text(body))
    assert got.fired == 0
    assert set(got.refused) == {reason}
