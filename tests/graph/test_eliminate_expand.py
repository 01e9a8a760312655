from __future__ import annotations

from graphcase import apply

from ingot.graph.rules import eliminate_expand


def test_eliminates() -> None:
    text = (
        "g (float[1, 3] x, float[N, 3] z) => (float[N, 3] y) { s = Shape(z) e = Expand(x, s) y = Add(e, z) }"
    )
    got = apply(eliminate_expand, text)
    assert got.fired == 1
    assert got.node("Add").inputs[0] is got.model.graph.inputs[0]


def test_tiles_of_single_elements() -> None:
    text = "g (float[1, 3] x, float[2, 3] z) => (float[2, 3] y) <int64[2] r = {2, 1}> { e = Tile(x, r) y = Mul(e, z) }"
    assert apply(eliminate_expand, text).node("Mul").inputs[0].name == "x"
    text = text.replace("float[1, 3] x", "float[1, 1] x").replace("{2, 1}", "{2, 3}")
    assert apply(eliminate_expand, text).fired == 1
    text = "g (float[2, 3] x, float[4, 3] z) => (float[4, 3] y) <int64[2] r = {2, 1}> { e = Tile(x, r) y = Mul(e, z) }"
    assert apply(eliminate_expand, text).fired == 0


def test_refuses() -> None:
    text = "g (float[1, 3] x, float[1, 3] z) => (float[2, 3] y) <int64[2] s = {2, 3}> { e = Expand(x, s) y = Add(e, z) }"
    assert apply(eliminate_expand, text).refused == [
        "the other operand is not known to have the shape of the result"
    ]
