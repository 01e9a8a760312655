from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_matmul_add
from ingot.testing import CLOSE

CONSTANTS = {"w": np.ones((3, 4), np.float32), "b": np.arange(4, dtype=np.float32)}


def text(body: str, x: str = "N, 3", y: str = "N, 4") -> str:
    return (
        f"g (float[{x}] x, float[3, 4] w, float[4] b) => (float[{y}] y) <float[1] one = {{1}}> {{ {body} }}"
    )


@pytest.mark.parametrize("add", ["Add(m, b)", "Add(b, m)"])
def test_fuses(add: str) -> None:
    got = apply(fuse_matmul_add, text(f"m = MatMul(x, w) y = {add}"), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["Gemm"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            text("m = MatMul(x, w) y = Add(m, b)", "N, 2, 3", "N, 2, 4"),
            "its first operand is not known to be a matrix",
        ),
        (text("v = Neg(w) m = MatMul(x, v) y = Add(m, b)"), "its weights or its bias are not constant"),
        (text("m = MatMul(x, w) y = Add(m, one)"), "its bias is not a vector of the features"),
        (text("m = MatMul(x, w) a = Add(m, b) y = Mul(a, m)"), "a part of it is used elsewhere"),
    ],
)
def test_refuses(source: str, reason: str) -> None:
    got = apply(fuse_matmul_add, source, CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
