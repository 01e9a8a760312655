from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_extremes

TEXT = """g (float[2, 3] x, float[2, 3] z) => (float[A, B] y)
<float low = {{-0.5}}, float[1] high = {{0.5}}, float a = {{0.2}}, float more = {{2}}, float[1, 1, 1] deep = {{0}}> {{ {body} }}"""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("y = Max(x, low)", ["Clip"]),
        ("m = Max(low, x) y = Min(m, high)", ["Clip", "Clip"]),
        ("s = Mul(a, x) y = Max(s, x)", ["LeakyRelu"]),
        ("s = Mul(x, a) y = Max(x, s)", ["LeakyRelu"]),
    ],
)
def test_replaces(body: str, left: list[str]) -> None:
    assert apply(replace_extremes, TEXT.format(body=body)).ops == left


@pytest.mark.parametrize("body", ["y = Max(x, z)", "y = Max(x, low, z)", "s = Mul(x, more) y = Max(x, s)"])
def test_leaves(body: str) -> None:
    assert apply(replace_extremes, TEXT.format(body=body)).fired == 0


def test_refuses() -> None:
    got = apply(replace_extremes, TEXT.format(body="y = Max(x, deep)").replace("[A, B]", "[A, B, C]"))
    assert got.refused == ["its constant may add axes"]
    assert apply(replace_extremes, TEXT.format(body="y = Max(x, low)"), opset=10).fired == 0
