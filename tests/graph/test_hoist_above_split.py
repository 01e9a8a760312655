from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import hoist_above_split

SPLIT = "a, b = Split<axis = 1>(x, n)"


def text(body: str) -> str:
    return f"g (float[2, 6, 3] x) => (float[A, B, C] y, float[D, E, F] z) <int64[2] n = {{2, 4}}> {{ {SPLIT} {body} }}"


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        ("p = Transpose<perm = [0, 2, 1]>(a) q = Transpose<perm = [0, 2, 1]>(b) y = Relu(p) z = Neg(q)", 2),
        ("p = Transpose(a) q = Transpose(b) y = Relu(p) z = Neg(q)", 1),
        ("y = Sigmoid(a) z = Sigmoid(b)", 1),
        ("y = LeakyRelu<alpha = 0.3>(a) z = LeakyRelu<alpha = 0.3>(b)", 1),
    ],
)
def test_hoists(body: str, axis: int) -> None:
    got = apply(hoist_above_split, text(body))
    assert got.fired == 1
    assert got.node("Split").attributes.get_int("axis") == axis
    assert got.node("Split").inputs[0].producer() is got.model.graph[0]


@pytest.mark.parametrize(
    "body",
    [
        "y = LeakyRelu<alpha = 0.3>(a) z = LeakyRelu<alpha = 0.2>(b)",
        "y = Sigmoid(a) z = Tanh(b)",
        "y = Sigmoid(a) z = Identity(b)",
        "y = Sigmoid(a) p = Sigmoid(b) z = Mul(p, b)",
    ],
)
def test_refuses(body: str) -> None:
    got = apply(hoist_above_split, text(body))
    assert (got.fired, got.refused) == (0, ["its parts go different ways"])
