from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_small_convs
from ingot.testing import CLOSE

RNG = np.random.default_rng(5)


def arrays(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(("a", "b"), [(1, 4), (7, 9), (1, 1), (4, 12)])
def test_merges_convolutions_of_one_input(a: int, b: int, opset: int) -> None:
    got = apply(
        merge_small_convs,
        "g (float[N, 5, 6, 7] x) => (float[N, A, 6, 7] y, float[N, B, 6, 7] z, float[N, B, 6, 7] q) "
        "{ c = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = Sigmoid(c) z = Conv<pads = [1, 1, 1, 1]>(x, v) q = Neg(z) }",
        arrays(w=(a, 5, 3, 3), v=(b, 5, 3, 3), b=(a,)),
        opset=opset,
        level=CLOSE,
        symbols={"N": 2},
    )
    assert got.fired == 1
    assert sorted(got.ops) == ["Conv", "Neg", "Sigmoid", "Split"]
    shape = got.node("Conv").outputs[0].shape
    assert shape is not None
    assert shape[1] == a + b


def test_merges_depthwise_convolutions_of_the_parts() -> None:
    got = apply(
        merge_small_convs,
        "g (float[1, 9, 6, 7] x) => (float[1, 1, 3, 4] y, float[1, 4, 3, 4] z, float[1, 10, 3, 4] r) { "
        "a = Conv(x, w1, b1) b = Conv(x, w2, b2) c = Conv(x, w3, b3) "
        "y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(a, v1, b1) "
        "z = Conv<strides = [2, 2], pads = [1, 1, 1, 1], group = 4>(b, v2, b2) "
        "r = Conv<strides = [2, 2], pads = [1, 1, 1, 1], group = 10>(c, v3) }",
        arrays(w1=(1, 9, 1, 1), w2=(4, 9, 1, 1), w3=(10, 9, 1, 1), b1=(1,), b2=(4,), b3=(10,))
        | arrays(v1=(1, 1, 3, 3), v2=(4, 1, 3, 3), v3=(10, 1, 3, 3)),
        level=CLOSE,
    )
    assert got.fired == 2
    assert got.ops == ["Conv", "Conv", "Split"]
    assert [c.attributes["group"].as_int() for c in got.model.graph if c.op_type == "Conv"] == [1, 15]


def test_refuses_wide_ones() -> None:
    for a, b in ((8, 8), (4, 13), (1, 80)):
        got = apply(
            merge_small_convs,
            "g (float[1, 5, 4, 4] x) => (float[1, A, 4, 4] y, float[1, B, 4, 4] z) { y = Conv(x, w) z = Conv(x, v) }",
            arrays(w=(a, 5, 1, 1), v=(b, 5, 1, 1)),
        )
        assert got.refused == ["the features fill vectors of their own"]


@pytest.mark.parametrize(
    "second",
    [
        "Conv<pads = [1, 1, 1, 1]>(x, v)",
        "Conv<strides = [2, 2]>(x, u)",
        "Conv<group = 5>(x, d)",
        "Conv(n, u)",
    ],
)
def test_refuses_different_ones(second: str) -> None:
    got = apply(
        merge_small_convs,
        f"g (float[1, 5, 6, 6] x) => (float[A, B, C, D] y, float[E, F, G, H] z) {{ n = Neg(x) y = Conv(x, w) z = {second} }}",
        arrays(w=(4, 5, 1, 1), v=(4, 5, 3, 3), u=(4, 5, 1, 1), d=(5, 1, 1, 1)),
    )
    assert got.fired == 0


def test_refuses_computed_weights() -> None:
    got = apply(
        merge_small_convs,
        "g (float[1, 5, 4, 4] x, float[2, 5, 1, 1] w) => (float[1, 2, 4, 4] y, float[1, 2, 4, 4] z) "
        "{ v = Neg(w) y = Conv(x, w) z = Conv(x, v) }",
    )
    assert got.refused == ["the weights are not constant float32"]


@pytest.mark.parametrize(
    "body",
    [
        "a, b = Split<axis = 1>(x) y = Conv<group = 2>(a, w) z = Conv<group = 1>(b, v)",
        "a, b = Split<axis = 1>(x) y = Conv<group = 2>(a, w) z = Neg(b)",
        "a, b = Split<axis = 1>(x) y = Conv<group = 2>(a, w) z = Conv<group = 2, pads = [1, 1, 1, 1]>(b, w)",
        "a, b = Split<axis = 0>(t) y = Conv<group = 2>(a, w) z = Conv<group = 2>(b, w)",
    ],
)
def test_keeps_parts_that_differ(body: str) -> None:
    got = apply(
        merge_small_convs,
        f"g (float[2, 4, 4, 4] x, float[2, 2, 4, 4] t) => (float[A, B, C, D] y, float[E, F, G, H] z) {{ {body} }}",
        arrays(w=(2, 1, 3, 3), v=(2, 2, 3, 3)),
    )
    assert got.fired == 0
