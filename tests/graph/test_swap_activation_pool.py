from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import swap_activation_pool

TEXT = """g (float[2, 3, 6, 6] x, float[3, 3, 1, 1] w, float k) => (float[A, B, C, D] y) <float low = {{-0.5}}, float high = {{0.5}}> {{ {body} }}"""
WEIGHTS = {"w": np.ones((3, 3, 1, 1), np.float32)}


@pytest.mark.parametrize("f", ["Relu(x)", "Clip(x, low, high)", "Sigmoid(x)", "LeakyRelu<alpha = 0.5>(x)"])
@pytest.mark.parametrize(
    "pool", ["MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(a)", "GlobalMaxPool(a)"]
)
def test_swaps(f: str, pool: str) -> None:
    got = apply(swap_activation_pool, TEXT.format(body=f"a = {f} y = {pool}"), WEIGHTS)
    assert got.fired == 1
    assert got.ops[0].endswith("Pool")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("c = Conv(x, w) a = Relu(c) y = MaxPool<kernel_shape = [2, 2]>(a)", "it costs nothing after a product or its sum, of which runtimes make one"),
        ("a = Relu(x) p = GlobalMaxPool(a) y = Mul(p, a)", "a part of it is used elsewhere"),
        ("a = LeakyRelu<alpha = -0.5>(x) y = GlobalMaxPool(a)", "it may fall"),
        ("a = Clip(x, k) y = GlobalMaxPool(a)", "its bounds are not constant"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    assert apply(swap_activation_pool, TEXT.format(body=body), WEIGHTS).refused == [reason]
