from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_hard_swish
from ingot.testing import CLOSE

CONSTANTS = "<float three = {3.0}, float zero = {0.0}, float six = {6.0}, float sixth = {0.16666667}>"
CLIP = "a = Add(x, three) c = Clip(a, zero, six)"


def text(body: str) -> str:
    return f"g (float[2, 9] x) => (float[2, 9] y) {CONSTANTS} {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        f"{CLIP} m = Mul(x, c) y = Div(m, six)",
        f"{CLIP} m = Mul(c, x) y = Mul(m, sixth)",
        f"{CLIP} d = Div(c, six) y = Mul(x, d)",
        "h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, h)",
    ],
)
@pytest.mark.parametrize("opset", [13, 17])
def test_fuses(body: str, opset: int) -> None:
    got = apply(fuse_hard_swish, text(body), level=CLOSE, opset=opset)
    assert (got.fired, got.ops) == (1, ["HardSwish"])


@pytest.mark.parametrize("body", [f"{CLIP} y = Div(c, six)", f"{CLIP} y = Mul(c, sixth)"])
def test_its_sigmoid_alone(body: str) -> None:
    got = apply(fuse_hard_swish, text(body), level=CLOSE)
    assert (got.fired, got.ops) == (1, ["HardSigmoid"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"{CLIP.replace('six', 'three')} m = Mul(x, c) y = Div(m, six)", "its Clip is not from 0 to 6"),
        ("h = HardSigmoid(x) y = Mul(x, h)", "its sigmoid has another slope"),
        (f"{CLIP} m = Mul(x, c) d = Div(m, six) y = Add(d, c)", "a part of it is used elsewhere"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_hard_swish, text(body))
    assert (got.fired, got.refused) == (0, [reason])
