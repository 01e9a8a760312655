from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_skip_layer_norm
from ingot.testing import CLOSE

RNG = np.random.default_rng(5)
CONSTANTS = {name: RNG.standard_normal(8).astype(np.float32) for name in "wbv"}
TEXT = """g (float[2, 3, 8] x, float[2, 3, 8] z, float[3, 8] few, float[8] w, float[8] b, float[8] v) => (float[2, 3, 8] y) {{ {body} }}"""


@pytest.mark.parametrize(
    ("body", "inputs"),
    [
        ("s = Add(x, z) y = LayerNormalization<epsilon = 0.001>(s, w, b)", 4),
        ("s = Add(x, z) y = LayerNormalization(s, w)", 3),
        ("t = Add(x, v) s = Add(z, t) y = LayerNormalization<axis = 2>(s, w, b)", 5),
        ("s = Add(x, z) y = RMSNormalization(s, w)", 3),
        ("t = Add(v, x) s = Add(t, z) y = RMSNormalization(s, w)", 4),
    ],
)
def test_fuses(body: str, inputs: int) -> None:
    got = apply(fuse_skip_layer_norm, TEXT.format(body=body), CONSTANTS, level=CLOSE, opset=23)
    assert got.fired == 1
    assert len(got.ops) == 1
    assert len(next(iter(got.model.graph)).inputs) == inputs


def test_the_sum_stays_where_it_is_used() -> None:
    body = "s = Add(x, z) n = LayerNormalization(s, w, b) y = Add(n, s)"
    got = apply(fuse_skip_layer_norm, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert got.ops == ["SkipLayerNormalization", "Add"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("s = Add(x, few) y = LayerNormalization(s, w, b)", "its operands are not known to have one shape"),
        ("s = Add(x, z) q = Reshape(s, two) n = LayerNormalization(q, w, b) y = Reshape(n, three)", None),
        ("s = Add(x, z) y, m = LayerNormalization(s, w, b) u = Neg(m)", "its statistics are used"),
    ],
)
def test_refuses(body: str, reason: str | None) -> None:
    text = TEXT.format(body=body).replace(") {", ") <int64[2] two = {6, 8}, int64[3] three = {2, 3, 8}> {", 1)
    text = (
        text.replace("(float[2, 3, 8] y)", "(float[2, 3, 8] y, float[2, 3, 1] u)") if "Neg" in body else text
    )
    got = apply(fuse_skip_layer_norm, text, CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason] if reason else [])
