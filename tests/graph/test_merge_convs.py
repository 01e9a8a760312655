from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import merge_convs
from ingot.testing import CLOSE

RNG = np.random.default_rng(4)
SHAPES = {"u": (16, 4, 1, 1), "v": (24, 4, 1, 1), "w": (8, 4, 1, 1), "k": (8, 4, 3, 3), "b": (24,)}
CONSTANTS = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
GIVEN = ", ".join(f"float{list(shape)} {name}" for name, shape in SHAPES.items())


def text(body: str, outputs: int) -> str:
    names = ", ".join(f"float[A{i}, B{i}, C{i}, D{i}] y{i}" for i in range(outputs))
    return f"g (float[2, 4, 5, 5] x, {GIVEN}) => ({names}) {{ {body} }}"


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("body", "outputs", "left"),
    [
        ("y0 = Conv(x, u) y1 = Conv(x, v, b) y2 = Conv(x, w) y3 = Conv(x, k)", 4, ["Conv", "Split", "Conv"]),
        ("a = Conv(x, u) y0 = Relu(a) c = Conv(x, v, b) y1 = Relu(c)", 2, ["Conv", "Split", "Relu", "Relu"]),
    ],
)
def test_merges(body: str, outputs: int, left: list[str], opset: int) -> None:
    got = apply(merge_convs, text(body, outputs), CONSTANTS, level=CLOSE, opset=opset)
    assert (got.fired, got.ops) == (1, left)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y0 = Conv(x, u) y1 = Conv(x, v, b)", "nothing would be gained"),
        ("a = Conv(x, u) y0 = Relu(a) c = Conv(x, v, b) y1 = Tanh(c)", "nothing would be gained"),
        (
            "n = Neg(u) a = Conv(x, n) y0 = Relu(a) c = Conv(x, v) y1 = Relu(c)",
            "the weights are not constant float32",
        ),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(merge_convs, text(body, 2), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
