from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import lift_constants


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("value = float[2] {1.0, 2.0}", np.array([1, 2], np.float32)),
        ("value_float = 1.5", np.float32(1.5)),
        ("value_floats = [1.5, 2.5]", np.array([1.5, 2.5], np.float32)),
    ],
)
def test_every_kind_of_number_becomes_an_initializer(attribute: str, expected: np.ndarray) -> None:
    got = apply(
        lift_constants, f"g (float[2] x) => (float[2] y) {{ c = Constant<{attribute}>() y = Add(x, c) }}"
    )
    assert got.fired == 1
    assert got.ops == ["Add"]
    np.testing.assert_array_equal(got.constant("c"), expected)
    assert got.constant("c").shape == np.shape(expected)


def test_integers() -> None:
    got = apply(
        lift_constants,
        """g (float[2, 3] x) => (float[3, 2] y, int64 n)
        { s = Constant<value_ints = [3, 2]>() y = Reshape(x, s) i = Constant<value_int = 7>() n = Neg(i) }""",
    )
    assert got.fired == 2
    assert got.constant("i").shape == ()


def test_inside_a_subgraph() -> None:
    got = apply(
        lift_constants,
        """g (bool c, float[2] x) => (float[2] y) {
          y = If(c) <then_branch = t () => (float[2] a) { k = Constant<value_float = 2.0>() a = Mul(x, k) },
                     else_branch = e () => (float[2] b) { b = Neg(x) }>
        }""",
    )
    assert got.fired == 1
    assert "Constant" not in got.ops


def test_refuses_outputs_and_strings() -> None:
    got = apply(
        lift_constants,
        "g (float[1] x) => (float[1] y, float z) { z = Constant<value_float = 2.0>() y = Add(x, z) }",
    )
    assert got.fired == 0
    assert got.refused == ["it is an output of its graph"]
    got = apply(
        lift_constants,
        'g (float[1] x) => (float[1] y) { s = Constant<value_string = "a">() t = Identity(s) y = Neg(x) }',
        run=False,
    )
    assert got.refused == ["it is no dense tensor of numbers"]
