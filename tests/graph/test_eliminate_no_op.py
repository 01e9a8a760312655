from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import eliminate_no_op

CONSTANTS = """<int64[3] keep = {0, -1, 4}, int64[3] shape = {2, 3, 4}, int64[6] zeros = {0, 0, 0, 0, 0, 0}, int64[3] ones = {1, 1, 1},
int64[1] last = {4}, int64[1] zero = {0}, int64[1] far = {9223372036854775807}, int64[1] axis = {2}, int64[1] below = {-9},
float one = {1}, float[1, 1, 1] nil = {0}, float[4] ones4 = {1, 1, 1, 1}>"""

NOTHING = [
    "Reshape(x, keep)",
    "Reshape(x, shape)",
    "Transpose<perm = [0, 1, 2]>(x)",
    "Cast<to = 1>(x)",
    "CastLike(x, one)",
    "Pad(x, zeros)",
    'Pad<mode = "reflect">(x, zeros)',
    "Expand(x, ones)",
    "Expand(x, last)",
    "Expand(x, shape)",
    "Tile(x, ones)",
    "Slice(x, zero, last, axis)",
    "Slice(x, zero, far, axis)",
    "Slice(x, below, far, axis)",
    "Concat<axis = 1>(x)",
    "Sum(x)",
    "Max(x)",
    "Mul(x, one)",
    "Mul(one, x)",
    "Div(x, ones4)",
    "Add(nil, x)",
    "Sub(x, nil)",
    "Pow(x, one)",
    "Squeeze(x)",
    "MaxPool<kernel_shape = [1]>(x)",
    "AveragePool<kernel_shape = [1], strides = [1], pads = [0, 0]>(x)",
]


@pytest.mark.parametrize("call", NOTHING)
def test_nothing(call: str) -> None:
    got = apply(
        eliminate_no_op, f"g (float[2, 3, 4] x) => (float[2, 3, 4] y) {CONSTANTS} {{ a = {call} y = Neg(a) }}"
    )
    assert got.fired == 1
    assert got.ops == ["Neg"]


SOMETHING = [
    "Reshape(x, s)",
    "Transpose<perm = [0, 2, 1]>(x)",
    "Transpose(x)",
    "Cast<to = 10>(x)",
    "Expand(x, s)",
    "Tile(x, two)",
    "Slice(x, one, far, axis)",
    "Slice(x, zero, one, axis)",
    "Slice(x, minus, far, axis)",
    "Slice(x, last, back, axis, minus)",
    "Concat<axis = 1>(x, x)",
    "Sub(nil, x)",
    "Div(eins, x)",
    "Mul(x, wide)",
    "MaxPool<kernel_shape = [1], strides = [2]>(x)",
    "MaxPool<kernel_shape = [1], pads = [0, 0], strides = [2]>(x)",
    "Add(x, eins)",
]


@pytest.mark.parametrize("call", SOMETHING)
def test_refuses_something(call: str) -> None:
    got = apply(
        eliminate_no_op,
        f"""g (float[1, 3, 4] x) => (float[A, B, C] y)
        <int64[3] s = {{3, 1, 4}}, int64[3] two = {{1, 2, 1}}, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] axis = {{2}},
        int64[1] minus = {{-1}}, int64[1] last = {{3}}, int64[1] far = {{9223372036854775807}}, int64[1] back = {{-9223372036854775807}},
        float nil = {{0}}, float eins = {{1}}, float[2, 1, 1] wide = {{1, 1}}>
        {{ a = {call} b = Cast<to = 11>(a) c = Cast<to = 1>(b) d = Transpose<perm = [0, 1, 2]>(c) y = Neg(d) }}""",
    )
    assert got.fired == 1


def test_symbolic_dimensions() -> None:
    got = apply(
        eliminate_no_op,
        """g (float[N, T, 4] x, float[N, T] u) => (float[N, T, 4] y, float[N, T] z)
        <int64[3] s = {0, 0, -1}, int64[1] one = {1}>
        { a = Reshape(x, s) b = Expand(a, one) y = Neg(b) c = Flatten(u) z = Neg(c) }""",
    )
    assert got.fired == 3


def test_refuses_unknown_shapes_and_ambiguous_zeros() -> None:
    got = apply(
        eliminate_no_op,
        """g (float[N, 4] x, float[K, 0] e) => (float[A, B] y, float[C, D] z)
        <int64[2] s = {3, 4}, int64[2] t = {-1, 5}> { a = Expand(x, s) y = Neg(a) b = Reshape(e, t) z = Neg(b) }""",
        symbols={"N": 1, "K": 0},
        run=False,
    )
    assert got.fired == 0


def test_old_operator_sets() -> None:
    got = apply(
        eliminate_no_op,
        """g (float[2, 3] x) => (float[2, 3] y)
        { a = Pad<pads = [0, 0, 0, 0]>(x) b = Slice<starts = [0], ends = [3], axes = [1]>(a) y = Neg(b) }""",
        opset=9,
    )
    assert got.fired == 2


def test_used_second_output_and_output_names() -> None:
    got = apply(
        eliminate_no_op,
        "g (float[1, 1, 4] x) => (float[1, 1, 4] y, int64[1, 1, 4] i) { a, i = MaxPool<kernel_shape = [1]>(x) y = Neg(a) }",
    )
    assert got.fired == 0
    got = apply(eliminate_no_op, "g (float[2] x) => (float[2] y) { y = Cast<to = 1>(x) }")
    assert got.refused == ["it names an output of its graph"]
