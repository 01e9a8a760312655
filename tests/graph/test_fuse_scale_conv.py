from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_scale_conv
from ingot.testing import CLOSE

RNG = np.random.default_rng(6)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(6, 4, 3, 3),
    "v": normal(6, 2, 3, 3),
    "m": normal(5, 7),
    "b": normal(6),
    "a": normal(7),
    "one": normal(4, 1, 1, 1),
    "whole": normal(100, 7),
}
NORM = {name: np.abs(normal(4)) + 0.5 for name in ("s", "t", "u", "r")}
CONSTANTS = """<float[4, 1, 1] c = {2, -3, 0.5, 1}, float[1, 4, 1, 1] d = {1, 2, 3, 4}, float k = {4}, float[1, 1, 1, 5] row = {1, 2, 3, 4, 5},
float[5] e = {1, 2, 3, 4, 5}, int64[2] rows = {2, 100}, int64[2] cut = {40, 5}>"""


def text(body: str, outputs: str = "float[A, B, C, D] y") -> str:
    return (
        "g (float[2, 4, 5, 5] x, float[3, 5] u2, float[2, 3, 5] u3, float[6, 4, 3, 3] w, float[4, 1, 1, 1] one, float[6, 2, 3, 3] v, float[5, 7] m, float[100, 7] whole, float[6] b, "
        f"float[7] a, float[4] s, float[4] t, float[4] u, float[4] r) => ({outputs}) {CONSTANTS} {{ {body} }}"
    )


@pytest.mark.parametrize(
    ("body", "fired", "left"),
    [
        ("t1 = Mul(x, c) y = Conv(t1, w, b)", 1, ["Conv"]),
        ("t1 = Add(d, x) y = Conv(t1, w)", 1, ["Conv"]),
        ("t1 = Sub(x, d) t2 = Div(t1, k) y = Conv(t2, w, b)", 2, ["Conv"]),
        ("t1 = Sub(d, x) y = Conv<group = 2>(t1, v, b)", 1, ["Conv"]),
        ("t1 = BatchNormalization(x, s, t, u, r) y = Conv(t1, w, b)", 1, ["Conv"]),
        ("t1 = Conv<group = 4>(x, one, s) y = Conv(t1, w, b)", 1, ["Conv"]),
        ("t1 = Sub(x, d) t2 = Mul(t1, c) y = Conv<pads = [1, 1, 1, 1]>(t2, w)", 1, ["Sub", "Conv"]),
    ],
)
def test_convolutions(body: str, fired: int, left: list[str]) -> None:
    got = apply(fuse_scale_conv, text(body), WEIGHTS | NORM, level=CLOSE)
    assert (got.fired, got.ops) == (fired, left)


@pytest.mark.parametrize(
    "body",
    [
        "t1 = Mul(u2, e) t2 = Add(t1, k) y = Gemm<alpha = 0.5, beta = 2.0>(t2, m, a)",
        "t1 = Mul(u3, e) y = MatMul(t1, m)",
    ],
)
def test_products(body: str) -> None:
    outputs = "float[A, B] y" if "Gemm" in body else "float[A, B, C] y"
    got = apply(fuse_scale_conv, text(body, outputs), WEIGHTS | NORM, level=CLOSE)
    assert len(got.ops) == 1


@pytest.mark.parametrize(
    ("flatten", "product"),
    [
        ("Flatten", "Gemm<alpha = 0.5>(f, whole, a)"),
        ("Reshape", "Gemm(f, whole)"),
        ("Reshape", "MatMul(f, whole)"),
    ],
)
def test_products_of_whole_samples(flatten: str, product: str) -> None:
    step = "BatchNormalization(x, s, t, u, r)" if "Gemm" in product else "Mul(x, c)"
    shape = ", rows" if flatten == "Reshape" else ""
    body = f"n = {step} f = {flatten}(n{shape}) y = {product}"
    got = apply(fuse_scale_conv, text(body, "float[A, B] y"), WEIGHTS | NORM, level=CLOSE)
    assert got.ops == [flatten, product[: product.index("(")].partition("<")[0]]


def test_refuses_other_reshapes() -> None:
    """A Reshape that puts channels into the batch."""
    got = apply(
        fuse_scale_conv, text("n = Mul(x, c) f = Reshape(n, cut) y = MatMul(f, m)", "float[A, B] y"), WEIGHTS
    )
    assert got.fired == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("t1 = Add(x, d) y = Conv<pads = [1, 1, 1, 1]>(t1, w)", "it has no place for a shift"),
        ("t1 = Mul(x, row) y = Conv(t1, w)", "what comes before is not one constant a channel"),
        ("t1 = Mul(x, c) t2 = Conv(t1, w) t3 = ReduceMax(t1) y = Add(t2, t3)", "what comes before has other users"),
        ("t1 = Mul(x, c) n = Neg(w) y = Conv(t1, n)", "its weights are not constant floats"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_scale_conv, text(body), WEIGHTS | NORM)
    assert (got.fired, got.refused) == (0, [reason])
