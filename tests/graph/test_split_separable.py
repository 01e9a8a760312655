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
    "inf": np.full((3, 1, 5, 3), np.inf, np.float32),
    "few": np.ones((3, 1, 2, 2), np.float32),
    "b": RNG.standard_normal(3).astype(np.float32),
}
TEXT = """g (float[2, 3, 12, 9] x, float[3, 1, 5, 3] w, float[3, 1, 5, 3] v, float[3, 1, 2, 2] few, float[3, 1, 5, 3] inf, float[3] b) => (float[A, B, C, D] y)
{{ {body} }}"""


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize(
    "attributes", ["", ", pads = [2, 1, 1, 0], strides = [2, 1]", ", dilations = [2, 1]"]
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
        ("y = Conv<group = 3>(x, v)", "its weights are of no low rank between rows and columns"),
        ("n = Neg(w) y = Conv<group = 3>(x, n)", "its weights are not constant floats, all finite"),
        ('y = Conv<group = 3, auto_pad = "SAME_UPPER">(x, w)', "it has automatic pads"),
        ("y = Conv<group = 3>(x, inf)", "its weights are not constant floats, all finite"),
        ("y = Conv<group = 3, strides = [2, 3]>(x, w)", None),
        ("y = Conv<group = 3>(x, few)", None),
    ],
)
def test_refuses(body: str, reason: str | None) -> None:
    got = apply(split_separable, TEXT.format(body=body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason] if reason else [])


def low_rank(
    outputs: int, inputs: int, rows: int, columns: int, rank: int, group: int = 1, turned: bool = False
) -> np.ndarray:
    """Weights of a convolution of rows, then one of columns, or the other way round."""
    u = RNG.standard_normal((group, rank, inputs, columns if turned else rows)).astype(np.float32)
    v = RNG.standard_normal((group, outputs // group, rank, rows if turned else columns)).astype(np.float32)
    paths = "grij,gork->goikj" if turned else "grij,gork->goijk"
    return np.einsum(paths, u, v).reshape(outputs, inputs, rows, columns)


DENSE = """g (float[2, {inputs}, 14, 13] x, float[{shape}] w, float[8] b) => (float[A, B, C, D] y)
{{ y = Conv<group = {group}{attributes}>(x, w, b) }}"""


@pytest.mark.parametrize(
    ("weights", "group", "attributes", "kernels"),
    [
        (low_rank(8, 6, 3, 3, 4), 1, ", pads = [1, 1, 1, 1]", [[4, 6, 3, 1], [8, 4, 1, 3]]),
        (low_rank(8, 6, 3, 3, 4, turned=True), 1, ", pads = [1, 2, 0, 1]", [[4, 6, 1, 3], [8, 4, 3, 1]]),
        (low_rank(8, 6, 7, 5, 3), 1, ", strides = [2, 1]", [[3, 6, 7, 1], [8, 3, 1, 5]]),
        (low_rank(8, 3, 5, 5, 2, group=2), 2, ", dilations = [2, 1]", [[4, 3, 5, 1], [8, 2, 1, 5]]),
        (low_rank(8, 1, 7, 7, 2, group=4), 4, "", [[8, 1, 7, 1], [8, 2, 1, 7]]),
        (np.zeros((8, 6, 3, 3), np.float32), 1, "", None),
    ],
)
def test_dense(weights: np.ndarray, group: int, attributes: str, kernels: list[list[int]] | None) -> None:
    shape = ", ".join(map(str, weights.shape))
    text = DENSE.format(inputs=weights.shape[1] * group, shape=shape, group=group, attributes=attributes)
    got = apply(split_separable, text, {"w": weights, "b": CONSTANTS["b"][[0, 1, 2] * 3][:8]}, level=CLOSE)
    made = [list(node.inputs[1].shape or ()) for node in got.model.graph if node.inputs[1] is not None]
    assert made == (kernels or [list(weights.shape)])


@pytest.mark.parametrize("rank", [6, 7])
def test_refuses_what_saves_less_than_a_third(rank: int) -> None:
    """8 x 6 filters of 3 x 3 take 432 products a position; each independent column takes 3 * 6 * 13 / 11 + 3 * 8."""
    text = DENSE.format(inputs=6, shape="8, 6, 3, 3", group=1, attributes="")
    got = apply(
        split_separable, text, {"w": low_rank(8, 6, 3, 3, rank), "b": np.zeros(8, np.float32)}, level=CLOSE
    )
    assert got.fired == (rank == 6)
