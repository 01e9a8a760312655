"""Cases of `ingot.lower.elementwise`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE, EXACT, Level, ulp

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, -1e-40, 3e38, -3e38], np.float32)
WIDTHS = (0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100)


def spread(low: float, high: float, *, special: bool = True, dtype: str = "float32") -> np.ndarray:
    """35 numbers over a range, with the special ones behind them."""
    values = np.linspace(low, high, 35)
    return np.concatenate([values, SPECIAL] if special else [values]).astype(dtype)


def unary(
    operator: str, low: float, high: float, level: Level, attributes: str = "", opset: int = 17, **how: Any
) -> Case:
    label = "_".join([operator.lower(), *(f"{a.split('=')[0]}" for a in attributes.split(",") if a)])
    text = f"y = {operator}<{attributes}>(x)" if attributes else f"y = {operator}(x)"
    x = spread(low, high, special=how.pop("special", True))
    return case(
        how.pop("name", label), f"float[{x.size}] x", text, opset=opset, feed={"x": x}, level=level, **how
    )


UNARY = [
    unary("Abs", -3, 3, EXACT),
    unary("Neg", -3, 3, EXACT),
    unary("Sqrt", 0, 9, EXACT),
    unary("Floor", -3.5, 3.5, EXACT),
    unary("Ceil", -3.5, 3.5, EXACT),
    unary("Round", -4.25, 4.25, EXACT),
    unary("Sign", -3, 3, ulp(0)),
    unary("Reciprocal", -3, 3, EXACT),
    unary("Exp", -20, 20, ulp(4)),
    unary("Log", 0, 9, ulp(4)),
    unary("Tanh", -6, 6, ulp(4)),
    unary("Sigmoid", -20, 20, ulp(4)),
    unary("Erf", -3, 3, ulp(4)),
    unary("Sin", -9, 9, ulp(4), special=False),
    unary("Cos", -9, 9, ulp(4), special=False),
    unary("Tan", -1.5, 1.5, ulp(4), special=False),
    unary("Asin", -1, 1, ulp(4)),
    unary("Acos", -1, 1, ulp(4)),
    unary("Atan", -9, 9, ulp(4)),
    unary("Sinh", -5, 5, ulp(4)),
    unary("Cosh", -5, 5, ulp(4)),
    unary("Asinh", -9, 9, ulp(4)),
    unary("Acosh", 1, 9, ulp(4)),
    unary("Atanh", -0.9, 0.9, ulp(4)),
    unary("Relu", -3, 3, ulp(0)),
    unary("LeakyRelu", -3, 3, ulp(1)),
    unary("LeakyRelu", -3, 3, ulp(1), "alpha=0.3"),
    unary("Elu", -6, 6, CLOSE),
    unary("Elu", -6, 6, CLOSE, "alpha=2.5"),
    unary("Selu", -6, 6, CLOSE),
    unary("Selu", -6, 6, CLOSE, "alpha=1.5,gamma=2.0", special=False),
    unary("Celu", -6, 6, CLOSE, special=False),
    unary("Celu", -6, 6, CLOSE, "alpha=2.5", special=False),
    unary("ThresholdedRelu", -3, 3, EXACT, special=False),
    unary("ThresholdedRelu", -3, 3, EXACT, "alpha=0.5", special=False),
    unary("HardSigmoid", -5, 5, ulp(2)),
    unary("HardSigmoid", -5, 5, ulp(2), "alpha=0.3,beta=0.25"),
    unary("HardSwish", -5, 5, CLOSE, special=False),
    unary("Mish", -6, 6, CLOSE, opset=18, special=False),
    unary("Softplus", -9, 9, CLOSE, special=False),
    unary("Softsign", -9, 9, ulp(2), special=False),
    unary("Gelu", -5, 5, CLOSE, opset=20, special=False),
    unary("Gelu", -5, 5, CLOSE, 'approximate="tanh"', opset=20, special=False),
    unary("Swish", -9, 9, CLOSE, opset=24, special=False),
    unary("Swish", -9, 9, CLOSE, "alpha=0.5", opset=24, special=False),
    unary("Shrink", -3, 3, EXACT, special=False),
    unary("Shrink", -3, 3, EXACT, "lambd=1.0,bias=0.5", special=False),
    unary("IsNaN", -3, 3, EXACT, outputs="bool[] y"),
    unary("IsInf", -3, 3, EXACT, outputs="bool[] y"),
    unary("IsInf", -3, 3, EXACT, "detect_negative=0", outputs="bool[] y"),
    unary("IsInf", -3, 3, EXACT, "detect_positive=0", outputs="bool[] y"),
    unary("IsInf", -3, 3, EXACT, "detect_positive=0,detect_negative=0", outputs="bool[] y"),
]

RELU_WIDTHS = [case(f"relu_{n}", f"float[{n}] x", "y = Relu(x)", level=ulp(0)) for n in WIDTHS] + [
    case(f"relu_2d_{n}", f"float[3,{n}] x", "t = Transpose(x)  y = Relu(t)", level=ulp(0)) for n in (1, 4, 17)
]

DTYPES = [
    *(
        case(f"{op.lower()}_{t}", f"{t}[21] x", f"y = {op}(x)", f"{t}[] y", level=EXACT)
        for op in ("Abs", "Sign")
        for t in ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64", "double", "float16")
    ),
    *(
        case(f"neg_{t}", f"{t}[21] x", "y = Neg(x)", f"{t}[] y", level=EXACT)
        for t in ("int8", "int16", "int32", "int64", "double", "float16")
    ),
    *(
        case(f"relu_{t}", f"{t}[21] x", "y = Relu(x)", f"{t}[] y", level=ulp(0))
        for t in ("int8", "int32", "int64", "double", "float16")
    ),
    *(
        case(f"bitwisenot_{t}", f"{t}[21] x", "y = BitwiseNot(x)", f"{t}[] y", opset=18, level=EXACT)
        for t in ("int8", "int64", "uint8", "uint16")
    ),
    *(
        case(f"{op.lower()}_double", "double[21] x", f"y = {op}(x)", "double[] y", level=ulp(8))
        for op in ("Exp", "Tanh", "Sigmoid", "Floor", "Round", "Sin")
    ),
    *(
        case(f"{op.lower()}_default_double", "double[21] x", f"y = {op}(x)", "double[] y", level=ulp(4))
        for op in ("Selu", "LeakyRelu", "HardSigmoid")
    ),
    case("erf_double", "double[35] x", "y = Erf(x)", "double[] y", feed={"x": spread(-3, 3, special=False, dtype="float64")},
         level=ulp(2), expected=([np.vectorize(math.erf)(spread(-3, 3, special=False, dtype="float64"))],)),
    *(
        case(f"{op.lower()}_half", "float16[21] x", f"y = {op}(x)", "float16[] y", level=ulp(1))
        for op in ("Exp", "Tanh", "Sigmoid", "Floor")
    ),
    case("not_bool", "bool[21] x", "y = Not(x)", "bool[] y", level=EXACT),
    case("abs_int_limits", "int32[4] x", "y = Abs(x)", "int32[] y", level=EXACT,
         feed={"x": np.array([-(2**31), 2**31 - 1, -1, 0], np.int32)}),
]  # fmt: skip

SHAPES: dict[str, tuple[str, str]] = {
    "scalar_vector": ("", "[3]"),
    "vector_scalar": ("[17]", ""),
    "scalar_scalar": ("", ""),
    "one_vector": ("[1]", "[5]"),
    "outer": ("[3,1]", "[1,4]"),
    "outer_wide": ("[17,1]", "[1,33]"),
    "row_matrix": ("[2,3,17]", "[17]"),
    "column": ("[2,3,17]", "[3,1]"),
    "channels": ("[2,17,3,3]", "[17,1,1]"),
    "channels_left": ("[1,17,1,1]", "[2,17,3,3]"),
    "middle": ("[2,1,3,1]", "[1,5,1,7]"),
    "batch": ("[n,3,9]", "[1,3,9]"),
    "both_symbolic": ("[n,m]", "[n,1]"),
    "empty": ("[0,3]", "[1,3]"),
    "rank_five": ("[2,3,1,2,2]", "[1,3,2,1,2]"),
}
SIZES = ({"n": 1, "m": 1}, {"n": 2, "m": 17}, {"n": 5, "m": 3})

BROADCAST = [
    case(
        f"{op.lower()}_{label}", f"float{a} a, float{b} b", f"y = {op}(a, b)",
        sizes=SIZES if "n" in a else ({},), level=EXACT,
    )
    for op in ("Sub", "Max")
    for label, (a, b) in SHAPES.items()
]  # fmt: skip

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
PAIR_A = np.array([7, -7, 7, -7, 0, 100, -100, 127, -128, 6, -6, 1, -1, 5, 5], np.int64)
PAIR_B = np.array([2, 2, -2, -2, 3, 7, 7, -1, 3, 3, 3, 5, 5, -5, 1], np.int64)


def pair(t: str) -> dict[str, np.ndarray]:
    """Dividends and divisors of every sign, divisible and not."""
    if t[0] == "u":
        return {"a": np.abs(PAIR_A).astype(t), "b": np.abs(PAIR_B).astype(t)}
    return {"a": PAIR_A.astype(t), "b": PAIR_B.astype(t)}


BINARY = [
    *(
        case(f"{op.lower()}_{t}", f"{t}[15] a, {t}[15] b", f"y = {op}(a, b)", f"{t}[] y", feed=pair(t), level=EXACT,
             oracle="onnxruntime" if op == "Div" and t in ("int32", "int64") else "reference")
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Mod")
        for t in INTEGERS
        if not (op == "Div" and t not in ("int32", "int64", "uint8", "uint64"))
    ),
    *(
        case(f"{op.lower()}_double", "double[15] a, double[15] b", f"y = {op}(a, b)", "double[] y", level=EXACT)
        for op in ("Add", "Sub", "Mul", "Div")
    ),
    *(
        case(f"{op.lower()}_half", "float16[15] a, float16[15] b", f"y = {op}(a, b)", "float16[] y", level=EXACT)
        for op in ("Add", "Sub", "Mul", "Div")
    ),
    *(
        case(f"{op.lower()}_float", "float[33] a, float[33] b", f"y = {op}(a, b)", level=EXACT)
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max")
    ),
    *(
        case(f"{op.lower()}_special", "float[11,1] a, float[11] b", f"y = {op}(a, b)",
             feed={"a": SPECIAL[:, None], "b": SPECIAL}, level=ulp(0))
        for op in ("Add", "Sub", "Mul", "Div", "Min", "Max")
    ),
    *(
        case(f"{op.lower()}_{t}", f"{t}[15] a, {t}[15] b", f"y = {op}(a, b)", "bool[] y", feed=feed, level=EXACT)
        for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
        for t, feed in (("float", {}), ("int32", pair("int32")), ("int64", pair("int64")))
    ),
    *(
        case(f"{op.lower()}_special", "float[11,1] a, float[11] b", f"y = {op}(a, b)", "bool[] y",
             feed={"a": SPECIAL[:, None], "b": SPECIAL}, level=EXACT)
        for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
    ),
    case("equal_bool", "bool[17] a, bool[17] b", "y = Equal(a, b)", "bool[] y", level=EXACT),
    *(
        case(f"{op.lower()}_bool", "bool[3,17] a, bool[17] b", f"y = {op}(a, b)", "bool[] y", level=EXACT)
        for op in ("And", "Or", "Xor")
    ),
    *(
        case(f"{op.lower()}_{t}", f"{t}[15] a, {t}[15] b", f"y = {op}(a, b)", f"{t}[] y", opset=18, feed=pair(t), level=EXACT)
        for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
        for t in ("int8", "int32", "uint8", "uint64")
    ),
    *(
        case(f"bitshift_{d.lower()}_{t}", f"{t}[6] a, {t}[6] b", f'y = BitShift<direction="{d}">(a, b)', f"{t}[] y",
             feed={"a": np.array([1, 3, 200, 255, 16, 7], t), "b": np.array([0, 1, 2, 7, 4, 3], t)}, level=EXACT)
        for d in ("LEFT", "RIGHT")
        for t in ("uint8", "uint16", "uint32", "uint64")
    ),
    *(
        case(f"mod_fmod_{t}", f"{t}[15] a, {t}[15] b", "y = Mod<fmod=1>(a, b)", f"{t}[] y", feed=pair(t), level=EXACT)
        for t in ("int8", "int32", "int64", "uint8")
    ),
    case("mod_fmod_float", "float[15] a, float[15] b", "y = Mod<fmod=1>(a, b)", feed=pair("float32"), level=EXACT),
    case("mod_wide_int32", "int32[100] a, int32[100] b", "y = Mod(a, b)", "int32[] y", level=EXACT,
         feed={"a": np.arange(-50, 50, dtype=np.int32), "b": np.where(np.arange(100) % 2, 7, -7).astype(np.int32)}),
    case("div_int_minimum", "int64[3] a, int64[3] b", "y = Div(a, b)", "int64[] y", level=EXACT, oracle="onnxruntime",
         feed={"a": np.array([-(2**63), 2**63 - 1, -(2**63)]), "b": np.array([2, -1, 1])}),
    case("div_constant_two", "float[21] a", "y = Div(a, b)", constants={"b": np.float32(2)}, level=EXACT),
    case("div_constant_three", "float[21] a", "y = Div(a, b)", constants={"b": np.float32(3)}, level=EXACT),
    case("div_by_int_constant", "int64[21] a", "y = Div(a, b)", "int64[] y", constants={"b": np.int64(2)}, level=EXACT,
         oracle="onnxruntime"),
    case("prelu_channels", "float[2,5,3,3] x", "y = PRelu(x, s)", constants={"s": weights("s", 5, 1, 1)}, level=ulp(1)),
    case("prelu_scalar", "float[2,5,3,3] x", "y = PRelu(x, s)", constants={"s": weights("s", 1)}, level=ulp(1)),
    case("prelu_computed", "float[2,17] x, float[17] s", "y = PRelu(x, s)", level=ulp(1)),
]  # fmt: skip

POW_BASE = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 10.0, 1e-3, 1e3], np.float32)
POW = [
    *(
        case(f"pow_{label}", "float[8] x", "y = Pow(x, e)", constants={"e": np.float32(e)}, feed={"x": POW_BASE}, level=ulp(2))
        for label, e in (("one", 1), ("two", 2), ("three", 3), ("half", 0.5), ("minus_one", -1), ("minus_half", -0.5),
                         ("zero", 0), ("four", 4), ("odd", 2.7), ("minus_two", -2))
    ),
    case("pow_negative_base", "float[8] x", "y = Pow(x, e)", constants={"e": np.float32(3)}, feed={"x": -POW_BASE}, level=ulp(2)),
    case("pow_sqrt_of_special", "float[11] x", "y = Pow(x, e)", constants={"e": np.float32(0.5)}, feed={"x": SPECIAL}, level=ulp(2)),
    case("pow_tensor", "float[8] x, float[8] e", "y = Pow(x, e)", feed={"x": POW_BASE}, level=ulp(4)),
    case("pow_int_exponent", "float[8] x, int64[8] e", "y = Pow(x, e)",
         feed={"x": POW_BASE, "e": np.array([0, 1, 2, 3, -1, -2, 4, 5])}, level=ulp(4)),
    case("pow_int_constant_exponent", "float[8] x", "y = Pow(x, e)", constants={"e": np.int64(2)}, feed={"x": POW_BASE}, level=ulp(1)),
    case("pow_int_base", "int64[6] x, int64[6] e", "y = Pow(x, e)", "int64[] y",
         feed={"x": np.array([2, -2, 3, 0, 1, -1]), "e": np.array([10, 3, 4, 0, 60, 7])}, level=EXACT),
    case("pow_int_base_float_exponent", "int32[4] x, float[4] e", "y = Pow(x, e)", "int32[] y",
         feed={"x": np.array([4, 9, 2, 5], np.int32), "e": np.array([0.5, 0.5, 3, 2], np.float32)}, level=EXACT),
    case("pow_double", "double[8] x, double[8] e", "y = Pow(x, e)", "double[] y", feed={"x": POW_BASE.astype(np.float64)}, level=ulp(4)),
    case("pow_opset7", "float[8] x, float[8] e", "y = Pow(x, e)", opset=7, feed={"x": POW_BASE}, level=ulp(4)),
]  # fmt: skip

VARIADIC = [
    *(
        case(f"{op.lower()}_of_{n}", ", ".join(f"float[{shape}] x{i}" for i in range(n)),
             f"y = {op}({', '.join(f'x{i}' for i in range(n))})", level=CLOSE, reduction=n)
        for op, n, shape in (("Sum", 1, 7), ("Sum", 3, 33), ("Mean", 2, 17), ("Mean", 3, 9), ("Max", 1, 5), ("Max", 4, 9), ("Min", 3, 17))
    ),
    case("sum_broadcast", "float[3,1] a, float[1,17] b, float c", "y = Sum(a, b, c)", reduction=3),
    case("mean_broadcast", "float[3,1] a, float[1,17] b", "y = Mean(a, b)", reduction=2, oracle="onnxruntime"),
    # A loop around 30 scalar comparisons in a row takes LLVM's vectoriser hours.
    case("max_of_30_scalars", ", ".join(f"float x{i}" for i in range(30)), f"y = Max({', '.join(f'x{i}' for i in range(30))})", "float y",
         level=EXACT),
    case("max_int_of_three", "int64[9] a, int64[9] b, int64 c", "y = Max(a, b, c)", "int64[] y", level=EXACT),
]  # fmt: skip

CLIP = [
    case("clip_both", "float[46] x", "y = Clip(x, low, high)", constants={"low": np.float32(-1), "high": np.float32(2)},
         feed={"x": spread(-3, 3)}, level=ulp(0)),
    case("clip_low", "float[46] x", "y = Clip(x, low)", constants={"low": np.float32(-1)}, feed={"x": spread(-3, 3)}, level=ulp(0)),
    case("clip_high", "float[46] x", "y = Clip(x, , high)", constants={"high": np.float32(0.5)}, feed={"x": spread(-3, 3)}, level=ulp(0)),
    case("clip_neither", "float[46] x", "y = Clip(x)", feed={"x": spread(-3, 3)}, level=EXACT),
    case("clip_computed", "float[17] x, float low, float high", "y = Clip(x, low, high)",
         feed={"low": np.float32(-1), "high": np.float32(0.5)}, level=EXACT),
    case("clip_crossed", "float[17] x", "y = Clip(x, low, high)", constants={"low": np.float32(2), "high": np.float32(1)}, level=EXACT),
    case("clip_opset6", "float[46] x", "y = Clip<min=-1.0,max=2.0>(x)", opset=10, feed={"x": spread(-3, 3)}, level=ulp(0)),
    case("clip_opset6_max", "float[46] x", "y = Clip<max=2.0>(x)", opset=10, feed={"x": spread(-3, 3)}, level=ulp(0)),
    case("clip_opset6_plain", "float[46] x", "y = Clip(x)", opset=10, feed={"x": spread(-3, 3)}, level=ulp(0),
         oracle="onnxruntime"),
    *(
        case(f"clip_{t}", f"{t}[21] x", "y = Clip(x, low, high)", f"{t}[] y",
             constants={"low": np.array(2, t), "high": np.array(6, t)}, level=EXACT)
        for t in ("int8", "int32", "int64", "uint8", "uint64")
    ),
    case("clip_double", "double[21] x", "y = Clip(x, low, high)", "double[] y",
         constants={"low": np.float64(-0.1), "high": np.float64(0.1)}, level=EXACT),
]  # fmt: skip

WHERE = [
    case("where_same", "bool[17] c, float[17] a, float[17] b", "y = Where(c, a, b)", level=EXACT),
    case("where_broadcast", "bool[3,1] c, float[1,17] a, float b", "y = Where(c, a, b)", level=EXACT),
    case("where_mask", "bool[2,1,5,5] c, float[2,3,5,5] a", "y = Where(c, a, b)", constants={"b": np.float32(-1e9)}, level=EXACT),
    case("where_int64", "bool[9] c, int64[9] a, int64[1] b", "y = Where(c, a, b)", "int64[] y", level=EXACT),
    case("where_bool", "bool[9] c, bool[9] a, bool[9] b", "y = Where(c, a, b)", "bool[] y", level=EXACT),
    case("where_double", "bool[9] c, double[9] a, double[9] b", "y = Where(c, a, b)", "double[] y", level=EXACT),
    case("where_uint8", "bool[33] c, uint8[33] a, uint8[33] b", "y = Where(c, a, b)", "uint8[] y", level=EXACT),
    case("where_nan_not_chosen", "bool[4] c, float[4] a, float[4] b", "y = Where(c, a, b)", level=EXACT,
         feed={"c": np.array([1, 0, 1, 0], bool), "a": np.array([1, np.nan, 2, np.inf], np.float32)}),
    case("where_of_comparison", "float[3,17] x", "z = Sub(x, x)  c = Greater(x, z)  y = Where(c, x, z)", level=ulp(0)),
]  # fmt: skip

CHAINS = [
    case("swish_written_out", "float[2,33] x", "s = Sigmoid(x)  y = Mul(x, s)"),
    case("gelu_written_out", "float[2,33] x", "d = Div(x, r)  e = Erf(d)  p = Add(e, one)  m = Mul(x, p)  y = Mul(m, half)",
         constants={"r": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)}),
    case("gelu_tanh_written_out", "float[2,33] x",
         "c = Pow(x, three)  k = Mul(c, a)  s = Add(x, k)  t = Mul(s, b)  h = Tanh(t)  p = Add(h, one)  m = Mul(x, p)  y = Mul(m, half)",
         constants={"three": np.float32(3), "a": np.float32(0.044715), "b": np.float32(0.79788456), "one": np.float32(1),
                    "half": np.float32(0.5)}),
    case("shared_input", "float[2,33] x", "a = Relu(x)  b = Neg(x)  c = Relu(b)  y = Sub(a, c)", level=ulp(0)),
    case("two_outputs", "float[2,9] x", "y = Relu(x)  z = Exp(y)", "float[] y, float[] z", level=ulp(4)),
    case("input_is_output_twice", "float[9] x", "y = Identity(x)  z = Identity(x)", "float[] y, float[] z", level=EXACT),
    case("symbol_names", "float[s,p] x, float[task,1] z, float[i1,1,1] w", "a = Add(x, z)  y = Add(a, w)", level=CLOSE,
         sizes=({"s": 1, "p": 5, "task": 1, "i1": 5}, {"s": 3, "p": 17, "task": 3, "i1": 1})),
]  # fmt: skip

EDGES = [
    case("clip_open_bound_of_integers", "int64[3] x", "y = Clip(x, low)", "int64[] y", level=EXACT,
         constants={"low": np.int64(0)}, feed={"x": np.array([2**63 - 1, -(2**63), 3])}),
    case("cast_keeps_the_low_bits", "int64[3] x", "a = Add(x, wide)  b = Cast<to=6>(wide)  c = Cast<to=7>(b)  y = Add(a, c)", "int64[] y",
         level=EXACT, constants={"wide": np.array([4588240302641231721])}),
    case("arithmetic_of_shapes_wraps", "int64[1] x", "m = Mul(wide, wide)  y = Add(m, x)", "int64[] y", level=EXACT,
         constants={"wide": np.array([2**62 - 3])}),
]  # fmt: skip

CASES = [
    *EDGES, *UNARY, *RELU_WIDTHS, *DTYPES, *BROADCAST, *BINARY, *POW, *VARIADIC, *CLIP, *WHERE, *CHAINS,
]  # fmt: skip
