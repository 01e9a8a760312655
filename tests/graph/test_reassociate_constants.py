from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import reassociate_constants
from ingot.testing import CLOSE

CONSTANTS = "<float[3] a = {1, 2, 3}, float b = {0.1}, float huge = {3e38}>"


def text(body: str) -> str:
    return f"g (float[2, 3] x) => (float[2, 3] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize("body", ["s = Add(x, a) y = Add(b, s)", "s = Mul(b, x) y = Mul(s, a)"])
def test_reassociates(body: str) -> None:
    got = apply(reassociate_constants, text(body), level=CLOSE)
    assert (got.fired, len(got.ops)) == (1, 1)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("s = Add(x, a) t = Add(s, b) y = Mul(s, t)", "the inner result has other users"),
        (
            "s = Mul(x, huge) y = Mul(s, huge)",
            "the constants are not floats of a range and size that allow it",
        ),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(reassociate_constants, text(body))
    assert (got.fired, got.refused) == (0, [reason])


def test_refuses_integers() -> None:
    got = apply(
        reassociate_constants,
        "g (int8[3] x) => (int8[3] y) <int8 c = {100}> { s = Add(x, c) y = Add(s, c) }",
        run=False,
    )
    assert got.refused == ["the constants are not floats of a range and size that allow it"]
