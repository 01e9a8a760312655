from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_reduce_reshape
from ingot.testing import CLOSE

CONSTANTS = (
    "<int64[2] last = {2, 3}, int64[2] flat = {-1, 3}, int64[1] one = {1}, int64[3] three = {-1, 3, 1}>"
)


def text(body: str, shape: str = "A, B") -> str:
    return f"g (float[N, 3, 4, 5] x) => (float[{shape}] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "opset", "left"),
    [
        ("m = GlobalAveragePool(x) y = Flatten(m)", 17, "ReduceMean"),
        ("m = GlobalMaxPool(x) y = Reshape(m, flat)", 18, "ReduceMax"),
        ("m = ReduceMean<axes = [2, 3]>(x) y = Squeeze(m, last)", 13, "ReduceMean"),
        ("m = ReduceSum(x, last) y = Squeeze(m, last)", 13, "ReduceSum"),
        ("m = ReduceL2(x, last) y = Squeeze(m, last)", 18, "ReduceL2"),
    ],
)
def test_merges(body: str, opset: int, left: str) -> None:
    got = apply(merge_reduce_reshape, text(body), opset=opset, level=CLOSE)
    assert (got.fired, got.ops) == (1, [left])


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        ("m = GlobalAveragePool(x) y = Reshape(m, three)", "A, B, C", "it does not drop just the axes that were reduced"),
        ("m = ReduceMean<axes = [1], keepdims = 0>(x) y = Flatten(m)", "A, B", "it does not drop just the axes that were reduced"),
        ("m = GlobalAveragePool(x) f = Flatten(m) s = Flatten(m) y = Add(f, s)", "A, B", "what is reduced has other users"),
    ],
)  # fmt: skip
def test_refuses(body: str, shape: str, reason: str) -> None:
    got = apply(merge_reduce_reshape, text(body, shape))
    assert got.fired == 0
    assert set(got.refused) == {reason}
