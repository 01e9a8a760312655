"""Cases of `ingot.lower.sampling`."""

from __future__ import annotations

import itertools

import numpy as np
from case import case, weights

from ingot.testing import CLOSE


def grid(name: str, *shape: int) -> np.ndarray:
    """Places inside and up to half the size outside."""
    return np.clip(weights(name, *shape) * 0.8, -2, 2)


GRID = [
    *(
        case(f"grid_sample_{mode}_{padding}_{aligned}", "float[2,3,5,4] x, float[2,3,6,2] g",
             f'y = GridSample<mode="{mode}", padding_mode="{padding}", align_corners={aligned}>(x, g)', opset=20,
             feed={"g": grid(f"{mode}{padding}{aligned}", 2, 3, 6, 2)}, level=CLOSE, reduction=64, scale=1.0)
        for mode, padding, aligned in itertools.product(("nearest", "linear", "cubic"), ("zeros", "border", "reflection"), (0, 1))
    ),
    *(
        case(f"grid_sample_3d_{mode}_{padding}", "float[1,2,3,4,5] x, float[1,2,2,3,3] g",
             f'y = GridSample<mode="{mode}", padding_mode="{padding}">(x, g)', opset=20, feed={"g": grid(f"{mode}{padding}", 1, 2, 2, 3, 3)},
             reduction=64, scale=1.0)
        for mode, padding in itertools.product(("nearest", "linear"), ("zeros", "border", "reflection"))
    ),
    case("grid_sample_opset16", "float[1,2,5,4] x, float[1,3,6,2] g", 'y = GridSample<mode="bilinear">(x, g)', opset=16,
         feed={"g": grid("opset16", 1, 3, 6, 2)}, oracle="onnxruntime", reduction=16, scale=1.0),
    case("grid_sample_far_and_nan", "float[1,1,3,3] x, float[1,1,4,2] g", "y = GridSample(x, g)", opset=20,
         feed={"g": np.array([np.nan, 0, 1e30, 0, -np.inf, np.inf, 0, 0], np.float32).reshape(1, 1, 4, 2), "x": np.ones((1, 1, 3, 3), np.float32)},
         expected=([np.array([0, 0, 0, 1], np.float32).reshape(1, 1, 1, 4)],)),
    case("grid_sample_batch", "float[n,3,5,4] x, float[n,3,6,2] g", "y = GridSample(x, g)", opset=20, sizes=({"n": 1}, {"n": 3}), reduction=16, scale=1.0),
]  # fmt: skip

ROIS = np.array([[0, 0, 9, 9], [0, 5, 4, 9], [5, 5, 9, 9], [-3, 2.5, 14, 3]], np.float32)
REGIONS = [
    *(
        case(f"roi_align_{mode}_{ratio}_{label}", "float[2,2,10,8] x, int64[4] b",
             f'y = RoiAlign<mode="{mode}", sampling_ratio={ratio}, output_height=3, output_width=2, spatial_scale=0.7, '
             f'coordinate_transformation_mode="{transform}">(x, r, b)', constants={"r": ROIS}, feed={"b": np.array([0, 1, 0, 1])},
             reduction=64, scale=1.0)
        for mode in ("avg", "max")
        for ratio in (0, 2)
        for transform, label in (("half_pixel", "half"), ("output_half_pixel", "whole"))
    ),
    case("roi_align_opset10", "float[2,2,10,8] x, float[4,4] r, int64[4] b", "y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(x, r, b)",
         opset=10, feed={"r": ROIS, "b": np.array([0, 1, 0, 1])}, oracle="onnxruntime", reduction=64, scale=1.0),
    case("max_roi_pool", "float[2,2,10,8] x, float[4,5] r", "y = MaxRoiPool<pooled_shape=[3,2], spatial_scale=0.7>(x, r)",
         feed={"r": np.concatenate([np.array([[0], [1], [0], [1]], np.float32), ROIS], 1)}, oracle="onnxruntime"),
]  # fmt: skip

DEFORMED = [
    *(
        case(f"deform_conv_{label}", f"float[2,4,6,5] x, float[2,{18 * parts},{h},{w}] o, float[2,{9 * parts},{h},{w}] m",
             f"y = DeformConv<kernel_shape=[3,3], group={group}, offset_group={parts}, pads=[{pads}], strides=[{stride},{stride}], "
             f"dilations=[{step},{step}]>(x, w, o, b, m)",
             opset=19, constants={"w": weights(label, 6, 4 // group, 3, 3), "b": weights("bias", 6)}, reduction=200, scale=4.0)
        for label, group, parts, pads, stride, step, h, w in (
            ("plain", 1, 1, "0,0,0,0", 1, 1, 4, 3), ("padded", 1, 2, "1,1,1,1", 1, 1, 6, 5), ("grouped", 2, 1, "1,0,0,1", 1, 1, 5, 4),
            ("strided", 1, 4, "1,1,1,1", 2, 1, 3, 3), ("dilated", 2, 2, "2,2,2,2", 1, 2, 6, 5))
    ),
    case("deform_conv_without_mask", "float[1,1,4,4] x, float[1,8,3,3] o, float[1,1,2,2] w", "y = DeformConv<kernel_shape=[2,2]>(x, w, o)", opset=19,
         reduction=16, scale=1.0),
]  # fmt: skip

FOLDED = [
    *(
        case(f"col2im_{label}", f"float[2,{3 * 6},{columns}] x", f"y = Col2Im<{attributes}>(x, i, b)", opset=18,
             constants={"i": np.array([5, 6]), "b": np.array([2, 3])}, whole=True)
        for label, attributes, columns in (
            ("plain", "strides=[1,1]", 16), ("strided", "strides=[2,3]", 4), ("padded", "pads=[1,0,0,1]", 25), ("dilated", "dilations=[2,2]", 6))
    ),
    case("col2im_3d", "float[1,8,4] x", "y = Col2Im(x, i, b)", opset=18, constants={"i": np.array([3, 3, 2]), "b": np.array([2, 2, 2])}, whole=True),
    case("max_unpool", "float[1,2,2,3] x, int64[1,2,2,3] i", "y = MaxUnpool<kernel_shape=[2,2], strides=[2,2]>(x, i)",
         feed={"i": np.arange(12).reshape(1, 2, 2, 3) * 4}, opset=11),
    case("max_unpool_larger", "float[1,1,2,2] x, int64[1,1,2,2] i", "y = MaxUnpool<kernel_shape=[2,2], strides=[2,2]>(x, i, s)",
         feed={"i": np.array([5, 7, 13, 15]).reshape(1, 1, 2, 2)}, constants={"s": np.array([1, 1, 5, 5])}, opset=11),
]  # fmt: skip

NORMAL = [
    *(
        case(f"lrn_{size}", "float[2,7,3,4] x", f"y = LRN<size={size}, alpha=0.3, beta=0.6, bias=1.5>(x)", oracle="onnxruntime", reduction=size)
        for size in (1, 3, 5)
    ),
    case("lrn_of_more_than_all", "float[1,3,2,2] x", "y = LRN<size=9>(x)", oracle="onnxruntime", reduction=9),
]  # fmt: skip

AFFINE = [
    case(f"affine_grid_{label}_{corners}", f"float[2,{n},{n + 1}] t", f"y = AffineGrid<align_corners={corners}>(t, s)", opset=20,
         constants={"s": np.array(sizes)}, reduction=4)
    for label, n, sizes in (("plane", 2, (2, 1, 4, 5)), ("volume", 3, (2, 1, 3, 4, 5)))
    for corners in (0, 1)
]  # fmt: skip

CASES = [*AFFINE, *GRID, *REGIONS, *DEFORMED, *FOLDED, *NORMAL]
