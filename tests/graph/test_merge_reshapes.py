from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_reshapes

CONSTANTS = """<int64[2] flat = {2, -1}, int64[3] back = {4, 3, 2}, int64[3] copy = {0, 4, -1}, int64[1] one = {1}, int64[1] zero = {0}>"""


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ("a = Reshape(x, flat) y = Reshape(a, back)", [4, 3, 2]),
        ("a = Flatten(x) y = Reshape(a, back)", [4, 3, 2]),
        ("a = Unsqueeze(x, one) y = Reshape(a, back)", [4, 3, 2]),
        ("a = Reshape(x, flat) y = Reshape(a, copy)", [2, 4, -1]),
        ("a = Reshape(x, flat) y = Unsqueeze(a, one)", [2, 1, 12]),
        ("a = Unsqueeze(x, zero) y = Flatten<axis = 2>(a)", [2, 12]),
        ("a = Unsqueeze(x, one) y = Squeeze(a, one)", [2, 3, 4]),
    ],
)
def test_the_last_shape_decides(body: str, target: list[int]) -> None:
    got = apply(
        merge_reshapes,
        f"g (float[2, 3, 4] x) => (float y) {CONSTANTS} {{ {body} }}".replace(
            "float y", "float[A, B, C] y" if len(target) == 3 else "float[A, B] y"
        ),
    )
    assert got.fired == 1
    last = got.model.graph[-1]
    assert last.op_type == "Reshape"
    assert last.inputs[0] is got.model.graph.inputs[0]
    assert got.constant(str(last.inputs[1].name)).tolist() == target


def test_one_unknown_dimension() -> None:
    got = apply(
        merge_reshapes,
        f"g (float[N, 3, 4] x) => (float[N, 1, 12] y) {CONSTANTS} {{ a = Flatten(x) y = Unsqueeze(a, one) }}",
    )
    assert got.constant("y.shape").tolist() == [-1, 1, 12]


def test_long_chains() -> None:
    got = apply(
        merge_reshapes,
        f"g (float[2, 3, 4] x) => (float[4, 3, 2] y) {CONSTANTS} {{ a = Flatten(x) b = Unsqueeze(a, one) c = Squeeze(b) y = Reshape(c, back) }}",
    )
    assert got.fired == 3
    assert got.model.graph[-1].inputs[0] is got.model.graph.inputs[0]


def test_refuses_two_unknown_dimensions_and_zero_sizes() -> None:
    got = apply(
        merge_reshapes,
        f"g (float[N, T, 4] x) => (float[N, T, 1, 4] y) {CONSTANTS} {{ a = Unsqueeze(x, one) b = Squeeze(a, one) y = Unsqueeze(b, two) }}".replace(
            "int64[1] one", "int64[1] two = {2}, int64[1] one"
        ),
    )
    assert got.fired == 0
    assert set(got.refused) == {"its shape is not a constant"}
    got = apply(
        merge_reshapes,
        f"g (float[2, 0] x) => (float[2, 0, 1] y) {CONSTANTS} {{ a = Unsqueeze(x, one) b = Flatten(a) y = Unsqueeze(b, two) }}".replace(
            "int64[1] one", "int64[1] two = {2}, int64[1] one"
        ),
        feed={"x": np.zeros((2, 0), np.float32)},
    )
    assert got.fired == 0
