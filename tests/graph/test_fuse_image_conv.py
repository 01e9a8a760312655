from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_image_conv
from ingot.testing import CLOSE

RNG = np.random.default_rng(0)


def text(attributes: str = "group = 1", channels: int = 3) -> str:
    return (
        f"g (float[N, {channels}, 8, 12] x, float[5, {4 * channels}, 3, 3] w) => (float[N, 5, A, B] y) "
        f"{{ s = SpaceToDepth<blocksize = 2>(x) y = Conv<{attributes}>(s, w) }}"
    )


def weights(channels: int = 3) -> dict[str, np.ndarray]:
    return {"w": RNG.standard_normal((5, 4 * channels, 3, 3)).astype(np.float32)}


@pytest.mark.parametrize(
    "attributes", ["group = 1", "pads = [1, 1, 1, 1]", "pads = [0, 2, 1, 0], strides = [2, 1]"]
)
def test_the_kernel_spreads_over_the_blocks(attributes: str) -> None:
    got = apply(fuse_image_conv, text(attributes), weights(), level=CLOSE)
    assert got.fired == 1
    assert got.ops == ["Conv"]
    assert got.node("Conv").attributes.get_ints("kernel_shape") == (6, 6)


def test_refuses_many_channels() -> None:
    got = apply(fuse_image_conv, text(channels=5), weights(5))
    assert (got.fired, got.refused) == (0, ["its image does not have at most 4 channels"])


def test_refuses_what_fuse_block_conv_refuses() -> None:
    got = apply(fuse_image_conv, text("dilations = [1, 2]"), weights())
    assert (got.fired, got.refused) == (0, ["it has groups or dilations"])
