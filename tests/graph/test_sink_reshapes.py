from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_reshapes, sink_reshapes

TEXT = """g (float[2, 3, 4] x, int64[2] computed) => (float[A, B] y)
<int64[3] t = {{6, 2, 2}}, int64[2] s = {{4, 6}}, float k = {{2}}, float[1, 1, 1] deep = {{2}}, int64[1] nil = {{0}}> {{ {body} }}"""


@pytest.mark.parametrize("f", ["Relu(a)", "Mul(k, a)", "Clip(a, k)", "Div(a, deep)"])
@pytest.mark.parametrize("first", ["Reshape(x, t)", "Unsqueeze(x, nil)", "Flatten(x)"])
def test_sinks(f: str, first: str) -> None:
    if "deep" in f and "Flatten" in first:
        first = "Reshape(x, t)"
    got = apply(sink_reshapes, TEXT.format(body=f"a = {first} b = {f} y = Reshape(b, s)"))
    assert got.fired == 1
    assert got.ops[1:] == [first.partition("(")[0], "Reshape"]
    assert merge_reshapes.apply(got.model) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Reshape(x, t) b = Relu(a) c = Add(b, a) y = Reshape(c, s)", None),
        ("a = Reshape(x, t) b = Relu(a) c = Flatten(b) d = Flatten(a) y = Add(c, d)", "the reshape before it has other users"),
        ("a = Reshape(x, computed) b = Relu(a) y = Reshape(b, s)", "the shape before it is computed"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str | None) -> None:
    got = apply(sink_reshapes, TEXT.format(body=body), run=False)
    assert (got.fired, got.refused) == (0, [reason] if reason else [])
