from __future__ import annotations

import onnx_ir as ir
import pytest
from graphcase import apply, parse

from ingot.graph.pipeline import OPTIMIZE, optimize
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


def quantised(body: str, shape: str = "1, 2, 4, 4", ranks: str = "A, B, C, D") -> str:
    return f"""g (uint8[{shape}] x, uint8[{shape}] w) => (float[{ranks}] y) <float s = {{0.1}}, uint8 z = {{3}}, float v = {{0.47}}, float low = {{-9}},
    int64[8] pads = {{0, 0, 1, 0, 0, 1, 0, 2}}, int64[2] order = {{1, 0}}, float[4] scales = {{1, 1, 2, 2}}, int64[1] one = {{1}}, int64[1] two = {{2}}>
    {{ d = DequantizeLinear(x, s, z) e = DequantizeLinear(w, s, z) {body} }}"""


AGAIN = "q = QuantizeLinear(m, s, z) y = DequantizeLinear(q, s, z)"


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        ("m = Pad(d, pads)", 1),
        ("m = Pad(d, pads, v)", 1),
        ("m = Pad(d, pads, low)", 1),
        ('m = Pad<mode = "reflect">(d, pads)', 1),
        ("m = Resize(d, , scales)", 1),
        ('m = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(d, , scales)', 1),
        ("m = Gather<axis = 1>(d, order)", 1),
        ("m = Slice(d, one, two, one)", 1),
        ("a = Transpose<perm = [0, 2, 3, 1]>(d) b = Gather<axis = 3>(a, order) m = MaxPool<kernel_shape = [2, 2]>(b)", 3),
        ("m = Concat<axis = 1>(d, e, d)", 0),
        ("a = Neg(d) m = Transpose<perm = [0, 2, 3, 1]>(d) n = Neg(a)", 1),
    ],
)  # fmt: skip
def test_moves_of_images(body: str, moved: int) -> None:
    got = apply(move_quantization, quantised(f"{body} {AGAIN}"))
    assert got.fired == (1 if moved else 0)
    assert ("QuantizeLinear" in got.ops) == (not moved)


@pytest.mark.parametrize(
    "follow", ["y = Neg(m)", AGAIN, "t = Transpose<perm = [0, 2, 3, 1]>(m) " + AGAIN.replace("(m", "(t")]
)
def test_concatenations(follow: str) -> None:
    got = apply(move_quantization, quantised(f"m = Concat<axis = 1>(d, e) {follow}"))
    assert got.fired == 1
    assert got.node("Concat").outputs[0].dtype == ir.DataType.UINT8
    model = parse(quantised(f"m = Concat<axis = 1>(d, e) {follow}"))
    optimize(model, rules=OPTIMIZE)
    assert [node.op_type for node in model.graph].count("DequantizeLinear") == 1
    assert "QuantizeLinear" not in [node.op_type for node in model.graph]


def test_splits() -> None:
    body = "a, b = Split<axis = 1>(d, half) q = QuantizeLinear(a, s, z) r = QuantizeLinear(b, s, z) f = DequantizeLinear(q, s, z) g = DequantizeLinear(r, s, z) y = Sub(f, g)"
    got = apply(move_quantization, quantised(body).replace("<float s", "<int64[2] half = {1, 1}, float s"))
    assert got.fired == 1
    assert "QuantizeLinear" not in got.ops
    got = apply(
        move_quantization,
        quantised(body.replace("r = Quant", "h = Neg(b) r = Quant")).replace(
            "<float s", "<int64[2] half = {1, 1}, float s"
        ),
    )
    assert "a part of it is not quantised, or used elsewhere" in got.refused


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('m = Resize<mode = "linear">(d, , scales)', "it interpolates or extrapolates"),
        ("k = Relu(v) m = Pad(d, pads, k)", "a Pad of such integers is not in the operator set, or its value is computed"),
        ("c = DequantizeLinear(x, v, z) k = Concat<axis = 1>(c, e) m = Relu(k)", "its scales or zero points differ"),
        ("k = Concat<axis = 1>(d, e) l = Add(d, e) m = MatMul(k, l)", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses_images(body: str, reason: str) -> None:
    got = apply(move_quantization, quantised(f"{body} {AGAIN}"), run="MatMul" not in body)
    assert (got.fired, got.refused) == (0, [reason])
