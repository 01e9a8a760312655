"""Cases of `ingot.lower.reduction`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE, EXACT, ulp

BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def reduced(
    operator: str, name: str, shape: str, axes: Sequence[int] | None, attributes: str = "", *, opset: int = 18, length: int = 100,
    **how: Any,
) -> Case:  # fmt: skip
    """Axes as an input from opset 18 on (ReduceSum: 13), as an attribute before."""
    by_input = opset >= (13 if operator == "ReduceSum" else 18)
    parts = [attributes] if attributes else []
    if axes is not None and not by_input:
        parts.append(f"axes={list(axes)}")
    given = ", a" if axes is not None and by_input else ""
    text = f"y = {operator}{'<' + ','.join(parts) + '>' if parts else ''}(x{given})"
    return case(f"{operator.lower()}_{name}", f"float[{shape}] x", text, opset=opset,
                constants={"a": ints(*axes)} if given and axes is not None else {}, **{"reduction": length, **how})  # fmt: skip


SUMS = [
    *(
        reduced("ReduceSum", name, shape, axes, attributes, whole=True, level=ulp(0), **how)
        for name, shape, axes, attributes, how in (
            ("last", "3,17", (1,), "", {}),
            ("first", "17,5", (0,), "", {}),
            ("first_of_wide", "5,33", (0,), "", {}),
            ("middle", "3,9,5", (1,), "", {}),
            ("all", "3,4,5", None, "", {}),
            ("all_listed", "3,4,5", (0, 1, 2), "", {}),
            ("negative", "3,4,5", (-1, -3), "", {}),
            ("dropped", "3,17", (1,), "keepdims=0", {}),
            ("dropped_middle", "3,9,5", (1,), "keepdims=0", {}),
            ("dropped_two", "2,3,4,5", (1, 3), "keepdims=0", {}),
            ("to_scalar", "3,4", None, "keepdims=0", {}),
            ("space", "2,17,5,5", (2, 3), "", {}),
            ("space_dropped", "2,16,5,5", (2, 3), "keepdims=0", {}),
            ("of_empty", "0,3", (0,), "", {}),
            ("to_empty", "0,3", (1,), "", {}),
            ("of_one", "3,1", (1,), "", {}),
            ("batch_kept", "n,17", (1,), "", {"sizes": BATCHES}),
            ("over_batch", "n,17", (0,), "", {"sizes": BATCHES}),
            ("over_batch_and_all", "n,3,5", None, "", {"sizes": BATCHES}),
            ("over_length", "n,m,3", (1,), "keepdims=0", {"sizes": ({"n": 1, "m": 1}, {"n": 3, "m": 35})}),
            ("opset11", "3,17", (1,), "", {"opset": 11}),
            ("opset11_all", "3,17", None, "keepdims=0", {"opset": 11}),
            ("noop", "3,4", None, "noop_with_empty_axes=1", {}),
        )
    ),
    *(
        reduced("ReduceSum", f"row_of_{n}", f"3,{n}", (1,), whole=True, level=ulp(0))
        for n in (1, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, 33, 64, 65, 100)
    ),
    *(
        reduced("ReduceSum", f"columns_{n}x{m}", f"{n},{m}", (0,), whole=True, level=ulp(0))
        for n, m in ((3, 1), (3, 3), (9, 4), (3, 7), (3, 15), (3, 16), (70, 17), (3, 31), (100, 35))
    ),
]  # fmt: skip

KINDS = (
    "ReduceProd",
    "ReduceMax",
    "ReduceMin",
    "ReduceMean",
    "ReduceSumSquare",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
)
OTHERS = [
    *(
        reduced(op, name, shape, axes, attributes)
        for op in KINDS
        for name, shape, axes, attributes in (
            ("rows", "3,33", (1,), ""),
            ("columns", "9,17", (0,), "keepdims=0"),
            ("space", "2,5,3,3", (2, 3), ""),
            ("all", "3,7", None, ""),
        )
    ),
    *(
        reduced(op, "opset13", "3,9", (1,), opset=13)
        for op in KINDS
    ),
    *(
        reduced(op, "batch", "n,m", (1,), sizes=({"n": 1, "m": 1}, {"n": 2, "m": 17}, {"n": 5, "m": 4}))
        for op in ("ReduceMax", "ReduceMean", "ReduceLogSumExp", "ReduceL2")
    ),
    reduced("ReduceLogSum", "rows", "3,33", (1,), feed={"x": np.abs(weights("logsum", 3, 33))}),
    reduced("ReduceLogSumExp", "large", "2,5", (1,), feed={"x": np.array([[1000, 999, 0, -5, 1], [-1e3] * 5], np.float32)}),
    reduced("ReduceLogSumExp", "infinite", "2,3", (1,), feed={"x": np.array([[-np.inf, 0, 1], [np.inf, 0, 1]], np.float32)},
            expected=([np.array([[np.log1p(np.e)], [np.inf]], np.float32)],)),
    reduced("ReduceMax", "infinite", "2,3", (1,), feed={"x": np.array([[-np.inf] * 3, [np.inf, 0, 1]], np.float32)}, level=EXACT),
    *(
        case(f"{op.lower()}_{t}", f"{t}[3,9] x", f"y = {op}<axes=[1]>(x)", f"{t}[] y", opset=13, level=EXACT)
        for op in ("ReduceMax", "ReduceMin")
        for t in ("int8", "uint8", "int32", "int64", "double")
    ),
    *(
        case(f"reducesum_{t}", f"{t}[3,33] x", "y = ReduceSum(x, a)", f"{t}[] y", constants={"a": ints(1)}, level=EXACT)
        for t in ("int32", "int64", "uint64")
    ),
    case("reducemean_int32", "int32[3,5] x", "y = ReduceMean<axes=[1]>(x)", "int32[] y", opset=13, level=EXACT, oracle="onnxruntime"),
    case("reduceprod_int64", "int64[3,5] x", "y = ReduceProd<axes=[1]>(x)", "int64[] y", opset=13, level=EXACT),
    case("reducesum_double", "double[3,33] x", "y = ReduceSum(x, a)", "double[] y", constants={"a": ints(1)}, reduction=33),
    case("reducesum_half_beyond_its_precision", "float16[5000] x", "y = ReduceSum(x)", "float16[] y", level=EXACT,
         feed={"x": np.ones(5000, np.float16)}, expected=([np.array([5000], np.float16)],)),
    case("reducemean_half", "float16[3,33] x", "y = ReduceMean<axes=[1]>(x)", "float16[] y", level=ulp(2)),
    case("reducemax_bool", "bool[3,9] x", "y = ReduceMax(x, a)", "bool[] y", opset=20, constants={"a": ints(1)}, level=EXACT),
    case("reducemean_of_product", "float[3,17] x, float[3,17] z", "p = Mul(x, z)  y = ReduceMean<axes=[-1]>(p)", reduction=17, scale=4.0),
    case("reducesum_then_scale", "float[2,16,5] x", "s = ReduceSum(x, a)  y = Div(x, s)", constants={"a": ints(2)}, reduction=99, scale=1e3),
]  # fmt: skip

TIES = np.array([[3, 1, 3, 1, 2], [1, 1, 1, 1, 1], [-5, -5, -6, -6, 0]], np.float32)
ARGS = [
    *(
        case(f"{op.lower()}_{name}", f"float[{shape}] x", f"y = {op}<{attributes}>(x)", "int64[] y", level=EXACT, **how)
        for op in ("ArgMax", "ArgMin")
        for name, shape, attributes, how in (
            ("rows", "3,17", "axis=1", {}),
            ("columns", "9,17", "axis=0", {}),
            ("dropped", "3,9", "axis=1,keepdims=0", {}),
            ("negative", "2,3,9", "axis=-1,keepdims=0", {}),
            ("middle", "2,9,5", "axis=1", {}),
            ("channels", "2,5,3,3", "axis=1,keepdims=0", {}),
            ("ties", "3,5", "axis=1", {"feed": {"x": TIES}}),
            ("ties_last", "3,5", "axis=1,select_last_index=1", {"feed": {"x": TIES}}),
            ("batch", "n,7", "axis=1", {"sizes": BATCHES}),
            ("vector", "9", "axis=0,keepdims=0", {}),
        )
    ),
    case("argmax_default", "float[5,3] x", "y = ArgMax(x)", "int64[] y", level=EXACT),
    case("argmax_int32", "int32[3,9] x", "y = ArgMax<axis=1>(x)", "int64[] y", level=EXACT),
    case("argmax_blocked", "float[1,4,3,3] x", "c = Conv(x, w)  y = ArgMax<axis=1>(c)", "int64[] y",
         constants={"w": weights("argmax", 17, 4, 1, 1, whole=True)}, whole=True, level=EXACT),
    *(
        case(f"{op.lower()}_nan_{axis}", "float[3,33] x", f"y = {op}<axes=[{axis}]>(x)", level=ulp(0),
             feed={"x": np.where(np.arange(99).reshape(3, 33) % 14 == 5, np.nan, np.arange(99).reshape(3, 33) - 50).astype(np.float32)})
        for op in ("ReduceMax", "ReduceMin")
        for axis in (0, 1)
    ),
    case("maxpool_indices_lowest", "int8[1,1,3,3] x", "y, i = MaxPool<kernel_shape=[2,2],pads=[1,1,1,1],strides=[2,2]>(x)",
         "int8[] y, int64[] i", level=EXACT, oracle="onnxruntime", feed={"x": np.full((1, 1, 3, 3), -128, np.int8)}),
    case("argmax_infinite", "float[2,3] x", "y = ArgMax<axis=1>(x)", "int64[] y", level=EXACT,
         feed={"x": np.array([[-np.inf] * 3, [1, np.inf, np.inf]], np.float32)}),
]  # fmt: skip


def pooled(
    operator: str, name: str, shape: str, attributes: str, *, opset: int = 17, length: int = 16, **how: Any
) -> Case:
    extra = {"level": EXACT} if operator == "MaxPool" else {"reduction": length}
    return case(f"{operator.lower()}_{name}", f"float[{shape}] x", f"y = {operator}<{attributes}>(x)", opset=opset,
                **{"oracle": "onnxruntime", **extra, **how})  # fmt: skip


WINDOWS: tuple[tuple[str, str, str], ...] = (
    ("2x2", "1,3,8,8", "kernel_shape=[2,2],strides=[2,2]"),
    ("3x3_stride_1", "2,5,7,9", "kernel_shape=[3,3],pads=[1,1,1,1]"),
    ("3x3_stride_2", "1,17,9,9", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]"),
    ("3x3_no_pads", "1,16,9,8", "kernel_shape=[3,3],strides=[2,2]"),
    ("3x2_uneven", "1,8,7,9", "kernel_shape=[3,2],strides=[1,2],pads=[0,1,2,0]"),
    ("ceil", "1,3,8,7", "kernel_shape=[3,3],strides=[2,2],ceil_mode=1"),
    ("ceil_pads", "1,3,8,7", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1"),
    ("ceil_beyond", "1,2,5,5", "kernel_shape=[2,2],strides=[3,3],pads=[0,0,1,1],ceil_mode=1"),
    ("same_upper", "1,3,8,7", 'kernel_shape=[3,3],strides=[2,2],auto_pad="SAME_UPPER"'),
    ("same_lower", "1,3,8,7", 'kernel_shape=[2,2],strides=[1,1],auto_pad="SAME_LOWER"'),
    ("valid", "1,3,8,7", 'kernel_shape=[3,3],strides=[2,2],auto_pad="VALID"'),
    ("wide_window", "1,4,4,5", "kernel_shape=[9,9],pads=[4,4,4,4]"),
    ("whole", "2,17,5,5", "kernel_shape=[5,5]"),
    ("line", "2,3,19", "kernel_shape=[3],strides=[2],pads=[1,0]"),
    ("volume", "1,2,4,5,4", "kernel_shape=[2,3,2],strides=[2,1,2],pads=[0,1,0,0,1,0]"),
    ("one_pixel", "1,9,1,1", "kernel_shape=[1,1]"),
    ("channels_33", "1,33,4,4", "kernel_shape=[2,2],strides=[2,2]"),
)
POOLS = [
    *(pooled("MaxPool", *window) for window in WINDOWS),
    *(pooled("AveragePool", *window, length=81) for window in WINDOWS),
    *(
        pooled("AveragePool", f"{name}_included", shape, f"{attributes},count_include_pad=1", length=81)
        for name, shape, attributes in WINDOWS
        if "pad" in attributes
    ),
    pooled("MaxPool", "dilated", "1,3,9,9", "kernel_shape=[3,3],dilations=[2,2],pads=[1,1,1,1]", opset=12),
    pooled("MaxPool", "dilated_stride", "1,17,9,9", "kernel_shape=[2,3],dilations=[3,2],strides=[2,1]", opset=12),
    pooled("AveragePool", "dilated", "1,3,9,9", "kernel_shape=[3,3],dilations=[2,2],pads=[1,1,1,1]", opset=19, oracle="onnxruntime"),
    pooled("MaxPool", "opset8", "1,3,8,8", "kernel_shape=[2,2],strides=[2,2]", opset=8),
    pooled("AveragePool", "opset7", "1,3,8,8", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]", opset=7),
    pooled("MaxPool", "batch", "n,17,5,5", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]", sizes=BATCHES),
    pooled("MaxPool", "size", "n,3,h,w", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]",
           sizes=({"n": 1, "h": 5, "w": 8}, {"n": 2, "h": 1, "w": 17})),
    *(
        pooled(operator, f"size_{mode.lower()}", "n,3,h,w", f'kernel_shape=[3,2],strides=[2,3],auto_pad="{mode}"',
               sizes=({"n": 1, "h": 1, "w": 2}, {"n": 2, "h": 8, "w": 17}))
        for operator in ("MaxPool", "AveragePool")
        for mode in ("SAME_UPPER", "SAME_LOWER")
    ),
    pooled("AveragePool", "size", "n,3,h,w", "kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]",
           sizes=({"n": 1, "h": 5, "w": 8}, {"n": 2, "h": 1, "w": 17})),
    pooled("MaxPool", "size_ceil", "1,3,h,w", "kernel_shape=[2,2],strides=[3,3],pads=[0,0,1,1],ceil_mode=1",
           sizes=({"h": 3, "w": 5}, {"h": 6, "w": 7}, {"h": 9, "w": 8})),
    pooled("MaxPool", "negative_values", "1,3,4,4", "kernel_shape=[3,3],pads=[1,1,1,1]", feed={"x": -np.ones((1, 3, 4, 4), np.float32)}),
    case("maxpool_uint8", "uint8[1,3,5,5] x", "y = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)", "uint8[] y", level=EXACT,
         oracle="onnxruntime"),
    case("maxpool_int8", "int8[1,3,5,5] x", "y = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)", "int8[] y", level=EXACT,
         oracle="onnxruntime"),
    case("maxpool_double", "double[1,3,5,5] x", "y = MaxPool<kernel_shape=[2,2]>(x)", "double[] y", level=EXACT, oracle="onnxruntime"),
    case("maxpool_after_relu", "float[1,17,6,6] x", "a = Relu(x)  y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(a)", level=ulp(0),
         oracle="onnxruntime"),
    *(
        pooled("LpPool", f"{name}_p{p}", shape, f"{attributes},p={p}", opset=18, oracle="onnxruntime")
        for name, shape, attributes in (WINDOWS[0], WINDOWS[2])
        for p in (1, 2, 3)
    ),
    *(
        case(f"globallppool_p{p}", "float[2,17,5,7] x", f"y = GlobalLpPool<p={p}>(x)", reduction=35, oracle="onnxruntime") for p in (1, 3)
    ),
    *(
        case(f"maxpool_indices_{name}", f"float[{shape}] x", f"y, i = MaxPool<{attributes}>(x)", "float[] y, int64[] i", level=EXACT,
             oracle="onnxruntime", **how)
        for name, shape, attributes, how in (
            ("plain", "2,3,6,8", "kernel_shape=[2,2],strides=[2,2]", {}),
            ("pads", "1,17,5,6", "kernel_shape=[3,3],pads=[1,1,1,1]", {}),
            ("columns", "1,2,5,6", "kernel_shape=[3,3],pads=[1,1,1,1],storage_order=1", {}),
            ("dilated", "1,2,9,9", "kernel_shape=[2,3],dilations=[3,2],strides=[2,1]", {}),
            ("line", "2,3,19", "kernel_shape=[3],strides=[2]", {}),
            ("volume", "1,2,4,5,4", "kernel_shape=[2,3,2],strides=[2,1,2]", {}),
            ("batch", "n,2,4,4", "kernel_shape=[2,2]", {"sizes": BATCHES}),
        )
    ),
    case("maxpool_only_indices", "float[1,2,4,4] x", "_, y = MaxPool<kernel_shape=[2,2]>(x)", "int64[] y", level=EXACT, oracle="onnxruntime"),
    *(
        case(f"{op.lower()}_{name}", f"float[{shape}] x", f"y = {op}(x)", reduction=35, level=EXACT if "Max" in op else CLOSE,
             oracle="onnxruntime", **how)
        for op in ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")
        for name, shape, how in (
            ("image", "2,17,5,7", {}),
            ("blocked_16", "1,16,7,7", {}),
            ("line", "2,3,9", {}),
            ("volume", "1,2,2,3,2", {}),
            ("one_pixel", "1,5,1,1", {}),
            ("batch", "n,9,4,4", {"sizes": BATCHES}),
            ("size", "1,9,h,w", {"sizes": ({"h": 1, "w": 1}, {"h": 5, "w": 7})}),
        )
    ),
]  # fmt: skip

BATCH_NORM = [
    case(f"batchnorm_{label}", f"float[{shape}] x", f"y = BatchNormalization<{attributes}>(x, g, b, m, v)", opset=opset,
         constants={"g": weights("g", c), "b": weights("b", c), "m": weights("m", c), "v": np.abs(weights("v", c)) + 0.1},
         oracle="onnxruntime" if opset < 15 else "reference")
    for label, shape, c, attributes, opset in (
        ("image", "2,17,3,3", 17, "epsilon=0.01", 17),
        ("rows", "5,3", 3, "epsilon=0.00001", 17),
        ("sequence", "2,3,7", 3, "momentum=0.5", 17),
        ("volume", "1,3,2,2,2", 3, "epsilon=0.1", 15),
        ("opset9", "2,4,3,3", 4, "epsilon=0.01", 9),
    )
] + [
    case("batchnorm_double", "double[2,3,4] x", "y = BatchNormalization<epsilon=0.001>(x, g, b, m, v)", "double[] y", reduction=4,
         constants={"g": weights("g", 3, dtype="float64"), "b": weights("b", 3, dtype="float64"), "m": weights("m", 3, dtype="float64"),
                    "v": np.ones(3)}),
    *(
        case(f"batchnorm_{label}_{name}", f"float[{shape}] x, float[{c}] g, float[{c}] b, float[{c}] m, float[{c}] v",
             f"{outputs} = BatchNormalization<{attributes}>(x, g, b, m, v)", ", ".join(f"float[] {o}" for o in outputs.split(", ")), opset=17,
             feed={"v": np.abs(weights("v", c)) + np.float32(0.1)}, reduction=64, scale=2.0)
        for label, outputs, attributes in (("computed", "y", "epsilon=0.01"), ("training", "y, rm, rv", "epsilon=0.01,momentum=0.7,training_mode=1"))
        for name, shape, c in (("image", "2,17,3,3", 17), ("rows", "5,3", 3), ("volume", "1,3,2,2,2", 3))
    ),
    case("batchnorm_training_constants", "float[n,3,4] x", "y, rm, rv = BatchNormalization<training_mode=1>(x, g, b, m, v)",
         "float[] y, float[] rm, float[] rv", opset=15, sizes=BATCHES, constants={k: np.abs(weights(k, 3)) for k in "gbmv"}, reduction=64, scale=2.0),
    case("batchnorm_half", "float16[2,3,4] x", "y = BatchNormalization(x, g, b, m, v)", "float16[] y", opset=15,
         constants={k: np.abs(weights(k, 3)) + np.float32(0.5) for k in "gbmv"}, reduction=4),
    case("batchnorm_per_element", "float[5,3] x", "y = BatchNormalization<spatial=0>(x, g, b, m, v)", opset=7, reduction=4,
         constants={k: np.abs(weights(k, 3)) + np.float32(0.5) for k in "gbmv"}, oracle="onnxruntime"),
]  # fmt: skip

LONG = {"reduction": 40, "scale": 1.0}
SOFTMAX = [
    *(
        case(f"{op.lower()}_{name}", f"float[{shape}] x", f"y = {op}<{attributes}>(x)", **{**LONG, **how})
        for op in ("Softmax", "LogSoftmax")
        for name, shape, attributes, how in (
            ("last", "3,17", "axis=-1", {}),
            ("first", "17,5", "axis=0", {}),
            ("middle", "2,9,5", "axis=1", {}),
            ("channels", "2,17,3,3", "axis=1", {}),
            ("heads", "2,3,5,33", "axis=-1", {}),
            ("one", "3,1", "axis=1", {}),
            ("batch", "n,9", "axis=1", {"sizes": BATCHES}),
            ("length", "n,m", "axis=1", {"sizes": ({"n": 1, "m": 1}, {"n": 3, "m": 19}, {"n": 2, "m": 32})}),
            ("large", "2,4", "axis=1", {"oracle": "onnxruntime", "feed": {"x": np.array([[1000, 999, 0, -1000], [-1e4, -1e4, -1e4, 0]], np.float32)}}),
            ("masked", "2,4", "axis=1", {"feed": {"x": np.array([[0, -np.inf, 1, -np.inf], [-np.inf, 3, 3, 3]], np.float32)}}),
            ("opset11", "2,3,4", "axis=1", {"opset": 11, "oracle": "onnxruntime"}),
            ("opset11_zero", "2,3,4", "axis=0", {"opset": 11, "oracle": "onnxruntime"}),
        )
    ),
    *(case(f"softmax_row_of_{n}", f"float[2,{n}] x", "y = Softmax<axis=1>(x)", **LONG) for n in (3, 4, 5, 7, 8, 15, 16, 31, 32, 33)),
    *(
        case(f"{op.lower()}_of_{n}_rows_of_{k}", f"float[1,{n},{k}] x", f"a = Mul(x, c)  y = {op}<axis=2>(a)", constants={"c": np.float32(2)}, **LONG)
        for op in ("Softmax", "LogSoftmax")
        for n, k in ((1, 2), (3, 2), (15, 2), (16, 2), (17, 2), (33, 2), (17, 1), (17, 3), (31, 4), (32, 7))
    ),
    case("softmax_of_pairs_in_any_batch", "float[n,m,2] x", "y = Softmax<axis=2>(x)", sizes=({"n": 1, "m": 1}, {"n": 2, "m": 16}, {"n": 3, "m": 21}), **LONG),
    *(case(f"softmax_columns_{n}", f"float[5,{n}] x", "y = Softmax<axis=0>(x)", **LONG) for n in (1, 3, 7, 8, 15, 16, 17)),
    case("softmax_default_opset13", "float[2,3,5] x", "y = Softmax(x)", **LONG),
    case("softmax_default_opset11", "float[2,3,5] x", "y = Softmax(x)", opset=11, oracle="onnxruntime", **LONG),
    case("softmax_double", "double[2,9] x", "y = Softmax(x)", "double[] y", **LONG),
    case("softmax_scaled", "float[2,9] x", "a = Mul(x, c)  y = Softmax(a)", constants={"c": np.float32(0.125)}, **LONG),
    case("softmax_then_scale", "float[2,9] x", "a = Softmax(x)  y = Mul(a, c)", constants={"c": np.float32(8)}, reduction=40, scale=8.0),
    case("softmax_half", "float16[2,33] x", "y = Softmax(x)", "float16[] y", oracle="onnxruntime", reduction=4),
    case("softmax_then_double", "float[2,9] x", "a = Mul(x, c)  s = Softmax(a)  y = Cast<to=11>(s)", "double[] y",
         constants={"c": np.float32(0.5)}, level=ulp(2**32)),
    case("softmax_then_integer", "float[2,9] x", "a = Mul(x, c)  s = Softmax(a)  t = Mul(s, k)  y = Cast<to=7>(t)", "int64[] y",
         constants={"c": np.float32(0.5), "k": np.float32(1000)}, level=EXACT),
    case("softmax_blocked", "float[1,4,3,3] x", "c = Conv(x, w)  y = Softmax<axis=1>(c)", reduction=400, scale=1.0,
         constants={"w": weights("softmax", 19, 4, 1, 1)}),
    case("softmax_written_out", "float[3,17] x",
         "m = ReduceMax<axes=[-1]>(x)  s = Sub(x, m)  e = Exp(s)  t = ReduceSum(e, a)  y = Div(e, t)", constants={"a": ints(-1)}, **LONG),
    *(
        case(f"hardmax_{name}", f"float[{shape}] x", f"y = Hardmax<axis={axis}>(x)", level=EXACT, opset=opset, **how)
        for name, shape, axis, opset, how in (
            ("last", "3,9", -1, 13, {}),
            ("first", "9,5", 0, 13, {}),
            ("ties", "3,5", 1, 13, {"feed": {"x": TIES}}),
            ("opset11", "2,3,4", 1, 11, {"oracle": "onnxruntime"}),
        )
    ),
]  # fmt: skip

NORMS = [
    *(
        case(f"layernorm_{name}", f"float[{shape}] x", f"y = LayerNormalization<{attributes}>(x, g, b)", reduction=40,
             constants={"g": weights("g", *scale), "b": weights("b", *scale)}, **how)
        for name, shape, scale, attributes, how in (
            ("last", "3,17", (17,), "axis=-1", {}),
            ("of_16", "5,16", (16,), "axis=-1,epsilon=0.001", {}),
            ("of_3", "5,3", (3,), "axis=1", {}),
            ("two_axes", "2,3,9", (3, 9), "axis=1", {}),
            ("tokens", "2,5,33", (33,), "axis=-1", {}),
            ("batch", "n,m,8", (8,), "axis=-1", {"sizes": ({"n": 1, "m": 1}, {"n": 2, "m": 7})}),
        )
    ),
    case("layernorm_statistics", "float[2,3,17] x", "y, m, d = LayerNormalization<axis=-2,epsilon=0.1>(x, g)", "float[] y, float[] m, float[] d",
         constants={"g": weights("g", 3, 17)}, reduction=60),
    case("layernorm_deviation", "float[3,17] x", "y, , d = LayerNormalization(x, g)", "float[] y, float[] d",
         constants={"g": weights("g", 17)}, reduction=40),
    *(case(f"mvn_{name}", f"float[{shape}] x", f"y = MeanVarianceNormalization{attributes}(x)", opset=13, reduction=60)
      for name, shape, attributes in (("default", "2,3,4,5", ""), ("last", "4,7", "<axes=[-1]>"), ("outer", "3,4,5", "<axes=[2,0]>"))),
    *(case(f"lpnorm_{name}", f"{dtype}[3,4,5] x", f"y = LpNormalization<{attributes}>(x)", f"{dtype}[] y", reduction=5, oracle=oracle,
           opset=17 if oracle == "onnxruntime" else 22)
      for name, dtype, attributes, oracle in (("default", "float", "p=2", "reference"), ("first", "float", "axis=0, p=1", "onnxruntime"), ("half", "float16", "axis=1", "reference"),
                                      ("double", "double", "axis=-2, p=1", "onnxruntime"))),
    case("lpnorm_zero", "float[3,4] x", "y = LpNormalization<axis=1>(x)", feed={"x": np.array([[0] * 4, [1, 2, 3, 4], [-1] * 4], np.float32)},
         expected=([np.array([[0] * 4, [1, 2, 3, 4], [-1] * 4], np.float32) / np.sqrt(np.float32([[1], [30], [4]]))],), reduction=4),
    case("layernorm_no_bias", "float[3,17] x", "y = LayerNormalization(x, g)", constants={"g": weights("g", 17)}, reduction=40),
    case("layernorm_computed_scale", "float[3,17] x, float[17] g, float[17] b", "y = LayerNormalization(x, g, b)", reduction=40),
    case("layernorm_shifted", "float[3,17] x", "y = LayerNormalization(x, g)", constants={"g": np.ones(17, np.float32)}, reduction=4_000_000,
         feed={"x": weights("x", 3, 17) + np.float32(100)}),
    case("layernorm_after_add", "float[3,17] x, float[3,17] z", "s = Add(x, z)  y = LayerNormalization(s, g)",
         constants={"g": weights("g", 17)}, reduction=40),
    case("layernorm_written_out", "float[3,17] x",
         "m = ReduceMean<axes=[-1]>(x)  d = Sub(x, m)  q = Pow(d, two)  v = ReduceMean<axes=[-1]>(q)  e = Add(v, eps)  s = Sqrt(e)  "
         "n = Div(d, s)  w = Mul(n, g)  y = Add(w, b)",
         constants={"two": np.float32(2), "eps": np.float32(1e-5), "g": weights("g", 17), "b": weights("b", 17)}, reduction=40),
    case("layernorm_double", "double[2,9] x", "y = LayerNormalization(x, g)", "double[] y",
         constants={"g": weights("g", 9, dtype="float64")}, reduction=40),
    case("layernorm_half", "float16[2,9] x", "y = LayerNormalization(x, g)", "float16[] y", oracle="onnxruntime",
         constants={"g": weights("g", 9, dtype="float16")}, reduction=4),
    case("layernorm_then_half", "float[2,9] x", "a = Exp(x)  s = LayerNormalization(a, g)  y = Cast<to=10>(s)", "float16[] y",
         constants={"g": weights("g", 9)}, reduction=4),
    *(
        case(f"rmsnorm_{name}", f"float[{shape}] x", f"y = RMSNormalization<{attributes}>(x, g)", opset=23, reduction=40,
             constants={"g": weights("g", *scale)})
        for name, shape, scale, attributes in (
            ("last", "3,17", (17,), "axis=-1"),
            ("two_axes", "2,3,9", (3, 9), "axis=1,epsilon=0.01"),
        )
    ),
    case("rmsnorm_written_out", "float[3,17] x",
         "q = Pow(x, two)  v = ReduceMean<axes=[-1]>(q)  e = Add(v, eps)  s = Sqrt(e)  r = Reciprocal(s)  n = Mul(x, r)  y = Mul(g, n)",
         constants={"two": np.float32(2), "eps": np.float32(1e-5), "g": weights("g", 17)}, reduction=40),
    *(
        case(f"instancenorm_{name}", f"float[{shape}] x", "y = InstanceNormalization<epsilon=0.01>(x, g, b)", reduction=40,
             constants={"g": weights("g", c), "b": weights("b", c)}, **how)
        for name, shape, c, how in (
            ("image", "2,5,3,4", 5, {}),
            ("image_17", "1,17,4,4", 17, {}),
            ("line", "2,3,19", 3, {}),
            ("batch", "n,3,4,4", 3, {"sizes": BATCHES}),
        )
    ),
    case("instancenorm_blocked", "float[1,4,4,4] x", "c = Conv(x, w)  y = InstanceNormalization(c, g, b)", reduction=400,
         constants={"w": weights("w", 17, 4, 1, 1), "g": weights("g", 17), "b": weights("b", 17)}),
    *(
        case(f"groupnorm_{name}", f"float[{shape}] x", f"y = GroupNormalization<num_groups={groups},epsilon=0.01>(x, g, b)", opset=opset,
             reduction=40, oracle="reference", constants={"g": weights("g", count), "b": weights("b", count)}, **how)
        for name, shape, groups, count, opset, how in (
            ("two", "2,6,3,4", 2, 6, 21, {}),
            ("per_group_scale", "2,6,3,4", 2, 2, 18, {}),
            ("sixteen", "1,32,3,3", 16, 32, 21, {}),
            ("one", "2,5,3,3", 1, 5, 21, {}),
            ("batch", "n,6,3,4", 3, 6, 21, {"sizes": BATCHES}),
        )
    ),
]  # fmt: skip

NOTHING_REDUCED = [
    case(f"{operator.lower()}_of_no_axes", "float[3,5] x", f"q = Abs(x)  y = {operator}<noop_with_empty_axes=1>(q)", opset=18,
         oracle="onnxruntime")
    for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
]  # fmt: skip

CHAINS = [
    # Written out, 27 scalar comparisons in a row take LLVM's vectoriser hours.
    case("reducemin_of_27_to_scalar", "float[3,9] x", "y = ReduceMin<keepdims=0>(x)", level=EXACT),
    case("reducemin_of_27_three_times", "float[3,9,1] x", "e = Expand(x, shape)  y = ReduceMin<axes=[0,1]>(e)", level=EXACT,
         constants={"shape": ints(3, 9, 3)}),
    case("argmin_of_27", "float[27] x", "y = ArgMin<keepdims=0>(x)", "int64 y", level=EXACT),
]  # fmt: skip

CASES = [*NOTHING_REDUCED, *CHAINS, *SUMS, *OTHERS, *ARGS, *POOLS, *BATCH_NORM, *SOFTMAX, *NORMS]
