from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_block_conv
from ingot.testing import CLOSE

RNG = np.random.default_rng(4)
CONSTANTS = {
    "w": RNG.standard_normal((6, 12, 3, 3)).astype(np.float32),
    "v": RNG.standard_normal((12, 3, 1, 1)).astype(np.float32),
    "b": RNG.standard_normal(6).astype(np.float32),
    "rows": np.tile(np.arange(3, dtype=np.float32), 4),
    "columns": np.repeat(np.arange(3, dtype=np.float32), 4),
}
TEXT = """g (float[2, 3, 8, 10] x, float[6, 12, 3, 3] w, float[12, 3, 1, 1] v, float[6] b, float[12] rows, float[12] columns) => (float[A, B, C, D] y)
{{ {body} }}"""


@pytest.mark.parametrize(
    "attributes", ["", "<pads = [1, 0, 1, 2]>", "<strides = [2, 1], kernel_shape = [3, 3]>"]
)
@pytest.mark.parametrize("bias", ["", ", b"])
def test_blocks_into_channels(attributes: str, bias: str) -> None:
    body = f"s = SpaceToDepth<blocksize = 2>(x) y = Conv{attributes}(s, w{bias})"
    got = apply(fuse_block_conv, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["Conv"])


@pytest.mark.parametrize(
    ("mode", "bias"), [("DCR", ", rows"), ("CRD", ", columns"), ("DCR", ""), ("CRD", "")]
)
def test_channels_into_blocks(mode: str, bias: str) -> None:
    body = f'c = Conv(x, v{bias}) y = DepthToSpace<blocksize = 2, mode = "{mode}">(c)'
    got = apply(fuse_block_conv, TEXT.format(body=body), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["ConvTranspose"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("c = Conv(x, v, columns) y = DepthToSpace<blocksize = 2>(c)", "its bias differs inside a block"),
        ("c = Conv<strides = [2, 2]>(x, v) y = DepthToSpace<blocksize = 2>(c)", "it reads more than one element"),
        ("s = SpaceToDepth<blocksize = 2>(x) y = Conv<dilations = [1, 2]>(s, w)", "it has groups or dilations"),
        ("c = Conv(x, v) d = DepthToSpace<blocksize = 2>(c) e = ReduceMax(c) y = Add(d, e)", "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_block_conv, TEXT.format(body=body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
