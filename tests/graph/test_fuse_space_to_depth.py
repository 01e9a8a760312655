from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_space_to_depth
from ingot.testing import CLOSE, EXACT

WEIGHTS = {"w": np.random.default_rng(0).standard_normal((5, 12, 1, 1)).astype(np.float32)}


def text(order: str, after: str = "y = Conv(c, w)", names: str = "pqrs") -> str:
    slices = " ".join(
        f"{name} = Slice(x, s{i}{j}, end, axes, steps)"
        for name, (i, j) in zip(names, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True)
    )
    starts = ", ".join(f"int64[2] s{i}{j} = {{{i}, {j}}}" for i in (0, 1) for j in (0, 1))
    return (
        "g (float[N, 3, 4, 6] x, float[5, 12, 1, 1] w) => (float[N, A, B, C] y) "
        f"<{starts}, int64[2] end = {{2147483647, 6}}, int64[2] axes = {{2, 3}}, int64[2] steps = {{2, 2}}> "
        f"{{ {slices} c = Concat<axis = 1>({order}) {after} }}"
    )


@pytest.mark.parametrize("order", ["p, r, q, s", "s, r, q, p"])
def test_the_weights_follow(order: str) -> None:
    got = apply(fuse_space_to_depth, text(order), WEIGHTS, level=CLOSE)
    assert got.fired == 1
    assert got.node("Conv").inputs[0].producer() is got.node("SpaceToDepth")


def test_the_right_order_needs_no_convolution() -> None:
    got = apply(fuse_space_to_depth, text("p, q, r, s", "y = Relu(c)"), WEIGHTS, level=EXACT)
    assert got.fired == 1
    assert got.node("Relu").inputs[0].producer() is got.node("SpaceToDepth")


@pytest.mark.parametrize(
    ("order", "after", "reason"),
    [
        (
            "p, r, q, s",
            "y = Relu(c)",
            "it is not followed by convolutions of one group with constant weights",
        ),
        ("p, p, q, s", "y = Conv(c, w)", "its slices are not all parts of one tensor"),
    ],
)
def test_refuses(order: str, after: str, reason: str) -> None:
    got = apply(fuse_space_to_depth, text(order, after), WEIGHTS)
    assert (got.fired, got.refused) == (0, [reason])


def test_ignores_other_concatenations() -> None:
    assert (
        apply(
            fuse_space_to_depth, text("p, q, x, s").replace("2147483647, 6", "2, 3"), WEIGHTS, run=False
        ).fired
        == 0
    )
