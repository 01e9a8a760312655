"""Cases of `ingot.lower.conversion`."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from case import Case, case

from ingot.testing import EXACT, Array

SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e-40, -1e-40, 3e38, -3e38], np.float32)
FLOATS = {
    "bfloat16": (16, ml_dtypes.bfloat16),
    "float8e4m3fn": (17, ml_dtypes.float8_e4m3fn),
    "float8e4m3fnuz": (18, ml_dtypes.float8_e4m3fnuz),
    "float8e5m2": (19, ml_dtypes.float8_e5m2),
    "float8e5m2fnuz": (20, ml_dtypes.float8_e5m2fnuz),
    "float4e2m1": (23, ml_dtypes.float4_e2m1fn),
}
INTEGERS = {
    "uint4": (21, ml_dtypes.uint4, 0, 15),
    "int4": (22, ml_dtypes.int4, -8, 7),
    "uint2": (25, ml_dtypes.uint2, 0, 3),
    "int2": (26, ml_dtypes.int2, -2, 1),
}
NEWEST = 25


def around(dtype: type) -> Array:
    """Floats at, between and next to the numbers of a type of 8 bits or fewer, and beyond its range."""
    every = np.arange(256 if ml_dtypes.finfo(dtype).bits == 8 else 16, dtype=np.uint8).view(dtype)
    exact = np.unique(every.astype(np.float32))
    exact = exact[np.isfinite(exact)]
    between = (exact[1:] + exact[:-1]) / 2
    near = np.nextafter(between, np.float32(np.inf)), np.nextafter(between, np.float32(-np.inf))
    limit = exact[-1]
    return np.concatenate([exact, between, *near, limit * np.array([1.01, 1.5, 4, -1.5, -4], np.float32)])


def few(dtype: type) -> Array:
    """Every number of a type of 8 bits or fewer, NaNs left out."""
    every = np.arange(256 if np.dtype(dtype).name.startswith("float8") else 16, dtype=np.uint8).view(dtype)
    return every[~np.isnan(every.astype(np.float32))]


CASTS = {
    "float": ("int8", "int32", "int64", "uint8", "bool", "double", "float16"),
    "double": ("float", "int32", "float16", "bool"),
    "float16": ("float", "double", "int32", "bool"),
    "int64": ("float", "double", "int32", "int8", "uint8", "bool", "float16"),
    "int32": ("float", "int64", "uint64", "bool"),
    "int8": ("float", "int16", "uint8"),
    "uint8": ("float", "int8", "int64"),
    "uint64": ("float", "int64"),
    "bool": ("float", "int64", "uint8", "double"),
}
NUMBERS = {
    "float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "double": 11,
    "uint32": 12, "uint64": 13,
}  # fmt: skip
CAST = [
    *(
        case(f"cast_{a}_{b}", f"{a}[21] x", f"y = Cast<to={NUMBERS[b]}>(x)", f"{b}[] y", level=EXACT)
        for a, targets in CASTS.items()
        for b in targets
        if not (a in ("float", "double", "float16") and b[0] == "u")
    ),
    case("cast_float_uint8", "float[4] x", "y = Cast<to=2>(x)", "uint8[] y",
         feed={"x": np.array([0, 0.9, 1.5, 255], np.float32)}, level=EXACT),
    case("cast_special_bool", "float[11] x", "y = Cast<to=9>(x)", "bool[] y", feed={"x": SPECIAL}, level=EXACT),
    case("cast_half_overflow", "float[4] x", "y = Cast<to=10>(x)", "float16[] y",
         feed={"x": np.array([1e6, -1e6, np.nan, 1e-9], np.float32)}, level=EXACT),
    case("castlike", "float[21] x, int32[1] like", "y = CastLike(x, like)", "int32[] y", level=EXACT),
    case("cast_chain", "float[21] x", "i = Cast<to=6>(x)  b = Cast<to=9>(i)  y = Cast<to=1>(b)", level=EXACT),
]  # fmt: skip
TO_FLOATS = [
    case(f"cast_to_{name}{'' if saturate else '_no_saturate'}", f"float[{x.size}] x",
         f"y = Cast<to={number}, saturate={int(saturate)}>(x)", f"{name}[] y", opset=NEWEST, feed={"x": x}, level=EXACT)
    for name, (number, dtype) in FLOATS.items()
    for saturate in (True, False)
    if number != 16
    for x in [np.concatenate([around(dtype), SPECIAL if number != 23 else SPECIAL[:2]])]
]  # fmt: skip
FROM_FLOATS = [
    case(f"cast_from_{name}", f"{name}[{few(dtype).size}] x", "y = Cast<to=1>(x)", opset=NEWEST, feed={"x": few(dtype)}, level=EXACT)
    for name, (number, dtype) in FLOATS.items()
    if number != 16
]  # fmt: skip
BFLOAT16 = [
    case("cast_to_bfloat16", "float[40] x", "y = Cast<to=16>(x)", "bfloat16[] y", level=EXACT),
    case("cast_to_bfloat16_special", f"float[{SPECIAL.size - 2}] x", "y = Cast<to=16>(x)", "bfloat16[] y",
         feed={"x": np.delete(SPECIAL, [7, 8])}, level=EXACT),
    case("cast_from_bfloat16", "bfloat16[40] x", "y = Cast<to=1>(x)", level=EXACT),
    case("cast_bfloat16_double", "bfloat16[40] x", "d = Cast<to=11>(x)  y = Mul(d, d)", "double[] y", level=EXACT),
    case("cast_bfloat16_int32", "bfloat16[40] x", "y = Cast<to=6>(x)", "int32[] y", level=EXACT),
    case("cast_int64_bfloat16", "int64[40] x", "y = Cast<to=16>(x)", "bfloat16[] y", level=EXACT),
    case("cast_bfloat16_bool", "bfloat16[5] x", "y = Cast<to=9>(x)", "bool[] y",
         feed={"x": np.array([0, -0.0, 1, -2, np.nan], ml_dtypes.bfloat16)}, level=EXACT),
    case("cast_bfloat16_and_back", "float[40] x", "h = Cast<to=16>(x)  y = Cast<to=1>(h)", level=EXACT),
]  # fmt: skip
FEW_BITS = [
    made
    for name, (number, dtype, low, high) in INTEGERS.items()
    for every in [np.arange(low, high + 1).astype(dtype)]
    for made in (
        case(f"cast_from_{name}", f"{name}[{every.size}] x", "y = Cast<to=1>(x)", opset=NEWEST, feed={"x": every}, level=EXACT),
        case(f"cast_{name}_int64", f"{name}[{every.size}] x", "y = Cast<to=7>(x)", "int64[] y", opset=NEWEST, feed={"x": every},
             level=EXACT),
        case(f"cast_to_{name}", "float[9] x", f"y = Cast<to={number}>(x)", f"{name}[] y", opset=NEWEST,
             feed={"x": np.linspace(low, high, 9, dtype=np.float32)}, level=EXACT),
        case(f"cast_int32_{name}", "int32[60] x", f"y = Cast<to={number}>(x)", f"{name}[] y", opset=NEWEST,
             feed={"x": np.arange(-30, 30, dtype=np.int32)}, level=EXACT),
    )
]  # fmt: skip
POWERS = np.array(
    [
        2.0**-127,
        2.0**-126,
        2.0**-126 * 1.25,
        2.0**-126 * 1.5,
        0.3,
        0.75,
        1,
        1.1,
        1.5,
        2,
        3,
        5,
        6,
        7,
        1e30,
        2.0**127,
    ],
    np.float32,
)
OUTSIDE = np.array([0, 1e-45, 2.0**-128, 3e38, np.inf, np.nan], np.float32)


def power(name: str, x: Array, wanted: list[float], attributes: str = "") -> Case:
    """float8e8m0, whose rounding onnx.reference has not in all modes; wanted: the powers of two."""
    body = f"e = Cast<to=24{attributes}>(x)  y = Cast<to=1>(e)"
    return case(
        name,
        f"float[{x.size}] x",
        body,
        opset=NEWEST,
        feed={"x": x},
        expected=([np.array(wanted, np.float32)],),
        level=EXACT,
    )


LEAST, MOST = 2.0**-127, 2.0**127
E8M0 = [
    power("cast_e8m0_up", POWERS,
          [LEAST, 2 * LEAST, 4 * LEAST, 4 * LEAST, 0.5, 1, 1, 2, 2, 2, 4, 8, 8, 8, 2.0**100, MOST]),
    power("cast_e8m0_down", POWERS, [LEAST, 2 * LEAST, 2 * LEAST, 2 * LEAST, 0.25, 0.5, 1, 1, 1, 2, 2, 4, 4, 4, 2.0**99, MOST],
          ', round_mode="down"'),
    power("cast_e8m0_nearest", POWERS, [LEAST, 2 * LEAST, 2 * LEAST, 4 * LEAST, 0.25, 1, 1, 1, 2, 2, 4, 4, 8, 8, 2.0**100, MOST],
          ', round_mode="nearest"'),
    power("cast_e8m0_outside", OUTSIDE, [LEAST, LEAST, LEAST, MOST, MOST, np.nan]),
    power("cast_e8m0_outside_no_saturate", OUTSIDE, [np.nan] * 6, ', round_mode="nearest", saturate=0'),
]  # fmt: skip
BITCAST = [
    case(f"bitcast_{a}_{b}", f"{a}[21] x", f"y = BitCast<to={to}>(x)", f"{b}[] y", opset=26, feed=feed, level=EXACT)
    for a, b, to, feed in (
        ("float", "int32", 6, {}), ("int32", "float", 1, {"x": np.arange(21, dtype=np.int32) << 23}), ("double", "uint64", 13, {}),
        ("float16", "uint16", 4, {}), ("bfloat16", "int16", 5, {}), ("uint16", "bfloat16", 16, {}), ("uint8", "int8", 3, {}),
        ("float8e4m3fn", "uint8", 2, {}), ("uint8", "float8e5m2", 19, {}), ("int4", "uint4", 21, {}), ("uint4", "float4e2m1", 23, {}),
    )
]  # fmt: skip
CASES = [*CAST, *TO_FLOATS, *FROM_FLOATS, *BFLOAT16, *FEW_BITS, *E8M0, *BITCAST]
