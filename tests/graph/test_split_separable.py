from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import split_separable
from ingot.testing import CLOSE

RNG = np.random.default_rng(2)
COLUMNS, ROWS = (RNG.standard_normal((3, n)).astype(np.float32) for n in (5, 3))
CONSTANTS = {
    "w": np.einsum("ci,cj->cij", COLUMNS, ROWS)[:, None],
    "v": RNG.standard_normal((3, 1, 5, 3)).astype(np.float32),
    "few": np.ones((3, 1, 2, 2), np.float32),
    "b": RNG.standard_normal(3).astype(np.float32),
}
TEXT = """g (float[2, 3, 12, 9] x, float[3, 1, 5, 3] w, float[3, 1, 5, 3] v, float[3, 1, 2, 2] few, float[3] b) => (float[A, B, C, D] y)
{{ {body} }}"""


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    "attributes", ["", ", pads = [2, 1, 1, 0], strides = [2, 3]", ", dilations = [2, 1]"]
)
def test_splits(attributes: str, bias: str) -> None:
    got = apply(
        split_separable,
        TEXT.format(body=f"y = Conv<group = 3{attributes}>(x, w{bias})"),
        CONSTANTS,
        level=CLOSE,
    )
    assert (got.fired, got.ops) == (1, ["Conv", "Conv"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Conv<group = 3>(x, v)", "a filter is no column times a row"),
        ("n = Neg(w) y = Conv<group = 3>(x, n)", "its weights are not constant floats"),
        ('y = Conv<group = 3, auto_pad = "SAME_UPPER">(x, w)', "it has automatic pads"),
        ("y = Conv<group = 3>(x, few)", None),
    ],
)
def test_refuses(body: str, reason: str | None) -> None:
    got = apply(split_separable, TEXT.format(body=body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason] if reason else [])
