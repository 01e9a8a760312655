"""Random cases of elementwise operators: broadcasting, every element type, limits, NaN and ties."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import (
    FLOATS,
    INTEGERS,
    NUMBERS,
    SIGNED,
    UNSIGNED,
    Draw,
    arrays,
    broadcasting,
    dtype_of,
    finite,
    is_float,
    node,
    shapes,
    tiny,
)

from ingot.testing import CLOSE, EXACT, Array, ulp

KINDS = {"float32": ulp(4), "float64": ulp(8), "float16": ulp(1), "bfloat16": ulp(1)}
"""How near the functions of a type must be."""


@st.composite
def pair(draw: Draw, operators: tuple[str, ...], dtypes: tuple[str, ...], result: str = "") -> Case:
    """Two operands of one type."""
    dtype = draw(st.sampled_from(dtypes))
    x = [draw(arrays(dtype, shape)) for shape in draw(broadcasting(2))]
    return node(draw, draw(st.sampled_from(operators)), x, [result or dtype], level=ulp(0))


@st.composite
def several(draw: Draw) -> Case:
    """One to three operands; of floats, the extremes are NaN where one is."""
    operator = draw(st.sampled_from(["Min", "Max", "Sum", "Mean"]))
    dtype = draw(
        st.sampled_from(NUMBERS if operator in ("Min", "Max") else ("float32", "float64", "float16"))
    )
    count = draw(st.integers(1, 3))
    x = [
        draw(arrays(dtype, shape, finite(dtype) if operator == "Mean" else None))
        for shape in draw(broadcasting(count))
    ]
    with np.errstate(all="ignore"):
        expected = x[0]
        for other in x[1:]:
            expected = {"Min": np.minimum, "Max": np.maximum}.get(operator, np.add)(expected, other)
        if operator == "Mean":
            expected = expected / dtype_of(dtype).type(count)
    # onnx.reference: Mean adds without broadcasting the first operand
    return node(
        draw,
        operator,
        x,
        level=CLOSE if operator == "Mean" else ulp(0),
        reduction=3,
        expected=([np.asarray(expected)],),
    )


def truncated(a: Array, b: Array) -> Array:
    """a / b towards zero, as C does it; the least number by -1 is itself."""
    wide = [
        int(p) // int(q) if (p < 0) == (q < 0) else -(abs(int(p)) // abs(int(q)))
        for p, q in zip(a.flat, b.flat, strict=True)
    ]
    bits = 8 * a.dtype.itemsize
    wrapped = [(v + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) if a.dtype.kind == "i" else v for v in wide]
    return np.array(wrapped, dtype=object).astype(a.dtype).reshape(a.shape)


@st.composite
def division(draw: Draw) -> Case:
    """Integers by integers that are not zero. onnx.reference divides towards minus infinity."""
    dtype = draw(st.sampled_from(INTEGERS))
    a, b = (draw(arrays(dtype, shape)) for shape in draw(broadcasting(2)))
    b = np.where(b == 0, np.ones((), dtype), b)
    wide = np.broadcast_arrays(a, b)
    return node(draw, "Div", [a, b], expected=([truncated(*wide)],))


@st.composite
def modulo(draw: Draw) -> Case:
    """With the sign of the divisor, or as C's with the sign of the dividend."""
    dtype = draw(st.sampled_from((*INTEGERS, "float32", "float64", "float16")))
    fmod = is_float(dtype) or draw(st.booleans())
    a, b = (draw(arrays(dtype, shape)) for shape in draw(broadcasting(2)))
    if not is_float(dtype):
        b = np.where(b == 0, np.ones((), dtype), b)
    return node(draw, "Mod", [a, b], attributes={"fmod": int(fmod)}, level=ulp(0))


@st.composite
def power(draw: Draw) -> Case:
    """Of floats by floats, of integers by small integers; the exponent may be a constant."""
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "int64")))
    exponent = draw(st.sampled_from(("float32", "int32", "int64"))) if is_float(dtype) else "int64"
    a, b = draw(broadcasting(2))
    x = draw(arrays(dtype, a))
    values = finite(exponent) if is_float(exponent) else tiny(exponent) if is_float(dtype) else np.arange(5)
    return node(
        draw, "Pow", [x, draw(arrays(exponent, b, values))], level=ulp(8) if is_float(dtype) else EXACT,
        constants=draw(st.sampled_from([(), (1,)])),
    )  # fmt: skip


@st.composite
def shift(draw: Draw) -> Case:
    """By less than the width."""
    dtype = draw(st.sampled_from(UNSIGNED))
    a, b = draw(broadcasting(2))
    amounts = np.arange(8 * dtype_of(dtype).itemsize).astype(dtype)
    direction = draw(st.sampled_from(["LEFT", "RIGHT"]))
    return node(
        draw,
        "BitShift",
        [draw(arrays(dtype, a)), draw(arrays(dtype, b, amounts))],
        attributes={"direction": direction},
    )


@st.composite
def where(draw: Draw) -> Case:
    dtype = draw(st.sampled_from((*NUMBERS, "bool")))
    c, a, b = draw(broadcasting(3))
    return node(
        draw, "Where", [draw(arrays("bool", c)), draw(arrays(dtype, a)), draw(arrays(dtype, b))], [dtype]
    )


@st.composite
def clip(draw: Draw) -> Case:
    """With both bounds, one or none; a NaN stays, and where the bounds cross the upper one wins."""
    dtype = draw(st.sampled_from(NUMBERS))
    bounds = [draw(st.none() | arrays(dtype, (), finite(dtype))) for _ in range(2)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    x = draw(arrays(dtype, draw(shapes())))
    expected = x
    with np.errstate(all="ignore"):
        for bound, function in zip(bounds, (np.maximum, np.minimum), strict=False):
            expected = expected if bound is None else function(expected, bound)
    either = [i + 1 for i, bound in enumerate(bounds) if bound is not None]
    return node(
        draw,
        "Clip",
        [x, *bounds],
        constants=either if draw(st.booleans()) else (),
        level=ulp(0),
        expected=([np.asarray(expected)],),
    )


EXACTLY: dict[str, tuple[str, ...]] = {
    "Abs": NUMBERS, "Neg": (*FLOATS, *SIGNED), "Sign": NUMBERS, "Relu": (*FLOATS, *SIGNED), "Floor": FLOATS, "Ceil": FLOATS,
    "Round": FLOATS, "Sqrt": FLOATS, "Reciprocal": FLOATS, "Identity": NUMBERS, "BitwiseNot": INTEGERS, "Not": ("bool",),
    "IsNaN": FLOATS, "ThresholdedRelu": ("float32", "float64"), "Shrink": ("float32", "float64"),
    "LeakyRelu": ("float32", "float64"), "HardSigmoid": ("float32",), "HardSwish": ("float32",),
}  # fmt: skip


@st.composite
def exact(draw: Draw) -> Case:
    operator = draw(st.sampled_from(sorted(EXACTLY)))
    dtype = draw(st.sampled_from(EXACTLY[operator]))
    x = draw(
        arrays(
            dtype,
            draw(shapes()),
            finite(dtype) if operator in ("Shrink", "ThresholdedRelu", "HardSwish") else None,
        )
    )
    result = "bool" if operator.startswith("Is") else dtype
    return node(draw, operator, [x], [result], level=ulp(2 if operator.startswith(("Hard", "Leaky")) else 0))


@st.composite
def is_inf(draw: Draw) -> Case:
    x = draw(arrays(draw(st.sampled_from(FLOATS)), draw(shapes())))
    sides = {f"detect_{side}": draw(st.integers(0, 1)) for side in ("positive", "negative")}
    return node(draw, "IsInf", [x], ["bool"], attributes=sides)


FUNCTIONS = ("Exp", "Log", "Tanh", "Sigmoid", "Erf", "Atan", "Sinh", "Cosh", "Asinh")
BOUNDED = (
    "Sin",
    "Cos",
    "Tan",
    "Elu",
    "Selu",
    "Celu",
    "Mish",
    "Gelu",
    "Asin",
    "Acos",
    "Acosh",
    "Atanh",
    "Softplus",
)


@st.composite
def function(draw: Draw) -> Case:
    """Functions that round, with every special value."""
    operator = draw(st.sampled_from(FUNCTIONS))
    # onnx.reference computes Erf in float32
    dtype = draw(st.sampled_from([d for d in FLOATS if operator != "Erf" or d != "float64"]))
    return node(draw, operator, [draw(arrays(dtype, draw(shapes())))], level=KINDS[dtype])


@st.composite
def bounded_function(draw: Draw) -> Case:
    """Functions of numbers of moderate size."""
    operator = draw(st.sampled_from(BOUNDED))
    # onnx.reference computes Gelu in float32
    dtype = draw(st.sampled_from(("float32", "float64") if operator != "Gelu" else ("float32",)))
    x = draw(arrays(dtype, draw(shapes()), finite(dtype)))
    return node(draw, operator, [x], level=CLOSE, scale=1.0)


@st.composite
def prelu(draw: Draw) -> Case:
    """The slope broadcasts to the first operand."""
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "uint64")))
    shape = draw(shapes())
    kept = shape[draw(st.integers(0, len(shape))) :]
    slope = tuple(d if draw(st.booleans()) else 1 for d in kept)
    return node(
        draw,
        "PRelu",
        [draw(arrays(dtype, shape, finite(dtype))), draw(arrays(dtype, slope, finite(dtype)))],
        level=ulp(0),
    )


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "arithmetic": pair(("Add", "Sub", "Mul"), NUMBERS),
    "quotient": pair(("Div",), FLOATS),
    "comparison": pair(("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"), NUMBERS, "bool"),
    "equal_bool": pair(("Equal", "And", "Or", "Xor"), ("bool",)),
    "bitwise": pair(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), INTEGERS),
    "several": several(),
    "division": division(),
    "modulo": modulo(),
    "power": power(),
    "shift": shift(),
    "where": where(),
    "clip": clip(),
    "exact": exact(),
    "is_inf": is_inf(),
    "function": function(),
    "bounded_function": bounded_function(),
    "prelu": prelu(),
}
