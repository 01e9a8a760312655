"""Reductions, pooling, softmax and normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ingot.ir.index import (
    Ix,
    Var,
    ix,
    less,
    maximum,
    minimum,
    nonnegative,
    product,
    substitute,
    var,
    weighted_sum,
)
from ingot.ir.nodes import DTYPES, Acc, Cast, Const, Index, Op, Select, Value, reindex, rewrite
from ingot.ir.ops import neutral
from ingot.ir.program import Reduce, Row, Tensor
from ingot.lower.context import Context
from ingot.lower.elementwise import EPSILON, FLOATS, MOMENTUM, const, op
from ingot.lower.movement import axis_flags, axis_of, kept_sizes, known_axes
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast, unravel


def reduce(
    ctx: Context,
    x: Operand,
    axes: Sequence[int],
    keep: bool,
    name: str,
    value: Callable[[Value], Value] = lambda v: v,
    finish: Callable[[Value], Value] = lambda v: v,
) -> Operand:
    """finish(op over `axes` of value(x)), the reduced axes kept as 1 or dropped."""
    shape = [ix(1) if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes]
    out = ctx.axes(shape)
    over = {i: var(ctx.unique("r"), x.shape[i]) for i in axes}
    kept = iter(out)
    index: list[Ix] = []
    for i in range(x.rank):
        if i in axes:
            index.append(ix(over[i]))
            if keep:
                next(kept)
        else:
            index.append(ix(next(kept)))
    element = value(cast(ctx.read(x, index), sum_dtype(x.dtype)))
    result = cast(finish(Acc(element.dtype)), x.dtype)
    output = ctx.tensor(x.dtype, shape)
    return ctx.add(Reduce(output, out, result, name, tuple(over.values()), element))


def sum_dtype(dtype: str) -> str:
    """What sums of a dtype are kept in."""
    return "f32" if dtype == "f16" else dtype


def summed(
    ctx: Context,
    output: Tensor,
    axes: tuple[Var, ...],
    finish: Value,
    over: tuple[Var, ...],
    a: Value,
    b: Value,
) -> Operand:
    """output[axes] = finish(sum over `over` of a * b)."""
    dtype = a.dtype
    wide = sum_dtype(dtype)
    value = op("mul", cast(a, wide), cast(b, wide))
    done = rewrite(finish, lambda node: cast(Acc(wide), dtype) if isinstance(node, Acc) else None)
    return ctx.add(Reduce(output, axes, done, "add", over, value))


_PLAIN = {"ReduceSum": "add", "ReduceProd": "mul", "ReduceMax": "maximum", "ReduceMin": "minimum"}


@lowers(
    *_PLAIN, "ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"
)  # fmt: skip
def reduce_node(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axes = known_axes(node, 1, x.rank)
    keep = bool(node.get("keepdims", 1))
    if axes is None and node.optional(1) is not None:
        flags = axis_flags(ctx, node, 1, x.rank)
        total = _reduced(ctx, node, _split_by(ctx, x, flags, keep), range(1, 2 * x.rank, 2), False)
        count = x.rank - node.input(1).shape[0].value
        return total if keep else ctx.reshape(total, kept_sizes(ctx, x, flags, count))
    if not axes:
        axes = [] if node.get("noop_with_empty_axes", 0) else list(range(x.rank))
    return _reduced(ctx, node, x, axes, keep)


def _split_by(ctx: Context, x: Operand, flags: Sequence[Value], declared: bool) -> Operand:
    """x with two axes in place of each: the first as long where there is no flag and 1 where there is, the second the
    other way round. declared: whether the first are the sizes of the node's output."""
    shape = []
    for axis, (flag, d) in enumerate(zip(flags, x.shape, strict=True)):
        first, second = Select(flag, Const(1, "i64"), Index(d)), Select(flag, Index(d), Const(1, "i64"))
        kept = (
            ctx.size(first, maximum(d, 1), 0, axis)
            if declared
            else ctx.measure(ctx.scalar(first), most=maximum(d, 1))
        )
        shape += [kept, ctx.measure(ctx.scalar(second), most=maximum(d, 1))]
    return ctx.view(x, shape, lambda *axes: [a + b for a, b in zip(axes[::2], axes[1::2], strict=True)])


def _reduced(ctx: Context, node: Node, x: Operand, axes: Sequence[int], keep: bool) -> Operand:
    """Without axes, what an operator does before and after it sums."""
    kind = node.operator
    if not axes and (kind in _PLAIN or kind in ("ReduceMean", "ReduceLogSumExp")):
        return x
    if kind in _PLAIN:
        return reduce(ctx, x, axes, keep, _PLAIN[kind])
    if kind == "ReduceMean":
        count = product(x.shape[i] for i in axes)
        return reduce(ctx, x, axes, keep, "add", finish=lambda v: mean_of(v, count))
    if kind == "ReduceLogSumExp":
        top = reduce(ctx, x, axes, True, "max", finish=_finite)
        shifted = ctx.map(
            x.shape, x.dtype, lambda i: op("exp", op("sub", ctx.read(x, i), ctx.read_broadcast(top, i)))
        )
        total = reduce(ctx, shifted, axes, keep, "add", finish=lambda v: op("log", v))
        flat = ctx.reshape(top, total.shape)
        return ctx.map(total.shape, x.dtype, lambda i: op("add", ctx.read(total, i), ctx.read(flat, i)))
    before: Callable[[Value], Value] = {
        "ReduceSumSquare": lambda v: op("mul", v, v),
        "ReduceL2": lambda v: op("mul", v, v),
        "ReduceL1": lambda v: op("abs", v),
        "ReduceLogSum": lambda v: v,
    }[kind]
    last = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}.get(kind)

    def after(v: Value) -> Value:
        return op(last, v) if last else v

    if not axes:
        return ctx.map(x.shape, x.dtype, lambda i: after(before(ctx.read(x, i))))
    return reduce(ctx, x, axes, keep, "add", before, after)


def _finite(x: Value) -> Value:
    """x, or 0 in place of an infinity."""
    return Select(op("eq", op("abs", x), const(math.inf, x)), const(0, x), x)


def mean_of(total: Value, count: Ix) -> Value:
    """A sum divided by a number of elements."""
    if count.is_const and total.dtype in FLOATS:
        return op("mul", total, Const(1 / max(count.value, 1), total.dtype))
    return op("div", total, cast(Index(count), total.dtype))


@lowers("ArgMax", "ArgMin")
def arg(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axis, keep, last = (
        axis_of(node, x.rank),
        bool(node.get("keepdims", 1)),
        bool(node.get("select_last_index", 0)),
    )
    return arg_of(ctx, x, axis, keep, node.operator.lower(), last)


def arg_of(ctx: Context, x: Operand, axis: int, keep: bool, name: str, last: bool = False) -> Operand:
    """The position of the largest ("argmax") or smallest element along an axis."""
    shape = [ix(1) if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis]
    out = ctx.axes(shape)
    over = var(ctx.unique("r"), x.shape[axis])
    kept = [a for i, a in enumerate(out) if not (keep and i == axis)]
    index = [*map(ix, kept[:axis]), ix(over), *map(ix, kept[axis:])]
    value = ctx.read(x, index)
    return ctx.add(Reduce(ctx.tensor("i64", shape), out, Acc("i64"), name, (over,), value, last))


def steps_of(node: Node, n: int) -> tuple[list[int], list[int]]:
    """strides and dilations of a window of n axes."""
    return [int(s) for s in node.get("strides", [1] * n)], [int(d) for d in node.get("dilations", [1] * n)]


def stated_pads(node: Node, n: int) -> list[tuple[int, int]]:
    """The attribute `pads`, none where `auto_pad` stands in for it."""
    mode = node.get("auto_pad", "NOTSET") or "NOTSET"
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise node.unsupported(f"auto_pad={mode}", "use SAME_UPPER, SAME_LOWER, VALID or pads")
    flat = [int(p) for p in node.get("pads", [0] * 2 * n)] if mode == "NOTSET" else [0] * 2 * n
    return list(zip(flat[:n], flat[n:], strict=True))


def spatial(
    node: Node, x: Operand, kernel: Sequence[int], ceil: bool = False
) -> tuple[list[int], list[int], list[tuple[Ix, Ix]], list[Ix]]:
    """strides, dilations and pads of a convolution or pooling window, auto_pad resolved, and how many windows there are."""
    strides, dilations = steps_of(node, len(kernel))
    dims, stated = x.shape[2:], stated_pads(node, len(kernel))
    mode = node.get("auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        sizes = [window_size(*a, ceil) for a in zip(dims, kernel, strides, dilations, stated, strict=True)]
        return strides, dilations, [(ix(a), ix(b)) for a, b in stated], sizes
    pads, sizes = [], []
    for d, k, s, step in zip(dims, kernel, strides, dilations, strict=True):
        sizes.append(d.ceildiv(s))
        total = maximum((sizes[-1] - 1) * s + (k - 1) * step + 1 - d, 0)
        small = total // 2
        pads.append((small, total - small) if mode == "SAME_UPPER" else (total - small, small))
    return strides, dilations, pads, sizes


def window_size(d: Ix, k: int | Ix, s: int, step: int, pads: tuple[int, int], ceil: bool) -> Ix:
    """How many windows fit along one axis."""
    span = d + (pads[0] + pads[1] - (k - 1) * step - 1)
    if not ceil:
        return span // s + 1
    return minimum(span.ceildiv(s), (d + pads[0] - 1) // s) + 1


@lowers("MaxPool", "AveragePool", "LpPool")
def pool(ctx: Context, node: Node) -> Operand | list[Operand]:
    x = node.input(0)
    kernel = [int(k) for k in node.attributes["kernel_shape"]]
    ceil = bool(node.get("ceil_mode", 0))
    strides, dilations, pads, sizes = spatial(node, x, kernel, ceil)
    shape = [*x.shape[:2], *sizes]
    out = ctx.axes(shape)
    taps = tuple(var(ctx.unique("r"), k) for k in kernel)
    at = [
        ix(o) * s + ix(t) * d - p
        for o, s, t, d, (p, _) in zip(out[2:], strides, taps, dilations, pads, strict=True)
    ]
    index = [*map(ix, out[:2])]
    output = ctx.tensor(x.dtype, shape)
    indices = len(node.outputs) > 1 and bool(node.outputs[1])
    if node.operator == "MaxPool" and not indices and all(d == 1 for d in dilations):
        for i, d in zip(at, x.shape[2:], strict=True):
            index.append(maximum(minimum(i, d - 1), 0))
        return ctx.add(Reduce(output, out, Acc(x.dtype), "max", taps, ctx.read(x, index)))
    inside: Value = Const(True, "bool")
    for i, d in zip(at, x.shape[2:], strict=True):
        for test in (Op("ge", (Index(i), Const(0, "i64")), "bool"), Op("lt", (Index(i), Index(d)), "bool")):
            inside = test if inside == Const(True, "bool") else Op("and", (inside, test), "bool")
        index.append(i)
    plain = not ceil and all(nonnegative(i) and less(i, d) for i, d in zip(at, x.shape[2:], strict=True))
    element = ctx.read(x, index)
    if node.operator == "MaxPool":
        lowest = Const(neutral("max", x.dtype), x.dtype)
        value: Value = element if plain else Select(inside, element, lowest)
        result = ctx.add(Reduce(output, out, Acc(x.dtype), "max", taps, value))
        if not indices:
            return result
        columns_first = bool(node.get("storage_order", 0))
        return [result, _largest_at(ctx, x, value, shape, out, taps, at, columns_first)]
    p = node.get("p", 2)
    if node.operator == "LpPool":
        element = _power(op("abs", element), p)
    value = element if plain else Select(inside, element, Const(0, x.dtype))
    acc: Value = Acc(x.dtype)
    if node.operator == "LpPool":
        finish = _power(acc, 1 / p)
    elif plain or (node.get("count_include_pad", 0) and not ceil):
        finish = op("mul", acc, const(1 / math.prod(kernel), acc))
    else:
        count = ix(1)
        for o, k, s, d, d_step, (lo, hi) in zip(
            out[2:], kernel, strides, x.shape[2:], dilations, pads, strict=True
        ):
            start = ix(o) * s - lo
            limit = d + hi if node.get("count_include_pad", 0) else d
            first = start if node.get("count_include_pad", 0) else maximum(start, start % d_step)
            count = count * (minimum(start + k * d_step, limit) - first).ceildiv(d_step)
        finish = op("div", acc, Cast(Index(count), x.dtype))
    return ctx.add(Reduce(output, out, finish, "add", taps, value))


def _largest_at(
    ctx: Context,
    x: Operand,
    value: Value,
    shape: Sequence[Ix],
    out: tuple[Var, ...],
    taps: tuple[Var, ...],
    at: Sequence[Ix],
    columns_first: bool,
) -> Operand:
    """Where in x, flattened, the largest element of each window lies: the first of equal ones inside x.

    value: what a tap is worth; at: where along each axis it lies. columns_first: the last two axes are exchanged in
    what "flattened" means. A window of nothing but the least number has its first tap, which may lie outside: so no
    tap counts that lies before x.
    """
    extents = [t.extent for t in taps if t.extent is not None]
    one = var(ctx.unique("r"), product(extents))
    order = dict(zip(taps, unravel(ix(one), extents), strict=True))
    dims, axes = list(x.shape), list(range(x.rank))
    if columns_first:
        axes[2:] = reversed(axes[2:])
    stride = {a: product(dims[b] for b in axes[i + 1 :]) for i, a in enumerate(axes)}
    first = weighted_sum((i, stride[a]) for a, i in enumerate([*map(ix, out[:2]), *at]))
    none = dict.fromkeys(taps, ix(0))
    start = substitute(first, none)
    finish: Value = Index(start)
    for n, tap in enumerate(taps):
        step = substitute(first, none | {tap: ix(1)}) - start
        which = op("div", Acc("i64"), Index(product(extents[n + 1 :])))
        taken = op("mod", which, Index(extents[n])) if n else which
        begin = substitute(at[n], none)
        if not nonnegative(begin):
            dilation = substitute(at[n], none | {tap: ix(1)}) - begin
            taken = op("max", taken, Index(maximum(begin * -1, 0).ceildiv(dilation.value)))
        finish = op("add", finish, op("mul", taken, Index(step)))
    output = ctx.tensor("i64", shape)
    return ctx.add(Reduce(output, out, finish, "argmax", (one,), reindex(value, order)))


def _power(x: Value, exponent: float) -> Value:
    """x to a power, for x >= 0."""
    if exponent in (1, 2):
        return op("mul", x, x) if exponent == 2 else x
    return op("sqrt", x) if exponent == 0.5 else op("pow", x, const(exponent, x))


@lowers("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")
def global_pool(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axes = list(range(2, x.rank))
    if node.operator == "GlobalLpPool":
        p = node.get("p", 2)
        return reduce(
            ctx, x, axes, True, "add", lambda v: _power(op("abs", v), p), lambda v: _power(v, 1 / p)
        )
    if node.operator == "GlobalMaxPool":
        return reduce(ctx, x, axes, True, "max")
    count = product(x.shape[2:])
    return reduce(ctx, x, axes, True, "add", finish=lambda v: mean_of(v, count))


def row(
    ctx: Context,
    x: Operand,
    axes: Sequence[int],
    kind: str,
    epsilon: float = 0.0,
    finish: Callable[[tuple[Var, ...]], Value] | None = None,
) -> Operand:
    """A softmax or normalisation along axes; of halves in float."""
    wide = sum_dtype(x.dtype)
    if wide != x.dtype:
        normal = row(ctx, ctx.map(x.shape, wide, lambda i: cast(ctx.read(x, i), wide)), axes, kind, epsilon)

        def narrow(i: tuple[Var, ...]) -> Value:
            result = cast(ctx.read(normal, i), x.dtype)
            done = finish(i) if finish else Acc(x.dtype)
            return rewrite(done, lambda node: result if isinstance(node, Acc) else None)

        return ctx.map(x.shape, x.dtype, narrow)
    out = ctx.axes(x.shape)
    output = ctx.tensor(x.dtype, x.shape)
    done = finish(out) if finish else Acc(x.dtype)
    return ctx.add(Row(output, out, done, kind, tuple(out[a] for a in axes), ctx.read(x, out), epsilon))


@lowers("Hardmax")
def hardmax(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axis = axis_of(node, x.rank, 1 if node.opset < 13 else -1)
    if node.opset < 13:
        rows = ctx.reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])])
        return ctx.reshape(_one_hot_of_largest(ctx, rows, 1), x.shape)
    return _one_hot_of_largest(ctx, x, axis)


def _one_hot_of_largest(ctx: Context, x: Operand, axis: int) -> Operand:
    """1 at the first of the largest elements along an axis, 0 elsewhere."""
    at = arg_of(ctx, x, axis, True, "argmax")

    def value(axes: tuple[Var, ...]) -> Value:
        largest = ctx.read_broadcast(at, [ix(0) if i == axis else a for i, a in enumerate(axes)])
        return cast(Op("eq", (Index(ix(axes[axis])), largest), "bool"), x.dtype)

    return ctx.map(x.shape, x.dtype, value)


@lowers("Softmax", "LogSoftmax")
def softmax(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    kind = "softmax" if node.operator == "Softmax" else "log_softmax"
    axis = axis_of(node, x.rank, 1 if node.opset < 13 else -1)
    axes = list(range(axis, x.rank)) if node.opset < 13 else [axis]
    return row(ctx, x, axes, kind)


@lowers("LayerNormalization", "RMSNormalization")
def layer_norm(ctx: Context, node: Node) -> Operand | list[Operand]:
    """The mean and 1 / the deviation, where they are asked for, keep the axes as 1; of halves they are floats."""
    x, scale, bias = node.input(0), node.input(1), node.optional(2)
    axis = axis_of(node, x.rank, -1)

    def finish(axes: tuple[Var, ...]) -> Value:
        v = op("mul", Acc(x.dtype), ctx.read_broadcast(scale, axes))
        return v if bias is None else op("add", v, ctx.read_broadcast(bias, axes))

    kind = "layer_norm" if node.operator == "LayerNormalization" else "rms_norm"
    axes, epsilon = list(range(axis, x.rank)), node.get("epsilon", EPSILON)
    y = row(ctx, x, axes, kind, epsilon, finish)
    if not any(node.outputs[1:]):
        return y
    mean, variance = moments(ctx, x, axes)
    shape = [ix(1) if i in axes else d for i, d in enumerate(x.shape)]

    def inverse(i: tuple[Var, ...]) -> Value:
        v = ctx.read(variance, i)
        return op("div", const(1, v), op("sqrt", op("add", v, const(epsilon, v))))

    deviation = ctx.map(variance.shape, variance.dtype, inverse)
    return [y, ctx.reshape(mean, shape), ctx.reshape(deviation, shape)]


@lowers("MeanVarianceNormalization")
def mean_variance_norm(ctx: Context, node: Node) -> Operand:
    """(x - mean) / deviation; what ONNX adds to the deviation, 1e-9, stands squared beside the variance."""
    x = node.input(0)
    axes = [a % x.rank for a in node.get("axes", [0, 2, 3])]
    return row(ctx, x, sorted(axes), "layer_norm", 1e-18)


@lowers("LpNormalization")
def lp_norm(ctx: Context, node: Node) -> Operand:
    """x / its norm of order 1 or 2 along an axis, and 0 where that norm is 0; of halves in float."""
    x, power = node.input(0), node.get("p", 2)
    if power not in (1, 2):
        raise node.unsupported(f"p={power}", "use 1 or 2")
    axis, wide = axis_of(node, x.rank, -1), sum_dtype(x.dtype)
    whole = ctx.map(x.shape, wide, lambda i: cast(ctx.read(x, i), wide)) if wide != x.dtype else x
    if power == 1:
        norm = reduce(ctx, whole, [axis], True, "add", lambda v: op("abs", v))
    else:
        norm = reduce(ctx, whole, [axis], True, "add", lambda v: op("mul", v, v), lambda v: op("sqrt", v))

    def value(i: tuple[Var, ...]) -> Value:
        below = ctx.read_broadcast(norm, [ix(0) if a == axis else v for a, v in enumerate(i)])
        found = Select(
            op("eq", below, const(0, below)),
            const(0, below),
            op("div", ctx.read(whole, i), below),
            guards=False,
        )
        return cast(found, x.dtype)

    return ctx.map(x.shape, x.dtype, value)


@lowers("InstanceNormalization")
def instance_norm(ctx: Context, node: Node) -> Operand:
    x, scale, bias = (node.input(i) for i in range(3))
    for given in (scale, bias):
        ctx.require_all(given.shape, x.shape[1:2])

    def finish(axes: tuple[Var, ...]) -> Value:
        return op("add", op("mul", Acc(x.dtype), ctx.read(scale, axes[1:2])), ctx.read(bias, axes[1:2]))

    return row(ctx, x, list(range(2, x.rank)), "layer_norm", node.get("epsilon", EPSILON), finish)


@lowers("GroupNormalization")
def group_norm(ctx: Context, node: Node) -> Operand:
    x, scale, bias = (node.input(i) for i in range(3))
    groups = int(node.attributes["num_groups"])
    for given in (scale, bias):
        ctx.require_all(given.shape, x.shape[1:2] if node.opset >= 21 else [groups])
    split = ctx.reshape(x, [x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]])
    normal = row(ctx, split, list(range(2, split.rank)), "layer_norm", node.get("epsilon", EPSILON))
    flat = ctx.reshape(normal, x.shape)

    def per_channel(operand: Operand, channel: Var) -> Value:
        by_channel = node.opset >= 21
        return ctx.read(operand, [ix(channel) if by_channel else ix(channel) // (x.shape[1] // groups)])

    def value(axes: tuple[Var, ...]) -> Value:
        return op(
            "add", op("mul", ctx.read(flat, axes), per_channel(scale, axes[1])), per_channel(bias, axes[1])
        )

    return ctx.map(x.shape, x.dtype, value)


@lowers("BatchNormalization")
def batch_normalization(ctx: Context, node: Node) -> Operand | list[Operand]:
    """Scale and shift, folded in float64 where the statistics are constants.

    In training the statistics are those of the batch (variance without Bessel's correction), and the further outputs are
    the running ones; before opset 14 a node trains where it has these outputs, and then the batch's own ones follow.
    """
    x, gain, bias, mean, variance = (node.input(i) for i in range(5))
    epsilon = node.get("epsilon", EPSILON)
    wide = sum_dtype(x.dtype)
    trains = bool(node.get("training_mode", 0)) if node.opset >= 14 else any(node.outputs[1:])
    together = bool(node.get("spatial", 1))
    for operand in (gain, bias, mean, variance):
        ctx.require_all(operand.shape, [1] if x.rank == 1 else x.shape[1:2] if together else x.shape[1:])
    given = [o.data for o in (gain, bias, mean, variance)]
    if trains:
        axes = [i for i in range(x.rank) if i != 1] if together else [0]
        batch_mean, batch_variance = moments(ctx, x, axes)
        scale, shift = _scale_and_shift(ctx, gain, bias, batch_mean, batch_variance, epsilon)
    elif all(data is not None for data in given):
        g, b, m, v = (np.asarray(data, np.float64) for data in given)
        factor = g / np.sqrt(v + epsilon)
        scale, shift = (ctx.constant(a.astype(DTYPES[wide])) for a in (factor, b - m * factor))
    else:
        scale, shift = _scale_and_shift(ctx, gain, bias, mean, variance, epsilon)

    def value(axes: tuple[Var, ...]) -> Value:
        at = axes[1:2] if together else axes[1:]
        a, b = (cast(ctx.read(o, at if x.rank > 1 else [0]), wide) for o in (scale, shift))
        return cast(op("add", op("mul", cast(ctx.read(x, axes), wide), a), b), x.dtype)

    y = ctx.map(x.shape, x.dtype, value)
    if not trains:
        return y
    momentum = node.get("momentum", MOMENTUM)
    running = [_running(ctx, *pair, momentum) for pair in ((mean, batch_mean), (variance, batch_variance))]
    return [y, *running, batch_mean, batch_variance]


def moments(ctx: Context, x: Operand, axes: Sequence[int]) -> tuple[Operand, Operand]:
    """The mean and the variance over some axes, which are dropped; of halves in float."""
    wide, count = sum_dtype(x.dtype), product(x.shape[i] for i in axes)
    whole = ctx.map(x.shape, wide, lambda i: cast(ctx.read(x, i), wide)) if wide != x.dtype else x
    mean = reduce(ctx, whole, axes, False, "add", finish=lambda v: mean_of(v, count))

    def squared(i: tuple[Var, ...]) -> Value:
        gap = op("sub", ctx.read(whole, i), ctx.read(mean, [a for n, a in enumerate(i) if n not in axes]))
        return op("mul", gap, gap)

    squares = ctx.map(x.shape, wide, squared)
    return mean, reduce(ctx, squares, axes, False, "add", finish=lambda v: mean_of(v, count))


def _scale_and_shift(
    ctx: Context, gain: Operand, bias: Operand, mean: Operand, variance: Operand, epsilon: float
) -> tuple[Operand, Operand]:
    """gain / sqrt(variance + epsilon) and bias - mean * that, in the dtype of the statistics or float."""
    wide = sum_dtype(mean.dtype)

    def scale_at(i: tuple[Var, ...]) -> Value:
        v = cast(ctx.read(variance, i), wide)
        return op("div", cast(ctx.read(gain, i), wide), op("sqrt", op("add", v, const(epsilon, v))))

    scale = ctx.map(gain.shape, wide, scale_at)

    def shift_at(i: tuple[Var, ...]) -> Value:
        moved = op("mul", cast(ctx.read(mean, i), wide), ctx.read(scale, i))
        return op("sub", cast(ctx.read(bias, i), wide), moved)

    return scale, ctx.map(bias.shape, wide, shift_at)


def _running(ctx: Context, old: Operand, new: Operand, momentum: float) -> Operand:
    """old * momentum + new * (1 - momentum)."""

    def value(i: tuple[Var, ...]) -> Value:
        kept = op("mul", cast(ctx.read(old, i), new.dtype), Const(momentum, new.dtype))
        added = op("mul", ctx.read(new, i), Const(1 - momentum, new.dtype))
        return cast(op("add", kept, added), old.dtype)

    return ctx.map(old.shape, old.dtype, value)
