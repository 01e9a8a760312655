"""Random nodes of small types: casts to and from them, quantisation, and arithmetic on bytes."""

from __future__ import annotations

import numpy as np
from graph import BYTES, FLOATS, INTEGERS, STORED, Graph, Made, fits, tensor_type

QUANTISED = (
    "uint8",
    "int8",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int4",
    "uint4",
    "float8_e4m3fn",
    "float8_e5m2",
)
STEPS = (0.25, 0.5, 1.0, 2.0)
"""Scales that are powers of two, so that quantised sums do not round."""


def _scale(g: Graph, shape: tuple[int, ...], dtype: str) -> tuple[str, str]:
    """Scales and zero points."""
    scale = g.constant(g.rng.choice(STEPS, shape), "float32")
    low, high = (0, 1) if "float" in dtype else (0, 6) if dtype.startswith("u") else (-3, 4)
    return scale, g.constant(g.rng.integers(low, high, shape), dtype)


def _along(g: Graph, x: Made) -> tuple[tuple[int, ...], dict[str, int]]:
    """The shape of the scales of x: one for all, or one along an axis."""
    if x.rank and g.chance(0.4):
        axis = g.axis(x.rank)
        return (x.shape[axis],), {"axis": axis}
    return (), {}


def quantize(g: Graph) -> None:
    if g.special:
        return
    x, dtype = g.any(("float32",)), g.pick(QUANTISED)
    shape, how = _along(g, x)
    g.add("QuantizeLinear", [x.name, *_scale(g, shape, dtype)], [(dtype, x.shape)], **how)


def dequantize(g: Graph) -> None:
    x = g.any(QUANTISED[2:])
    shape, how = _along(g, x)
    g.add("DequantizeLinear", [x.name, *_scale(g, shape, x.dtype)], [("float32", x.shape)], **how)


def rounded(g: Graph, name: str, shape: tuple[int, ...], dtype: str) -> str:
    """A float32 quantised and dequantised with one scale."""
    scale, zero = _scale(g, (), dtype)
    (small,) = g.node("QuantizeLinear", [name, scale, zero])
    g.made([small], [(dtype, shape)])
    return g.node("DequantizeLinear", [small, scale, zero])[0]


def quantized_product(g: Graph) -> None:
    """A product or a convolution of quantised operands, whose result is quantised."""
    if g.special:
        return
    dtype = g.pick(BYTES)
    k, n = int(g.pick((1, 3, 5, 16, 17))), int(g.pick((1, 2, 5, 17)))
    if g.chance(0.5):
        shape, weight, out = (int(g.pick((1, 2, 3))), k), (k, n), (int(g.pick((1, 2, 3))), n)
        out = (shape[0], n)
        operator = "MatMul"
    else:
        side, taps = int(g.pick((3, 5, 8))), int(g.pick((1, 3)))
        shape, weight, out = (1, k, side, side), (n, k, taps, taps), (1, n, side - taps + 1, side - taps + 1)
        operator = "Conv"
    x = rounded(g, g.value("float32", shape).name, shape, dtype)
    axis = 1 if operator == "MatMul" else 0
    scale = g.constant(g.rng.choice(STEPS, weight[axis]), "float32")
    constant = g.constant(g.rng.integers(-9, 10, weight), "int8")
    (w,) = g.node("DequantizeLinear", [constant, scale], axis=axis)
    (y,) = g.node(operator, [x, w])
    if g.chance(0.5):
        (y,) = g.node("Relu", [y])
    g.made([rounded(g, y, out, dtype) if g.chance(0.7) else y], [("float32", out)])


def dynamic_quantize(g: Graph) -> None:
    """Of at least 1: where all is 0 ONNX Runtime's scale is 1, that of onnx.reference 1 / 255."""
    if g.special:
        return
    x = g.any(("float32",), nonempty=True)
    (above,) = g.node("Add", [g.node("Abs", [x.name])[0], g.constant(1, "float32")])
    g.add("DynamicQuantizeLinear", [above], [("uint8", x.shape), ("float32", ()), ("uint8", ())])


def integer_product(g: Graph) -> None:
    """MatMulInteger of bytes; not of nothing, where ONNX Runtime leaves the result as it is."""
    x = g.any(("uint8", "int8"), 2, nonempty=True)
    n = int(g.pick((1, 2, 5, 17)))
    y = g.value(g.pick(("uint8", "int8")) if x.dtype == "uint8" else "int8", (x.shape[-1], n))
    zeros = [g.constant(2, x.dtype)] if g.chance(0.5) else []
    if fits(*x.shape[:-1], n):
        g.add("MatMulInteger", [x.name, y.name, *zeros], [("int32", (*x.shape[:-1], n))])


def narrow(g: Graph) -> None:
    """A cast to a small type: of floats to floats, of integers to integers, whose low bits stay."""
    x = g.any((*INTEGERS, "bool") if g.special else (*FLOATS, *INTEGERS, "bool"))
    small = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2") if x.dtype in FLOATS else BYTES
    to = g.pick(small)
    g.add("Cast", [x.name], [(to, x.shape)], to=tensor_type(to))


def widen(g: Graph) -> None:
    """A cast from a small type."""
    x = g.any((*STORED, *BYTES, "float16"))
    to = g.pick(("float32", "float32", "float16") if "float" in x.dtype else ("float32", "int32", "int64"))
    if to == x.dtype or (x.dtype in ("int4", "uint4") and to == "int64"):
        return
    g.add("Cast", [x.name], [(to, x.shape)], to=tensor_type(to))


def bytes_arithmetic(g: Graph) -> None:
    """What ONNX Runtime computes on bytes."""
    x = g.any(BYTES)
    name = g.pick(("Min", "Max", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Equal"))
    y = g.partner(x)
    g.add(
        name,
        [x.name, y.name],
        [("bool" if name == "Equal" else x.dtype, np.broadcast_shapes(x.shape, y.shape))],
    )


def half_arithmetic(g: Graph) -> None:
    x = g.any(("float16",))
    if g.chance(0.5):
        g.add(
            g.pick(("Relu", "Abs", "Neg", "Sqrt") if g.special else ("Relu", "Sigmoid", "Tanh", "Neg")),
            [x.name],
            [(x.dtype, x.shape)],
        )
        return
    y = g.partner(x)
    g.add(g.pick(("Add", "Sub", "Mul")), [x.name, y.name], [(x.dtype, np.broadcast_shapes(x.shape, y.shape))])
