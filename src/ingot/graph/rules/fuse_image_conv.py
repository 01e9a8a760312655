"""Conv<k>(SpaceToDepth<b>(x), w)  ->  Conv<k * b, strides * b>(x, w') where x is an image

What fuse_block_conv does too, but for at most 4 channels: with more, Winograd's transforms make the convolution of blocks
the faster one. Refuses more channels, and what fuse_block_conv refuses.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit
from ingot.graph.rules import fuse_block_conv

CHANNELS = 4


def apply(model: ir.Model) -> int:
    return fuse_block_conv.read_pixels(model, edit.Names(model), CHANNELS)
