from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_scales
from ingot.testing import CLOSE

RNG = np.random.default_rng(2)
CONSTANTS = {name: np.abs(RNG.standard_normal(3)).astype(np.float32) + 0.5 for name in "stur"}
TEXT = """g (float[2, 3, 4, 5] x, float[2, 3, 4, 5] z, float[3] s, float[3] t, float[3] u, float[3] r) => (float[2, 3, 4, 5] y)
<float[3, 1, 1] c = {{2, 3, 4}}, float[1, 3, 1, 1] d = {{1, 2, 3}}, float k = {{4}}, float[5] row = {{1, 2, 3, 4, 5}}> {{ {body} }}"""
NORM = "BatchNormalization({}, s, t, u, r)"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (f"a = Mul(x, c) b = {NORM.format('a')} y = Add(b, d)", ["Mul", "Add"]),
        (f"a = {NORM.format('x')} b = Mul(a, k) y = Sub(d, b)", ["Mul", "Add"]),
        ("a = Add(x, d) b = Mul(a, c) e = Sub(b, d) y = Div(e, k)", ["Mul", "Add"]),
        ("a = Mul(x, k) b = Div(a, c) e = Mul(b, row) y = Relu(e)", ["Mul", "Mul", "Relu"]),
    ],
)
def test_merges(body: str, left: list[str]) -> None:
    got = apply(merge_scales, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, left)


@pytest.mark.parametrize(
    "body",
    [
        "a = Mul(x, c) y = Add(a, d)",
        "a = Mul(x, c) b = Add(a, d) e = Mul(b, k) f = Add(a, e) g = Relu(f) y = Add(g, b)",
        "a = Mul(x, row) y = Mul(a, z)",
    ],
)
def test_leaves(body: str) -> None:
    assert apply(merge_scales, TEXT.format(body=body), CONSTANTS).fired == 0


def test_refuses() -> None:
    text = (
        "g (float[2, C] x) => (float[2, C] y) <float k = {4}> { a = Mul(x, k) b = Add(a, k) y = Mul(b, k) }"
    )
    got = apply(merge_scales, text, symbols={"C": 3})
    assert set(got.refused) == {"its channels are not known, or it is not of floats"}
