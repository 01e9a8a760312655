from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_conv_activation
from ingot.testing import CLOSE

RNG = np.random.default_rng(5)
CONSTANTS = {
    "w": RNG.standard_normal((4, 4, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
}
TEXT = """g (float[2, 4, 5, 6] x, float[2, 4, 5, 6] z, float[4, 1, 1] v, float k, float[4, 4, 3, 3] w, float[4] b) => (float[2, 4, 5, 6] y)
<float low = {{-0.5}}, float high = {{1.5}}> {{ {body} }}"""
CONV = "c = Conv<pads = [1, 1, 1, 1]>(x, w, b)"


@pytest.mark.parametrize(
    ("activation", "params"),
    [
        ("Relu(c)", []),
        ("Sigmoid(c)", []),
        ("Tanh(c)", []),
        ("LeakyRelu(c)", [0.01]),
        ("LeakyRelu<alpha = 0.3>(c)", [0.3]),
        ("HardSigmoid<alpha = 0.3>(c)", [0.3, 0.5]),
        ("Clip(c, low, high)", [-0.5, 1.5]),
        ("Clip(c, low)", [-0.5, np.finfo(np.float32).max]),
    ],
)
@pytest.mark.parametrize("summed", [False, True])
def test_fuses(activation: str, params: list[float], summed: bool) -> None:
    add = "s = Add(z, c)" if summed else ""
    body = f"{CONV} {add} y = {activation.replace('(c', '(s') if summed else activation}"
    got = apply(fuse_conv_activation, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["FusedConv"])
    found = got.node("FusedConv")
    assert found.domain == "com.microsoft"
    assert len(found.inputs) == 3 + summed
    np.testing.assert_allclose(found.attributes.get_floats("activation_params", ()), params)


def test_a_sum_alone_and_no_bias() -> None:
    body = "c = Conv<pads = [1, 1, 1, 1]>(x, w) y = Add(c, z)"
    got = apply(fuse_conv_activation, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert got.ops == ["FusedConv"]
    assert got.node("FusedConv").inputs[2] is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{CONV} y = Add(c, v)", "what is added is not known to have its shape"),
        (f"{CONV} y = Clip(c, k)", "its bounds are not constant"),
        (f"{CONV} r = Relu(c) y = Mul(r, c)", "a part of it is used elsewhere"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_conv_activation, TEXT.format(body=body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
