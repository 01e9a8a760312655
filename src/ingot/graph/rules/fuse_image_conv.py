"""Conv<k>(SpaceToDepth<b>(x), w)  ->  Conv<k * b, strides * b>(x, w') where x is an image

What fuse_block_conv does too, of at most 4 channels: its kernels are faster there, which a transform of many channels
would be otherwise. Refuses more channels, and what fuse_block_conv refuses.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit
from ingot.graph.rules import fuse_block_conv

CHANNELS = 4


def apply(model: ir.Model) -> int:
    return fuse_block_conv.read_pixels(model, edit.Names(model), CHANNELS)
