from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_slices

CONSTANTS = "<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] last = {-1}, int64[1] end = {99}, int64[2] a = {0, 2}, int64[2] b = {1, 3}>"


@pytest.mark.parametrize(
    "body",
    [
        "s = Slice(x, zero, one, zero) y = Slice(s, one, end, last, two)",
        "s = Slice(x, one, end, one, two) y = Slice(s, zero, two, two)",
        "s = Slice(x, a, b, a) y = Slice(s, one, two, one)",
    ],
)
def test_different_axes(body: str) -> None:
    got = apply(merge_slices, f"g (float[2, 4, 6] x) => (float[A, B, C] y) {CONSTANTS} {{ {body} }}")
    assert got.fired == 1
    assert got.model.graph[-1].inputs[0] is got.model.graph.inputs[0]


def test_refuses() -> None:
    body = "s = Slice(x, zero, two, two) y = Slice(s, one, end, last)"
    got = apply(merge_slices, f"g (float[2, 4, 6] x) => (float[A, B, C] y) {CONSTANTS} {{ {body} }}")
    assert got.refused == ["they may cut the same axis"]
    body = "n = Shape<start = 0, end = 1>(x) s = Slice(x, zero, n, zero) y = Slice(s, one, end, one)"
    got = apply(merge_slices, f"g (float[N, 4, 6] x) => (float[A, B, C] y) {CONSTANTS} {{ {body} }}")
    assert got.refused == ["its bounds are not constant"]
    text = "g (float[2, 4] x) => (float[A, B] y) { s = Slice<axes = [0], starts = [0], ends = [1]>(x) y = Slice<axes = [1], starts = [0], ends = [1]>(s) }"
    assert apply(merge_slices, text, opset=9).fired == 0
