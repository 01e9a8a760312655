"""Random operators: a counter-based generator, so that an element's bits depend on the seed and its place alone.

The generator is SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014): draw n of a
stream is its finalizer applied to key + (n + 1) * 0x9E3779B97F4A7C15. The key is the finalizer of the attribute `seed`'s 32
bits; without a seed it is that of the CRC-32 of the node's name, so nodes differ and every run gives the same numbers.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence

from ingot.ir.index import Ix, IxLike, Var, ix, var
from ingot.ir.nodes import Acc, Cast, Const, Index, Op, Select, Value
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.elementwise import FLOATS, const, dtype_name, op
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast, ravel

_STEP = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = 2**64 - 1


def _key(node: Node) -> int:
    seed = node.get("seed")
    z = zlib.crc32(node.name.encode()) if seed is None else struct.unpack("<I", struct.pack("<f", seed))[0]
    z = (z ^ (z >> 30)) * _FIRST & _MASK
    z = (z ^ (z >> 27)) * _SECOND & _MASK
    return int(z ^ (z >> 31))


def _bits(key: int, draw: Ix) -> Value:
    """Draw number `draw` of the stream: 64 random bits."""

    def number(value: int) -> Const:
        return Const(value, "u64")

    def mixed(z: Value, shift: int) -> Value:
        return Op("bitxor", (z, Op("shr", (z, number(shift)), "u64")), "u64")

    z: Value = Op("mul", (Cast(Index(draw + 1), "u64"), number(_STEP)), "u64")
    z = Op("add", (z, number(key)), "u64")
    z = Op("mul", (mixed(z, 30), number(_FIRST)), "u64")
    z = Op("mul", (mixed(z, 27), number(_SECOND)), "u64")
    return mixed(z, 31)


def uniform(node: Node, draw: Ix, dtype: str) -> Value:
    """A float of [0, 1) with as many random bits as the dtype holds: 24 ("f32") or 53 ("f64")."""
    count = 53 if dtype == "f64" else 24
    top = Op("shr", (_bits(_key(node), draw), Const(64 - count, "u64")), "u64")
    return Op("mul", (Cast(Cast(top, "i64"), dtype), Const(2.0**-count, dtype)), dtype)


def normal(node: Node, draw: Ix, dtype: str) -> Value:
    """A float of the standard normal distribution, from two draws (Box and Muller 1958)."""
    radius, angle = (uniform(node, draw * 2 + i, dtype) for i in (0, 1))
    spread = op("sqrt", op("mul", op("log", op("sub", const(1, radius), radius)), const(-2, radius)))
    return op("mul", spread, op("cos", op("mul", angle, const(2 * math.pi, angle))))


@lowers("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike")
def random(ctx: Context, node: Node) -> Operand:
    like = node.input(0) if node.operator.endswith("Like") else None
    shape: Sequence[IxLike] = like.shape if like is not None else [int(d) for d in node.attributes["shape"]]
    dtype = like.dtype if like is not None else "f32"
    if node.get("dtype") is not None:
        dtype = dtype_name(node.get("dtype"), node)
    if dtype not in FLOATS:
        raise node.unsupported(f"dtype {dtype}", "give it a float dtype")
    wide = "f32" if dtype == "f16" else dtype
    if "Uniform" in node.operator:
        draw, start = uniform, node.get("low", 0.0)
        scale = node.get("high", 1.0) - start
    else:
        draw, start, scale = normal, node.get("mean", 0.0), node.get("scale", 1.0)

    def value(axes: tuple[Var, ...]) -> Value:
        x = draw(node, ravel(axes, dims), wide)
        return cast(op("add", op("mul", x, const(scale, x)), const(start, x)), dtype)

    dims = [ix(d) for d in shape]
    return ctx.map(shape, dtype, value)


@lowers("Bernoulli")
def bernoulli(ctx: Context, node: Node) -> Operand:
    """1 where a uniform number is below the probability."""
    p = node.input(0)
    dtype = p.dtype if node.get("dtype") is None else dtype_name(node.get("dtype"), node)
    wide = "f32" if p.dtype == "f16" else p.dtype

    def value(axes: tuple[Var, ...]) -> Value:
        chance = cast(ctx.read(p, axes), wide)
        return cast(op("lt", uniform(node, ravel(axes, p.shape), wide), chance), dtype)

    return ctx.map(p.shape, dtype, value)


@lowers("Multinomial")
def multinomial(ctx: Context, node: Node) -> Operand:
    """The class with the largest sum of log-probability and a Gumbel number, which is a sample (Gumbel 1954)."""
    x = node.input(0)
    dtype = dtype_name(node.get("dtype", 6), node)
    samples, classes = int(node.get("sample_size", 1)), x.shape[1]
    shape = (x.shape[0], ix(samples))
    out, over = ctx.axes(shape), var(ctx.unique("r"), classes)
    count = ravel([*out, over], [*shape, classes])
    u = uniform(node, count, "f64")
    u = op("add", u, const(2.0**-54, u))
    value = op("sub", cast(ctx.read(x, [out[0], over]), "f64"), op("log", op("neg", op("log", u))))
    return ctx.add(Reduce(ctx.tensor(dtype, shape), out, cast(Acc("i64"), dtype), "argmax", (over,), value))


@lowers("Dropout")
def dropout(ctx: Context, node: Node) -> list[Operand]:
    """In training, elements are 0 where a uniform number is below the ratio, else divided by 1 - ratio."""
    x = node.input(0)
    mask_dtype = "bool" if node.opset >= 10 else x.dtype
    trains = node.optional(2)
    if trains is None or (trains.data is not None and not trains.data.any()):
        return [x, ctx.map(x.shape, mask_dtype, lambda axes: Const(1, mask_dtype))]
    ratio = node.optional(1)
    wide = "f32" if x.dtype == "f16" else x.dtype

    def dropped() -> Value:
        given = Const(0.5, wide) if ratio is None else cast(ctx.read(ratio, [0] * ratio.rank), wide)
        return Select(ctx.read(trains, [0] * trains.rank), given, Const(0.0, wide))

    def keeps(axes: tuple[Var, ...]) -> Value:
        return op("ge", uniform(node, ravel(axes, x.shape), wide), dropped())

    mask = ctx.map(x.shape, "bool", keeps)

    def value(axes: tuple[Var, ...]) -> Value:
        scaled = op("div", cast(ctx.read(x, axes), wide), op("sub", Const(1.0, wide), dropped()))
        return cast(Select(ctx.read(mask, axes), scaled, Const(0.0, wide)), x.dtype)

    return [ctx.map(x.shape, x.dtype, value), mask]
