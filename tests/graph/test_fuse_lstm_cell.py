from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_lstm_cell
from ingot.testing import CLOSE

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.standard_normal((12, 5)).astype(np.float32),
    "r": RNG.standard_normal((12, 3)).astype(np.float32),
    "p": RNG.standard_normal(12).astype(np.float32),
    "q": RNG.standard_normal(12).astype(np.float32),
}
GEMMS = "a = Gemm<transB = 1>(h, r, p) b = Gemm<transB = 1>(x, w, q)"
CELL = "si = Sigmoid(i) sf = Sigmoid(f) tg = Tanh(k) so = Sigmoid(o) fc = Mul(sf, c) ig = Mul(si, tg) c2 = Add(fc, ig)"


def text(body: str, sizes: str = "3, 3, 3, 3") -> str:
    return (
        "g (float[N, 5] x, float[N, 3] h, float[N, 3] c, float[12, 5] w, float[12, 3] r, float[12] p, float[12] q) "
        f"=> (float[N, 3] h2, float[N, 3] c2) <int64[4] n = {{{sizes}}}> {{ {body} }}"
    )


def body(
    gemms: str = GEMMS, split: str = "i, f, k, o = Split<axis = 1>(s, n)", end: str = "h2 = Mul(so, t)"
) -> str:
    return f"{gemms} s = Add(a, b) {split} {CELL} t = Tanh(c2) {end}"


@pytest.mark.parametrize(
    "given",
    [
        body(),
        body("b = Gemm<transB = 1>(x, w) a = Gemm<transB = 1>(h, r, p)"),
        body("v = Transpose(w) b = Gemm<transB = 1>(x, w, q) a = Gemm<transB = 1>(h, r)"),
        body(end="z = Neg(c2) y = Mul(so, t) h2 = Add(y, z)"),
    ],
)
def test_one_step(given: str) -> None:
    got = apply(fuse_lstm_cell, text(given), CONSTANTS, level=CLOSE, symbols={"N": 2})
    assert got.fired == 1
    assert got.node("LSTM").attributes.get_int("hidden_size") == 3
    assert not {"Gemm", "Split", "Sigmoid"} & set(got.ops)


def test_equal_parts_need_no_sizes() -> None:
    got = apply(
        fuse_lstm_cell,
        text(body(split="i, f, k, o = Split<axis = 1, num_outputs = 4>(s)")),
        CONSTANTS,
        level=CLOSE,
        opset=18,
    )
    assert got.fired == 1


@pytest.mark.parametrize(
    ("given", "sizes", "reason"),
    [
        (body(GEMMS.replace("1>(x", "1, alpha = 2.0>(x")), "3, 3, 3, 3", "its Gemms have factors, or weights or biases that are not constant"),
        (body("v = Neg(w) a = Gemm<transB = 1>(h, r, p) b = Gemm<transB = 1>(x, v, q)"), "3, 3, 3, 3", "its Gemms have factors, or weights or biases that are not constant"),
        (body(end="y = Mul(so, t) h2 = Add(y, so)"), "3, 3, 3, 3", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(given: str, sizes: str, reason: str) -> None:
    got = apply(fuse_lstm_cell, text(given, sizes), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])


def test_refuses_states_of_another_size() -> None:
    source = (
        text(body()).replace("float[N, 3] h,", "float[N, 1] h,").replace("float[12, 3] r", "float[12, 1] r")
    )
    got = apply(fuse_lstm_cell, source, CONSTANTS | {"r": CONSTANTS["r"][:, :1]})
    assert got.refused == ["its states are not known to be of the cell's size"]
