"""What `--explain` says of places that only a constant keeps from being a match."""

from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_gelu, fuse_hard_swish

GELU = "d = Div(x, root) e = Erf(d) f = Add(e, one) g = Mul(x, f) y = Mul(g, half)"


@pytest.mark.parametrize(
    ("root", "half", "refused"),
    [
        (1.5, 0.5, ["a constant is 1.5 where 1.41421 is asked for"]),
        (1.5, 0.25, ["a constant is 1.5 where 1.41421 is asked for and a constant is 0.25 where 0.5 is asked for"]),
        (1.41421356, 0.5, []),
    ],
)  # fmt: skip
def test_near_misses(root: float, half: float, refused: list[str]) -> None:
    constants = f"<float one = {{1}}, float root = {{{root}}}, float half = {{{half}}}>"
    got = apply(fuse_gelu, f"g (float[3] x) => (float[3] y) {constants} {{ {GELU} }}", run=False)
    assert sorted(got.refused) == refused
    assert got.fired == (not refused)


def test_other_operators_are_no_near_miss() -> None:
    text = "g (float[3] x) => (float[3] y) <float h = {0.4}> { d = Sigmoid(x) e = Mul(d, x) y = Mul(e, h) }"
    assert apply(fuse_gelu, text).refused == apply(fuse_hard_swish, text).refused == []
