"""Conversions between element types: Cast, CastLike and BitCast.

What a type of storage (`ir.nodes.STORED`) cannot hold is brought into its range here; the store then rounds to nearest. Strings
are read and written as `lower/numerals.py` says: floats as C's "%.8g", as in ONNX Runtime. A run with one that is no number, or none
that an integer type holds, ends with an error.
"""

from __future__ import annotations

import math

import ml_dtypes

from ingot.ir.nodes import DTYPES, STORED, Cast, Const, Select, Value, computed
from ingot.lower.context import Context
from ingot.lower.elementwise import clip, const, dtype_name, op
from ingot.lower.numerals import numbers_of, texts_of
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast

FLOAT8 = ("f8e4m3fn", "f8e4m3fnuz", "f8e5m2", "f8e5m2fnuz")


def saturated(value: Value, dtype: str) -> Value:
    """A float as one of the range of a float8 type."""
    limit = float(ml_dtypes.finfo(DTYPES[dtype]).max)  # type: ignore[no-untyped-call]
    value = cast(value, "f32")
    return clip(value, const(-limit, value), const(limit, value))


@lowers("Cast", "CastLike")
def cast_node(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    like = node.operator == "CastLike"
    dtype = node.input(1).stored if like else dtype_name(node.get("to"), node, strings=True)
    if dtype == "str":
        return x if x.dtype == "str" else texts_of(ctx, x)
    if x.dtype == "str":
        x = numbers_of(ctx, x, dtype)
    saturate, mode = bool(node.get("saturate", 1)), node.get("round_mode", "up")
    if mode not in ("up", "down", "nearest"):
        raise node.unsupported(f"round_mode={mode}", "use up, down or nearest")

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        source = ctx.read(x, axes)
        if dtype == "f8e8m0":
            return _power_of_two(cast(source, "f32"), saturate, mode)
        if dtype in FLOAT8 and saturate:
            return saturated(source, dtype)
        if STORED.get(dtype) in ("i8", "u8"):
            source = cast(source, "i32")
        return cast(source, dtype)

    return ctx.map(x.shape, dtype, value)


def _power_of_two(x: Value, saturate: bool, mode: str) -> Value:
    """A float as a number of float8e8m0, a power of two from 2^-127 to 2^127 or NaN; with saturate, zero as the least one.

    Upwards or to nearest, what is added to the bits carries into the exponent. The numbers below `second` become the
    least one, which is no normal number.
    """
    low, high = 2.0**-127, 2.0**127
    carry = {"up": 0x7FFFFF, "down": 0, "nearest": 0x400000}[mode]
    second = {"up": low + 2.0**-149, "down": 2 * low, "nearest": 1.5 * low}[mode]
    if saturate:
        x = clip(x, const(low, x), const(high, x))
    raised = op("add", Cast(x, "u32", bits=True), Const(carry, "u32"))
    power: Value = Cast(op("bitand", raised, Const(0xFF800000, "u32")), "f32", bits=True)
    power = Select(op("lt", x, const(second, x)), const(low, x), power, guards=False)
    outside = op("isnan", x)
    if not saturate:
        outside = op("or", outside, op("or", op("lt", x, const(low, x)), op("gt", power, const(high, x))))
    return Select(outside, const(math.nan, x), power, guards=False)


@lowers("BitCast")
def bit_cast(ctx: Context, node: Node) -> Operand:
    """The same bits as numbers of another type of the same width."""
    x = node.input(0)
    dtype = dtype_name(node.get("to"), node)
    width, wanted = (_bits(name) for name in (x.stored, dtype))
    if width != wanted:
        raise node.unsupported(f"{x.stored} of {width} bits as {dtype} of {wanted}", "use types of one width")

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        source = ctx.read(x, axes)
        if x.stored in STORED:
            source = Cast(source, x.stored)
        made: Value = Cast(source, dtype, bits=True)
        return Cast(made, computed(dtype)) if dtype in STORED else made

    return ctx.map(x.shape, dtype, value)


def _bits(dtype: str) -> int:
    """The bits of an element in ONNX."""
    return {"f4e2m1": 4, "i4": 4, "u4": 4, "i2": 2, "u2": 2}.get(dtype, 8 * DTYPES[dtype].itemsize)
