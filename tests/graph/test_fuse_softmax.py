from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_softmax
from ingot.testing import CLOSE


def text(body: str) -> str:
    return f"g (float[2, 3, 4] x) => (float[2, 3, 4] y) <int64[1] last = {{-1}}, int64[1] one = {{1}}, int64[2] both = {{1, 2}}> {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        ("m = ReduceMax<axes = [2]>(x) c = Sub(x, m) e = Exp(c) s = ReduceSum(e, last) y = Div(e, s)", 2),
        ("e = Exp(x) s = ReduceSum(e, one) y = Div(e, s)", 1),
    ],
)
def test_fuses(body: str, axis: int) -> None:
    got = apply(fuse_softmax, text(body), level=CLOSE, opset=13)
    assert (got.fired, got.ops) == (1, ["Softmax"])
    assert got.node("Softmax").attributes.get_int("axis") == axis


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("e = Exp(x) s = ReduceSum(e, both) y = Div(e, s)", "its sums are not over one axis that they keep"),
        ("m = ReduceMax<axes = [1]>(x) c = Sub(x, m) e = Exp(c) s = ReduceSum(e, last) y = Div(e, s)", "its sums are not over one axis that they keep"),
        ("e = Exp(x) s = ReduceSum(e, one) d = Div(e, s) y = Mul(d, e)", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_softmax, text(body))
    assert (got.fired, got.refused[:1]) == (0, [reason])
