"""Cases of `ingot.lower.resize`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Case, case

from ingot.testing import CLOSE, EXACT

BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def resize(
    name: str, shape: str, attributes: str, *, scales: Sequence[float] = (), sizes: Sequence[int] = (), opset: int = 18, **how: Any
) -> Case:  # fmt: skip
    constants = {"s": ints(*sizes)} if sizes else {"s": np.array(scales, np.float32)}
    text = f"y = Resize<{attributes}>(x, , {', ' if sizes else ''}s)"
    return case(f"resize_{name}", f"float[{shape}] x", text, opset=opset, constants=constants,
                **{"level": CLOSE, "reduction": 4, "oracle": "onnxruntime", **how})  # fmt: skip


COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
CASES = [
    *(
        resize(f"nearest_{mode}_{rounding}", "1,3,4,5",
               f'mode="nearest",coordinate_transformation_mode="{mode}",nearest_mode="{rounding}"', sizes=(1, 3, 7, 3), level=EXACT)
        for mode in COORDINATES
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    *(
        resize(f"linear_{mode}_{label}", "2,3,4,5", f'mode="linear",coordinate_transformation_mode="{mode}"', sizes=sizes)
        for mode in (*COORDINATES, "half_pixel_symmetric")
        for label, sizes in (("up", (2, 3, 9, 10)), ("down", (2, 3, 3, 2)), ("one", (2, 3, 1, 1)))
        if not (mode == "half_pixel_symmetric" and label != "up")
    ),
    *(
        resize(f"twice_{mode}_{c}", f"1,{c},3,4", f'mode="{mode}",coordinate_transformation_mode="asymmetric",nearest_mode="floor"',
               scales=(1, 1, 2, 2))
        for mode in ("nearest", "linear")
        for c in (1, 3, 16, 17)
    ),
    resize("half", "1,3,6,8", 'mode="linear"', scales=(1, 1, 0.5, 0.5)),
    resize("odd_scale", "1,3,5,7", 'mode="linear"', scales=(1, 1, 1.7, 0.6)),
    resize("odd_scale_nearest", "1,3,5,7", 'mode="nearest"', scales=(1, 1, 1.7, 0.6), level=EXACT),
    resize("one_axis", "1,3,5,7", 'mode="linear"', scales=(1, 1, 1, 2)),
    resize("line", "1,3,7", 'mode="linear"', scales=(1, 1, 2)),
    resize("axes", "1,3,4,5", 'mode="nearest",axes=[2,3]', sizes=(8, 5), level=EXACT),
    resize("volume", "1,2,2,3,2", 'mode="linear"', scales=(1, 1, 2, 2, 2)),
    resize("unchanged", "1,3,4,4", 'mode="linear"', scales=(1, 1, 1, 1)),
    case("resize_opset11", "float[1,3,4,4] x",
         'y = Resize<mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor">(x, r, s)', opset=11,
         constants={"r": np.zeros(0, np.float32), "s": np.array([1, 1, 2, 2], np.float32)}, level=EXACT),
    case("resize_opset11_sizes", "float[1,3,4,4] x", 'y = Resize<mode="linear">(x, r, s, z)', opset=11, oracle="onnxruntime",
         constants={"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "z": ints(1, 3, 7, 9)}),
    case("resize_opset10", "float[1,3,4,4] x", 'y = Resize<mode="nearest">(x, s)', opset=10, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 3], np.float32)}, level=EXACT),
    case("resize_opset10_linear", "float[1,3,4,4] x", 'y = Resize<mode="linear">(x, s)', opset=10, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 3], np.float32)}),
    case("upsample_opset9", "float[1,17,3,3] x", 'y = Upsample<mode="nearest">(x, s)', opset=9, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 2], np.float32)}, level=EXACT),
    case("upsample_opset9_linear", "float[1,3,3,3] x", 'y = Upsample<mode="linear">(x, s)', opset=9, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 2], np.float32)}),
    case("upsample_opset7", "float[1,3,3,3] x", 'y = Upsample<mode="nearest",scales=[1.0,1.0,2.0,2.0]>(x)', opset=7,
         oracle="onnxruntime", level=EXACT),
    case("resize_batch", "float[n,3,4,4] x", 'y = Resize<mode="linear">(x, , s)', opset=18, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 2], np.float32)}, sizes=BATCHES),
    case("resize_symbolic_twice", "float[n,3,h,w] x",
         'y = Resize<mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor">(x, , s)', opset=18,
         oracle="onnxruntime", constants={"s": np.array([1, 1, 2, 2], np.float32)}, level=EXACT,
         sizes=({"n": 1, "h": 3, "w": 5}, {"n": 2, "h": 4, "w": 1})),
    case("resize_symbolic_half_pixel", "float[1,3,h,w] x", 'y = Resize<mode="nearest">(x, , s)', opset=18,
         oracle="onnxruntime", constants={"s": np.array([1, 1, 3, 3], np.float32)}, level=EXACT,
         sizes=({"h": 3, "w": 5}, {"h": 4, "w": 1})),
    case("resize_symbolic_sizes", "float[1,3,h,w] x",
         's = Shape(x)  t = Mul(s, m)  y = Resize<mode="nearest",coordinate_transformation_mode="asymmetric",nearest_mode="floor">(x, , , t)',
         opset=18, constants={"m": ints(1, 1, 2, 2)}, oracle="onnxruntime", level=EXACT, sizes=({"h": 3, "w": 5}, {"h": 1, "w": 2})),
    case("resize_double", "double[1,1,4,4] x", 'y = Resize<mode="linear">(x, , s)', "double[] y", opset=18, reduction=16,
         constants={"s": np.array([1, 1, 2, 2], np.float32)}),
    case("resize_uint8", "uint8[1,3,4,4] x", 'y = Resize<mode="nearest">(x, , s)', "uint8[] y", opset=18, oracle="onnxruntime",
         constants={"s": np.array([1, 1, 2, 2], np.float32)}, level=EXACT),
    *(
        resize(f"cubic_{mode}_{label}", "1,2,5,6", f'mode="cubic",coordinate_transformation_mode="{mode}"{more}', sizes=sizes, reduction=64)
        for mode in COORDINATES
        for label, sizes, more in (("up", (1, 2, 9, 11), ""), ("down", (1, 2, 3, 2), ""), ("outside", (1, 2, 9, 3), ",exclude_outside=1"),
                                   ("sharp", (1, 2, 9, 11), ",cubic_coeff_a=-0.5"))
    ),
    *(
        resize(f"antialias_{mode}_{label}", "1,2,7,9", f'mode="{mode}",antialias=1', scales=scales, oracle="reference", reduction=64)
        for mode in ("linear", "cubic")
        for label, scales in (("down", (1, 1, 0.6, 0.45)), ("mixed", (1, 1, 0.5, 2.0)))
    ),
    *(
        case(f"resize_crop_{mode}", "float[1,2,5,6] x",
             f'y = Resize<mode="{mode}",coordinate_transformation_mode="tf_crop_and_resize",extrapolation_value=9.0>(x, r, , s)', opset=18,
             constants={"r": np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 0.9], np.float32), "s": ints(1, 2, 4, 3)}, oracle="onnxruntime", reduction=4)
        for mode in ("nearest", "linear")
    ),
    *(
        resize(f"{policy}_{axes[0]}", "1,2,5,8", f'mode="nearest",keep_aspect_ratio_policy="{policy}",axes=[{axes}]', sizes=sizes, level=EXACT)
        for policy in ("not_larger", "not_smaller")
        for axes, sizes in (("2,3", (9, 9)), ("3,2", (6, 7)))
    ),
    *(
        case(f"resize_scales_by_input_{mode}", "float[1,2,4,5] x, float[4] s", f'y = Resize<mode="{mode}">(x, , s)', "float[1,2,8,7] y",
             opset=18, feed={"s": np.array([1, 1, 2, 1.5], np.float32)}, oracle="onnxruntime", reduction=4)
        for mode in ("nearest", "linear", "cubic")
    ),
    case("resize_sizes_by_input", "float[1,2,4,5] x, int64[4] s", 'y = Resize<mode="linear">(x, , , s)', "float[1,2,8,7] y",
         opset=18, feed={"s": ints(1, 2, 8, 7)}, oracle="onnxruntime", reduction=4),
    *(
        case(f"resize_symbolic_{mode}", "float[1,2,h,w] x", f'y = Resize<mode="{mode}">(x, , s)', opset=18, oracle="onnxruntime", reduction=4,
             constants={"s": np.array([1, 1, 2, 0.5], np.float32)}, sizes=({"h": 3, "w": 6}, {"h": 1, "w": 2}))
        for mode in ("linear", "cubic")
    ),
    case("resize_symbolic_odd", "float[1,2,h,w] x", 'y = Resize<mode="linear">(x, , s)', opset=18, oracle="onnxruntime", reduction=4,
         constants={"s": np.array([1, 1, 1.7, 0.6], np.float32)}, sizes=({"h": 3, "w": 6}, {"h": 5, "w": 9})),
    case("resize_uint8_linear", "uint8[1,3,4,4] x", 'y = Resize<mode="linear">(x, , s)', "uint8[] y", opset=18,
         constants={"s": np.array([1, 1, 2, 2], np.float32)}, level=EXACT),
]  # fmt: skip
