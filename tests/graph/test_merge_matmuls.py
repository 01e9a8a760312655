from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_matmuls
from ingot.testing import CLOSE

RNG = np.random.default_rng(0)
CONSTANTS = {
    name: RNG.standard_normal((4, n)).astype(np.float32) for name, n in zip("uvw", (3, 5, 2), strict=True)
} | {name: RNG.standard_normal(n).astype(np.float32) for name, n in zip("abc", (3, 5, 2), strict=True)}
INPUTS = "float[4, 3] u, float[4, 5] v, float[4, 2] w, float[3] a, float[5] b, float[2] c"


def text(body: str) -> str:
    return f"g (float[N, 7, 4] x, {INPUTS}) => (float[N, 7, 3] p, float[N, 7, 5] q, float[N, 7, 2] r) {{ {body} }}"


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("k = MatMul(x, u) p = Add(k, a) l = MatMul(x, v) q = Add(b, l) m = MatMul(x, w) r = Add(m, c)", ["MatMul", "Add", "Split"]),
        ("p = MatMul(x, u) q = MatMul(x, v) r = MatMul(x, w)", ["MatMul", "Split"]),
    ],
)  # fmt: skip
def test_merges(body: str, left: list[str], opset: int) -> None:
    got = apply(merge_matmuls, text(body), CONSTANTS, level=CLOSE, opset=opset)
    assert (got.fired, got.ops) == (1, left)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("k = MatMul(x, u) p = Add(k, a) q = MatMul(x, v) r = MatMul(x, w)", "only some have a constant bias"),
        ("p = MatMul(x, u) q = MatMul(x, v) t = Neg(x) r = MatMul(t, w)", "nothing would be gained"),
        ("p = MatMul(x, u) q = MatMul(x, v) s = Neg(w) r = MatMul(x, s)", "the weights are not constant"),
        ("p = MatMul(x, u) q = MatMul(x, v) t = MatMul(x, u) r = MatMul(x, w) d = Add(t, t)", "a weight has other users"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(merge_matmuls, text(body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
