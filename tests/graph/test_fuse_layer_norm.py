from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_layer_norm
from ingot.testing import CLOSE

CONSTANTS = {"w": np.array([1, 2, 3, 4], np.float32), "b": np.array([4, 3, 2, 1], np.float32)}
MEANS = "m = ReduceMean<axes = [-1]>(x) c = Sub(x, m) s = Mul(c, c) v = ReduceMean<axes = [-1]>(s) e = Add(v, eps) r = Sqrt(e)"


def text(body: str) -> str:
    return f"g (float[2, 3, 4] x, float[4] w, float[4] b) => (float[2, 3, 4] y) <float eps = {{1e-5}}, float two = {{2.0}}, float p = {{-0.5}}> {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        f"{MEANS} n = Div(c, r) t = Mul(n, w) y = Add(t, b)",
        f"{MEANS.replace('Mul(c, c)', 'Pow(c, two)')} n = Div(c, r) t = Mul(w, n) y = Add(b, t)",
        f"{MEANS.replace('r = Sqrt(e)', 'r = Pow(e, p)')} n = Mul(c, r) t = Mul(n, w) y = Add(t, b)",
        f"{MEANS.replace('s = Mul(c, c)', 'c2 = Sub(x, m) s = Mul(c2, c2)')} n = Div(c, r) t = Mul(n, w) y = Add(t, b)",
    ],
)
def test_fuses(body: str) -> None:
    got = apply(fuse_layer_norm, text(body), CONSTANTS, level=CLOSE, opset=13)
    assert got.fired == 1
    assert got.node("LayerNormalization").attributes.get_int("axis") == -1
    assert got.model.opset_imports[""] == 17


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{MEANS.replace('-1]>(s)', '1]>(s)')} n = Div(c, r) t = Mul(n, w) y = Add(t, b)", "its means are not over the same trailing axes"),
        (f"{MEANS} n = Div(c, r) t = Mul(n, two) y = Add(t, b)", "its scale is not a constant that spans the axes of the mean"),
        (f"{MEANS} n = Div(c, r) t = Mul(n, w) y = Add(t, two)", "its shift is not a constant of the scale's shape"),
        (f"{MEANS} n = Div(c, r) t = Mul(n, w) a = Add(t, b) y = Add(a, r)", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_layer_norm, text(body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
