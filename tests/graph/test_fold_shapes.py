from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fold_shapes


def test_static_shape_and_size() -> None:
    got = apply(
        fold_shapes,
        "g (float[2, 3] x) => (int64[2] y, int64 z) { s = Shape(x) y = Neg(s) n = Size(x) z = Neg(n) }",
    )
    assert got.fired == 2
    np.testing.assert_array_equal(got.constant("s"), [2, 3])
    assert got.constant("n") == 6
    assert got.constant("n").dtype == np.int64


@pytest.mark.parametrize(
    ("pick", "expected"),
    [
        ("Gather(s, i)", [3, 5]),
        ("Slice(s, start, end)", [3, 4]),
        ("Slice(s, start, end, axis, step)", [3]),
    ],
)
def test_known_dimensions_of_a_symbolic_shape(pick: str, expected: list[int]) -> None:
    got = apply(
        fold_shapes,
        f"""g (float[N, 3, 4, 5] x) => (int64[K] y)
        <int64[2] i = {{1, -1}}, int64[1] start = {{1}}, int64[1] end = {{3}}, int64[1] axis = {{0}}, int64[1] step = {{2}}>
        {{ s = Shape(x) p = {pick} y = Neg(p) }}""",
    )
    assert got.fired == 1
    np.testing.assert_array_equal(got.constant("p"), expected)


def test_a_part_of_a_rearranged_shape() -> None:
    got = apply(
        fold_shapes,
        """g (float[N, 3, 4, 5] x) => (int64[K] y)
        <int64[4] i = {3, 0, 2, 1}, int64[1] start = {2}, int64[1] end = {4}>
        { s = Shape(x) t = Gather(s, i) p = Slice(t, start, end) y = Neg(p) }""",
    )
    assert got.fired == 1
    np.testing.assert_array_equal(got.constant("p"), [4, 3])


def test_part_of_a_shape() -> None:
    got = apply(fold_shapes, "g (float[N, 3, 4] x) => (int64[K] y) { s = Shape<start = 1>(x) y = Neg(s) }")
    np.testing.assert_array_equal(got.constant("s"), [3, 4])
    got = apply(
        fold_shapes, "g (float[N, 3, 4] x) => (int64[K] y) { s = Shape<start = -2, end = -1>(x) y = Neg(s) }"
    )
    np.testing.assert_array_equal(got.constant("s"), [3])


def test_old_slice() -> None:
    got = apply(
        fold_shapes,
        "g (float[N, 3, 4] x) => (int64[K] y) { s = Shape(x) p = Slice<starts = [1], ends = [9]>(s) y = Neg(p) }",
        opset=9,
    )
    np.testing.assert_array_equal(got.constant("p"), [3, 4])


def test_refuses_symbols_and_outputs() -> None:
    got = apply(
        fold_shapes,
        "g (float[N, 3] x) => (int64 y, int64[2] z) <int64 i = {0}> { s = Shape(x) y = Gather(s, i) z = Neg(s) }",
    )
    assert got.fired == 0
    assert got.refused == ["a dimension is symbolic or unknown"] * 2
    got = apply(fold_shapes, "g (float[2] x) => (int64[1] y) { y = Shape(x) }")
    assert got.refused == ["it is an output of its graph"]


def test_refuses_an_index_out_of_range() -> None:
    got = apply(
        fold_shapes,
        "g (float[N, 3] x) => (int64 y) <int64 i = {4}> { s = Shape(x) g = Gather(s, i) y = Neg(g) }",
        run=False,
    )
    assert got.fired == 0
