from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_gather_unsqueeze


def text(body: str) -> str:
    return f"g (float[2, 3, 4] x) => (float[A, B, C] y) <int64 i = {{1}}, int64[1] one = {{1}}, int64[1] zero = {{0}}> {{ {body} }}"


@pytest.mark.parametrize(("axis", "axes"), [(1, "one"), (0, "zero")])
def test_merges(axis: int, axes: str) -> None:
    got = apply(merge_gather_unsqueeze, text(f"a = Gather<axis = {axis}>(x, i) y = Unsqueeze(a, {axes})"))
    assert (got.fired, got.ops) == (1, ["Gather"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "a = Gather<axis = 1>(x, i) y = Unsqueeze(a, zero)",
            "it adds another axis than the one that was taken from",
        ),
        ("a = Gather<axis = 1>(x, i) u = Unsqueeze(a, one) y = Add(u, a)", "the element has other users"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(merge_gather_unsqueeze, text(body))
    assert (got.fired, got.refused) == (0, [reason])
