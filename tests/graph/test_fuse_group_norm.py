from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_group_norm
from ingot.testing import CLOSE

CONSTANTS = """<int64[3] split = {0, 2, -1}, int64[4] join = {2, 4, 3, 5}, float[2] one = {1, 2}, float[2] zero = {0, 3}, float[4, 1, 1] w = {1, 2, 3, 4},
float[1, 4, 1, 1] b = {4, 3, 2, 1}, float[5] row = {1, 2, 3, 4, 5}>"""
NORM = "r = Reshape(x, split) i = InstanceNormalization<epsilon = 0.01>(r, one, zero)"


def text(body: str) -> str:
    return f"g (float[2, 4, 3, 5] x) => (float[2, 4, 3, 5] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    "end",
    ["n = Reshape(i, join) m = Mul(n, w) y = Add(b, m)", "n = Reshape(i, join) y = Mul(w, n)", "y = Reshape(i, join)"],
)  # fmt: skip
def test_fuses(end: str) -> None:
    got = apply(fuse_group_norm, text(f"{NORM} {end}"), level=CLOSE)
    assert (got.fired, got.ops) == (1, ["GroupNormalization"])
    assert got.model.opset_imports[""] == 21


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            "n = Reshape(i, join) m = Mul(n, row) y = Add(m, b)",
            "its scale or its shift is not one number a channel",
        ),
        ("n = Reshape(i, join) s = ReduceMax(i) y = Add(n, s)", "a part of it is used elsewhere"),
    ],
)
def test_refuses(end: str, reason: str) -> None:
    got = apply(fuse_group_norm, text(f"{NORM} {end}"), level=CLOSE)
    assert got.refused[0] == reason
