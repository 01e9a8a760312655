"""Cases of `ingot.lower.quantization`."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from case import Case, case, weights

from ingot.testing import EXACT

NEWEST = 25
STEP = np.float32(0.25)
X = (np.arange(36, dtype=np.float32) - 17) * np.float32(0.3125)


def exact(name: str, inputs: str, body: str, outputs: str, *, opset: int = NEWEST, **how: Any) -> Case:
    return case(name, inputs, body, outputs, opset=opset, level=EXACT, **how)


def zero(dtype: Any, *values: int) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], dtype)


ZEROS = {
    "uint8": zero(np.uint8, 130),
    "int8": zero(np.int8, -3),
    "uint16": zero(np.uint16, 32768),
    "int16": zero(np.int16, 5),
    "uint4": zero(ml_dtypes.uint4, 7),
    "int4": zero(ml_dtypes.int4, -2),
    "uint2": zero(ml_dtypes.uint2, 1),
    "int2": zero(ml_dtypes.int2, -1),
    "float8e4m3fn": zero(ml_dtypes.float8_e4m3fn, 0),
    "float8e4m3fnuz": zero(ml_dtypes.float8_e4m3fnuz, 0),
    "float8e5m2": zero(ml_dtypes.float8_e5m2, 0),
    "float8e5m2fnuz": zero(ml_dtypes.float8_e5m2fnuz, 0),
    "float4e2m1": zero(ml_dtypes.float4_e2m1fn, 0),
}
AXIS = np.array([0.25, 0.5, 1.0], np.float32)
BLOCKS = np.array([[0.25, 0.5], [1, 2], [0.125, 4]], np.float32)
QUANTIZE = [
    *(
        exact(f"quantize_{name}", "float[36] x", "y = QuantizeLinear(x, s, z)", f"{name}[] y",
              feed={"x": X}, constants={"s": STEP, "z": z})
        for name, z in ZEROS.items()
    ),
    exact("quantize_default", "float[36] x", "y = QuantizeLinear(x, s)", "uint8[] y", feed={"x": X}, constants={"s": STEP}),
    exact("quantize_old", "float[3,12] x", "y = QuantizeLinear(x, s, z)", "int8[] y", opset=10, feed={"x": X.reshape(3, 12)},
          constants={"s": STEP, "z": ZEROS["int8"]}),
    exact("quantize_axis", "float[2,3,5] x", "y = QuantizeLinear<axis=-2>(x, s, z)", "int8[] y", opset=13,
          constants={"s": AXIS, "z": zero(np.int8, -9, 0, 4)}),
    exact("quantize_axis_computed", "float[n,3,5] x, float[3] s, uint8[3] z", "t = Abs(s)  y = QuantizeLinear(x, t, z)", "uint8[] y",
          opset=13, sizes=({"n": 2}, {"n": 3})),
    exact("quantize_blocked", "float[3,7] x", "y = QuantizeLinear<axis=1, block_size=4>(x, s, z)", "uint4[] y",
          constants={"s": BLOCKS, "z": np.array([[1, 2], [3, 4], [5, 6]], ml_dtypes.uint4)}),
    exact("quantize_output_dtype", "float[3,7] x", "y = QuantizeLinear<axis=1, block_size=4, output_dtype=5>(x, s)", "int16[] y",
          constants={"s": BLOCKS}),
    exact("quantize_no_saturate", "float[7] x", "y = QuantizeLinear<saturate=0>(x, s, z)", "float8e4m3fn[] y",
          feed={"x": np.array([0, 1, -100, 112, 120, -500, 1e9], np.float32)}, constants={"s": STEP, "z": ZEROS["float8e4m3fn"]}),
    exact("quantize_half", "float16[36] x", "y = QuantizeLinear(x, s, z)", "int8[] y", feed={"x": X.astype(np.float16)},
          constants={"s": np.float16(0.3), "z": ZEROS["int8"]}),
    exact("quantize_precision", "float[36] x", "y = QuantizeLinear<precision=16>(x, s, z)", "int8[] y", feed={"x": X},
          constants={"s": np.float32(0.3), "z": ZEROS["int8"]}),
    exact("quantize_int32", "int32[36] x", "y = QuantizeLinear(x, s, z)", "uint8[] y",
          constants={"s": STEP, "z": ZEROS["uint8"]}),
    exact("quantize_far_outside", "float[4] x", "y = QuantizeLinear(x, s, z)", "uint8[] y",
          feed={"x": np.array([1e30, -1e30, np.inf, -np.inf], np.float32)}, constants={"s": STEP, "z": ZEROS["uint8"]},
          expected=([np.array([255, 0, 255, 0], np.uint8)],)),
    exact("quantize_empty", "float[0,3] x", "y = QuantizeLinear(x, s, z)", "uint8[] y", constants={"s": STEP, "z": ZEROS["uint8"]}),
    exact("quantize_and_back", "float[5,7] x", "q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)", "float[] y",
          constants={"s": STEP, "z": ZEROS["int4"]}),
]  # fmt: skip
DEQUANTIZE = [
    *(
        exact(f"dequantize_{name}", f"{name}[18] x", "y = DequantizeLinear(x, s, z)", "float[] y", constants={"s": STEP, "z": z})
        for name, z in ZEROS.items()
    ),
    exact("dequantize_int32", "int32[18] x", "y = DequantizeLinear(x, s)", "float[] y", constants={"s": STEP}),
    exact("dequantize_axis", "uint8[2,3,5] x", "y = DequantizeLinear(x, s, z)", "float[] y", opset=13, oracle="onnxruntime",
          constants={"s": AXIS, "z": zero(np.uint8, 9, 0, 4)}),
    exact("dequantize_blocked", "int4[3,7] x", "y = DequantizeLinear<axis=1, block_size=4>(x, s)", "float[] y",
          constants={"s": BLOCKS}),
    exact("dequantize_half", "int8[18] x", "y = DequantizeLinear(x, s)", "float16[] y", constants={"s": np.float16(0.3)}),
    exact("dequantize_output_dtype", "int8[18] x", "y = DequantizeLinear<output_dtype=10>(x, s)", "float16[] y",
          constants={"s": STEP}),
    exact("dequantize_bfloat16", "uint8[18] x", "y = DequantizeLinear(x, s, z)", "bfloat16[] y",
          constants={"s": np.array(0.25, ml_dtypes.bfloat16), "z": ZEROS["uint8"]}),
    exact("dequantize_scalar", "int8 x", "y = DequantizeLinear(x, s)", "float y", constants={"s": STEP}),
    exact("dequantize_weights", "float[2,8] x", "w = DequantizeLinear(q, s, z)  y = MatMul(x, w)", "float[] y", whole=True,
          constants={"q": weights("dequantize_weights", 8, 3, whole=True, dtype="int8"), "s": np.float32(2), "z": zero(np.int8, 1)}),
]  # fmt: skip
DYNAMIC = [
    exact("dynamic_quantize", "float[3,7] x", "y, s, z = DynamicQuantizeLinear(x)", "uint8[] y, float s, uint8 z", opset=11),
    exact("dynamic_quantize_positive", "float[5] x", "y, s, z = DynamicQuantizeLinear(x)", "uint8[] y, float s, uint8 z", opset=11,
          feed={"x": np.array([1, 2.5, 3, 4, 5.5], np.float32)}),
    exact("dynamic_quantize_zeros", "float[4] x", "y, s, z = DynamicQuantizeLinear(x)", "uint8[] y, float s, uint8 z", opset=11,
          feed={"x": np.zeros(4, np.float32)}),
]  # fmt: skip
W = weights("quantized", 6, 2, 3, 3, whole=True, dtype="int8")
A = weights("rows", 4, 7, whole=True, dtype="int8")
B = weights("columns", 7, 33, whole=True, dtype="int8")
INTEGER = [
    exact("matmulinteger", "uint8[4,7] a, int8[7,5] b", "y = MatMulInteger(a, b)", "int32[] y", opset=10),
    exact("matmulinteger_zeros", "uint8[2,4,7] a, uint8[7,5] b, uint8 za, uint8[5] zb", "y = MatMulInteger(a, b, za, zb)", "int32[] y",
          opset=10),
    exact("matmulinteger_rows", "int8[4,7] a", "y = MatMulInteger(a, b, za, zb)", "int32[] y", opset=10, feed={"a": A},
          constants={"b": B, "za": zero(np.int8, 1, -2, 3, -4), "zb": zero(np.int8, 3)},
          expected=([(A.astype(np.int32) - [[1], [-2], [3], [-4]]).astype(np.int32) @ (B.astype(np.int32) - 3)],)),
    exact("matmulinteger_vector", "uint8[7] a, uint8[7] b", "y = MatMulInteger(a, b)", "int32 y", opset=10),
    exact("convinteger", "uint8[1,2,6,5] x, uint8 z", "y = ConvInteger<pads=[1,0,1,2], strides=[2,1]>(x, w, z)", "int32[] y", opset=10,
          constants={"w": W}),
    exact("convinteger_groups", "int8[n,4,6,5] x", "y = ConvInteger<group=2>(x, w, zx, zw)", "int32[] y", opset=10,
          constants={"w": W, "zx": zero(np.int8, 2), "zw": zero(np.int8, 0, 1, 2, -1, -2, -3)}, sizes=({"n": 1}, {"n": 2})),
    exact("convinteger_depthwise", "uint8[1,6,6,5] x", "y = ConvInteger<group=6>(x, w)", "int32[] y", opset=10,
          constants={"w": W[:, :1]}),
]  # fmt: skip
SCALES = {"sa": np.float32(0.031), "sb": np.float32(0.017), "sy": np.float32(0.043)}
U8 = {"za": zero(np.uint8, 113), "zb": zero(np.uint8, 4), "zy": zero(np.uint8, 118)}
I8 = {"za": zero(np.int8, 2), "zb": zero(np.int8, -1), "zy": zero(np.int8, -7)}
PRODUCT = "y = QLinearMatMul(a, sa, za, b, sb, zb, sy, zy)"
CONVOLUTION = "y = QLinearConv<pads=[1,1,0,1]>(x, sa, za, w, sb, zb, sy, zy)"
LINEAR = [
    exact("qlinearmatmul", "uint8[2,4,7] a, uint8[2,7,5] b", PRODUCT, "uint8[] y", opset=21, constants=SCALES | U8),
    exact("qlinearmatmul_int8", "int8[4,7] a, int8[7,5] b", PRODUCT, "int8[] y", opset=10, constants=SCALES | I8),
    exact("qlinearmatmul_columns", "uint8[4,7] a", PRODUCT, "uint8[] y", opset=10, oracle="onnxruntime",
          constants=SCALES | U8 | {"b": B.astype(np.uint8), "sb": np.linspace(0.01, 0.09, 33, dtype=np.float32), "zb": zero(np.uint8, *range(33))}),
    exact("qlinearmatmul_half", "int8[4,7] a, int8[7,5] b", PRODUCT, "int8[] y", opset=21,
          constants={k: v.astype(np.float16) for k, v in SCALES.items()} | I8),
    exact("qlinearmatmul_float8", "float8e4m3fn[2,3] a, float8e4m3fn[3,2] b", PRODUCT, "float8e4m3fn[] y", opset=21,
          feed={"a": np.array([[1, -2, 3], [0.5, 448, 2]], ml_dtypes.float8_e4m3fn),
                "b": np.array([[1, 2], [4, -1], [0.25, 7]], ml_dtypes.float8_e4m3fn)},
          constants={k: np.float32(2) for k in ("sa", "sb", "sy")} | {k: ZEROS["float8e4m3fn"] for k in ("za", "zb", "zy")},
          expected=([np.array([[-12.5, 50], [448, -448]], ml_dtypes.float8_e4m3fn)],)),
    exact("qlinearconv", "uint8[1,2,6,5] x", CONVOLUTION, "uint8[] y", opset=10, oracle="onnxruntime",
          constants=SCALES | U8 | {"w": W.astype(np.uint8) % 9}),
    exact("qlinearconv_channels", "uint8[2,2,6,5] x", CONVOLUTION.replace("zy)", "zy, bias)"), "uint8[] y", opset=10, oracle="onnxruntime",
          constants=SCALES | U8 | {"w": W, "sb": np.linspace(0.01, 0.09, 6, dtype=np.float32), "zb": np.zeros(6, np.int8),
                                   "bias": np.arange(-300, 300, 100, dtype=np.int32)}),
    exact("qlinearconv_chain", "uint8[1,2,6,5] x", f"q = {CONVOLUTION[4:]}  y = DequantizeLinear(q, sy, zy)", "float[] y",
          opset=13, oracle="onnxruntime", constants=SCALES | U8 | {"w": W, "zb": zero(np.int8, 0)}),
]  # fmt: skip
CASES = [*QUANTIZE, *DEQUANTIZE, *DYNAMIC, *INTEGER, *LINEAR]
