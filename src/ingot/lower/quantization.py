"""Quantisation: conversion to and from scaled integers and float8, and products of integers.

Sums of products are i32 and wrap around; only the result is scaled, in f32. Source: the ONNX operator specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.ir.index import IxLike, Var, ix
from ingot.ir.nodes import DTYPES, STORED, Const, Select, Value, computed, kept
from ingot.lower.context import Context
from ingot.lower.contraction import convolution, matrix_product
from ingot.lower.conversion import FLOAT8, saturated
from ingot.lower.elementwise import FLOATS, const, dtype_name, op
from ingot.lower.movement import axis_of
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import reduce
from ingot.lower.registry import lowers
from ingot.lower.values import cast

_RANGES = {
    "u8": (0, 255), "i8": (-128, 127), "u16": (0, 65535), "i16": (-32768, 32767), "u4": (0, 15), "i4": (-8, 7), "u2": (0, 3),
    "i2": (-2, 1),
}  # fmt: skip
Reader = Callable[[Sequence[IxLike]], Value]
"""What belongs to the element of a tensor at an index."""


def _single(x: Operand) -> bool:
    return all(d == ix(1) for d in x.shape)


def _parameter(ctx: Context, node: Node, given: Operand, x: Operand) -> Reader:
    """A scale or zero point of x: (), (1,), one for each place of the axis, or one for each block along it."""
    if _single(given):
        return lambda at: ctx.read(given, [0] * given.rank)
    axis, block = axis_of(node, x.rank, 1), int(node.get("block_size", 0))
    if given.rank == 1 and not block:
        ctx.require(given.shape[0], x.shape[axis])
        return lambda at: ctx.read(given, [at[axis]])
    if block <= 0 or given.rank != x.rank:
        cause = f"a scale or zero point of rank {given.rank} for rank {x.rank} and block_size={block}"
        raise node.unsupported(cause, "give one for the tensor, the axis or each block")
    for i, (found, whole) in enumerate(zip(given.shape, x.shape, strict=True)):
        ctx.require(found, whole.ceildiv(block) if i == axis else whole)
    return lambda at: ctx.read(given, [ix(a) // block if i == axis else a for i, a in enumerate(at)])


def _quantized(value: Value, zero: Value | None, dtype: str, saturate: bool = True) -> Value:
    """A scaled float as an element of the dtype: integers round to nearest, ties to even; NaN is the least one."""
    if dtype not in _RANGES:
        wide = cast(value, "f32")
        wide = wide if zero is None else op("add", wide, zero)
        return saturated(wide, dtype) if dtype in FLOAT8 and saturate else wide
    value = cast(op("round", value), "f32")
    value = value if zero is None else op("add", value, cast(zero, "f32"))
    low, high = (Const(float(limit), "f32") for limit in _RANGES[dtype])
    return cast(op("min", op("max", low, value), high), dtype)


@lowers("QuantizeLinear")
def quantize_linear(ctx: Context, node: Node) -> Operand:
    """saturate(x / y_scale + y_zero_point), the division in `precision`, by default the type of the scale."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    number = int(node.get("output_dtype", 0))
    dtype = zero.stored if zero is not None else dtype_name(number, node) if number else "u8"
    if dtype not in (*_RANGES, *FLOAT8, "f4e2m1"):
        raise node.unsupported(
            f"output of dtype {dtype}", "quantise to integers of at most 16 bits, float8 or float4"
        )
    number = int(node.get("precision", 0))
    precision = dtype_name(number, node) if number else scale.stored
    if precision not in ("f16", "bf16", "f64"):
        precision = "f32"
    scale_at = _parameter(ctx, node, scale, x)
    zero_at = None if zero is None or _is_zero(zero) else _parameter(ctx, node, zero, x)

    def value(axes: tuple[Var, ...]) -> Value:
        a, b = (kept(cast(v, precision), precision) for v in (ctx.read(x, axes), scale_at(axes)))
        quotient = kept(op("div", a, b), precision)
        return _quantized(quotient, zero_at and zero_at(axes), dtype, bool(node.get("saturate", 1)))

    return ctx.map(x.shape, dtype, value)


def _is_zero(x: Operand) -> bool:
    return x.data is not None and not x.data.any()


@lowers("DequantizeLinear")
def dequantize_linear(ctx: Context, node: Node) -> Operand:
    """(x - x_zero_point) * x_scale, computed in f32."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    number = int(node.get("output_dtype", 0))
    dtype = dtype_name(number, node) if number else scale.stored
    if computed(dtype) not in FLOATS or (dtype in STORED and dtype != "bf16"):
        raise node.unsupported(f"output of dtype {dtype}", "set output_dtype to a float of at least 16 bits")
    scale_at = _parameter(ctx, node, scale, x)
    zero_at = None if zero is None or _is_zero(zero) else _parameter(ctx, node, zero, x)
    wide = "f32" if x.dtype == "f32" else "i32"

    def value(axes: tuple[Var, ...]) -> Value:
        element = cast(ctx.read(x, axes), wide)
        if zero_at is not None:
            element = op("sub", element, cast(zero_at(axes), wide))
        return cast(op("mul", cast(element, "f32"), cast(scale_at(axes), "f32")), dtype)

    return ctx.map(x.shape, dtype, value)


@lowers("DynamicQuantizeLinear")
def dynamic_quantize_linear(ctx: Context, node: Node) -> list[Operand]:
    """x in uint8 by the scale and zero point of its own range, which always takes in 0."""
    x = node.input(0)
    every = range(x.rank)
    top = reduce(ctx, x, every, False, "max", finish=lambda v: op("max", v, const(0, v)))
    bottom = reduce(ctx, x, every, False, "min", finish=lambda v: op("min", v, const(0, v)))

    def step(axes: tuple[Var, ...]) -> Value:
        reach = op("sub", ctx.read(top, []), ctx.read(bottom, []))
        flat = op("eq", reach, const(0, reach))
        return op("div", Select(flat, const(1, reach), reach), const(255, reach))

    scale = ctx.map([], "f32", step)

    def origin(axes: tuple[Var, ...]) -> Value:
        return _quantized(op("neg", op("div", ctx.read(bottom, []), ctx.read(scale, []))), None, "u8")

    zero = ctx.map([], "u8", origin)

    def value(axes: tuple[Var, ...]) -> Value:
        return _quantized(op("div", ctx.read(x, axes), ctx.read(scale, [])), ctx.read(zero, []), "u8")

    return [ctx.map(x.shape, "u8", value), scale, zero]


def _aligned(ctx: Context, node: Node, given: Operand, rank: int, axis: int) -> Reader:
    """A scale or zero point of a tensor of a rank: a single one, one for each place of an axis, or broadcast."""
    if _single(given):
        return lambda at: ctx.read(given, [0] * given.rank)
    if given.rank == 1 and rank >= -axis:
        return lambda at: ctx.read_broadcast(given, [at[axis]])
    if given.rank != rank:
        raise node.unsupported(f"a scale or zero point of rank {given.rank} for one of rank {rank}")
    return lambda at: ctx.read_broadcast(given, at)


def _centred(ctx: Context, node: Node, x: Operand, zero: Operand | None, axis: int) -> Operand:
    """x less its zero point, which may be one for each place of the axis: in i32, of float8 in f32."""
    wide = "f32" if x.dtype == "f32" else "i32"
    if zero is None or _is_zero(zero):
        if x.data is not None:
            return ctx.constant(x.data.astype(DTYPES[wide]))
        return ctx.map(x.shape, wide, lambda axes: cast(ctx.read(x, axes), wide))
    zero_at = _aligned(ctx, node, zero, x.rank, axis)
    if x.data is not None and zero.data is not None:
        offset = zero.data.astype(DTYPES[wide])
        if zero.rank == 1 and not _single(zero):
            offset = offset.reshape([-1 if i == axis % x.rank else 1 for i in range(x.rank)])
        return ctx.constant(x.data.astype(DTYPES[wide]) - offset)
    return ctx.map(
        x.shape, wide, lambda axes: op("sub", cast(ctx.read(x, axes), wide), cast(zero_at(axes), wide))
    )


@lowers("MatMulInteger")
def matmul_integer(ctx: Context, node: Node) -> Operand:
    a = _centred(ctx, node, node.input(0), node.optional(2), -2)
    b = _centred(ctx, node, node.input(1), node.optional(3), -1)
    return matrix_product(ctx, a, b)


@lowers("ConvInteger")
def conv_integer(ctx: Context, node: Node) -> Operand:
    x = _centred(ctx, node, node.input(0), node.optional(2), 1)
    w = _centred(ctx, node, node.input(1), node.optional(3), 0)
    return convolution(ctx, node, x, w, None)


def _requantized(ctx: Context, sums: Operand, scale: Reader, zero: Operand, y_scale: Operand) -> Operand:
    """Sums of products, times the scales of both sides over y_scale, as elements of the zero point's dtype."""
    if not _single(zero) or not _single(y_scale):
        raise ctx.node.unsupported("several scales or zero points of y", "give one for the tensor")

    def value(axes: tuple[Var, ...]) -> Value:
        by = op("div", scale(axes), cast(ctx.read(y_scale, [0] * y_scale.rank), "f32"))
        offset = None if _is_zero(zero) else ctx.read(zero, [0] * zero.rank)
        return _quantized(op("mul", cast(ctx.read(sums, axes), "f32"), by), offset, zero.stored)

    return ctx.map(sums.shape, zero.stored, value)


@lowers("QLinearMatMul")
def qlinear_matmul(ctx: Context, node: Node) -> Operand:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    sums = matrix_product(ctx, _centred(ctx, node, a, a_zero, -2), _centred(ctx, node, b, b_zero, -1))
    row = _aligned(ctx, node, a_scale, sums.rank, -2)
    column = _aligned(ctx, node, b_scale, sums.rank, -1)

    def scale(axes: Sequence[IxLike]) -> Value:
        return op("mul", cast(row(axes), "f32"), cast(column(axes), "f32"))

    return _requantized(ctx, sums, scale, y_zero, y_scale)


@lowers("QLinearConv")
def qlinear_conv(ctx: Context, node: Node) -> Operand:
    """Padding counts as x's zero point; the bias is i32 in steps of x_scale * w_scale."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    centred = _centred(ctx, node, x, x_zero, 1), _centred(ctx, node, w, w_zero, 0)
    sums = convolution(ctx, node, *centred, node.optional(8))
    feature = _aligned(ctx, node, w_scale, sums.rank, 1)

    def scale(axes: Sequence[IxLike]) -> Value:
        return op("mul", ctx.read(x_scale, [0] * x_scale.rank), feature(axes))

    return _requantized(ctx, sums, scale, y_zero, y_scale)
