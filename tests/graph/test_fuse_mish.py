from __future__ import annotations

import pytest
from graphcase import apply

from ingot.graph.rules import fuse_mish
from ingot.testing import CLOSE


def text(body: str) -> str:
    return f"g (float[2, 9] x) => (float[2, 9] y) <float one = {{1.0}}> {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
        "e = Exp(x) p = Add(e, one) s = Log(p) t = Tanh(s) y = Mul(t, x)",
    ],
)
def test_fuses(body: str) -> None:
    got = apply(fuse_mish, text(body), level=CLOSE)
    assert got.ops == ["Mish"]
    assert got.model.opset_imports[""] == 18


def test_softplus_alone_needs_no_newer_set() -> None:
    got = apply(fuse_mish, text("e = Exp(x) p = Add(one, e) y = Log(p)"), level=CLOSE)
    assert (got.ops, got.model.opset_imports[""]) == (["Softplus"], 17)


@pytest.mark.parametrize(
    "body",
    [
        "s = Softplus(x) t = Tanh(s) m = Mul(x, t) y = Add(m, s)",
        "e = Exp(x) p = Add(e, one) l = Log(p) y = Add(l, e)",
    ],
)
def test_refuses(body: str) -> None:
    got = apply(fuse_mish, text(body))
    assert (got.fired, got.refused) == (0, ["a part of it is used elsewhere"])
