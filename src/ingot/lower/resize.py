"""Resize and Upsample: tables of source positions and weights for each axis, and the passes that apply them.

The tables are constants where sizes and scales are, and computed by the run otherwise. Positions are those of the
operator's specification, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ingot.ir.index import Ix, IxLike, Var, ix, maximum, minimum, var
from ingot.ir.nodes import (
    DTYPES,
    Acc,
    Const,
    Index,
    Op,
    Select,
    Value,
    as_index,
)
from ingot.ir.ops import OPS
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.elementwise import FLOATS
from ingot.lower.movement import integers
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.tables import folded, table
from ingot.lower.values import cast

TRANSFORMS = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip


@dataclass
class _Axis:
    """How one axis changes: its sizes, the scale, and the part of the input that tf_crop_and_resize takes."""

    axis: int
    before: Ix
    after: Ix
    scale: Value
    roi: tuple[Value, Value] | None

    def ratio(self) -> int:
        """The scale where it is a known whole number, else 0."""
        whole = isinstance(self.scale, Const) and float(self.scale.value).is_integer()
        return int(self.scale.value) if isinstance(self.scale, Const) and whole else 0


@lowers("Resize", "Upsample")
def resize(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    mode = node.get("mode", "nearest")
    mode = "linear" if mode == "bilinear" else mode
    if mode not in ("nearest", "linear", "cubic"):
        raise node.unsupported(f"mode={mode}", "use nearest, linear or cubic")
    transform = node.get("coordinate_transformation_mode", "half_pixel" if node.opset > 10 else "asymmetric")
    if transform not in TRANSFORMS:
        raise node.unsupported(
            f"coordinate_transformation_mode={transform}", f"use one of {', '.join(TRANSFORMS)}"
        )
    rounding = node.get("nearest_mode", "round_prefer_floor" if node.opset > 10 else "floor")
    antialias = bool(node.get("antialias", 0)) and mode != "nearest"
    axes = [a for a in _axes(ctx, node, x, transform) if _changes(a)]
    if mode == "nearest":
        return _nearest(ctx, node, x, axes, transform, rounding)
    if x.dtype not in FLOATS:
        dtype = "f32" if DTYPES[x.dtype].itemsize < 4 else "f64"
        wide = ctx.map(x.shape, dtype, lambda i: cast(ctx.read(x, i), dtype))
        made = _interpolated(ctx, node, wide, axes, transform, mode, antialias)
        info = np.iinfo(DTYPES[x.dtype])

        def narrow(i: tuple[Var, ...]) -> Value:
            low, high = Const(float(info.min), dtype), Const(float(info.max), dtype)
            return cast(_op("max", _op("min", _op("round", ctx.read(made, i)), high), low), x.dtype)

        return ctx.map(made.shape, x.dtype, narrow)
    return _interpolated(ctx, node, x, axes, transform, mode, antialias)


def _interpolated(
    ctx: Context, node: Node, x: Operand, axes: list[_Axis], transform: str, mode: str, antialias: bool
) -> Operand:
    made = x
    if mode == "linear" and not antialias:
        made = _linear(ctx, x, axes, transform)
    else:
        for a in axes:
            made = _filtered(ctx, node, made, a, transform, mode, antialias)
    return _extrapolated(ctx, node, made, axes, transform)


def _changes(a: _Axis) -> bool:
    same = a.before == a.after and a.roi is None
    return not (same and (isinstance(a.scale, Const) and a.scale.value == 1.0))


def _axes(ctx: Context, node: Node, x: Operand, transform: str) -> list[_Axis]:
    """Every axis of the input, with the size and scale that the node asks for."""
    chosen = [int(a) % x.rank for a in node.get("axes", range(x.rank))]
    found = [_Axis(i, d, d, Const(1.0, "f64"), None) for i, d in enumerate(x.shape)]
    if transform == "tf_crop_and_resize":
        roi = node.input(1)
        for k, axis in enumerate(chosen):
            start, end = (cast(ctx.read(roi, [at]), "f64") for at in (k, k + len(chosen)))
            found[axis].roi = start, end
    sizes = node.optional(3) if node.opset > 10 and node.operator == "Resize" else None
    if sizes is not None and sizes.shape != (ix(0),):
        _take_sizes(ctx, node, [found[a] for a in chosen])
        return found
    given = node.get("scales")
    if given is None:
        at = 1 if node.operator == "Upsample" or node.opset < 11 else 2
        scales = node.input(at)
        values = [
            cast(ctx.read(scales, [k]), "f64") if scales.data is None else Const(float(scales.data[k]), "f64")
            for k in range(len(chosen))
        ]
    else:
        values = [Const(float(scale), "f64") for scale in given]
    for scale, axis in zip(values, chosen, strict=True):
        a = found[axis]
        a.scale = scale
        a.after = _scaled(ctx, a)
    return found


def _scaled(ctx: Context, a: _Axis) -> Ix:
    """floor(size * scale)."""
    if not isinstance(a.scale, Const):
        size = _op("floor", _op("mul", cast(Index(a.before), "f64"), a.scale))
        return ctx.size(cast(size, "i64"), None, 0, a.axis)
    scale = float(a.scale.value)
    if a.before.is_const:
        return ix(math.floor(a.before.value * scale))
    if scale.is_integer():
        return a.before * int(scale)
    if (1 / scale).is_integer():
        return a.before // int(1 / scale)
    size = _op("floor", _op("mul", cast(Index(a.before), "f64"), a.scale))
    return ctx.size(cast(size, "i64"), a.before * math.ceil(scale), 0, a.axis)


def _take_sizes(ctx: Context, node: Node, axes: list[_Axis]) -> None:
    """Sizes and scales from the input `sizes`, after keep_aspect_ratio_policy."""
    wanted = integers(ctx, node, 3, "sizes") or []
    ratios = [_divided(size, a.before) for size, a in zip(wanted, axes, strict=True)]
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        scale = ratios[0]
        for other in ratios[1:]:
            scale = _op("min" if policy == "not_larger" else "max", scale, other)
        scale = folded(scale)
        for a in axes:
            size = _op("floor", _op("add", _op("mul", cast(Index(a.before), "f64"), scale), _f64(0.5)))
            known = folded(size)
            a.scale = scale
            a.after = (
                ix(int(known.value))
                if isinstance(known, Const)
                else ctx.size(cast(size, "i64"), None, 0, a.axis)
            )
        return
    for a, asked, ratio in zip(axes, wanted, ratios, strict=True):
        a.after = ctx.size(asked, None, 0, a.axis)
        a.scale = _divided(a.after, a.before) if a.after.is_const else ratio


def _divided(a: Ix, b: Ix) -> Value:
    """a / b, known also where both are multiples of the same symbols."""
    if a.is_const and b.is_const:
        return _f64(a.value / b.value) if b.value else _f64(1.0)
    if a == b:
        return _f64(1.0)
    whole = a // b
    if whole.is_const and whole * b == a:
        return _f64(float(whole.value))
    return _op("div", cast(Index(a), "f64"), cast(Index(b), "f64"))


def _f64(value: float) -> Value:
    return Const(value, "f64")


def _op(name: str, *args: Value) -> Value:
    return Op(name, args, "bool" if OPS[name].boolean else args[0].dtype)


def _position(a: _Axis, transform: str, at: Value) -> Value:
    """Where in the input the element `at` of the output lies. ONNX, Resize, coordinate_transformation_mode."""
    before, after = cast(Index(a.before), "f64"), cast(Index(a.after), "f64")
    one, half = _f64(1.0), _f64(0.5)
    length = _op("mul", a.scale, before)
    last = _op("sub", before, one)
    if transform == "asymmetric":
        return _op("div", at, a.scale)
    centred = _op("sub", _op("div", _op("add", at, half), a.scale), half)
    if transform == "half_pixel":
        return centred
    if transform == "pytorch_half_pixel":
        return Select(_op("gt", length, one), centred, _f64(-0.5))
    if transform == "half_pixel_symmetric":
        shift = _op("mul", _op("div", before, _f64(2.0)), _op("sub", one, _op("div", after, length)))
        return _op("add", shift, centred)
    start, end = a.roi or (_f64(0.0), one)
    span = _op("mul", _op("sub", end, start), last)
    step = _op("div", span, _op("max", _op("sub", length, one), _f64(1e-300)))
    single = _op("div", span, _f64(2.0)) if a.roi else _f64(0.0)
    inside = Select(_op("eq", length, one), single, _op("mul", at, step))
    return _op("add", inside, _op("mul", start, last)) if a.roi else inside


def _nearest(
    ctx: Context, node: Node, x: Operand, axes: list[_Axis], transform: str, rounding: str
) -> Operand:
    roundings: dict[str, Callable[[Value], Value]] = {
        "round_prefer_floor": lambda v: _op("ceil", _op("sub", v, _f64(0.5))),
        "round_prefer_ceil": lambda v: _op("floor", _op("add", v, _f64(0.5))),
        "floor": lambda v: _op("floor", v),
        "ceil": lambda v: _op("ceil", v),
    }
    if rounding not in roundings:
        raise node.unsupported(f"nearest_mode={rounding}", f"use one of {', '.join(roundings)}")
    repeats = (transform, rounding) == ("asymmetric", "floor") or (
        transform == "half_pixel" and rounding.startswith("round")
    )
    tables: dict[int, Operand] = {}
    ratios: dict[int, int] = {}
    for a in axes:
        if repeats and a.ratio() and a.before * a.ratio() == a.after:
            ratios[a.axis] = a.ratio()
            continue

        def element(i: tuple[Var, ...], a: _Axis = a) -> Value:
            found = roundings[rounding](_position(a, transform, cast(Index(ix(i[0])), "f64")))
            return _clamped(found, a.before)

        tables[a.axis] = table(ctx, [a.after], "i64", element)
    shape = list(x.shape)
    for a in axes:
        shape[a.axis] = a.after

    def source(out: tuple[Ix, ...]) -> list[Ix]:
        return [_at(ctx, tables.get(i), ratios.get(i, 1), o, x.shape[i]) for i, o in enumerate(out)]

    made = ctx.view(x, shape, lambda *out: source(out))
    return _extrapolated(ctx, node, made, axes, transform)


def _clamped(position: Value, dim: Ix) -> Value:
    last = cast(Index(dim - 1), "f64")
    return cast(_op("max", _op("min", position, last), _f64(0.0)), "i64")


def _at(ctx: Context, table: Operand | None, ratio: int, out: Ix, dim: Ix) -> Ix:
    """The position that a table gives, as an expression where it has one."""
    if table is None:
        return out // ratio
    if table.data is not None:
        steps = _integer_ratio(table.data)
        return out // steps if steps else as_index(ctx.read(table, [out]))
    return maximum(minimum(as_index(ctx.read(table, [out])), dim - 1), 0)


def _integer_ratio(table: np.ndarray) -> int:
    """r where the table is i // r, else 0."""
    n = len(table)
    top = int(table[-1]) + 1 if n else 0
    ratio = n // top if top else 0
    return ratio if ratio and np.array_equal(table, np.arange(n) // ratio) else 0


def _linear(ctx: Context, x: Operand, axes: list[_Axis], transform: str) -> Operand:
    """Between two neighbours along each axis, all axes at once."""
    sources: dict[int, tuple[Operand, Operand]] = {}
    shape = list(x.shape)
    for a in axes:
        shape[a.axis] = a.after

        def clipped(i: tuple[Var, ...], a: _Axis = a) -> Value:
            at = _position(a, transform, cast(Index(ix(i[0])), "f64"))
            return _op("max", _op("min", at, cast(Index(a.before - 1), "f64")), _f64(0.0))

        def low(i: tuple[Var, ...], a: _Axis = a) -> Value:
            return _clamped(_op("floor", clipped(i, a)), a.before)

        def part(i: tuple[Var, ...], a: _Axis = a) -> Value:
            at = clipped(i, a)
            return _op("sub", at, _op("floor", at))

        sources[a.axis] = table(ctx, [a.after], "i64", low), table(ctx, [a.after], x.dtype, part)

    def value(out: tuple[Var, ...]) -> Value:
        def blend(axis: int, index: list[IxLike]) -> Value:
            if axis == x.rank:
                return ctx.read(x, index)
            if axis not in sources:
                return blend(axis + 1, [*index, ix(out[axis])])
            table, fraction = sources[axis]
            at = _at(ctx, table, 1, ix(out[axis]), x.shape[axis])
            first = blend(axis + 1, [*index, at])
            second = blend(axis + 1, [*index, minimum(at + 1, x.shape[axis] - 1)])
            part = ctx.read(fraction, [out[axis]])
            return _op("add", first, _op("mul", _op("sub", second, first), part))

        return blend(0, [])

    return ctx.map(shape, x.dtype, value)


def _filtered(
    ctx: Context, node: Node, x: Operand, a: _Axis, transform: str, mode: str, antialias: bool
) -> Operand:
    """A sum over neighbours along one axis, weighted by the cubic (Keys 1981) or the linear filter, which is as wide as
    the scale is small where it has to keep high frequencies out."""
    support = 2 if mode == "cubic" else 1
    reach = support
    narrow = _f64(1.0)
    if antialias:
        if not (a.before.is_const and a.after.is_const):
            raise node.unsupported(
                "antialias=1 of a size known only at run time", "give the input shape with --shape"
            )
        reach = math.ceil(support * max(1.0, a.before.value / max(a.after.value, 1)) + 1e-6)
        narrow = _op("min", a.scale, _f64(1.0))
    taps = 2 * reach
    coefficient = float(node.get("cubic_coeff_a", -0.75))
    exclude = bool(node.get("exclude_outside", 0))

    def base(at: Ix) -> Value:
        return _op("floor", _position(a, transform, cast(Index(at), "f64")))

    def weight(i: tuple[Var, ...]) -> Value:
        place = _op("add", base(ix(i[0])), cast(Index(ix(i[1]) + (1 - reach)), "f64"))
        position = _position(a, transform, cast(Index(ix(i[0])), "f64"))
        away = _op("abs", _op("mul", _op("sub", place, position), narrow))
        found = (
            _cubic(away, coefficient)
            if mode == "cubic"
            else _op("max", _op("sub", _f64(1.0), away), _f64(0.0))
        )
        if exclude:
            inside = _op("and", _op("ge", place, _f64(0.0)), _op("lt", place, cast(Index(a.before), "f64")))
            found = Select(inside, found, _f64(0.0))
        return found

    def first(i: tuple[Var, ...]) -> Value:
        far = _op("max", _op("min", base(ix(i[0])), _f64(2.0**40)), _f64(-(2.0**40)))
        return _op("add", cast(far, "i64"), Const(1 - reach, "i64"))

    start = table(ctx, [a.after], "i64", first)
    weights = table(ctx, [a.after, taps], "f64", weight)
    weights = _normal(ctx, weights, x.dtype, exclude or antialias)
    shape = [a.after if i == a.axis else d for i, d in enumerate(x.shape)]
    out = ctx.axes(shape)
    tap = var(ctx.unique("r"), taps)
    place = as_index(ctx.read(start, [out[a.axis]])) + ix(tap)
    index = [ix(o) for o in out]
    index[a.axis] = maximum(minimum(place, a.before - 1), 0)
    product = _op("mul", ctx.read(x, index), ctx.read(weights, [out[a.axis], tap]))
    return ctx.add(Reduce(ctx.tensor(x.dtype, shape), out, Acc(x.dtype), "add", (tap,), product))


def _cubic(away: Value, a: float) -> Value:
    """Keys' cubic convolution filter at a distance."""

    def polynomial(*coefficients: float) -> Value:
        total = _f64(coefficients[0])
        for c in coefficients[1:]:
            total = _op("add", _op("mul", total, away), _f64(c))
        return total

    near = polynomial(a + 2, -(a + 3), 0.0, 1.0)
    far = polynomial(a, -5 * a, 8 * a, -4 * a)
    outer = Select(_op("lt", away, _f64(2.0)), far, _f64(0.0))
    return Select(_op("le", away, _f64(1.0)), near, outer)


def _normal(ctx: Context, weights: Operand, dtype: str, scale: bool) -> Operand:
    """Weights (positions, taps) as the data's dtype, each row adding up to 1 where `scale`."""
    if weights.data is not None:
        table = weights.data
        if scale:
            table = table / table.sum(axis=1, keepdims=True)
        return ctx.constant(table.astype(DTYPES[dtype]))
    if not scale:
        return ctx.map(weights.shape, dtype, lambda i: cast(ctx.read(weights, i), dtype))
    out = ctx.axes(weights.shape[:1])
    tap = var(ctx.unique("r"), weights.shape[1])
    total = ctx.add(
        Reduce(
            ctx.tensor("f64", weights.shape[:1]),
            out,
            Acc("f64"),
            "add",
            (tap,),
            ctx.read(weights, [*out, tap]),
        )
    )
    return ctx.map(
        weights.shape, dtype, lambda i: cast(_op("div", ctx.read(weights, i), ctx.read(total, i[:1])), dtype)
    )


def _extrapolated(ctx: Context, node: Node, made: Operand, axes: list[_Axis], transform: str) -> Operand:
    """The result with `extrapolation_value` wherever tf_crop_and_resize looks outside the input."""
    if transform != "tf_crop_and_resize":
        return made
    tables = {}
    for a in axes:

        def outside(i: tuple[Var, ...], a: _Axis = a) -> Value:
            at = _position(a, transform, cast(Index(ix(i[0])), "f64"))
            far = _op("gt", at, cast(Index(a.before - 1), "f64"))
            return _op("or", _op("lt", at, _f64(0.0)), far)

        tables[a.axis] = table(ctx, [a.after], "bool", outside)
    fill = Const(float(node.get("extrapolation_value", 0.0)), made.dtype)

    def value(out: tuple[Var, ...]) -> Value:
        found = ctx.read(made, out)
        for axis, flags in tables.items():
            found = Select(ctx.read(flags, [out[axis]]), fill, found)
        return found

    return ctx.map(made.shape, made.dtype, value)
