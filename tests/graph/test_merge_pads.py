from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_pads

CONSTANTS = "<int64[4] a = {0, 1, 2, 0}, int64[4] b = {1, 0, 0, 3}, int64[4] minus = {0, -1, 0, 0}, int64[2] two = {1, 1}, int64[1] axis = {1}, float one = {1.0}>"


def text(body: str) -> str:
    return f"g (float[2, 3] x) => (float[A, B] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize("body", ["p = Pad(x, a) y = Pad(p, b)", "p = Pad(x, a, one) y = Pad(p, b, one)"])
def test_merges(body: str) -> None:
    got = apply(merge_pads, text(body))
    assert (got.fired, got.ops) == (1, ["Pad"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("p = Pad(x, a) y = Pad(p, b, one)", "the padding values differ"),
        ('p = Pad<mode = "edge">(x, a) y = Pad(p, b)', "a mode is not constant"),
        ("p = Pad(x, minus) y = Pad(p, b)", "the pads are not constant, or negative, or on named axes"),
        (
            "p = Pad(x, two, one, axis) y = Pad(p, b, one)",
            "the pads are not constant, or negative, or on named axes",
        ),
        ("p = Pad(x, a) q = Pad(p, b) r = Shape(p) y = Expand(q, r)", "the inner Pad has other users"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(merge_pads, text(body), opset=18, run="Expand" not in body)
    assert (got.fired, got.refused) == (0, [reason])
