from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_bias_gelu
from ingot.testing import CLOSE

TEXT = "g (float[2, 3, 8] x, float[8] v, float[8] b) => (float[2, 3, 8] y) {{ {body} }}"
CONSTANTS = {"b": np.linspace(-1, 1, 8, dtype=np.float32)}


@pytest.mark.parametrize(
    ("form", "kind"), [("", "BiasGelu"), ('<approximate = "tanh">', "FastGelu"), ('<approximate = "none">', "BiasGelu")]
)  # fmt: skip
@pytest.mark.parametrize("operands", ["x, b", "b, x"])
def test_fuses(form: str, kind: str, operands: str) -> None:
    body = f"s = Add({operands}) y = Gelu{form}(s)"
    got = apply(fuse_bias_gelu, TEXT.format(body=body), CONSTANTS, opset=20, level=CLOSE)
    assert got.ops == [kind]


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("s = Add(x, b) g = Gelu(s) y = Mul(g, s)", ["a part of it is used elsewhere"]),
        ("s = Add(x, v) y = Gelu(s)", []),
    ],
)
def test_refuses(body: str, refused: list[str]) -> None:
    got = apply(fuse_bias_gelu, TEXT.format(body=body), CONSTANTS, opset=20)
    assert (got.fired, got.refused) == (0, refused)
