from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_swish
from ingot.testing import CLOSE


@pytest.mark.parametrize(
    ("body", "alpha"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", 1.0),
        ("s = Sigmoid(x) y = Mul(s, x)", 1.0),
        ("a = Mul(x, k) s = Sigmoid(a) y = Mul(x, s)", 1.5),
    ],
)
def test_fuses(body: str, alpha: float) -> None:
    got = apply(
        fuse_swish, f"g (float[2, 5] x) => (float[2, 5] y) <float k = {{1.5}}> {{ {body} }}", level=CLOSE
    )
    assert (got.fired, got.ops) == (1, ["Swish"])
    assert got.node("Swish").attributes.get_float("alpha") == alpha
    assert got.model.opset_imports[""] == 24


def test_refuses() -> None:
    text = "g (float[4] x, float[4] z) => (float[4] y, float[4] s) { s = Sigmoid(x) y = Mul(x, s) }"
    assert apply(fuse_swish, text).refused == ["a part of it is used elsewhere"]
    text = "g (float[4] x, float[4] z) => (float[4] y) { s = Sigmoid(x) y = Mul(z, s) }"
    assert apply(fuse_swish, text).fired == 0
    text = (
        "g (float[2, 2, 4] x) => (float[2, 2, 4] y) { s = Sigmoid(x) a = Mul(x, s) y = Softmax<axis = 1>(a) }"
    )
    got = apply(fuse_swish, text, opset=11)
    assert got.refused == ["it needs operator set 24, in which Softmax means something else"]
    assert got.model.opset_imports[""] == 11
