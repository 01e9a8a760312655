from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import move_quantization

CONSTANTS = "<float s = {0.1}, float t = {0.2}, float[2] v = {0.1, 0.2}, uint8 z = {3}, uint8 o = {0}>"


def text(body: str) -> str:
    return f"g (uint8[2, 3] x) => (uint8[A, B] y, float[C, D] f) {CONSTANTS} {{ d = DequantizeLinear(x, s, z) {body} }}"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("t1 = Transpose(d) q = QuantizeLinear(t1, s, z)", ["Transpose"]),
        ("t1 = Flatten(d) q = QuantizeLinear(t1, s, z)", ["Flatten"]),
        ("q = QuantizeLinear(d, s, z)", []),
    ],
)
def test_moves(body: str, left: list[str]) -> None:
    got = apply(
        move_quantization,
        f"g (uint8[2, 3] x) => (float[A, B] y) {CONSTANTS} {{ d = DequantizeLinear(x, s, z) {body} y = DequantizeLinear(q, s, z) }}",
    )
    assert got.fired == 1
    assert "QuantizeLinear" not in got.ops
    assert [op for op in got.ops if op != "DequantizeLinear"] == left


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("f = Transpose(d) y = QuantizeLinear(f, s, z)", "a part of it is used elsewhere"),
        ("a = Transpose(d) y = QuantizeLinear(a, t, z) f = Neg(d)", "its scales or zero points differ"),
        ("a = Transpose(d) y = QuantizeLinear(a, s, o) f = Neg(d)", "its scales or zero points differ"),
        ("a = Transpose(d) y = QuantizeLinear<axis = 1>(a, v) f = Neg(d)", "its scales or zero points are not single constants"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(move_quantization, text(body))
    assert (got.fired, got.refused) == (0, [reason])


def test_maxima_of_integers() -> None:
    text = f"g (uint8[1, 2, 4, 4] x) => (float[A, B, C, D] y) {CONSTANTS} {{ d = DequantizeLinear(x, s, z) p = MaxPool<kernel_shape = [2, 2]>(d) q = QuantizeLinear(p, s, z) y = DequantizeLinear(q, s, z) }}"
    assert apply(move_quantization, text).ops == ["DequantizeLinear", "MaxPool", "DequantizeLinear"]
    assert apply(move_quantization, text, opset=11).refused == [
        "a MaxPool of such integers is not in the operator set, or its indices are used"
    ]
