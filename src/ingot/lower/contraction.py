"""Convolutions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ingot.ir.index import Ix, IxLike, Var, ix, product, var
from ingot.ir.nodes import Acc, Const, Index, Op, Read, Select, Value
from ingot.ir.program import Dense, MatMul
from ingot.lower.context import Context
from ingot.lower.elementwise import const, op
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import spatial, stated_pads, steps_of, summed
from ingot.lower.registry import lowers
from ingot.lower.values import unravel


def with_bias(ctx: Context, bias: Operand | None, axis: Var, dtype: str) -> Value:
    """The epilogue that adds a per-feature bias."""
    if bias is None:
        return Acc(dtype)
    assert axis.extent is not None
    ctx.require_all(bias.shape, [axis.extent])
    return op("add", Acc(dtype), ctx.read(bias, [axis]))


@lowers("Conv")
def conv(ctx: Context, node: Node) -> Operand:
    return convolution(ctx, node, node.input(0), node.input(1), node.optional(2))


def convolution(ctx: Context, node: Node, x: Operand, w: Operand, bias: Operand | None) -> Operand:
    """A convolution with the node's attributes. x: (N, C, …), w: (M, C / group, …), bias: (M,), all of one dtype."""
    groups = int(node.get("group", 1))
    kernel = kernel_of(node, w)
    strides, dilations, pads, sizes = spatial(node, x, kernel)
    ctx.require(x.shape[1], w.shape[1] * groups)
    padded = ctx.pad(x, [(0, 0), (0, 0), *pads], 0.0)
    features = w.shape[0].value
    shape: list[IxLike] = [x.shape[0], features, *sizes]
    out = ctx.axes(shape)
    taps = tuple(var(ctx.unique("r"), k) for k in kernel)
    at = [ix(o) * s + ix(t) * d for o, s, t, d in zip(out[2:], strides, taps, dilations, strict=True)]
    finish = with_bias(ctx, bias, out[1], x.dtype)
    output = ctx.tensor(x.dtype, shape)
    inner = w.shape[1].value
    per_group = features // groups
    feature = ix(out[1])
    if inner == 1 and groups > 1:
        source = ctx.read(padded, [out[0], feature // per_group, *at])
        packed = None if w.data is None else ctx.constant(np.moveaxis(w.data[:, 0], 0, -1))
        weight = ctx.read(w, [feature, 0, *taps]) if packed is None else ctx.read(packed, [*taps, feature])
        return summed(ctx, output, out, finish, taps, source, weight)
    if w.data is None:
        return correlated(ctx, padded, w, bias, sizes, strides, dilations, groups)
    channel = var(ctx.unique("r"), inner)
    x_channel = ix(channel) if groups == 1 else feature // per_group * inner + ix(channel)
    index = (ix(out[0]), x_channel, *at)
    if len(kernel) > 2 or x.dtype != "f32" or (groups > 1 and per_group % 4):
        weight = ctx.read(w, [feature, channel, *taps])
        return summed(ctx, output, out, finish, (*taps, channel), ctx.read(padded, index), weight)
    weight_array = np.moveaxis(w.data, (0, 1), (-1, -2))
    return ctx.add(Dense(output, out, finish, 1, taps, channel, ctx.place(padded), index, weight_array))


def kernel_of(node: Node, w: Operand) -> list[int]:
    """The spatial sizes of a weight."""
    if not all(d.is_const for d in w.shape):
        raise node.unsupported("a weight whose shape is known only at run time", "give it a shape")
    return [d.value for d in w.shape[2:]]


def correlated(
    ctx: Context,
    x: Operand,
    w: Operand,
    bias: Operand | None,
    sizes: Sequence[Ix],
    strides: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Operand:
    """The convolution of padded x with a computed weight: the weight as a matrix times the windows as columns."""
    kernel = w.shape[2:]
    features, inner = w.shape[0].value, w.shape[1]
    per_group, depth, pixels = features // groups, product(w.shape[1:]), product(sizes)

    def window(n: Ix, g: Ix, k: Ix, p: Ix) -> list[Ix]:
        channel, *taps = unravel(k, [inner, *kernel])
        places = zip(unravel(p, sizes), strides, taps, dilations, strict=True)
        return [n, g * inner + channel, *(o * s + t * d for o, s, t, d in places)]

    columns = ctx.view(x, [x.shape[0], groups, depth, pixels], window)
    rows = ctx.reshape(w, [groups, per_group, depth])

    def finish(axes: tuple[Var, ...]) -> Value:
        done = Acc(x.dtype)
        return done if bias is None else op("add", done, ctx.read(bias, [ix(axes[1]) * per_group + axes[2]]))

    result = product_of(ctx, rows, columns, (x.shape[0], ix(groups), ix(per_group), pixels), finish)
    return ctx.reshape(result, [x.shape[0], features, *sizes])


@lowers("ConvTranspose")
def conv_transpose(ctx: Context, node: Node) -> Operand:
    """One convolution for each phase of the strides, their outputs interleaved."""
    x, w, bias = node.input(0), node.input(1), node.optional(2)
    weight = w.data
    groups = int(node.get("group", 1))
    kernel = kernel_of(node, w)
    ctx.require(x.shape[1], w.shape[0])
    n = len(kernel)
    (strides, dilations), pads = steps_of(node, n), stated_pads(node, n)
    extra = [int(v) for v in node.get("output_padding", [0] * n)]
    given = node.get("output_shape")
    sizes: list[Ix] = []
    for i in range(n):
        full = (x.shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i]
        if given is not None:
            total = (full - int(given[i])).value
            half = total // 2
            pads[i] = (
                (total - half, half) if node.get("auto_pad", "") != "SAME_UPPER" else (half, total - half)
            )
        elif node.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
            total = (full - x.shape[2 + i] * strides[i]).value
            half = total // 2
            pads[i] = (half, total - half) if node.get("auto_pad") == "SAME_UPPER" else (total - half, half)
        sizes.append(full - pads[i][0] - pads[i][1])
    per_group = w.shape[1].value
    features = per_group * groups
    spread = [ix(d) * s for d, s in zip(x.shape[2:], strides, strict=True)]
    direct = (
        kernel == strides
        and all(p == (0, 0) for p in pads)
        and groups == 1
        and all(d == 1 for d in dilations)
    )
    if weight is not None and direct and sizes == spread and x.dtype == "f32" and n <= 2:
        phases = math.prod(kernel)
        table = np.moveaxis(weight.reshape(weight.shape[0], per_group, phases), 1, 2).reshape(
            weight.shape[0], -1
        )
        shape = [x.shape[0], ix(features * phases), *x.shape[2:]]
        out = ctx.axes(shape)
        channel = var(ctx.unique("r"), weight.shape[0])
        index = (ix(out[0]), ix(channel), *map(ix, out[2:]))
        wide = ctx.add(
            Dense(
                ctx.tensor("f32", shape),
                out,
                Acc("f32"),
                1,
                (),
                channel,
                ctx.place(x),
                index,
                np.ascontiguousarray(table),
            )
        )
        biased = None if bias is None else bias

        def source(axes: tuple[Var, ...]) -> Value:
            phase = ix(0)
            for a, s in zip(axes[2:], strides, strict=True):
                phase = phase * s + ix(a) % s
            where = [ix(a) // s for a, s in zip(axes[2:], strides, strict=True)]
            value = ctx.read(wide, [axes[0], phase * features + ix(axes[1]), *where])
            return value if biased is None else op("add", value, ctx.read(biased, axes[1:2]))

        return ctx.map([x.shape[0], features, *sizes], "f32", source)
    spaced = _zero_insert(ctx, x, strides)
    around = [
        ((k - 1) * d - p, (k - 1) * d - q + e)
        for k, d, (p, q), e in zip(kernel, dilations, pads, extra, strict=True)
    ]
    padded = ctx.pad(
        _crop(ctx, spaced, around), [(0, 0), (0, 0), *((max(a, 0), max(b, 0)) for a, b in around)], 0.0
    )
    inner = w.shape[0].value // groups
    if weight is None:
        turned = ctx.view(
            w,
            [features, inner, *kernel],
            lambda f, c, *taps: [
                f // per_group * inner + c,
                f % per_group,
                *(k - 1 - t for t, k in zip(taps, kernel, strict=True)),
            ],
        )
        return correlated(ctx, padded, turned, bias, sizes, [1] * n, dilations, groups)
    flipped = np.flip(weight, axis=tuple(range(2, 2 + n)))
    shape = [x.shape[0], ix(features), *sizes]
    out = ctx.axes(shape)
    taps = tuple(var(ctx.unique("r"), k) for k in kernel)
    channel = var(ctx.unique("r"), inner)
    feature = ix(out[1])
    x_channel = ix(channel) if groups == 1 else feature // per_group * inner + ix(channel)
    at = (ix(o) + ix(t) * d for o, t, d in zip(out[2:], taps, dilations, strict=True))
    index = (ix(out[0]), x_channel, *at)
    finish = with_bias(ctx, bias, out[1], x.dtype)
    output = ctx.tensor(x.dtype, shape)
    if groups == 1 and x.dtype == "f32" and n <= 2:
        array = np.moveaxis(flipped, (0, 1), (-2, -1))
        return ctx.add(Dense(output, out, finish, 1, taps, channel, ctx.place(padded), index, array))
    table_operand = ctx.constant(np.ascontiguousarray(flipped))
    factor = ctx.read(table_operand, [x_channel, feature % per_group, *taps])
    return summed(ctx, output, out, finish, (*taps, channel), ctx.read(padded, index), factor)


def _crop(ctx: Context, x: Operand, around: list[tuple[int, int]]) -> Operand:
    """x without what negative pads cut off its spatial axes."""
    cut = [(max(-a, 0), max(-b, 0)) for a, b in around]
    if not any(a or b for a, b in cut):
        return x
    shape = [*x.shape[:2], *(d - a - b for d, (a, b) in zip(x.shape[2:], cut, strict=True))]
    return ctx.view(x, shape, lambda n, c, *at: [n, c, *(i + a for i, (a, _) in zip(at, cut, strict=True))])


def _zero_insert(ctx: Context, x: Operand, strides: list[int]) -> Operand:
    """x with stride - 1 zeros between its elements."""
    if all(s == 1 for s in strides):
        return x
    shape = [*x.shape[:2], *((d - 1) * s + 1 for d, s in zip(x.shape[2:], strides, strict=True))]

    def value(axes: tuple[Var, ...]) -> Value:
        hit: Value | None = None
        for a, s in zip(axes[2:], strides, strict=True):
            if s > 1:
                test = Op("eq", (Index(ix(a) % s), Const(0, "i64")), "bool")
                hit = test if hit is None else Op("and", (hit, test), "bool")
        assert hit is not None
        source = ctx.read(x, [*axes[:2], *(ix(a) // s for a, s in zip(axes[2:], strides, strict=True))])
        return Select(hit, source, Const(0, x.dtype))

    return ctx.map(shape, x.dtype, value)


@lowers("Gemm")
def gemm(ctx: Context, node: Node) -> Operand:
    a, b, c = node.input(0), node.input(1), node.optional(2)
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    if node.get("transA", 0):
        a = ctx.view(a, a.shape[::-1], lambda i, j: [j, i])
    if node.get("transB", 0):
        b = _swap(ctx, b)
    out_shape = (a.shape[0], b.shape[1])
    if c is not None:
        for given, wanted in zip(ctx.broadcast(c.shape, out_shape), out_shape, strict=True):
            ctx.require(given, wanted)

    def finish(axes: tuple[Var, ...]) -> Value:
        v: Value = Acc(a.dtype)
        v = op("mul", v, const(alpha, v)) if alpha != 1.0 else v
        if c is None or beta == 0.0:
            return v
        addend = ctx.read_broadcast(c, axes)
        return op("add", v, op("mul", addend, const(beta, v)) if beta != 1.0 else addend)

    return product_of(ctx, a, b, out_shape, finish)


def _swap(ctx: Context, x: Operand) -> Operand:
    """The last two axes exchanged."""
    if x.data is not None:
        return ctx.constant(np.swapaxes(x.data, -1, -2), ctx.unique(x.name))
    return ctx.view(x, [*x.shape[:-2], x.shape[-1], x.shape[-2]], lambda *i: [*i[:-2], i[-1], i[-2]])


@lowers("MatMul")
def matmul(ctx: Context, node: Node) -> Operand:
    return matrix_product(ctx, node.input(0), node.input(1))


def matrix_product(ctx: Context, a: Operand, b: Operand) -> Operand:
    """The product as numpy.matmul defines it."""
    row, column = a.rank == 1, b.rank == 1
    if row:
        a = ctx.reshape(a, [1, *a.shape])
    if column:
        b = ctx.reshape(b, [*b.shape, 1])
    batch = ctx.broadcast(a.shape[:-2], b.shape[:-2]) if a.rank > 2 or b.rank > 2 else ()
    result = product_of(ctx, a, b, (*batch, a.shape[-2], b.shape[-1]), lambda axes: Acc(a.dtype))
    shape = [*batch, *([] if row else [a.shape[-2]]), *([] if column else [b.shape[-1]])]
    return ctx.reshape(result, shape) if row or column else result


def product_of(ctx: Context, a: Operand, b: Operand, shape: tuple[Ix, ...], finish: object) -> Operand:
    """a @ b over a broadcast batch; with constant two-dimensional b, a Dense."""
    ctx.require(a.shape[-1], b.shape[-2])
    out = ctx.axes(shape)
    output = ctx.tensor(a.dtype, shape)
    k = var(ctx.unique("r"), a.shape[-1] if a.shape[-1].is_const else b.shape[-2])
    done: Value = finish(out)  # type: ignore[operator]
    a_axes = [
        ix(0) if d == ix(1) else ix(i) for d, i in zip(a.shape[:-1], out[len(out) - a.rank : -1], strict=True)
    ]
    if b.data is not None and b.rank == 2 and a.dtype == "f32":
        return ctx.add(Dense(output, out, done, len(out) - 1, (), k, ctx.place(a), (*a_axes, ix(k)), b.data))
    b_axes = [
        ix(0) if d == ix(1) else ix(i) for d, i in zip(b.shape[:-2], out[len(out) - b.rank : -2], strict=True)
    ]
    left = ctx.read(a, [*a_axes, k])
    right = ctx.read(b, [*b_axes, k, out[-1]])
    if a.dtype != "f32" or not isinstance(left, Read) or not isinstance(right, Read):
        return summed(ctx, output, out, done, (k,), left, right)
    return ctx.add(MatMul(output, out, done, k, left, right))
