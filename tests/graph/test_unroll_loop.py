from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import unroll_loop

TEXT = """g (float[2] x{inputs}) => (float[2] y, float[{rows},2] z) <int64 m = {{{turns}}}, bool c = {{{condition}}}> {{
  y, z = Loop(m, c, x) <body = b (int64 i, bool g, float[2] v) => (bool h, float[2] w, float[2] s) <float[2] k = {{1.0, 2.0}}> {{
    h = Identity(g) f = Cast<to = 1>(i) a = Mul(v, k) w = Add(a, f) s = Neg(v) }}>
}}"""


@pytest.mark.parametrize("turns", [1, 3])
def test_constant_trip_count(turns: int) -> None:
    got = apply(unroll_loop, TEXT.format(inputs="", rows=turns, turns=turns, condition=1))
    assert got.fired == 1
    assert got.ops.count("Mul") == turns
    assert "Loop" not in got.ops
    names = [out.name for node in got.model.graph for out in node.outputs]
    assert len(set(names)) == len(names)


def test_what_the_body_hands_on_and_what_lies_outside() -> None:
    got = apply(
        unroll_loop,
        """g (float[2] x, float[2] u) => (float[2] y, float[2] z) <int64 m = {3}> {
          r = Exp(u)
          y, z = Loop(m, , x, u) <body = b (int64 i, bool g, float[2] v, float[2] a) => (bool h, float[2] w, float[2] d) {
            h = Identity(g) w = Add(a, r) d = Identity(v) }>
        }""",
    )
    assert got.fired == 1
    assert got.ops.count("Add") == 3


@pytest.mark.parametrize(
    ("turns", "condition", "reason"),
    [
        (0, 1, "it makes no turn"),
        (100, 1, "it would become more than 256 nodes"),
        (3, 0, "its condition is not constantly true"),
    ],
)
def test_refuses(turns: int, condition: int, reason: str) -> None:
    rows = turns if condition else 0
    got = apply(unroll_loop, TEXT.format(inputs="", rows=rows, turns=turns, condition=condition))
    assert got.fired == 0
    assert got.refused == [reason]


def test_refuses_a_trip_count_from_outside() -> None:
    got = apply(
        unroll_loop,
        """g (float[2] x, int64 m) => (float[2] y) {
          y = Loop(m, , x) <body = b (int64 i, bool g, float[2] v) => (bool h, float[2] w) { h = Identity(g) w = Neg(v) }>
        }""",
        feed={"x": np.ones(2, np.float32), "m": np.array(2)},
    )
    assert got.refused == ["its trip count is not constant"]


def test_refuses_a_condition_that_the_body_computes() -> None:
    got = apply(
        unroll_loop,
        """g (float[1] x) => (float[1] y) <int64 m = {2}, float[1] k = {9.0}> {
          y = Loop(m, , x) <body = b (int64 i, bool g, float[1] v) => (bool h, float[1] w) { w = Neg(v) l = Less(w, k) h = Squeeze(l) }>
        }""",
    )
    assert got.refused == ["its condition is not constantly true"]
