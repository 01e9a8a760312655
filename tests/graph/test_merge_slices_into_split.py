from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_slices_into_split

CONSTANTS = "<int64[1] zero = {0}, int64[1] one = {1}, int64[1] three = {3}, int64[1] minus = {-3}, int64[1] end = {99}, int64[1] step = {2}>"


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(
    ("body", "sizes"),
    [
        (
            "a = Slice(x, zero, one, one) b = Slice(x, one, three, one) c = Slice(x, three, end, one)",
            [1, 2, 3],
        ),
        (
            "c = Slice(x, minus, end, one) b = Slice(x, one, minus, one) a = Slice(x, zero, one, one)",
            [1, 2, 3],
        ),
    ],
)
def test_slices_that_tile_an_axis(body: str, sizes: list[int], opset: int) -> None:
    got = apply(
        merge_slices_into_split,
        f"g (float[N, 6] x) => (float[N, A] p, float[N, B] q, float[N, C] r) {CONSTANTS} {{ {body} p = Neg(a) q = Neg(b) r = Neg(c) }}",
        opset=opset,
    )
    assert got.fired == 1
    split = got.node("Split")
    if opset < 13:
        assert list(split.attributes.get_ints("split") or ()) == sizes
    else:
        assert got.constant(str(split.inputs[1].name)).tolist() == sizes


def test_channels_of_a_convolution_of_unknown_rank() -> None:
    text = f"g (float[1, 2, 5] x, float[4, 2, 1] w) => (float[A, B, C] p, float[A, B, C] q) {CONSTANTS} {{ v = Conv(x, w) a = Slice(v, zero, one, one) b = Slice(v, one, end, one) p = Neg(a) q = Abs(b) }}"
    got = apply(merge_slices_into_split, text, {"w": np.ones((4, 2, 1), np.float32)}, infer=False)
    assert got.fired == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Slice(x, zero, one, one) b = Slice(x, three, end, one)", "the slices overlap or leave something out"),
        ("a = Slice(x, zero, three, one) b = Slice(x, one, end, one)", "the slices overlap or leave something out"),
        ("a = Slice(x, zero, one, zero) b = Slice(x, one, end, zero)", "the size of its axis is not known"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(
        merge_slices_into_split,
        f"g (float[N, 6] x) => (float[A, B] p, float[C, D] q) {CONSTANTS} {{ {body} p = Neg(a) q = Neg(b) }}",
    )
    assert (got.fired, got.refused) == (0, [reason])


def test_ignores_steps() -> None:
    text = f"g (float[6] x) => (float[A] p, float[B] q) {CONSTANTS} {{ p = Slice(x, zero, end, zero, step) q = Slice(x, one, end, zero, step) }}"
    assert apply(merge_slices_into_split, text).fired == 0
