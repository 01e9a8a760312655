from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import hoist_slices

CONSTANTS = "<int64[1] one = {1}, int64[1] three = {3}, int64 two = {2}>"


@pytest.mark.parametrize("cut", ["Slice(a, one, three, one)", "Gather<axis = 1>(a, three)"])
@pytest.mark.parametrize("f", ["Relu(x)", "LeakyRelu<alpha = 0.3>(x)"])
def test_hoists(f: str, cut: str) -> None:
    got = apply(hoist_slices, f"g (float[2, 4] x) => (float[A, B] y) {CONSTANTS} {{ a = {f} y = {cut} }}")
    assert got.fired == 1
    assert got.ops == [cut[: cut.index("(")].partition("<")[0], f[: f.index("(")].partition("<")[0]]


def test_refuses() -> None:
    text = f"g (float[2, 4] x) => (float[A, B] y, float[2, 4] a) {CONSTANTS} {{ a = Relu(x) y = Slice(a, one, three, one) }}"
    assert apply(hoist_slices, text).refused == ["what it cuts has other users"]
    text = (
        f"g (float[2, 4] x) => (float[A, B] y) {CONSTANTS} {{ a = Softmax(x) y = Slice(a, one, three, one) }}"
    )
    assert apply(hoist_slices, text).fired == 0
