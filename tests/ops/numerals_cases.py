"""Cases of `ingot.lower.numerals`: strings as numbers, and numbers as strings."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from case import Case, case

from ingot.testing import EXACT, Array

READ = ["0", "-0", "1", "1.5", " 2", "3 \t\n", "+4", "-5.25", ".5", "6.", "1e3", "1E-3", "-2.5e+2", "000123.4500", "16777217",
        "9007199254740993", "0.1", "3.4028236e38", "1e-46", "7.1e-46", "1" + "0" * 60 + "e-60",
        "0." + "0" * 60 + "1e61", "2.2250738585072011e-308", "17976931348623157" + "0" * 292]  # fmt: skip
SPECIAL = [
    "NaN",
    "nan",
    "-NAN",
    "INF",
    "+INF",
    "-inf",
    "Infinity",
    " -iNfInItY ",
    "1e400",
    "-1e999999999999999999999",
    "1e-400",
    "0e400",
]
WHOLE = ["0", "-0", "1", " 7", "+9 ", "100.5", "-2.718", "1e2", "12e-1", "0.9", "00000000000000000000012"]
WRITTEN = [0, -0.0, 1, -1.5, 0.1, 314.15926, 1 / 3, 12345678, 123456789, 1e8, 99999999.5, 1e-4, 9.9999e-5, 1e-5, 2.5e-7, 1e16, 3.4e38, 1e-40,
           np.inf, -np.inf, np.nan, 65504, 0.5, 1024, 2.00000002, 1234567.85]  # fmt: skip
LIMITS = {"int64": 7, "uint64": 13, "int32": 6, "uint32": 12, "int16": 5, "uint16": 4, "int8": 3, "uint8": 2}
NEWEST = 25


def texts(*words: str) -> Array:
    return np.array(words, object)


def numerals(name: str, inputs: str, body: str, outputs: str, **how: object) -> Case:
    return case(f"numerals_{name}", inputs, body, outputs, **{"opset": 20, "level": EXACT, **how})  # type: ignore[arg-type]


def reads(name: str, dtype: str, to: int, words: list[str], expected: Array) -> Case:
    return numerals(f"read_{name}", "string[n] x", f"y = Cast<to={to}>(x)", f"{dtype}[n] y", opset=NEWEST,
                    feed={"x": texts(*words)}, sizes=({"n": len(words)},), expected=([expected],))  # fmt: skip


def exact(words: list[str], dtype: type = np.float64) -> Array:
    """What Python reads, which is the nearest float64, then rounded to dtype."""
    with np.errstate(over="ignore"):
        return np.array([float(word) for word in words]).astype(dtype)


def limits(name: str) -> Array:
    kind = np.iinfo(name)
    return np.array([kind.min, kind.max, 0, 1, 9, 10, 99, 100], name)


def written(name: str, x: Array, *words: str) -> Case:
    return numerals(f"write_{name}", f"{name}[{x.size}] x", "y = Cast<to=8>(x)", "string[] y", opset=NEWEST,
                    feed={"x": x}, expected=([texts(*words)],))  # fmt: skip


CASES = [
    reads("double", "double", 11, [*READ, *SPECIAL], exact([*READ, *SPECIAL])),
    reads("float", "float", 1, [*READ, *SPECIAL], exact([*READ, *SPECIAL], np.float32)),
    reads("float16", "float16", 10, [*READ, *SPECIAL], exact([*READ, *SPECIAL], np.float16)),
    reads("bfloat16", "bfloat16", 16, READ, exact(READ, np.float32).astype(ml_dtypes.bfloat16)),
    # Nearer to the middle between two numbers than the next wider type can say.
    reads("float_once", "float", 1, ["7.006492321624086e-46"], np.array([2.0**-149], np.float32)),
    reads("bfloat16_once", "bfloat16", 16, ["1.00390625", "1.0039062500000001"], np.array([1, 1.0078125], ml_dtypes.bfloat16)),
    reads("float8_once", "float8e4m3fn", 17, ["1.0625", "1.0625000001", "1e9", "NaN"], np.array([1, 1.125, 448, np.nan], ml_dtypes.float8_e4m3fn)),
    reads("bool", "bool", 9, [*READ[:6], "NaN", "1e-400"], np.array([False, False, True, True, True, True, True, True])),
    reads("int64", "int64", 7, WHOLE, np.array([0, 0, 1, 7, 9, 100, -2, 100, 1, 0, 12])),
    reads("int4", "int4", 22, ["-8", "7", "1.9"], np.array([-8, 7, 1], ml_dtypes.int4)),
    *(reads(f"{name}_limits", name, to, [str(v) for v in limits(name)], limits(name)) for name, to in LIMITS.items()),
    *(written(name, limits(name), *(str(v) for v in limits(name))) for name in LIMITS),
    numerals("write_float", f"float[{len(WRITTEN)}] x", "y = Cast<to=8>(x)", "string[] y",
             feed={"x": exact(WRITTEN, np.float32)}, oracle="onnxruntime"),
    numerals("write_double", f"double[{len(WRITTEN)}] x", "y = Cast<to=8>(x)", "string[] y", feed={"x": np.array(WRITTEN)}, oracle="onnxruntime"),
    numerals("write_float16", f"float16[{len(WRITTEN)}] x", "y = Cast<to=8>(x)", "string[] y",
             feed={"x": exact(WRITTEN, np.float16)}, oracle="onnxruntime"),
    numerals("write_bool", "bool[2] x", "y = Cast<to=8>(x)", "string[] y", feed={"x": np.array([True, False])}, oracle="onnxruntime"),
    written("bfloat16", np.array([0.1, -1e30, 3], ml_dtypes.bfloat16), "0.10009766", "-1.0002556e+30", "3"),
    written("uint4", np.array([0, 15], ml_dtypes.uint4), "0", "15"),
    numerals("write_scalar", "int64 x", "y = Cast<to=8>(x)", "string y", feed={"x": np.array(-12)}, oracle="onnxruntime"),
    numerals("write_nothing", "float[0,3] x", "y = Cast<to=8>(x)", "string[0,3] y", oracle="onnxruntime"),
    numerals("read_nothing", "string[2,0] x", "y = Cast<to=1>(x)", "float[2,0] y", oracle="onnxruntime"),
    numerals("read_scalar", "string x", "y = Cast<to=1>(x)", "float y", feed={"x": np.array("2.5", object)}, oracle="onnxruntime"),
    numerals("read_constant", "float[3] x", "c = Cast<to=1>(k)  y = Add(x, c)", "float[3] y", constants={"k": texts("1", "2e1", "-.5")}, oracle="onnxruntime"),
    numerals("same", "string[3] x", "y = Cast<to=8>(x)", "string[3] y", oracle="onnxruntime"),
    numerals("like_string", "int32[n] x, string[1] like", "y = CastLike(x, like)", "string[n] y", sizes=({"n": 1}, {"n": 40}), oracle="onnxruntime"),
    numerals("like_number", "string[2] x, int32[1] like", "y = CastLike(x, like)", "int32[2] y", feed={"x": texts("12", "-3")}, oracle="onnxruntime"),
    numerals("there_and_back", "int64[n,3] x", "s = Cast<to=8>(x)  t = Transpose(s)  y = Cast<to=7>(t)", "int64[3,n] y",
             sizes=({"n": 2}, {"n": 33}), oracle="onnxruntime"),
    numerals("joined", "float[n] x, string[n] u", "s = Cast<to=8>(x)  y = StringConcat(s, u)", "string[n] y", sizes=({"n": 3},), oracle="onnxruntime"),
    numerals("split_and_read", "string[2] x", "p, q = StringSplit<delimiter=\",\">(x)  y = Cast<to=11>(p)", "double[2,m] y",
             feed={"x": texts("1,2.5,-3e2", "7,8,9")}, sizes=({"m": 3},), oracle="onnxruntime"),
    numerals("in_a_branch", "string[2] x, float[2] z, bool c",
             "y = If (c) <then_branch = t () => (float[2] a) { a = Cast<to=1>(x) }, else_branch = e () => (float[2] b) { b = Neg(z) }>",
             "float[2] y", feed={"x": texts("no", "number"), "c": np.array(False)}, oracle="onnxruntime"),
    numerals("shape_to_string", "float[n,4] x", "s = Shape(x)  y = Cast<to=8>(s)", "string[2] y", sizes=({"n": 3},), oracle="onnxruntime"),
]  # fmt: skip
