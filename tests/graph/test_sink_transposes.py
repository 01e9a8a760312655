from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import sink_transposes

A, B = "a = Transpose<perm = [0, 2, 1]>(x)", "b = Transpose<perm = [0, 2, 1]>(z)"


M = ", ".join(str(i) for i in range(1, 13))


def text(body: str) -> str:
    return f"g (float[2, 3, 4] x, float[2, 3, 4] z) => (float[C, D, E] y) <float two = {{2.0}}, float[3] v = {{1, 2, 3}}, float[1, 4, 3] m = {{{M}}}> {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (f"{A} {B} y = Add(a, b)", ["Add", "Transpose"]),
        (f"{A} {B} y = Concat<axis = 2>(a, b)", ["Concat", "Transpose"]),
        (f"{A} {B} c = Concat<axis = -2>(a, b) y = Relu(c)", ["Concat", "Transpose", "Relu"]),
        (f"{A} r = Relu(a) y = Transpose<perm = [0, 2, 1]>(r)", ["Relu", "Transpose", "Transpose"]),
        (f"{A} r = Mul(a, two) y = Transpose<perm = [0, 2, 1]>(r)", ["Mul", "Transpose", "Transpose"]),
        (f"{A} r = Mul(a, v) y = Transpose<perm = [0, 2, 1]>(r)", ["Mul", "Transpose", "Transpose"]),
        (f"{A} r = Div(m, a) y = Transpose<perm = [0, 2, 1]>(r)", ["Div", "Transpose", "Transpose"]),
        (
            f"{A} r = Concat<axis = 0>(m, a) y = Transpose<perm = [0, 2, 1]>(r)",
            ["Concat", "Transpose", "Transpose"],
        ),
    ],
)
def test_sinks(body: str, left: list[str]) -> None:
    got = apply(sink_transposes, text(body))
    assert (got.fired, got.ops) == (1, left)


def test_sinks_below_several() -> None:
    got = apply(sink_transposes, text(f"{A} r = Add(a, v) s = Relu(r) y = Transpose<perm = [0, 2, 1]>(s)"))
    assert (got.fired, got.ops) == (2, ["Add", "Relu", "Transpose", "Transpose"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{A} y = Relu(a)", "nothing would be gained"),
        (f"{A} {B} s = Add(a, b) y = Mul(s, a)", "a Transpose has other users"),
        (f"{A} {B} s = Add(a, b) y = Mul(s, b)", "a Transpose has other users"),
        (f"{A} r = Mul(a, v) s = MatMul(r, v) y = Transpose<perm = [1, 0]>(s)", "nothing would be gained"),
        (
            f"{A} b = Transpose<perm = [2, 0, 1]>(z) y = Concat<axis = 0>(a, b)",
            "not all operands are transposed alike",
        ),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(sink_transposes, text(body), run="2, 0, 1" not in body and ", v)" not in body)
    assert got.fired == 0
    assert reason in got.refused
