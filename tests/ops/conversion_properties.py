"""Random cases of conversions between element types and of quantisation: limits, ties, NaN, saturation."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import (
    FLOATS,
    INTEGERS,
    Draw,
    arrays,
    awkward,
    axis,
    dtype_of,
    finite,
    is_float,
    node,
    shapes,
    tensor_type,
)

from ingot.testing import Array

SMALL = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
NARROW = ("int4", "uint4")
EVERY = (*FLOATS, *INTEGERS, "bool")


@st.composite
def cast(draw: Draw) -> Case:
    """What the target type can hold, ties included; integers wrap as C's do."""
    before, to = draw(st.sampled_from(EVERY)), draw(st.sampled_from(EVERY))
    values = awkward(before)
    if is_float(before) and not is_float(to) and to != "bool":
        wide = values.astype(np.float64)
        limits = np.iinfo(to)
        values = values[np.isfinite(wide) & (wide > limits.min) & (wide < limits.max)]
    x = draw(arrays(before, draw(shapes()), values))
    with np.errstate(all="ignore"):
        expected = x.astype(dtype_of(to))
    return node(draw, "Cast", [x], [to], attributes={"to": tensor_type(to)}, expected=([expected],))


@st.composite
def narrow_cast(draw: Draw) -> Case:
    """To float8 and back: beyond its range it is the largest number, or with saturate=0 infinity or NaN."""
    to = draw(st.sampled_from(SMALL))
    before = draw(st.sampled_from(("float32", "float16", "bfloat16")))
    values = np.array(
        [
            0,
            -0.0,
            1,
            -1,
            1.0625,
            1.1875,
            17,
            18,
            447,
            448,
            464,
            465,
            1e4,
            -6e4,
            np.inf,
            -np.inf,
            np.nan,
            2**-9,
            2**-10,
            2**-11,
        ]
    )
    x = draw(arrays(before, draw(shapes()), values.astype(dtype_of(before))))
    return node(
        draw, "Cast", [x], [to], attributes={"to": tensor_type(to), "saturate": draw(st.integers(0, 1))}
    )


@st.composite
def wide_cast(draw: Draw) -> Case:
    """From types of storage to those that are computed with."""
    before = draw(st.sampled_from((*SMALL, *NARROW)))
    kind = dtype_of(before)
    values = np.arange(*((-8, 8) if before == "int4" else (0, 16))).astype(kind)
    if before in SMALL:
        values = np.arange(256).astype(np.uint8).view(kind)[::3]
    to = draw(
        st.sampled_from(
            ("float32", "float16") if before in SMALL else ("float32", "int32", "int8", "float16")
        )
    )
    x = draw(arrays(before, draw(shapes()), values))
    return node(
        draw, "Cast", [x], [to], attributes={"to": tensor_type(to)}, expected=([x.astype(dtype_of(to))],)
    )


def quantized(x: Array, scale: Array, zero: Array) -> Array:
    """Rounded to nearest, ties to even, then saturated."""
    info = np.iinfo(zero.dtype)
    return np.clip(np.rint(x / scale) + zero.astype(np.float32), info.min, info.max).astype(zero.dtype)


@st.composite
def scales(draw: Draw, x: Array, kind: str) -> tuple[Array, Array, dict[str, int], tuple[int, ...]]:
    """The scale, the zero point and the attributes, for the whole tensor or each place along an axis; how both spread."""
    per_axis = x.ndim > 0 and draw(st.booleans())
    along = draw(axis(x.ndim)) if per_axis else 0
    shape = (x.shape[along],) if per_axis else ()
    scale = draw(arrays("float32", shape, np.array([1, 0.5, 2, 0.25, 0.1], np.float32)))
    spread = tuple(d if i == along % x.ndim else 1 for i, d in enumerate(x.shape)) if per_axis else ()
    return scale, draw(arrays(kind, shape)), {"axis": along} if per_axis else {}, spread


@st.composite
def quantize(draw: Draw) -> Case:
    kind = draw(st.sampled_from(("uint8", "int8", "uint16", "int16")))
    values = np.array([0, 0.5, 1.5, -0.5, -2.5, 3, 127.5, 128, -129, 255, 1e9, -1e9, 0.05, 0.15], np.float32)
    x = draw(arrays("float32", draw(shapes(0, 3)), values))
    scale, zero, attributes, spread = draw(scales(x, kind))
    expected = quantized(x, scale.reshape(spread), zero.reshape(spread))
    return node(
        draw, "QuantizeLinear", [x, scale, zero], [kind], attributes=attributes, fixed=(0, 1, 2), expected=([expected],),
        constants=draw(st.sampled_from([(), (1, 2)])),
    )  # fmt: skip


@st.composite
def dequantize(draw: Draw) -> Case:
    kind = draw(st.sampled_from(("uint8", "int8", "uint16", "int16", "int32")))
    x = draw(
        arrays(kind, draw(shapes(0, 3)), None if kind != "int32" else np.arange(-999, 999, 37, np.int32))
    )
    scale, zero, attributes, spread = draw(scales(x, kind))
    zero = np.zeros_like(zero) if kind == "int32" else zero
    expected = (x.astype(np.int32) - zero.reshape(spread).astype(np.int32)).astype(
        np.float32
    ) * scale.reshape(spread)
    return node(
        draw, "DequantizeLinear", [x, scale, zero], ["float32"], attributes=attributes, fixed=(0, 1, 2), expected=([expected],),
        constants=draw(st.sampled_from([(), (1, 2)])),
    )  # fmt: skip


@st.composite
def dynamic(draw: Draw) -> Case:
    """Scale and zero point from the range of the data, zero included."""
    x = draw(arrays("float32", draw(shapes(1, 3, empty=False)), finite("float32")))
    return node(draw, "DynamicQuantizeLinear", [x], ["uint8", "float32", "uint8"])


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "cast": cast(),
    "narrow_cast": narrow_cast(),
    "wide_cast": wide_cast(),
    "quantize": quantize(),
    "dequantize": dequantize(),
    "dynamic": dynamic(),
}
