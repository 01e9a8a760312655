from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply, parse

from ingot.graph import affine
from ingot.graph.rules import fuse_conv_scale, hoist_scales
from ingot.testing import CLOSE, EXACT

RNG = np.random.default_rng(3)
STEPS = "<float sx = {0.5}, int8 zx = {3}, float sy = {0.25}, int8 zy = {-5}>"
CONV = {
    "w": RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
    "sw": np.array([0.01, 0.02, 0.5, 0.004], np.float32),
    "b": RNG.integers(-9000, 9000, 4).astype(np.int32),
    "sb": np.array([0.005, 0.01, 0.25, 0.002], np.float32),
}
AFTER = "f = Conv<pads = [1, 1, 1, 1]>(a, v, c) y = QuantizeLinear(f, sy, zy)"


def conv(after: str = AFTER, kind: str = "int8", result: str = "int8[N, 4, A, B] y") -> str:
    return (
        f"g ({kind}[N, 3, 8, 9] x, int8[4, 3, 3, 3] w, float[4] sw, int32[4] b, float[4] sb) => ({result}) "
        f"{STEPS.replace('int8 zx', f'{kind} zx')} {{ a = DequantizeLinear(x, sx, zx) "
        f"v = DequantizeLinear<axis = 0>(w, sw) c = DequantizeLinear<axis = 0>(b, sb) {after} }}"
    )


@pytest.mark.parametrize(
    ("after", "result"),
    [
        (AFTER, "int8[N, 4, A, B] y"),
        ("f = Conv(a, v, c) r = Relu(f) y = QuantizeLinear(r, sy, zy)", "int8[N, 4, A, B] y"),
        ("y = Conv(a, v, c)", "float[N, 4, A, B] y"),
        ("y = Conv(a, v)", "float[N, 4, A, B] y"),
    ],
)
def test_a_convolution_sums_whole_numbers(after: str, result: str) -> None:
    level = EXACT if result.startswith("int8") else CLOSE
    got = apply(hoist_scales, conv(after, result=result), CONV, level=level)
    assert got.fired == 1
    made = got.node("Conv")
    for value in made.inputs[1:]:
        assert value is not None
        assert value.const_value is not None
        array = value.const_value.numpy()
        assert np.array_equal(array, np.rint(array))
    assert affine.reads_whole_numbers(made)
    assert apply(fuse_conv_scale, conv(after, result=result), CONV).fired == 0


def test_inputs_that_were_moved_first() -> None:
    after = "t = Transpose<perm = [0, 1, 3, 2]>(a) y = Conv(t, v, c)"
    got = apply(hoist_scales, conv(after, result="float[N, 4, A, B] y"), CONV, level=CLOSE)
    assert got.fired == 1
    assert affine.reads_whole_numbers(got.node("Conv"))


@pytest.mark.parametrize("operator", ["MatMul(a, v)", "Gemm(a, v)", "Gemm<transB = 1>(a, v)"])
def test_products_of_matrices(operator: str) -> None:
    text = (
        f"g (uint8[N, 6] x, int8[6, 6] w, float[6] sw) => (float[N, 6] y) <float sx = {{0.5}}, uint8 zx = {{120}}> "
        f"{{ a = DequantizeLinear(x, sx, zx) v = DequantizeLinear<axis = {0 if 'transB' in operator else 1}>(w, sw) y = {operator} }}"
    )
    weights = {
        "w": RNG.integers(-127, 128, (6, 6)).astype(np.int8),
        "sw": np.linspace(0.1, 1, 6, dtype=np.float32),
    }
    assert apply(hoist_scales, text, weights, level=CLOSE).fired == 1


def test_a_sum_is_made_in_steps_of_its_result() -> None:
    text = (
        f"g (int8[N, 7] x, int8[N, 7] z) => (int8[N, 7] y) {STEPS} {{ a = DequantizeLinear(x, sx, zx) "
        "b = DequantizeLinear(z, sy, zy) s = Add(a, b) r = Relu(s) y = QuantizeLinear(r, sy, zy) }"
    )
    got = apply(hoist_scales, text, level=EXACT)
    assert got.fired == 1
    scale = got.node("QuantizeLinear").inputs[1]
    assert scale is not None
    assert scale.const_value is not None
    assert scale.const_value.numpy() == 1


@pytest.mark.parametrize(
    ("text", "changes", "reason"),
    [
        (conv(kind="int16"), {}, "its weights are not constant, or an operand has more than 8 bits"),
        (conv(), {"sb": np.full(4, 0.7, np.float32)}, "its bias has steps of another size"),
        (conv(), {"b": np.full(4, 2**25, np.int32)}, "its bias is not an integer"),
    ],
)
def test_refuses(text: str, changes: dict[str, np.ndarray], reason: str) -> None:
    got = apply(hoist_scales, text, CONV | changes, opset=21)
    assert (got.fired, got.refused) == (0, [reason])


def test_refuses_scales_that_do_not_fit() -> None:
    text = (
        "g (int8[N, 3] x, int8[3, 2] w, float[3] sw) => (float[N, 2] y) <float sx = {0.5}> "
        "{ a = DequantizeLinear(x, sx) v = DequantizeLinear<axis = 1>(w, sw) y = MatMul(a, v) }"
    )
    weights = {"w": np.ones((3, 2), np.int8), "sw": np.ones(3, np.float32)}
    got = apply(hoist_scales, text, weights, run=False)
    assert (got.fired, got.refused) == (0, ["its scales do not fit its weights"])


def test_nothing_to_hoist() -> None:
    text = "g (float[N, 3] x, float[3, 2] w) => (float[N, 2] y) { y = MatMul(x, w) }"
    assert apply(hoist_scales, text, {"w": np.ones((3, 2), np.float32)}).fired == 0
    assert not affine.reads_whole_numbers(next(iter(parse(text, {"w": np.ones((3, 2), np.float32)}).graph)))
