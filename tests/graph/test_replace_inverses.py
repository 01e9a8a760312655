from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_inverses
from ingot.testing import CLOSE

TEXT = """g (float[2, 3] x, float[2, 3] z, bool[2] t) => (float[2, 3] y, bool[2] u)
<float one = {{1}}, float nil = {{0}}, float less = {{-1}}, float[1, 1, 1] deep = {{1}}> {{ {body} {rest} }}"""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("n = Neg(z) y = Add(n, x)", ["Sub"]),
        ("n = Neg(z) y = Sub(x, n)", ["Add"]),
        ("n = Reciprocal(z) y = Mul(x, n)", ["Div"]),
        ("y = Div(one, x)", ["Reciprocal"]),
        ("y = Sub(nil, x)", ["Neg"]),
        ("y = Mul(x, less)", ["Neg"]),
        ("n = Neg(x) m = Neg(n) y = Relu(m)", ["Relu"]),
    ],
)
def test_replaces(body: str, left: list[str]) -> None:
    got = apply(replace_inverses, TEXT.format(body=body, rest="u = Not(t)"), level=CLOSE)
    assert (got.fired, got.ops) == (1, [*left, "Not"])


def test_not_twice() -> None:
    got = apply(replace_inverses, TEXT.format(body="y = Neg(x)", rest="a = Not(t) b = Not(a) u = And(b, t)"))
    assert got.ops == ["Neg", "And"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("n = Neg(z) m = Add(n, x) y = Mul(m, n)", "a part of it is used elsewhere"),
        ("m = Div(deep, x) y = ReduceMax<axes = [0], keepdims = 0>(m)", "its constant may add axes"),
        ("n = Neg(x) y = Neg(n)", "it is an output of its graph"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(replace_inverses, TEXT.format(body=body, rest="u = Not(t)"))
    assert (got.fired, got.refused) == (0, [reason])
