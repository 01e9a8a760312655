from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fold_reshape_targets

HEADS = """g (float[N, T, 12] x) => (float[N, T, 3, 4] y) <int64[1] a = {3}, int64[1] b = {-1}>
{ n = Shape<end = 1>(x) t = Shape<start = 1, end = 2>(x) s = Concat<axis = 0>(n, t, a, b) y = Reshape(x, s) }"""


def test_dimensions_that_stay_become_zero() -> None:
    text = "g (float[N, 4, 12] x) => (float[N, 4, 3, 4] y) { n = Shape<end = 1>(x) s = Concat<axis = 0>(n, r) y = Reshape(x, s) }"
    got = apply(
        fold_reshape_targets,
        text.replace("x)", "x, int64[3] r)", 1),
        {"r": np.array([4, 3, 4])},
    )
    assert got.fired == 1
    np.testing.assert_array_equal(got.constant("y.shape"), [0, 4, 3, 4])


def test_one_other_dimension_becomes_minus_one() -> None:
    got = apply(
        fold_reshape_targets,
        """g (float[N, 2, 12] x, int64[1] r) => (float[K, 12] y)
        { n = Shape<end = 1>(x) two = Shape<start = 1, end = 2>(x) m = Mul(n, two) s = Concat<axis = 0>(m, r) y = Reshape(x, s) }""",
        {"r": np.array([12])},
    )
    assert got.fired == 1
    assert got.constant("y.shape").tolist() == [-1, 12]


@pytest.mark.parametrize("last", [12, -1])
def test_dimensions_that_are_joined(last: int) -> None:
    """What inference gives up on: several symbols in one shape."""
    got = apply(
        fold_reshape_targets,
        f"""g (float[N, T, 3, 4] x) => (float[A, B, C] y) <int64[1] zero = {{0}}, int64[1] two = {{2}}, int64[1] last = {{{last}}}>
        {{ z = Shape(x) f = Slice(z, zero, two) s = Concat<axis = 0>(f, last) r = Reshape(x, s) y = Relu(r) }}""",
        symbols={"N": 2, "T": 3},
        infer=False,
    )
    assert got.fired == 1
    assert got.constant("r.shape").tolist() == [0, 0, last]
    assert str(got.node("Reshape").outputs[0].shape) == "[N,T,12]"


def test_refuses_two_unknown_dimensions() -> None:
    got = apply(
        fold_reshape_targets,
        "g (float[N, T] x, int64[2] s) => (float[A, B] y) { y = Reshape(x, s) }",
        feed={"x": np.ones((2, 3), np.float32), "s": np.array([3, 2])},
    )
    assert got.refused == ["more than one dimension of its output is not known"]
