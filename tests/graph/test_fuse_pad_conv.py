from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_pad_conv
from ingot.testing import CLOSE

WEIGHTS = {"w": np.random.default_rng(7).standard_normal((2, 3, 3, 3)).astype(np.float32)}
CONSTANTS = """<int64[8] p = {0, 0, 1, 2, 0, 0, 0, 1}, int64[8] neg = {0, 0, -1, 0, 0, 0, 0, 0}, int64[8] chan = {0, 1, 0, 0, 0, 0, 0, 0},
int64[8] none = {0, 0, 0, 0, 0, 0, 0, 0}, int64[8] big = {0, 0, 2, 2, 0, 0, 2, 2}, float zero = {0}, float one = {1}, float low = {-3.4028235e38}>"""


def fuse(body: str, *, run: bool = True, opset: int = 17) -> tuple[int, list[str], list[int], list[str]]:
    got = apply(
        fuse_pad_conv,
        f"g (float[1, 3, 6, 6] x, float[2, 3, 3, 3] w) => (float[A, B, C, D] y) {CONSTANTS} {{ {body} }}",
        WEIGHTS,
        opset=opset,
        level=CLOSE,
        run=run,
    )
    last = got.model.graph[-1]
    return got.fired, got.refused, list(last.attributes.get_ints("pads", ())), got.ops


@pytest.mark.parametrize(
    ("body", "pads"),
    [
        ("a = Pad(x, p) y = Conv(a, w)", [1, 2, 0, 1]),
        ("a = Pad(x, p, zero) y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(a, w)", [2, 3, 1, 2]),
        ('a = Pad(x, p) y = Conv<auto_pad = "VALID">(a, w)', [1, 2, 0, 1]),
        ("a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3]>(a)", [1, 2, 0, 1]),
        (
            "a = Pad(x, p) y = AveragePool<kernel_shape = [4, 4], count_include_pad = 1, pads = [1, 1, 1, 1]>(a)",
            [2, 3, 1, 2],
        ),
        ("r = Relu(x) a = Pad(r, p) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(a)", [1, 2, 0, 1]),
        ("a = Pad(x, p, low) y = MaxPool<kernel_shape = [3, 3]>(a)", [1, 2, 0, 1]),
    ],
)
def test_pads_add_up(body: str, pads: list[int]) -> None:
    fired, _, merged, _ = fuse(body)
    assert fired == 1
    assert merged == pads


def test_axes_and_old_operator_sets() -> None:
    text = "g (float[1, 3, 6, 6] x, float[2, 3, 3, 3] w) => (float[A, B, C, D] y)"
    got = apply(
        fuse_pad_conv,
        f"{text} <int64[2] p = {{1, 2}}, int64[1] axis = {{-1}}> {{ a = Pad(x, p, , axis) y = Conv(a, w) }}",
        WEIGHTS,
        opset=18,
        level=CLOSE,
    )
    assert list(got.node("Conv").attributes["pads"].as_ints()) == [0, 1, 0, 2]
    got = apply(
        fuse_pad_conv,
        f"{text} {{ a = Pad<pads = [0, 0, 1, 0, 0, 0, 0, 1]>(x) y = Conv(a, w) }}",
        WEIGHTS,
        opset=10,
        level=CLOSE,
    )
    assert list(got.node("Conv").attributes["pads"].as_ints()) == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Pad(x, p, one) y = Conv(a, w)", "the padding value is not zero"),
        ('a = Pad<mode = "reflect">(x, p) y = Conv(a, w)', "the Pad is not of constant mode"),
        ("a = Pad(x, neg) y = Conv(a, w)", "the pads are negative or on batch or channels"),
        ('a = Pad(x, p) y = Conv<auto_pad = "SAME_UPPER">(a, w)', "it has auto_pad"),
        ("a = Pad(x, p) y = MaxPool<kernel_shape = [3, 3]>(a)", "the padding could be the maximum"),
        (
            "r = Relu(x) a = Pad(r, big) y = MaxPool<kernel_shape = [2, 2]>(a)",
            "a window could lie in the padding alone",
        ),
        (
            "a = Pad(x, p) y = AveragePool<kernel_shape = [3, 3], ceil_mode = 1>(a)",
            "it rounds its output size up",
        ),
        (
            "a = Pad(x, p) y = AveragePool<kernel_shape = [4, 4], pads = [1, 1, 1, 1]>(a)",
            "it does not count its own padding",
        ),
        ("a = Pad(x, p, one) y = AveragePool<kernel_shape = [3, 3]>(a)", "the padding value is not zero"),
        (
            "a = Pad(x, chan) y = MaxPool<kernel_shape = [3, 3]>(a)",
            "the pads are negative or on batch or channels",
        ),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    fired, refused, _, _ = fuse(body)
    assert fired == 0
    assert refused == [reason]


def test_other_users_keep_the_pad() -> None:
    got = apply(
        fuse_pad_conv,
        f"g (float[1, 3, 6, 6] x, float[2, 3, 3, 3] w) => (float[A, B, C, D] y, float[E, F, G, H] z) {CONSTANTS} "
        "{ a = Pad(x, p) y = Conv(a, w) z = Neg(a) }",
        WEIGHTS,
        level=CLOSE,
    )
    assert got.fired == 1
    assert got.ops == ["Pad", "Conv", "Neg"]
