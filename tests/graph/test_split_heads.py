from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import split_heads

CONSTANTS = "<int64[5] five = {-1, 7, 3, 2, 4}, int64[3] ones = {1, 1, 1}, int64[1] zero = {0}, int64[3] flat = {-1, 7, 4}>"
START = "r = Reshape(x, five) t = Transpose<perm = [2, 0, 3, 1, 4]>(r) a, b, c = Split<axis = 0>(t, ones)"


def text(body: str, x: str = "N, 7, 24", out: str = "A, B, C, D") -> str:
    return f"g (float[{x}] x) => (float[{out}] p, float[E, F, G, H] q, float[I, J, K, L] o) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "out"),
    [
        ("sa = Squeeze(a, zero) p = Neg(sa)", "A, B, C, D"),
        ("sa = Reshape(a, flat) p = Neg(sa)", "A, B, C"),
    ],
)
def test_splits(body: str, out: str) -> None:
    rest = "sb = Squeeze(b, zero) q = Abs(sb) sc = Squeeze(c, zero) o = Relu(sc)"
    got = apply(split_heads, text(f"{START} {body} {rest}", out=out))
    assert got.fired == 1
    assert got.ops[0] == "Split"
    assert got.ops.count("Transpose") == 3
    assert "Squeeze" not in got.ops


@pytest.mark.parametrize(
    ("body", "x", "reason"),
    [
        (f"{START} sa = Squeeze(a) p = Neg(sa)", "N, 7, 24", "its parts are used otherwise than without their first axis"),
        (f"{START} sa = Squeeze(a, zero) p = Neg(sa)", "N, 168", "its sizes are not known"),
        (f"{START} sa = Squeeze(a, zero) t2 = Squeeze(t) u = ReduceSum(t2) p = Add(sa, u)", "N, 7, 24", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, x: str, reason: str) -> None:
    rest = "sb = Squeeze(b, zero) q = Abs(sb) sc = Squeeze(c, zero) o = Relu(sc)"
    got = apply(split_heads, text(f"{body} {rest}", x))
    assert (got.fired, got.refused) == (0, [reason])


def test_ignores_other_permutations() -> None:
    other = START.replace("2, 0, 3, 1, 4", "2, 0, 1, 3, 4")
    rest = "sa = Squeeze(a, zero) p = Neg(sa) sb = Squeeze(b, zero) q = Abs(sb) sc = Squeeze(c, zero) o = Relu(sc)"
    assert apply(split_heads, text(f"{other} {rest}")).fired == 0
