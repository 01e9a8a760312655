from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_division
from ingot.testing import CLOSE


def test_replaces() -> None:
    got = apply(
        replace_division,
        "g (float[3] x) => (float[3] y) <float[3] c = {3, -7, 0.5}> { y = Div(x, c) }",
        level=CLOSE,
    )
    assert (got.fired, got.ops) == (1, ["Mul"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[2] x) => (float[2] y) <float[2] c = {3, 0}> { y = Div(x, c) }", "a reciprocal leaves the range of the dtype"),
        ("g (float[2] x) => (float[2] y) <float c = {3e38}> { y = Div(x, c) }", "a reciprocal leaves the range of the dtype"),
        ("g (int64[2] x) => (int64[2] y) <int64 c = {3}> { y = Div(x, c) }", "it divides integers"),
    ],
)  # fmt: skip
def test_refuses(text: str, reason: str) -> None:
    got = apply(replace_division, text)
    assert (got.fired, got.refused) == (0, [reason])
