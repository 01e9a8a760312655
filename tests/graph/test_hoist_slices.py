from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import hoist_slices

CONSTANTS = "<int64[1] one = {1}, int64[1] three = {3}, int64 two = {2}, float half = {0.5}, float[1, 1, 1] deep = {2}>"


@pytest.mark.parametrize("cut", ["Slice(a, one, three, one)", "Gather<axis = 1>(a, three)"])
@pytest.mark.parametrize(
    "f", ["Relu(x)", "LeakyRelu<alpha = 0.3>(x)", "Mul(half, x)", "Clip(x, half)", "Cast<to = 1>(x)"]
)
def test_hoists(f: str, cut: str) -> None:
    got = apply(hoist_slices, f"g (float[2, 4] x) => (float[A, B] y) {CONSTANTS} {{ a = {f} y = {cut} }}")
    assert got.fired == 1
    assert got.ops == [cut[: cut.index("(")].partition("<")[0], f[: f.index("(")].partition("<")[0]]


def test_above_a_transpose() -> None:
    text = f"""g (float[2, 4, 5] x) => (float[A, B, C] y) {CONSTANTS}
    {{ a = Transpose<perm = [1, 2, 0]>(x) b = Slice(a, one, three, one) y = Relu(b) }}"""
    got = apply(hoist_slices, text)
    assert got.ops == ["Slice", "Transpose", "Relu"]


def test_refuses() -> None:
    text = f"g (float[2, 4] x) => (float[A, B, C] y) {CONSTANTS} {{ a = Mul(x, deep) y = Slice(a, one, three, one) }}"
    assert apply(hoist_slices, text, run=False).refused == ["its constants may add axes"]
    text = f"g (float[2, 4] x) => (float[A, B] y, float[2, 4] a) {CONSTANTS} {{ a = Relu(x) y = Slice(a, one, three, one) }}"
    assert apply(hoist_slices, text).refused == ["what it cuts has other users"]
    text = (
        f"g (float[2, 4] x) => (float[A, B] y) {CONSTANTS} {{ a = Softmax(x) y = Slice(a, one, three, one) }}"
    )
    assert apply(hoist_slices, text).fired == 0
