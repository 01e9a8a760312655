from __future__ import annotations

import numpy as np
from graphcase import apply

from ingot.graph.rules import eliminate_dead_code


def test_chains_initializers_and_subgraphs() -> None:
    got = apply(
        eliminate_dead_code,
        """g (float[2] x, bool c, float[2] unused) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}> {
          a = Add(x, w) b = Neg(a)
          d = If(c) <then_branch = t () => (float[2] p) { p = Neg(b) }, else_branch = e () => (float[2] q) { q = Add(b, v) }>
          y = Exp(x)
        }""",
    )
    assert got.ops == ["Exp"]
    assert not got.model.graph.initializers
    assert [value.name for value in got.model.graph.inputs] == ["x", "c", "unused"]
    assert got.fired == 5


def test_inside_a_subgraph_that_stays() -> None:
    got = apply(
        eliminate_dead_code,
        """g (float[2] x, bool c) => (float[2] y) {
          o = Exp(x)
          y = If(c) <then_branch = t () => (float[2] p) <float[2] w = {1, 2}> { dead = Add(o, w) p = Neg(x) },
                     else_branch = e () => (float[2] q) { q = Abs(x) }>
        }""",
    )
    assert sorted(got.ops) == ["Abs", "If", "Neg"]


def test_optional_outputs() -> None:
    got = apply(
        eliminate_dead_code,
        "g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y) { y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) }",
    )
    assert got.fired == 1
    assert len(got.node("MaxPool").outputs) == 1


def test_optional_output_in_the_middle_loses_its_name_only() -> None:
    rng = np.random.default_rng(0)
    got = apply(
        eliminate_dead_code,
        """g (float[3, 1, 4] x, float[1, 8, 4] w, float[1, 8, 2] r) => (float[1, 1, 2] c)
        { all, h, c = LSTM<hidden_size = 2>(x, w, r) }""",
        {
            "w": rng.standard_normal((1, 8, 4)).astype(np.float32),
            "r": rng.standard_normal((1, 8, 2)).astype(np.float32),
        },
    )
    assert [out.name for out in got.node("LSTM").outputs] == ["", "", "c"]


def test_keeps_what_is_used() -> None:
    got = apply(
        eliminate_dead_code,
        "g (float[4] x) => (float[2] y, float[2] z) { y, b = Split(x) z = Neg(b) }",
    )
    assert got.fired == 0
    got = apply(eliminate_dead_code, "g (float[4] x) => (float[2] z) { y, b = Split(x) z = Neg(b) }")
    assert len(got.node("Split").outputs) == 2
