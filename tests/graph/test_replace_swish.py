from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_swish
from ingot.testing import CLOSE


@pytest.mark.parametrize(("attributes", "alpha"), [("", 1.0), ("<alpha = 1.7>", 1.7)])
def test_replaces(attributes: str, alpha: float) -> None:
    text = f"g (float[2, 5] x) => (float[2, 5] y) {{ y = Swish{attributes}(x) }}"
    got = apply(replace_swish, text, opset=24, level=CLOSE)
    assert got.node("QuickGelu").attributes.get_float("alpha") == pytest.approx(alpha)


def test_refuses_halves() -> None:
    got = apply(replace_swish, "g (float16[2, 5] x) => (float16[2, 5] y) { y = Swish(x) }", opset=24)
    assert got.refused == ["it is not known to be of float32"]
