"""Cases of `ingot.lower.contraction`. Most compute with small integers, so that no order of summation rounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE, ulp

SIDES = ({"n": 1, "h": 1, "v": 2}, {"n": 2, "h": 7, "v": 8}, {"n": 1, "h": 17, "v": 33})
BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})
CHANNELS = (1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33)


def conv(
    name: str,
    x: str,
    w: tuple[int, ...],
    attributes: str = "",
    *,
    bias: bool = True,
    operator: str = "Conv",
    **how: Any,
) -> Case:
    """A convolution with constant weights `w`."""
    constants = {"w": weights(f"w{name}", *w, whole=True)}
    if bias:
        groups = int(attributes.split("group=")[1].split(",")[0]) if "group=" in attributes else 1
        features = w[0] if operator == "Conv" else w[1] * groups
        constants["b"] = weights(f"b{name}", features, whole=True)
    text = f"y = {operator}{'<' + attributes + '>' if attributes else ''}(x, w{', b' if bias else ''})"
    return case(f"{operator.lower()}_{name}", f"float[{x}] x", text, constants=constants, whole=True,
                **{"level": ulp(0), **how})  # fmt: skip


SAME = "pads=[1,1,1,1]"
POINTWISE = [
    *(conv(f"1x1_{c}_to_17", f"1,{c},3,4", (17, c, 1, 1)) for c in CHANNELS),
    *(conv(f"1x1_5_to_{k}", "1,5,3,4", (k, 5, 1, 1)) for k in CHANNELS),
    *(conv(f"1x1_columns_{n}", f"1,3,1,{n}", (17, 3, 1, 1), bias=False) for n in range(1, 36)),
    *(conv(f"1x1_square_{n}", f"1,3,{n},{n}", (33, 3, 1, 1)) for n in (1, 2, 5, 7, 14)),
    conv("1x1_stride", "1,9,5,7", (17, 9, 1, 1), "strides=[2,2]"),
    conv("1x1_pads", "1,3,4,4", (8, 3, 1, 1), SAME),
    conv("1x1_rows", "2,3,35,1", (9, 3, 1, 1)),
]

KERNELS = [
    *(conv(f"3x3_{c}_to_9", f"1,{c},4,5", (9, c, 3, 3), SAME, level=CLOSE, reduction=9 * c) for c in (1, 2, 3, 4, 5, 8, 17)),
    *(conv(f"3x3_3_to_{k}", "1,3,4,5", (k, 3, 3, 3), SAME, level=CLOSE, reduction=27) for k in (1, 3, 8, 15, 16, 17, 33)),
    *(
        conv(f"3x3_stride_2_{h}x{w}", f"1,3,{h},{w}", (17, 3, 3, 3), f"{SAME},strides=[2,2]")
        for h, w in ((3, 3), (8, 8), (9, 7), (1, 1), (5, 20))
    ),
    conv("3x3_valid", "1,5,6,7", (16, 5, 3, 3), level=CLOSE, reduction=45),
    conv("3x3_dilated", "1,4,7,8", (9, 4, 3, 3), "dilations=[2,2],pads=[2,2,2,2]"),
    conv("3x3_dilated_stride", "1,4,9,8", (9, 4, 3, 3), "dilations=[2,1],strides=[1,2],pads=[2,0,1,1]"),
    conv("3x3_asymmetric", "1,3,5,6", (8, 3, 3, 3), "pads=[0,1,2,0]", level=CLOSE, reduction=27),
    conv("5x5", "1,3,7,6", (9, 3, 5, 5), "pads=[2,2,2,2]"),
    conv("7x7_stride_2", "1,3,11,12", (17, 3, 7, 7), "pads=[3,3,3,3],strides=[2,2]"),
    conv("2x2_stride_2", "1,5,6,8", (8, 5, 2, 2), "strides=[2,2]"),
    conv("4x4_stride_4", "1,3,8,8", (24, 3, 4, 4), "strides=[4,4]"),
    conv("1x3", "1,4,5,6", (9, 4, 1, 3), "pads=[0,1,0,1]"),
    conv("3x1", "1,4,5,6", (9, 4, 3, 1), "pads=[1,0,1,0]"),
    conv("1x7_wide", "1,17,2,9", (8, 17, 1, 7), "pads=[0,3,0,3]"),
    conv("uneven_strides", "1,3,7,9", (8, 3, 3, 3), "strides=[1,2],pads=[1,1,1,1]"),
    conv("same_upper", "1,3,7,8", (8, 3, 3, 3), 'auto_pad="SAME_UPPER",strides=[2,2]', oracle="onnxruntime"),
    conv("same_lower", "1,3,7,8", (8, 3, 2, 4), 'auto_pad="SAME_LOWER",strides=[2,2]', oracle="onnxruntime"),
    conv("same_upper_symbolic", "n,3,h,v", (8, 3, 3, 3), 'auto_pad="SAME_UPPER",strides=[2,2]', oracle="onnxruntime", sizes=SIDES),
    conv("same_lower_symbolic", "1,4,h,v", (4, 1, 3, 2), 'auto_pad="SAME_LOWER",strides=[3,2],group=4', oracle="onnxruntime", sizes=SIDES),
    conv("same_stride_1", "1,3,5,5", (8, 3, 4, 2), 'auto_pad="SAME_UPPER"', oracle="onnxruntime"),
    conv("auto_valid", "1,3,7,8", (8, 3, 3, 3), 'auto_pad="VALID",strides=[2,2]', oracle="onnxruntime"),
    conv("whole_image", "2,17,3,4", (9, 17, 3, 4)),
    conv("wide_pads", "1,2,3,3", (8, 2, 3, 3), "pads=[3,4,3,2],strides=[2,2]"),
    conv("no_bias", "1,3,5,5", (16, 3, 3, 3), "strides=[2,2]", bias=False),
    conv("batch", "n,3,5,6", (17, 3, 3, 3), f"{SAME},strides=[2,2]", sizes=BATCHES),
    conv("batch_1x1", "n,17,3,3", (9, 17, 1, 1), sizes=BATCHES),
    conv("batch_3x3", "n,5,4,6", (9, 5, 3, 3), SAME, sizes=BATCHES, level=CLOSE, reduction=45),
    conv("size", "n,3,h,w", (9, 3, 3, 3), SAME, level=CLOSE, reduction=27,
         sizes=({"n": 1, "h": 5, "w": 6}, {"n": 2, "h": 1, "w": 1}, {"n": 1, "h": 3, "w": 35})),
    conv("size_stride", "n,3,h,w", (9, 3, 3, 3), f"{SAME},strides=[2,2]",
         sizes=({"n": 1, "h": 5, "w": 6}, {"n": 2, "h": 1, "w": 1}, {"n": 1, "h": 3, "w": 35})),
    conv("empty_batch", "0,3,5,5", (8, 3, 3, 3), "strides=[2,2]", oracle="onnxruntime"),
    conv("empty_map", "1,16,8,2", (16, 16, 3, 3), expected=([np.zeros((1, 16, 6, 0), np.float32)],)),
    conv("line", "1,3,19", (8, 3, 3), "pads=[1,1]", oracle="onnxruntime"),
    conv("line_stride", "2,5,21", (17, 5, 4), "pads=[2,1],strides=[3]", oracle="onnxruntime"),
    conv("line_dilated", "1,4,21", (9, 4, 3), "dilations=[4]", oracle="onnxruntime"),
    conv("line_length", "1,4,m", (9, 4, 3), "pads=[1,1]", oracle="onnxruntime", sizes=({"m": 1}, {"m": 17}, {"m": 40})),
    conv("volume", "1,2,4,5,4", (5, 2, 3, 3, 3), "pads=[1,1,1,1,1,1],strides=[1,2,1]", oracle="onnxruntime"),
]  # fmt: skip

GROUPED = [
    *(conv(f"depthwise_{c}", f"1,{c},5,6", (c, 1, 3, 3), f"{SAME},group={c}") for c in CHANNELS),
    *(conv(f"depthwise_stride_{c}", f"1,{c},6,7", (c, 1, 3, 3), f"{SAME},group={c},strides=[2,2]") for c in (3, 8, 17)),
    *(conv(f"depthwise_{k}x{k}", "1,9,9,9", (9, 1, k, k), f"pads=[{k // 2},{k // 2},{k // 2},{k // 2}],group=9") for k in (5, 7, 9)),
    *(conv(f"depthwise_width_{n}", f"1,8,3,{n}", (8, 1, 3, 3), f"{SAME},group=8") for n in (1, 2, 7, 9, 10, 11, 16, 21)),
    conv("depthwise_dilated", "1,5,9,9", (5, 1, 3, 3), "pads=[2,2,2,2],dilations=[2,2],group=5"),
    conv("depthwise_twice", "1,5,6,6", (10, 1, 3, 3), f"{SAME},group=5"),
    conv("depthwise_three_times", "1,8,6,6", (24, 1, 3, 3), f"{SAME},group=8"),
    conv("depthwise_line", "1,9,15", (9, 1, 3), "pads=[1,1],group=9", oracle="onnxruntime"),
    conv("depthwise_batch", "n,17,5,5", (17, 1, 3, 3), f"{SAME},group=17", sizes=BATCHES),
    conv("depthwise_no_bias", "1,16,5,5", (16, 1, 3, 3), f"{SAME},group=16", bias=False),
    *(
        conv(f"group_{g}_{c}_to_{k}", f"1,{c},4,5", (k, c // g, 3, 3), f"{SAME},group={g}", level=CLOSE, reduction=9 * c)
        for g, c, k in ((2, 6, 10), (2, 16, 16), (2, 8, 34), (4, 8, 32), (4, 12, 64), (4, 4, 20), (3, 9, 24), (2, 34, 16))
    ),
    conv("group_1x1", "1,32,3,4", (16, 16, 1, 1), "group=2"),
    conv("group_1x1_wide", "1,16,3,4", (64, 8, 1, 1), "group=2"),
    conv("group_batch", "n,8,4,4", (16, 4, 3, 3), f"{SAME},strides=[2,2],group=2", sizes=BATCHES),
]  # fmt: skip

COMPUTED = [
    case("conv_computed_weight", "float[1,3,5,5] x, float[4,3,3,3] w", "y = Conv(x, w)", whole=True, level=ulp(0)),
    case("conv_computed_weight_bias", "float[2,3,4,4] x, float[9,3,1,1] w, float[9] b", "y = Conv(x, w, b)", whole=True, level=ulp(0)),
    case("conv_computed_bias", "float[1,3,4,4] x, float[9] b", "y = Conv(x, w, b)", constants={"w": weights("w", 9, 3, 1, 1, whole=True)},
         whole=True, level=ulp(0)),
    *(
        case(f"{operator.lower()}_computed_{name}", f"float[{x}] x, float[{w}] w, float[{c}] b", f"y = {operator}<{attributes}>(x, w, b)", whole=True,
             level=ulp(0), oracle="onnxruntime", **how)
        for operator, name, x, w, c, attributes, how in (
            ("Conv", "strides", "2,5,7,8", "6,5,3,2", 6, "strides=[2,1],pads=[1,0,1,1],dilations=[1,2]", {}),
            ("Conv", "grouped", "2,6,5,4", "9,2,3,3", 9, "group=3,pads=[1,1,1,1]", {}),
            ("Conv", "line", "1,3,9", "17,3,4", 17, 'auto_pad="SAME_LOWER"', {}),
            ("Conv", "volume", "1,2,4,5,3", "4,2,2,3,2", 4, "group=1", {}),
            ("Conv", "size", "n,3,h,5", "4,3,3,3", 4, "strides=[2,2]", {"sizes": ({"n": 1, "h": 3}, {"n": 2, "h": 8})}),
            ("ConvTranspose", "plain", "1,3,4,4", "3,2,2,2", 2, "strides=[2,2]", {}),
            ("ConvTranspose", "pads", "2,3,3,4", "3,5,3,3", 5, "strides=[2,1],pads=[1,0,1,2],output_padding=[1,0],dilations=[1,2]", {}),
            ("ConvTranspose", "grouped", "1,6,3,4", "6,2,3,3", 6, "group=3,strides=[2,2],pads=[1,1,1,1]", {}),
            ("ConvTranspose", "line", "1,3,7", "3,4,4", 4, "strides=[2]", {}),
            ("ConvTranspose", "same", "1,3,3,4", "3,2,3,3", 2, 'strides=[2,2],auto_pad="SAME_UPPER"', {}),
            ("ConvTranspose", "batch", "n,3,3,3", "3,8,4,4", 8, "strides=[2,2]", {"sizes": BATCHES}),
        )
    ),
    case("conv_computed_double", "double[1,3,4,5] x, double[4,3,3,3] w", "y = Conv(x, w)", "double[] y", whole=True, level=ulp(0)),
    case("conv_computed_depthwise", "float[1,3,5,5] x, float[3,1,3,3] w", "y = Conv<group=3>(x, w)", whole=True, level=ulp(0)),
    case("conv_double", "double[1,3,4,5] x", "y = Conv(x, w)", "double[] y", whole=True, level=ulp(0),
         constants={"w": weights("w", 4, 3, 3, 3, whole=True, dtype="float64")}),
]  # fmt: skip

TRANSPOSED = [
    conv(name, x, w, attributes, operator="ConvTranspose", **{"oracle": "onnxruntime", **how})
    for name, x, w, attributes, how in (
        ("2x2", "1,5,3,4", (5, 7, 2, 2), "strides=[2,2]", {}),
        ("2x2_wide", "2,17,3,4", (17, 9, 2, 2), "strides=[2,2]", {}),
        ("2x2_no_bias", "1,8,3,4", (8, 16, 2, 2), "strides=[2,2]", {"bias": False}),
        ("4x4_stride_4", "1,3,2,3", (3, 5, 4, 4), "strides=[4,4]", {}),
        ("3x3_stride_1", "1,3,4,5", (3, 8, 3, 3), "pads=[1,1,1,1]", {"level": CLOSE, "reduction": 27}),
        ("3x3_stride_2", "1,3,4,5", (3, 8, 3, 3), "pads=[1,1,1,1],strides=[2,2],output_padding=[1,1]", {"level": CLOSE, "reduction": 27}),
        ("4x4_stride_2", "1,3,4,5", (3, 17, 4, 4), "pads=[1,1,1,1],strides=[2,2]", {}),
        ("no_pads", "1,3,3,3", (3, 4, 3, 3), "strides=[2,2]", {"level": CLOSE, "reduction": 27}),
        ("1x1", "1,3,3,3", (3, 8, 1, 1), "", {}),
        ("1x1_stride_2", "1,3,3,3", (3, 8, 1, 1), "strides=[2,2]", {}),
        ("2x2_stride_3", "1,3,3,3", (3, 8, 2, 2), "strides=[3,3]", {}),
        ("dilated", "1,3,4,4", (3, 5, 3, 3), "dilations=[2,2],pads=[1,1,1,1]", {"level": CLOSE, "reduction": 27}),
        ("asymmetric", "1,3,4,4", (3, 5, 3, 3), "pads=[0,1,2,0],strides=[2,1]", {"level": CLOSE, "reduction": 27}),
        ("output_shape", "1,3,3,3", (3, 2, 3, 3), "strides=[2,2],output_shape=[8,7]", {"level": CLOSE, "reduction": 27}),
        ("output_shape_cut", "1,3,3,4", (3, 2, 3, 3), "strides=[2,2],output_shape=[6,8]", {"level": CLOSE, "reduction": 27}),
        ("output_shape_upper", "1,3,3,4", (3, 2, 3, 3), 'strides=[2,2],output_shape=[6,8],auto_pad="SAME_UPPER"',
         {"level": CLOSE, "reduction": 27}),
        ("same_upper", "1,3,3,4", (3, 2, 3, 3), 'strides=[2,2],auto_pad="SAME_UPPER"', {"level": CLOSE, "reduction": 27}),
        ("same_lower", "1,3,3,4", (3, 2, 3, 3), 'strides=[2,2],auto_pad="SAME_LOWER"', {"level": CLOSE, "reduction": 27}),
        ("same_upper_wide_stride", "1,3,3,4", (3, 2, 2, 2), 'strides=[3,3],auto_pad="SAME_UPPER"', {"oracle": "reference"}),
        ("wide_pads", "1,3,4,4", (3, 5, 3, 3), "pads=[3,3,3,3],strides=[2,2]", {"level": CLOSE, "reduction": 27}),
        ("grouped", "1,4,3,4", (4, 3, 3, 3), "group=2,strides=[2,2],pads=[1,1,1,1]", {"level": CLOSE, "reduction": 27}),
        ("depthwise", "1,5,3,4", (5, 1, 4, 4), "group=5,strides=[2,2],pads=[1,1,1,1]", {}),
        ("line", "1,3,7", (3, 4, 4), "strides=[2],pads=[1,1]", {}),
        ("volume", "1,2,2,3,2", (2, 3, 2, 2, 2), "strides=[2,2,2]", {}),
        ("batch", "n,3,3,3", (3, 8, 2, 2), "strides=[2,2]", {"sizes": BATCHES}),
        ("batch_overlapping", "n,3,3,3", (3, 8, 4, 4), "strides=[2,2],pads=[1,1,1,1]", {"sizes": BATCHES}),
        ("size", "1,3,h,w", (3, 8, 4, 4), "strides=[2,2],pads=[1,1,1,1]", {"sizes": ({"h": 1, "w": 1}, {"h": 3, "w": 9})}),
    )
]  # fmt: skip


def product(name: str, a: str, b: str, **how: Any) -> Case:
    """Both operands computed."""
    return case(
        f"matmul_{name}",
        f"float{a} a, float{b} b",
        "y = MatMul(a, b)",
        whole=True,
        **{"level": ulp(0), **how},
    )


def weighted(name: str, x: str, w: tuple[int, ...], **how: Any) -> Case:
    return case(f"matmul_{name}", f"float[{x}] x", "y = MatMul(x, w)", constants={"w": weights(f"w{name}", *w, whole=True)},
                whole=True, **{"level": ulp(0), **how})  # fmt: skip


MATMUL = [
    *(product(f"columns_{n}", "[3,5]", f"[5,{n}]") for n in range(1, 36)),
    *(product(f"rows_{m}", f"[{m},4]", "[4,17]") for m in (1, 2, 3, 5, 6, 7, 11, 12, 13, 14, 15, 24, 25, 29)),
    *(product(f"steps_{k}", f"[3,{k}]", f"[{k},9]") for k in (1, 2, 3, 8, 33)),
    product("wide", "[2,3]", "[3,130]"),
    product("batch", "[2,3,4]", "[2,4,5]"),
    product("batch_17", "[3,5,8]", "[3,8,17]"),
    product("heads", "[2,3,4,5]", "[2,3,5,7]"),
    product("broadcast_left", "[1,3,4]", "[5,4,6]"),
    product("broadcast_right", "[5,3,4]", "[1,4,6]"),
    product("broadcast_both", "[2,1,3,4]", "[1,5,4,6]"),
    product("matrix_left", "[3,4]", "[5,4,6]"),
    product("matrix_right", "[5,3,4]", "[4,6]"),
    product("vector_left", "[4]", "[4,6]"),
    product("vector_right", "[3,4]", "[4]"),
    product("vectors", "[9]", "[9]"),
    product("vector_batch", "[4]", "[2,4,6]"),
    product("batch_vector", "[2,3,4]", "[4]"),
    product("empty_rows", "[0,4]", "[4,6]"),
    product("empty_sum", "[3,0]", "[0,5]", oracle="onnxruntime"),
    case("matmul_empty_sum_integers", "int32[3,9,16,0] a, int32[0,2] b", "y = MatMul(a, b)", "int32[] y", level=ulp(0)),
    product("symbolic", "[n,m,8]", "[n,8,m]", sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7}, {"n": 5, "m": 17})),
    product("symbolic_rows", "[m,8]", "[8,9]", sizes=({"m": 1}, {"m": 3}, {"m": 29})),
    product("symbolic_columns", "[3,8]", "[8,m]", sizes=({"m": 1}, {"m": 16}, {"m": 65})),
    product("symbolic_steps", "[3,m]", "[m,9]", sizes=({"m": 1}, {"m": 16}, {"m": 33})),
    case("matmul_square_by_constant", "float[n,n] x", "a = Relu(x)  y = MatMul(a, w)", constants={"w": weights("w", 3, 5, whole=True)},
        sizes=({"n": 3},), whole=True, level=ulp(0)),
    case("matmul_square_of_input", "float[2,5,5] x", "y = MatMul(x, x)", whole=True, level=ulp(0)),
    case("matmul_transposed_right", "float[2,3,9] a, float[2,5,9] b", "t = Transpose<perm=[0,2,1]>(b)  y = MatMul(a, t)", whole=True,
         level=ulp(0)),
    case("matmul_transposed_left", "float[2,9,3] a, float[2,9,5] b", "t = Transpose<perm=[0,2,1]>(a)  y = MatMul(t, b)", whole=True,
         level=ulp(0)),
    case("matmul_transposed_both", "float[7,3] a, float[5,7] b", "s = Transpose(a)  t = Transpose(b)  y = MatMul(s, t)", whole=True,
         level=ulp(0)),
    case("matmul_transposed_result", "float[2,3,4] a, float[2,4,17] b", "p = MatMul(a, b)  y = Transpose<perm=[0,2,1]>(p)", whole=True,
         level=ulp(0)),
    case("matmul_of_relu", "float[3,9] a, float[9,5] b", "r = Relu(a)  s = Relu(b)  y = MatMul(r, s)", whole=True, level=ulp(0)),
    *(
        case(f"matmul_{t}", f"{t}[3,4] a, {t}[4,5] b", "y = MatMul(a, b)", f"{t}[] y", whole=True, level=ulp(0))
        for t in ("double", "int32", "int64", "uint32", "float16")
    ),
    case("matmul_half_beyond_its_precision", "float16[1,3000] x", "y = MatMul(x, w)", "float16[] y", level=ulp(0),
         constants={"w": np.ones((3000, 1), np.float16)}, feed={"x": np.ones((1, 3000), np.float16)},
         expected=([np.array([[3000]], np.float16)],)),
    *(weighted(f"constant_features_{k}", "3,5", (5, k)) for k in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65)),
    *(weighted(f"constant_steps_{k}", f"2,{k}", (k, 9)) for k in (1, 2, 7, 16, 64, 65)),
    *(weighted(f"constant_rows_{m}", f"{m},4", (4, 17)) for m in (1, 2, 5, 13, 14, 15, 29)),
    weighted("constant_tokens", "2,7,9", (9, 17)),
    weighted("constant_heads", "2,3,4,8", (8, 5)),
    weighted("constant_batch", "n,9", (9, 17), sizes=BATCHES),
    weighted("constant_length", "n,m,8", (8, 9), sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7}, {"n": 3, "m": 33})),
    weighted("constant_vector", "5", (5, 9)),
    weighted("constant_to_vector", "3,5", (5,)),
    weighted("constant_rank_three", "2,3,5", (2, 5, 9)),
    weighted("constant_rank_three_shared", "3,5", (2, 5, 9)),
    case("matmul_constant_left", "float[5,9] x", "y = MatMul(w, x)", constants={"w": weights("left", 3, 5, whole=True)}, whole=True, level=ulp(0)),
    case("matmul_constant_after_transpose", "float[2,9,4] x", "t = Transpose<perm=[0,2,1]>(x)  y = MatMul(t, w)",
         constants={"w": weights("after", 9, 17, whole=True)}, whole=True, level=ulp(0)),
    case("matmul_constant_after_reshape", "float[2,3,4,5] x", "t = Reshape(x, s)  y = MatMul(t, w)",
         constants={"w": weights("reshape", 20, 7, whole=True), "s": np.array([2, 3, 20])}, whole=True, level=ulp(0)),
]  # fmt: skip


def gemm(
    name: str, a: str, b: tuple[int, ...], attributes: str, c: tuple[int, ...] | None = None, **how: Any
) -> Case:
    constants = {"b": weights(f"b{name}", *b, whole=True)}
    if c is not None:
        constants["c"] = weights(f"c{name}", *c, whole=True)
    text = f"y = Gemm{'<' + attributes + '>' if attributes else ''}(a, b{'' if c is None else ', c'})"
    return case(
        f"gemm_{name}", f"float[{a}] a", text, constants=constants, whole=True, **{"level": ulp(0), **how}
    )


GEMM = [
    gemm("plain", "3,5", (5, 9), ""),
    gemm("bias", "3,5", (5, 9), "", (9,)),
    gemm("bias_scalar", "3,5", (5, 9), "", ()),
    gemm("bias_column", "3,5", (5, 9), "", (3, 1)),
    gemm("bias_row", "3,5", (5, 17), "", (1, 17)),
    gemm("bias_full", "3,5", (5, 9), "", (3, 9)),
    gemm("transposed_a", "5,3", (5, 9), "transA=1", (9,)),
    gemm("transposed_b", "3,5", (9, 5), "transB=1", (9,)),
    gemm("transposed_both", "5,3", (9, 5), "transA=1,transB=1", (9,)),
    gemm("alpha", "3,5", (5, 9), "alpha=0.5", (9,)),
    gemm("beta", "3,5", (5, 9), "beta=2.0", (9,)),
    gemm("alpha_beta", "3,5", (5, 9), "alpha=0.25,beta=0.5", (9,)),
    gemm("beta_zero", "3,5", (5, 9), "beta=0.0", (9,)),
    gemm("wide", "1,33", (70, 33), "transB=1", (70,)),
    gemm("batch", "n,9", (17, 9), "transB=1", (17,), sizes=BATCHES),
    gemm("opset7", "3,5", (5, 9), "", (9,), opset=7),
    case("gemm_computed", "float[3,5] a, float[5,9] b, float[9] c", "y = Gemm(a, b, c)", whole=True, level=ulp(0)),
    case("gemm_computed_transposed", "float[5,3] a, float[17,5] b, float[3,1] c", "y = Gemm<transA=1,transB=1,alpha=2.0>(a, b, c)", whole=True,
         level=ulp(0)),
    case("gemm_double", "double[3,5] a, double[5,9] b", "y = Gemm(a, b)", "double[] y", whole=True, level=ulp(0)),
    case("gemm_int64", "int64[3,5] a, int64[5,9] b", "y = Gemm(a, b)", "int64[] y", level=ulp(0), oracle="reference"),
]  # fmt: skip

ROUNDED = [
    case("conv_3x3_rounded", "float[1,17,6,7] x", "y = Conv<pads=[1,1,1,1]>(x, w, b)", reduction=153,
         constants={"w": weights("r1", 9, 17, 3, 3), "b": weights("r2", 9)}),
    case("matmul_rounded", "float[3,65] a, float[65,17] b", "y = MatMul(a, b)", reduction=65),
    case("gemm_rounded", "float[3,65] a", "y = Gemm(a, w, b)", reduction=65, constants={"w": weights("r3", 65, 17), "b": weights("r4", 17)}),
    case("conv_infinite_weight_stays_in_its_feature", "float[1,2,2,2] x", "y = Conv(x, w)", level=ulp(0), whole=True,
         feed={"x": np.ones((1, 2, 2, 2), np.float32)},
         constants={"w": np.array([[1, 2], [np.inf, 1], [3, 4]], np.float32).reshape(3, 2, 1, 1)}),
    case("conv_nan_stays_in_its_window", "float[1,1,1,9] x", "y = Conv(x, w)", level=ulp(0),
         feed={"x": np.array([1, 2, np.nan, 4, 5, 6, np.inf, 8, 9], np.float32).reshape(1, 1, 1, 9)},
         constants={"w": np.ones((9, 1, 1, 2), np.float32)}),
]  # fmt: skip

CASES = [*POINTWISE, *KERNELS, *GROUPED, *COMPUTED, *TRANSPOSED, *MATMUL, *GEMM, *ROUNDED]
