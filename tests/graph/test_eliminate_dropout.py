from __future__ import annotations

from graphcase import apply

from ingot.graph.rules import eliminate_dropout


def test_in_inference() -> None:
    assert apply(eliminate_dropout, "g (float[4] x) => (float[4] y) { a = Dropout(x) y = Neg(a) }").ops == [
        "Neg"
    ]
    got = apply(
        eliminate_dropout,
        "g (float[4] x) => (float[4] y) <float r = {0.5}, bool t = {0}> { a = Dropout(x, r, t) y = Neg(a) }",
    )
    assert got.fired == 1
    old = "g (float[4] x) => (float[4] y) { a = Dropout<ratio = 0.3>(x) y = Neg(a) }"
    assert apply(eliminate_dropout, old, opset=10).fired == 1


def test_refuses_training() -> None:
    for training in ("bool t = {1}", ""):
        inputs = "float[4] x" if training else "float[4] x, bool t"
        got = apply(
            eliminate_dropout,
            f"g ({inputs}) => (float[4] y) <float r = {{0.5}}{', ' + training if training else ''}> "
            "{ a = Dropout(x, r, t) y = Neg(a) }",
            run=False,
        )
        assert got.refused == ["its training_mode is not known to be false"]


def test_refuses_a_used_mask() -> None:
    got = apply(
        eliminate_dropout, "g (float[4] x) => (float[4] y, bool[4] m) { a, m = Dropout(x) y = Neg(a) }"
    )
    assert got.refused == ["its mask is used"]
