from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import replace_attention
from ingot.testing import CLOSE

TEXT = """g (float[2, 3, 8] q, float[2, 5, 8] k, float[2, 5, 4] v, float[2, 1, 3, 5] mask, bool[2, 1, 3, 5] hidden, float[3, 5] flat,
float[2, 5, 4] few, float[2, 2, 3, 4] q4, float[2, 2, 5, 4] k4) => (float[A, B, C] y) {{ y = Attention<{attributes}>({inputs}) }}"""
HEADS = "q_num_heads = 2, kv_num_heads = 2"


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [("q, k, v", HEADS), ("q, k, v, mask", f"{HEADS}, scale = 0.3"), ("q, q, q", f"{HEADS}, is_causal = 1")],
)
def test_replaces(inputs: str, attributes: str) -> None:
    text = TEXT.format(inputs=inputs, attributes=attributes)
    got = apply(replace_attention, text, opset=23, level=CLOSE)
    assert got.ops == ["MultiHeadAttention"]


@pytest.mark.parametrize(
    ("inputs", "attributes", "reason"),
    [
        ("q, few, few", "q_num_heads = 2, kv_num_heads = 1", "its heads share keys"),
        ("q, k, v", f"{HEADS}, softcap = 2.0", "it has more than a mask, a scale and a causal order"),
        ("q, k, v, hidden", HEADS, "its mask is not known to be of float32 and four axes"),
        ("q, k, v, flat", HEADS, "its mask is not known to be of float32 and four axes"),
        ("q4, k4, k4", "scale = 1.0", "its operands are not known to be of float32 and three axes"),
    ],
)
def test_refuses(inputs: str, attributes: str, reason: str) -> None:
    text = TEXT.format(inputs=inputs, attributes=attributes)
    text = text.replace("[A, B, C]", "[A, B, C, D]") if "4" in inputs else text
    assert apply(replace_attention, text, opset=23).refused == [reason]
