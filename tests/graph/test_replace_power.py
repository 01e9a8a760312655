from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import replace_power
from ingot.testing import CLOSE

FEED = {"x": np.array([0.5, 1, 2, 9], np.float32)}


@pytest.mark.parametrize(("exponent", "left"), [("2", "Mul"), ("0.5", "Sqrt"), ("-1", "Reciprocal")])
def test_replaces(exponent: str, left: str) -> None:
    text = f"g (float[4] x) => (float[4] y) <float e = {{{exponent}}}> {{ y = Pow(x, e) }}"
    got = apply(replace_power, text, feed=FEED, level=CLOSE)
    assert (got.fired, got.ops) == (1, [left])


def test_refuses() -> None:
    got = apply(replace_power, "g (float[4] x) => (float[4] y) <float e = {3}> { y = Pow(x, e) }")
    assert got.refused == ["its exponent is another one, or it is of integers"]
    got = apply(replace_power, "g (int64[4] x) => (int64[4] y) <int64 e = {2}> { y = Pow(x, e) }")
    assert got.refused == ["its exponent is another one, or it is of integers"]
    got = apply(replace_power, "g (float[4] x) => (float[1, 4] y) <float[1, 1] e = {2}> { y = Pow(x, e) }")
    assert got.refused == ["its exponent may add axes"]
