from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import merge_clips

CONSTANTS = "<float zero = {0.0}, float one = {1.0}, float low = {-0.5}, float six = {6.0}>"


def text(body: str) -> str:
    return f"g (float[20] x, float z) => (float[20] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    ("body", "left", "inputs"),
    [
        ("a = Clip(x, low, one) y = Clip(a, zero, six)", "Clip", 3),
        ("a = Relu(x) y = Clip(a, low, one)", "Clip", 3),
        ("a = Clip(x, low) y = Relu(a)", "Relu", 1),
        ("a = Relu(x) y = Relu(a)", "Relu", 1),
        ("y = Clip(x, zero)", "Relu", 1),
    ],
)
def test_merges(body: str, left: str, inputs: int) -> None:
    got = apply(merge_clips, text(body))
    assert got.fired == 1
    assert got.model.graph[-1].op_type == left
    assert got.model.graph[-1].inputs[0] is got.model.graph.inputs[0]
    assert len(got.model.graph[-1].inputs) == inputs


@pytest.mark.parametrize(
    "body", ["a = Clip(x, z, one) y = Relu(a)", "a = Clip(x, one, six) y = Clip(a, low, zero)"]
)
def test_refuses(body: str) -> None:
    got = apply(merge_clips, text(body))
    assert (got.fired, got.refused) == (0, ["its bounds are not constant or do not overlap"])


def test_ignores_old_operator_sets_and_plain_clips() -> None:
    text = "g (float[4] x) => (float[4] y) { a = Relu(x) y = Clip<min = 0.0, max = 6.0>(a) }"
    assert apply(merge_clips, text, opset=10).fired == 0
    assert (
        apply(merge_clips, f"g (float[4] x) => (float[4] y) {CONSTANTS} {{ y = Clip(x, low, one) }}").fired
        == 0
    )
