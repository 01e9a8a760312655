from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_rms_norm
from ingot.testing import CLOSE

SCALE = {"w": np.array([1, 2, 3, 4, 5], np.float32)}
MEAN = "s = Mul(x, x) m = ReduceMean<axes = [-1]>(s) e = Add(m, eps)"


def text(body: str) -> str:
    constants = "<float eps = {1e-5}, float two = {2.0}, float one = {1.0}, float power = {-0.5}>"
    return f"g (float[2, 3, 5] x, float[5] w) => (float[2, 3, 5] y) {constants} {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        f"{MEAN} r = Sqrt(e) n = Div(x, r) y = Mul(n, w)",
        f"{MEAN} r = Sqrt(e) q = Reciprocal(r) n = Mul(x, q) y = Mul(w, n)",
        f"{MEAN} q = Pow(e, power) n = Mul(x, q) y = Mul(w, n)",
        f"{MEAN.replace('Mul(x, x)', 'Pow(x, two)')} r = Sqrt(e) q = Div(one, r) n = Mul(x, q) y = Mul(n, w)",
        f"{MEAN.replace('-1', '2')} r = Sqrt(e) y = Div(x, r)",
    ],
)
def test_fuses(body: str) -> None:
    got = apply(fuse_rms_norm, text(body), SCALE, level=CLOSE, opset=17)
    assert (got.fired, got.ops) == (1, ["RMSNormalization"])
    assert got.node("RMSNormalization").attributes.get_int("axis") == -1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{MEAN.replace('-1', '1')} r = Sqrt(e) n = Div(x, r) y = Mul(n, w)", "its mean is not over trailing axes that it keeps"),
        (f"{MEAN.replace('[-1]', '[1, 2]')} r = Sqrt(e) n = Div(x, r) y = Mul(n, w)", "its scale does not span the axes of the mean"),
        (f"{MEAN} r = Sqrt(e) z = Relu(r) n = Div(x, r) a = Mul(n, w) y = Add(a, z)", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_rms_norm, text(body), SCALE, level=CLOSE)
    assert got.refused[0] == reason


def test_a_mean_over_two_axes_needs_no_scale() -> None:
    got = apply(
        fuse_rms_norm, text(f"{MEAN.replace('[-1]', '[1, 2]')} r = Sqrt(e) y = Div(x, r)"), SCALE, level=CLOSE
    )
    assert got.ops == ["RMSNormalization"]
    assert got.node("RMSNormalization").attributes.get_int("axis") == -2
