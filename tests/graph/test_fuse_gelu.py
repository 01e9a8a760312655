from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_gelu
from ingot.testing import CLOSE

CONSTANTS = """<float half = {0.5}, float one = {1.0}, float two = {2.0}, float three = {3.0}, float root = {1.4142135},
    float shrunk = {0.70710678}, float bend = {0.044715}, float slope = {0.7978845608}>"""
ERF = "s = Div(x, root) e = Erf(s) g = Add(e, one)"
TANH = "c = Pow(x, three) d = Mul(bend, c) b = Add(x, d) s = Mul(b, slope) t = Tanh(s) g = Add(t, one)"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (f"{ERF} a = Mul(x, g) y = Mul(a, half)", "none"),
        (f"{ERF} a = Mul(half, x) y = Mul(g, a)", "none"),
        (f"{ERF} a = Mul(half, g) y = Mul(x, a)", "none"),
        (f"{ERF} a = Mul(x, g) y = Div(a, two)", "none"),
        (f"{ERF.replace('Div(x, root)', 'Mul(x, shrunk)')} a = Mul(x, g) y = Mul(a, half)", "none"),
        (f"{TANH} a = Mul(x, g) y = Mul(a, half)", "tanh"),
        (f"{TANH} a = Mul(x, half) y = Mul(a, g)", "tanh"),
        (f"{TANH.replace('Pow(x, three)', 'Mul(q, x)').replace('c =', 'q = Mul(x, x) c =')} a = Mul(x, g) y = Mul(a, half)", "tanh"),
    ],
)  # fmt: skip
def test_fuses(body: str, form: str) -> None:
    got = apply(fuse_gelu, f"g (float[2, 9] x) => (float[2, 9] y) {CONSTANTS} {{ {body} }}", level=CLOSE)
    assert (got.fired, got.ops) == (1, ["Gelu"])
    assert got.node("Gelu").attributes.get_string("approximate") == form
    assert got.model.opset_imports[""] == 20


def test_refuses() -> None:
    body = f"{ERF} a = Mul(x, g) y = Mul(a, half)"
    text = f"g (float[9] x) => (float[9] y, float[9] e) {CONSTANTS} {{ {body} }}"
    assert apply(fuse_gelu, text).refused == ["a part of it is used elsewhere"]
    text = f"g (float[9] x) => (float[9] y) {CONSTANTS.replace('1.4142135', '1.5')} {{ {body} }}"
    assert apply(fuse_gelu, text).fired == 0
    text = f"g (float[9] x) => (float[9] y) {CONSTANTS} {{ {body.replace('a = Mul(x, g)', 'z = Neg(x) a = Mul(z, g)')} }}"
    assert apply(fuse_gelu, text).fired == 0
