from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_gru_cell
from ingot.testing import CLOSE

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.standard_normal((9, 5)).astype(np.float32),
    "u": RNG.standard_normal((9, 3)).astype(np.float32),
    "p": RNG.standard_normal(9).astype(np.float32),
    "q": RNG.standard_normal(9).astype(np.float32),
}
GEMMS = "gi = Gemm<transB = 1>(x, w, p) gh = Gemm<transB = 1>(h, u, q)"
GATES = "ra = Add(a, d) r = Sigmoid(ra) za = Add(e, b) z = Sigmoid(za) rf = Mul(r, f) na = Add(c, rf) n = Tanh(na)"
ENDS = (
    "s = Sub(h, n) m = Mul(s, z) y = Add(m, n)",
    "o = Sub(one, z) l = Mul(o, n) k = Mul(z, h) y = Add(l, k)",
)


def text(end: str, gemms: str = GEMMS, sizes: str = "3, 3, 3") -> str:
    return (
        "g (float[N, 5] x, float[N, 3] h, float[9, 5] w, float[9, 3] u, float[9] p, float[9] q) => (float[N, 3] y) "
        f"<int64[3] k3 = {{{sizes}}}, float one = {{1}}> {{ {gemms} a, b, c = Split<axis = 1>(gi, k3) d, e, f = Split<axis = 1>(gh, k3) {GATES} {end} }}"
    )


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("gemms", [GEMMS, GEMMS.replace(", p)", ")")])
def test_one_step(end: str, gemms: str) -> None:
    got = apply(fuse_gru_cell, text(end, gemms), CONSTANTS, level=CLOSE, symbols={"N": 2})
    assert got.fired == 1
    assert got.node("GRU").attributes.get_int("hidden_size") == 3
    assert not {"Gemm", "Split", "Sigmoid"} & set(got.ops)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (text(ENDS[0], GEMMS.replace("(x, w", "<alpha = 0.5>(x, w").replace("1><alpha = 0.5>", "1, alpha = 0.5>")), "its Gemms have factors, or weights or biases that are not constant"),
        (text(ENDS[0].replace("y = Add", "v = Add") + " y = Add(v, r)"), "a part of it is used elsewhere"),
        (text(ENDS[1]).replace("float one = {1}", "float one = {2}"), "a constant is 2 where 1 is asked for"),
    ],
)  # fmt: skip
def test_refuses(given: str, reason: str) -> None:
    got = apply(fuse_gru_cell, given, CONSTANTS, symbols={"N": 2})
    assert (got.fired, got.refused) == (0, [reason])


def test_refuses_parts_of_the_batch() -> None:
    given = f"""g (float[3, 5] x, float[3, 1] h, float[3, 5] v, float[3, 1] t) => (float[3, 3] y)
    {{ gi = Gemm<transB = 1>(x, v) gh = Gemm<transB = 1>(h, t) a, b, c = Split(gi) d, e, f = Split(gh) {GATES} {ENDS[0]} }}"""
    got = apply(fuse_gru_cell, given, {"v": CONSTANTS["w"][:3], "t": CONSTANTS["u"][:3, :1]})
    assert got.refused == ["its gates are not of one size"]
