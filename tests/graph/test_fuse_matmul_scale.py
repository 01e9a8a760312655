from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_matmul_scale
from ingot.testing import CLOSE

RNG = np.random.default_rng(6)
CONSTANTS = {"w": RNG.standard_normal((4, 3)).astype(np.float32)} | {
    name: np.abs(RNG.standard_normal(3)).astype(np.float32) + 0.5 for name in "bcdstur"
}


def text(body: str) -> str:
    given = ", ".join(f"float[3] {name}" for name in "bcdstur")
    return f"g (float[2, 5, 4] x, float[5, 4] p, float[5, 1] rows, float[4, 3] w, {given}) => (float[A, B, C] y) {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("m = MatMul(x, w) y = Mul(m, c)", ["MatMul"]),
        ("m = MatMul(x, w) a = Add(m, b) y = Mul(c, a)", ["MatMul", "Add"]),
        ("m = MatMul(x, w) a = Add(m, b) e = Div(a, c) y = Sub(d, e)", ["MatMul", "Add"]),
    ],
)
def test_chains(body: str, left: list[str]) -> None:
    got = apply(fuse_matmul_scale, text(body), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, left)


def test_batch_norm_of_a_matrix() -> None:
    body = "m = MatMul(p, w) a = Add(m, b) y = BatchNormalization(a, s, t, u, r)"
    got = apply(fuse_matmul_scale, text(body).replace("[A, B, C]", "[A, B]"), CONSTANTS, level=CLOSE)
    assert got.ops == ["MatMul", "Add"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("m = MatMul(x, w) y = Add(m, b)", "nothing would be gained"),
        ("m = MatMul(x, w) y = Mul(m, rows)", "nothing would be gained"),
        ("n = Neg(w) m = MatMul(x, n) y = Mul(m, c)", "its weights are not a constant matrix of floats"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_matmul_scale, text(body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
