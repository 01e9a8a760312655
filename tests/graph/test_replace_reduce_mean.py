from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_reduce_mean
from ingot.testing import CLOSE


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
def test_replaces(axes: list[int]) -> None:
    text = f"g (float[2, 3, 4, 5] x) => (float[2, 3, 1, 1] y) {{ y = ReduceMean<axes = {axes}>(x) }}"
    assert apply(replace_reduce_mean, text, level=CLOSE).ops == ["GlobalAveragePool"]
    text = f"g (float[N, 3, 4, 5] x) => (float[N, 3, 1, 1] y) <int64[2] a = {{{axes[0]}, {axes[1]}}}> {{ y = ReduceMean(x, a) }}"
    assert apply(replace_reduce_mean, text, level=CLOSE, opset=18).ops == ["GlobalAveragePool"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("axes = [1, 2]", "it is not over all axes after the channels"),
        ("axes = [2, 3], keepdims = 0", "it does not keep its axes"),
        ("keepdims = 1", "its axes are not known, or it is of integers"),
    ],
)
def test_refuses(attributes: str, reason: str) -> None:
    out = "float[A, B]" if "keepdims = 0" in attributes else "float[A, B, C, D]"
    text = f"g (float[2, 3, 4, 5] x) => ({out} y) {{ y = ReduceMean<{attributes}>(x) }}"
    assert apply(replace_reduce_mean, text).refused == [reason]
