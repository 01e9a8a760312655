from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_conv_scale
from ingot.testing import CLOSE

RNG = np.random.default_rng(6)
WEIGHTS = {
    "w": RNG.standard_normal((3, 4, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(3).astype(np.float32),
}
CONSTANTS = """<float[3, 1, 1] c = {2, -3, 0.5}, float[1, 3, 1, 1] d = {1, 2, 3}, float k = {4}, float[1, 1, 1, 1] e = {0.25},
float[3] last = {1, 2, 3}, float[1, 1, 1, 3] row = {1, 2, 3}, float[2, 3, 1, 1] batch = {1, 2, 3, 4, 5, 6}, float[3, 1, 1] nil = {1, 0, 2},
float[1, 1, 3, 1, 1] deep = {1, 2, 3}>"""


@pytest.mark.parametrize(
    "tail",
    [
        "y = Mul(a, c)",
        "y = Mul(k, a)",
        "y = Add(a, d)",
        "y = Sub(a, c)",
        "y = Sub(c, a)",
        "y = Div(a, c)",
        "y = Div(a, e)",
        "t = Mul(a, c) u = Add(t, d) v = Sub(k, u) y = Div(v, k)",
    ],
)
@pytest.mark.parametrize("bias", ["", ", b"])
def test_constants_a_channel(tail: str, bias: str) -> None:
    got = apply(
        fuse_conv_scale,
        f"g (float[2, 4, 5, 5] x, float[3, 4, 3, 3] w, float[3] b) => (float[2, 3, 3, 3] y) {CONSTANTS} {{ a = Conv(x, w{bias}) {tail} }}",
        WEIGHTS,
        level=CLOSE,
    )
    assert got.fired == tail.count("=")
    assert got.ops == ["Conv"]


def test_transposed_convolution_and_gemm() -> None:
    got = apply(
        fuse_conv_scale,
        """g (float[1, 4, 5, 5] x, float[4, 3, 2, 2] w, float[2, 4] u, float[3, 4] m, float[3] b) => (float[A, B, C, D] y, float[E, F] z)
        <float[3, 1, 1] c = {2, -3, 0.5}, float[3] d = {1, 2, 3}, float k = {2}>
        { a = ConvTranspose<strides = [2, 2]>(x, w) y = Mul(a, c)
          p = Gemm<transB = 1, beta = 0.5>(u, m, b) q = Add(p, d) z = Mul(q, k) }""",
        {
            "w": RNG.standard_normal((4, 3, 2, 2)).astype(np.float32),
            "m": RNG.standard_normal((3, 4)).astype(np.float32),
            "b": WEIGHTS["b"],
        },
        level=CLOSE,
    )
    assert got.fired == 3
    assert got.ops == ["ConvTranspose", "Gemm"]


@pytest.mark.parametrize("constant", ["row", "batch", "last", "deep", "x2"])
def test_refuses_what_varies_elsewhere(constant: str) -> None:
    got = apply(
        fuse_conv_scale,
        f"g (float[2, 4, 5, 5] x, float[2, 3, 3, 3] x2, float[3, 4, 3, 3] w) => (float[A, B, C, D] y) {CONSTANTS} "
        f"{{ a = Conv(x, w) z = Mul(a, {constant}) y = Neg(z) }}",
        {"w": WEIGHTS["w"]},
        run=constant != "deep",
    )
    assert got.refused == ["what follows is not one constant a channel"]


def test_refuses_a_constant_that_adds_channels() -> None:
    got = apply(
        fuse_conv_scale,
        f"g (float[1, 4, 5, 5] x, float[1, 4, 3, 3] w) => (float[1, 3, 3, 3] y) {CONSTANTS} {{ a = Conv(x, w) y = Mul(a, c) }}",
        {"w": WEIGHTS["w"][:1]},
    )
    assert got.fired == 0


def test_refuses_division_by_zero_and_other_users() -> None:
    text = "g (float[1, 4, 5, 5] x, float[3, 4, 3, 3] w) => (float[1, 3, 3, 3] y, float[1, 3, 3, 3] z) {c} {{ a = Conv(x, w) {body} }}"
    constants = {"w": WEIGHTS["w"]}
    assert (
        apply(
            fuse_conv_scale,
            text.format(c=CONSTANTS, body="y = Div(a, nil) z = Neg(x0)").replace("z = Neg(x0)", "z = Neg(y)"),
            constants,
        ).fired
        == 0
    )
    assert (
        apply(fuse_conv_scale, text.format(c=CONSTANTS, body="y = Mul(a, c) z = Neg(a)"), constants).fired
        == 0
    )
    assert (
        apply(fuse_conv_scale, text.format(c=CONSTANTS, body="y = Div(c, a) z = Neg(y)"), constants).fired
        == 0
    )


def test_stops_at_an_output_in_the_chain() -> None:
    got = apply(
        fuse_conv_scale,
        f"g (float[1, 4, 5, 5] x, float[3, 4, 3, 3] w) => (float[1, 3, 3, 3] y, float[1, 3, 3, 3] z) {CONSTANTS} "
        "{ a = Conv(x, w) y = Mul(a, c) z = Add(y, d) }",
        {"w": WEIGHTS["w"]},
        level=CLOSE,
    )
    assert got.ops == ["Conv", "Add"]
