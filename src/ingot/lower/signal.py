"""Fourier transforms, and the matrix of a mel spectrum.

A transform of a length up to DIRECT is one product with a constant matrix. A longer one is a sequence of such products:
a length N1 N2 is N2 transforms of N1, factors e^(-2 pi i n2 k1 / N), and N1 transforms of N2 (Cooley and Tukey 1965); one
without small factors is a convolution by transforms of a power of two (Bluestein 1970): O(n log n) in all. Where the length
is known only at run time, each element is a sum over the signal, with cosines and sines from a table of the run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingot.ir.index import Ix, Var, ix, maximum, minimum, var
from ingot.ir.nodes import DTYPES, Acc, Cast, Const, Index, Op, Select, Value, as_index
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.contraction import product_of
from ingot.lower.elementwise import FLOATS, const, dtype_name, op
from ingot.lower.movement import axis_flags
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast

DIRECT = 128
"""The longest transform that is one product."""
RADIX = 64
"""The longest transform inside a longer one that has such a factor."""


@dataclass(frozen=True)
class _Plan:
    """length: N. bins: how many results. inverse, onesided: as ONNX has them; both make half a spectrum a real signal."""

    length: Ix
    bins: Ix
    inverse: bool
    onesided: bool

    @property
    def real(self) -> bool:
        return self.inverse and self.onesided

    @property
    def parts(self) -> int:
        return 1 if self.real else 2

    def used(self, count: Ix) -> Ix:
        """How many of `count` inputs count."""
        return minimum(count, self.length // 2 + 1 if self.real else self.length)


@lowers("DFT")
def dft(ctx: Context, node: Node) -> Operand:
    """Halves are computed in float. The axis and the length may be known only at run time."""
    x = _signal(node)
    last = x.rank - 1
    axis: int | None = node.get("axis", 1) if node.opset < 20 else -2
    given = node.optional(2) if node.opset >= 20 else None
    if given is not None:
        known = None if given.known is None else given.known.reshape(-1)[0]
        axis = known.value if known is not None and known.is_const else None
    if axis is None:
        return _along_any(ctx, node, x, axis_flags(ctx, node, 2, x.rank)[:last])
    if not -x.rank <= axis < x.rank or axis % x.rank == last:
        raise node.unsupported(f"axis {axis} of a signal of rank {x.rank}", "use an axis before the last one")
    axis %= x.rank
    rest = [i for i in range(last) if i != axis]
    order = [*rest, axis, last]
    rows = ctx.view(x, [x.shape[i] for i in order], lambda *at: [at[order.index(i)] for i in range(x.rank)])
    plan = _plan(ctx, node, rows.shape[-2], axis)
    y = _transform(ctx, rows, plan)
    sizes = [plan.bins if i == axis else d for i, d in enumerate(x.shape[:last])]
    return ctx.view(y, [*sizes, plan.parts], lambda *at: [at[i] for i in order])


def _along_any(ctx: Context, node: Node, x: Operand, flags: Sequence[Value]) -> Operand:
    """A transform along the flagged axis: its elements are moved to an axis of their own, and back."""
    dims, pairs = x.shape[:-1], list(zip(flags, x.shape, strict=False))
    longest = dims[0]
    for d in dims[1:]:
        longest = maximum(longest, d)
    total: Value = Const(1, "i64")
    for flag, d in pairs:
        total = Select(flag, Index(d), total)
    length = longest if all(d == longest for d in dims) else ctx.measure(ctx.scalar(total), most=longest)
    kept = [
        ctx.measure(ctx.scalar(Select(flag, Const(1, "i64"), Index(d))), most=maximum(d, 1))
        for flag, d in pairs
    ]

    def gather(axes: tuple[Var, ...]) -> Value:
        moved = (Select(f, Index(ix(axes[-2])), Index(ix(a))) for f, a in zip(flags, axes, strict=False))
        return ctx.read(x, [*map(as_index, moved), axes[-1]])

    rows = ctx.map([*kept, length, x.shape[-1]], x.dtype, gather)
    plan = _plan(ctx, node, length, None)
    y = _transform(ctx, rows, plan)
    shape = [
        ctx.size(Select(flag, Index(plan.bins), Index(d)), maximum(d, plan.bins), 0, i)
        for i, (flag, d) in enumerate(pairs)
    ]

    def back(axes: tuple[Var, ...]) -> Value:
        place, at = [], Const(0, "i64")
        for flag, a in zip(flags, axes, strict=False):
            place.append(as_index(Select(flag, Const(0, "i64"), Index(ix(a)))))
            at = Select(flag, Index(ix(a)), at)  # type: ignore[assignment]
        return ctx.read(y, [*place, as_index(at), axes[-1]])

    return ctx.map([*shape, plan.parts], x.dtype, back)


def _signal(node: Node) -> Operand:
    x = node.input(0)
    if x.dtype not in FLOATS:
        raise node.unsupported(f"dtype {x.dtype}", "cast to float32")
    if x.rank < 2 or not x.shape[-1].is_const or x.shape[-1].value not in (1, 2):
        raise node.unsupported("a signal without parts on its last axis", "make that axis 1 or 2 long")
    onesided = node.get("onesided", 1 if node.operator == "STFT" else 0)
    if onesided and not node.get("inverse", 0) and x.shape[-1].value == 2:
        raise node.unsupported("onesided=1 of a complex signal", "use onesided=0")
    return x


def _plan(ctx: Context, node: Node, count: Ix, axis: int | None) -> _Plan:
    """What a DFT node asks for. count: elements of the signal. axis: of the output that the results lie along, where one
    is known."""
    inverse, onesided = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    given = node.optional(1)
    if given is None:
        length = 2 * (count - 1) if inverse and onesided else count
    else:
        length = ctx.integers(given, "dft_length").reshape(-1)[0]
    return _plan_of(ctx, node, length, inverse, onesided, axis)


def _plan_of(ctx: Context, node: Node, length: Ix, inverse: bool, onesided: bool, axis: int | None) -> _Plan:
    """A length without a bound takes that of the size that the model declares for the output."""
    half = onesided and not inverse
    if ctx.is_loose(length):
        if axis is None:
            raise node.unsupported(
                "its axis and its length are known only at run time", "make one a constant"
            )
        if not half:
            length = ctx.size(length, None, 0, axis)
        else:
            bins = ctx.size(length // 2 + 1, None, 0, axis)
            length = ctx.measure(length, most=2 * bins - 1)
            return _Plan(length, bins, inverse, onesided)
    return _Plan(length, length // 2 + 1 if half else length, inverse, onesided)


def _transform(ctx: Context, x: Operand, plan: _Plan, window: Operand | None = None) -> Operand:
    """[..., bins, parts] from [..., count, 1 or 2]. window: factors of the signal's elements."""
    if x.dtype == "f16":
        wide = ctx.map(x.shape, "f32", lambda axes: cast(ctx.read(x, axes), "f32"))
        y = _transform(ctx, wide, plan, window)
        return ctx.map(y.shape, "f16", lambda axes: cast(ctx.read(y, axes), "f16"))
    count = plan.used(x.shape[-2])
    fixed = plan.length.is_const and count.is_const
    factors = None if window is None or not fixed or plan.length.value > DIRECT else window.data
    if window is not None and factors is None:
        x = _windowed(ctx, x, window)
    if not fixed:
        return _summed(ctx, x, plan, count)
    n, used, parts = plan.length.value, count.value, x.shape[-1].value
    if n > DIRECT:
        return _long(ctx, x, plan, used)
    table = _matrix(plan, used, parts)
    if factors is not None:
        table = table * np.repeat(factors[:used].astype(np.float64), parts)[:, None]
    rows = x if ix(used) == x.shape[-2] else ctx.view(x, [*x.shape[:-2], used, parts], lambda *at: at)
    return _product(ctx, rows, table, plan.bins.value, plan.parts)


def _windowed(ctx: Context, x: Operand, window: Operand) -> Operand:
    def value(axes: tuple[Var, ...]) -> Value:
        return op("mul", ctx.read(x, axes), cast(ctx.read(window, [axes[-2]]), x.dtype))

    return ctx.map(x.shape, x.dtype, value)


def _matrix(plan: _Plan, used: int, parts: int) -> np.ndarray:
    """What the elements of a signal, parts innermost, are multiplied with for each result."""
    n, bins = plan.length.value, plan.bins.value
    turns = np.outer(np.arange(used), np.arange(bins)) % max(n, 1) / max(n, 1)
    cos, sin = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns) * (1 if plan.inverse else -1)
    if plan.real:
        own = np.where((np.arange(used) == 0) | (2 * np.arange(used) == n), 1.0, 2.0)[:, None]
        columns = [[own * cos], [-own * sin]]
    else:
        columns = [[cos, sin], [-sin, cos]]
    table = np.stack([np.stack(c, -1) for c in columns[:parts]], 1).reshape(used * parts, bins * plan.parts)
    return np.asarray(table / n if plan.inverse else table)


def _product(ctx: Context, x: Operand, table: np.ndarray, bins: int, parts: int) -> Operand:
    """The last two axes times a matrix, as [..., bins, parts]."""
    batch = x.shape[:-2]
    flat = ctx.reshape(x, [*batch, x.shape[-2] * x.shape[-1]])
    if not batch:
        flat = ctx.reshape(flat, [1, *flat.shape])
    matrix = ctx.constant(np.ascontiguousarray(table.astype(DTYPES[x.dtype])))
    shape = (*flat.shape[:-1], matrix.shape[1])
    y = product_of(ctx, flat, matrix, shape, lambda axes: Acc(x.dtype))
    return ctx.reshape(y, [*batch, bins, parts])


def _long(ctx: Context, x: Operand, plan: _Plan, used: int) -> Operand:
    """A transform longer than one product: of the whole spectrum, of which then a part is taken."""
    n, batch = plan.length.value, x.shape[:-2]
    if plan.real or ix(n) != x.shape[-2]:

        def element(axes: tuple[Var, ...]) -> Value:
            at = ix(axes[-2])
            inside = Op("lt", (Index(at), Const(used, "i64")), "bool")
            here = ctx.read(x, [*axes[:-2], minimum(at, used - 1), axes[-1]])
            if not plan.real:
                return Select(inside, here, const(0, here))
            mirrored = n - at
            there = ctx.read(x, [*axes[:-2], maximum(minimum(mirrored, used - 1), 0), axes[-1]])
            conjugate = Select(
                Op("eq", (Index(ix(axes[-1])), Const(1, "i64")), "bool"), op("neg", there), there
            )
            known = Op("lt", (Index(mirrored), Const(used, "i64")), "bool")
            lower = Op("lt", (Index(2 * at), Const(n + 1, "i64")), "bool")
            return Select(
                lower, Select(inside, here, const(0, here)), Select(known, conjugate, const(0, here))
            )

        x = ctx.map([*batch, n, x.shape[-1]], x.dtype, element)
    y = _fft(ctx, x, plan.inverse, 1 / n if plan.inverse else 1.0)
    return ctx.view(y, [*batch, plan.bins, plan.parts], lambda *at: at)


def _fft(ctx: Context, x: Operand, inverse: bool, scale: float) -> Operand:
    """The transform along the last axis but one, of any constant length, times a scale; complex."""
    n, parts, batch = x.shape[-2].value, x.shape[-1].value, x.shape[:-2]
    if n <= DIRECT:
        plan = _Plan(ix(n), ix(n), inverse, False)
        return _product(ctx, x, _matrix(plan, n, parts) * (scale * n if inverse else scale), n, 2)
    first = next(r for r in range(RADIX, 0, -1) if n % r == 0)
    if first == 1:
        return _chirped(ctx, x, inverse, scale)
    second = n // first
    columns = ctx.view(
        x, [*batch, second, first, parts], lambda *at: [*at[:-3], at[-2] * second + at[-3], at[-1]]
    )
    inner = _fft(ctx, columns, inverse, 1.0)
    turned = ctx.view(inner, [*batch, first, second, 2], lambda *at: [*at[:-3], at[-2], at[-3], at[-1]])
    turns = np.outer(np.arange(first), np.arange(second)) / n
    factors = np.exp((2j if inverse else -2j) * np.pi * turns)
    outer = _fft(ctx, _times(ctx, turned, factors), inverse, scale)
    return ctx.view(outer, [*batch, n, 2], lambda *at: [*at[:-2], at[-2] % first, at[-2] // first, at[-1]])


def _times(ctx: Context, x: Operand, factors: np.ndarray) -> Operand:
    """Numbers times complex constants of the shape of the last axes before the parts."""
    dtype = DTYPES[x.dtype]
    real = ctx.constant(np.ascontiguousarray(factors.real.astype(dtype)))
    crossed = ctx.constant(np.stack([-factors.imag, factors.imag], -1).astype(dtype))
    pairs = ctx.constant(np.stack([factors.real, factors.imag], -1).astype(dtype))

    def value(axes: tuple[Var, ...]) -> Value:
        at, part = axes[-1 - factors.ndim : -1], axes[-1]
        if x.shape[-1].value == 1:
            return op("mul", ctx.read(x, [*axes[:-1], 0]), ctx.read(pairs, [*at, part]))
        own = op("mul", ctx.read(x, axes), ctx.read(real, at))
        other = op("mul", ctx.read(x, [*axes[:-1], 1 - ix(part)]), ctx.read(crossed, [*at, part]))
        return op("add", own, other)

    return ctx.map([*x.shape[:-1], 2], x.dtype, value)


def _chirped(ctx: Context, x: Operand, inverse: bool, scale: float) -> Operand:
    """Bluestein's transform: n k = (n^2 + k^2 - (k - n)^2) / 2 makes it a convolution with a chirp."""
    n, batch = x.shape[-2].value, x.shape[:-2]
    size = 1 << (2 * n - 2).bit_length()
    squares = np.arange(n, dtype=np.int64) ** 2 % (2 * n)
    chirp = np.exp((1j if inverse else -1j) * np.pi * squares / n)
    kernel = np.zeros(size, np.complex128)
    kernel[:n] = chirp.conj()
    kernel[size - n + 1 :] = chirp.conj()[:0:-1]
    chirped = _times(ctx, x, chirp)
    padded = ctx.pad(chirped, [*((0, 0) for _ in batch), (0, size - n), (0, 0)], 0.0)
    spectrum = _times(ctx, _fft(ctx, padded, False, 1.0), np.fft.fft(kernel))
    result = _fft(ctx, spectrum, True, 1 / size)
    kept = ctx.view(result, [*batch, n, 2], lambda *at: at)
    return _times(ctx, kept, chirp * scale)


def _summed(ctx: Context, x: Operand, plan: _Plan, count: Ix) -> Operand:
    """Every result as a sum over `count` elements of the signal."""
    tables = []
    for name in ("cos", "sin"):

        def entry(axes: tuple[Var, ...], name: str = name) -> Value:
            turn = op("div", Cast(Index(ix(axes[0])), "f64"), Cast(Index(plan.length), "f64"))
            return cast(op(name, op("mul", turn, const(2 * math.pi, turn))), x.dtype)

        tables.append(ctx.map([plan.length], x.dtype, entry))
    out = ctx.axes([*x.shape[:-2], plan.bins, plan.parts])
    over = (var(ctx.unique("r"), count), var(ctx.unique("r"), x.shape[-1]))
    at, part, result = ix(over[0]), Index(ix(over[1])), Index(ix(out[-1]))
    cos, sin = (ctx.read(t, [at * out[-2] % plan.length]) for t in tables)
    sin = sin if plan.inverse else op("neg", sin)
    if plan.real:
        factor: Value = Select(op("eq", part, const(0, part)), cos, op("neg", sin))
        edge = Op("or", (_is(at, ix(0)), _is(2 * at, plan.length)), "bool")
        factor = op("mul", factor, Select(edge, const(1, factor), const(2, factor)))
    else:
        crossed = Select(op("eq", result, const(1, result)), sin, op("neg", sin))
        factor = Select(op("eq", result, part), cos, crossed)
    value = op("mul", ctx.read(x, [*out[:-2], at, over[1]]), factor)
    total: Value = Acc(x.dtype)
    finish = op("div", total, Cast(Index(plan.length), x.dtype)) if plan.inverse else total
    output = ctx.tensor(x.dtype, [*x.shape[:-2], plan.bins, plan.parts])
    return ctx.add(Reduce(output, out, finish, "add", over, value))


def _is(a: Ix, b: Ix) -> Value:
    return Op("eq", (Index(a), Index(b)), "bool")


@lowers("STFT")
def stft(ctx: Context, node: Node) -> Operand:
    """Frames are read where they lie in the signal; a constant window is part of a short transform's matrix."""
    x, window, given = _signal(node), node.optional(2), node.optional(3)
    if x.rank != 3:
        raise node.unsupported(f"a signal of rank {x.rank}", "make it [batch, length, 1 or 2]")
    step = ctx.integers(node.input(1), "frame_step").reshape(-1)[0]
    length = x.shape[1] if window is None else window.shape[0]
    if given is not None:
        told = ctx.integers(given, "frame_length").reshape(-1)[0]
        if window is not None:
            ctx.require(told, length)
        else:
            length = told
    plan = _plan_of(ctx, node, length, False, bool(node.get("onesided", 1)), 2)
    count = (Index(x.shape[1] - plan.length), Op("max", (Index(step), Const(1, "i64")), "i64"))
    fixed = step.is_const and not ctx.is_loose(plan.length)
    frames = ctx.size(
        (x.shape[1] - plan.length) // step + 1 if fixed else op("add", op("div", *count), Const(1, "i64")),
        x.shape[1] + 1, 0, 1,
    )  # fmt: skip
    shape = [x.shape[0], frames, plan.length, x.shape[2]]
    rows = ctx.view(x, shape, lambda b, f, n, c: [b, f * step + n, c])
    return _transform(ctx, rows, plan, window)


@lowers("MelWeightMatrix")
def mel_weight_matrix(ctx: Context, node: Node) -> Operand:
    """Triangles between neighbouring centres, which lie evenly on the mel scale, rounded down to bins of the spectrum."""
    mels, length, rate = (ctx.integers(node.input(i), "a size").reshape(-1)[0] for i in range(3))
    edges = [node.input(i) for i in (3, 4)]
    dtype = dtype_name(node.get("output_datatype", 1), node)
    bins = ctx.size(length // 2 + 1, None, 0, 0)
    columns = ctx.size(mels, None, 0, 1)

    def mel(edge: Operand) -> Value:
        hertz = cast(ctx.read(edge, [0] * edge.rank), "f64")
        scaled = op("log", op("add", op("div", hertz, const(700, hertz)), const(1, hertz)))
        return op("mul", scaled, const(2595 / math.log(10), scaled))

    def centre(axes: tuple[Var, ...]) -> Value:
        low, high = map(mel, edges)
        at = op(
            "div",
            op("mul", op("sub", high, low), Cast(Index(ix(axes[0])), "f64")),
            Cast(Index(columns + 2), "f64"),
        )
        power = op("mul", op("add", at, low), const(math.log(10) / 2595, at))
        hertz = op("mul", op("sub", op("exp", power), const(1, power)), const(700, power))
        scaled = op("div", op("mul", hertz, Cast(Index(length + 1), "f64")), Cast(Index(rate), "f64"))
        return cast(op("floor", scaled), "i64")

    centres = ctx.map([columns + 2], "i64", centre)

    def weight(axes: tuple[Var, ...]) -> Value:
        bin_, column = Index(ix(axes[0])), ix(axes[1])
        low, middle, high = (ctx.read(centres, [column + i]) for i in range(3))

        def ratio(a: Value, b: Value) -> Value:
            return op("div", cast(a, "f64"), cast(b, "f64"))

        rising = ratio(op("sub", bin_, low), op("sub", middle, low))
        falling = ratio(op("sub", high, bin_), op("sub", high, middle))
        zero, one = Const(0.0, "f64"), Const(1.0, "f64")
        left = Select(op("ge", bin_, low), rising, zero)
        right = Select(op("lt", bin_, high), falling, zero)
        side = Select(op("lt", bin_, middle), left, right)
        return cast(Select(op("eq", bin_, middle), one, side), dtype)

    return ctx.map([bins, columns], dtype, weight)
