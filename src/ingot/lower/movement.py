"""Operators that only move elements: each is an index expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingot.ir.index import Ix, ix, maximum, product
from ingot.ir.nodes import DTYPES, Const, Index, Op, Select, Value, as_index
from ingot.lower.context import Context
from ingot.lower.elementwise import FLOATS, dtype_name
from ingot.lower.operand import Anything, Node, Operand, elements_of, object_array
from ingot.lower.registry import lowers
from ingot.lower.values import cast, nothing, wrap_index, wrapped


def axis_of(node: Node, rank: int, default: int = 0, name: str = "axis") -> int:
    """The attribute `axis`, counted from the front. Raises IngotError unsupported when it is out of range."""
    axis = node.get(name, default)
    if not -rank <= axis < max(rank, 1):
        raise node.unsupported(f"axis {axis} is outside a tensor of rank {rank}")
    return int(axis % rank) if rank else 0


def inside_all_but(ctx: Context, axis: int, indices: Operand, data: Operand) -> None:
    """Take each dimension of indices but that of the axis to be at most the one of data."""
    sides = ([d for i, d in enumerate(x.shape) if i != axis] for x in (indices, data))
    ctx.require_inside(*sides)


def integers(ctx: Context, node: Node, i: int, what: str, attribute: str | None = None) -> list[Ix] | None:
    """Integers from an attribute (older opsets) or from input i, as expressions of symbols. None where absent."""
    if attribute is not None and attribute in node.attributes:
        return [ix(v) for v in node.attributes[attribute]]
    operand = node.optional(i)
    return None if operand is None else [ctx.sized(ix(v)) for v in ctx.integers(operand, what).reshape(-1)]


def known_axes(node: Node, i: int, rank: int) -> list[int] | None:
    """Axes from the attribute or from input i, counted from the front. None where absent or known only at run time."""
    if "axes" in node.attributes:
        return [int(a) % rank for a in node.attributes["axes"]]
    operand = node.optional(i)
    if operand is None or operand.known is None or not all(a.is_const for a in operand.known.reshape(-1)):
        return None
    return [a.value % rank for a in operand.known.reshape(-1)]


def axes_from(ctx: Context, node: Node, i: int, rank: int) -> list[int] | None:
    """Axes as `known_axes` gives them, None where absent. Raises IngotError unsupported where they are not known."""
    found = known_axes(node, i, rank)
    if found is None and node.optional(i) is not None:
        raise node.unsupported("its axes are computed at run time", "make them a constant of the model")
    return found


@lowers("Constant")
def constant(ctx: Context, node: Node) -> Operand:
    if "value" in node.attributes:
        return ctx.constant(elements_of(node.attributes["value"]))
    for name, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in node.attributes:
            return ctx.constant(np.array(node.attributes[name], dtype))
    if "value_string" in node.attributes:
        return ctx.constant(object_array([node.attributes["value_string"]]).reshape(()))
    if "value_strings" in node.attributes:
        return ctx.constant(object_array(node.attributes["value_strings"]))
    raise node.unsupported("a constant that is no dense tensor", "make it one")


@lowers("Identity")
def forward(ctx: Context, node: Node) -> Anything:
    """Also of sequences and optionals."""
    value = node.value(0)
    return node.input(0) if value is None else value


@lowers("Reshape")
def reshape(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    wanted = integers(ctx, node, 1, "the shape", "shape") or []
    if any(ctx.is_loose(d) for d in wanted):
        return ctx.reshape(x, _run_time_shape(ctx, node, x, wanted))
    shape: list[Ix] = []
    hole = None
    for i, d in enumerate(wanted):
        if d.is_const and d.value == -1:
            hole = i
            shape.append(ix(1))
        elif d.is_const and d.value == 0 and not node.get("allowzero", 0):
            shape.append(x.shape[i])
        else:
            shape.append(d)
    if hole is not None:
        total, rest = product(x.shape), product(shape)
        shape[hole] = total // rest
    return ctx.reshape(x, shape)


def _run_time_shape(ctx: Context, node: Node, x: Operand, wanted: Sequence[Ix]) -> list[Ix]:
    """The sizes that a shape asks for in which 0 and -1 may stand where a run decides."""
    sizes: list[Value] = [Index(d) for d in wanted]
    if not node.get("allowzero", 0):
        for i, d in enumerate(x.shape[: len(sizes)]):
            sizes[i] = Select(equal(sizes[i], 0), Index(d), sizes[i])
    rest: Value = Const(1, "i64")
    for size in sizes:
        rest = Op("mul", (rest, Select(equal(size, -1), Const(1, "i64"), size)), "i64")
    total = product(x.shape)
    hole = Op("div", (Index(total), Op("max", (rest, Const(1, "i64")), "i64")), "i64")
    return [
        ctx.size(Select(equal(size, -1), hole, size), total, 0, i)
        if ctx.is_loose(d) or (d.is_const and d.value < 1)
        else d
        for i, (d, size) in enumerate(zip(wanted, sizes, strict=True))
    ]


def equal(a: Value, b: int) -> Value:
    return Op("eq", (a, Const(b, "i64")), "bool")


@lowers("Flatten")
def flatten(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axis = node.get("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return ctx.reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])])


@lowers("Squeeze")
def squeeze(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    axes = known_axes(node, 1, x.rank)
    if axes is None and node.optional(1) is not None:
        flags = axis_flags(ctx, node, 1, x.rank)
        return ctx.reshape(x, kept_sizes(ctx, x, flags, x.rank - node.input(1).shape[0].value))
    if axes is None:
        axes = [i for i, d in enumerate(x.shape) if d.is_const and d.value == 1]
    return ctx.reshape(x, [d for i, d in enumerate(x.shape) if i not in axes])


@lowers("Unsqueeze")
def unsqueeze(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    found = integers(ctx, node, 1, "axes", "axes") or []
    rank = x.rank + len(found)
    if any(ctx.is_loose(a) for a in found):
        flags = axis_flags(ctx, node, 1, rank)
        return ctx.reshape(x, _spread_sizes(ctx, x, flags))
    axes = {a.value % rank for a in found}
    dims = iter(x.shape)
    return ctx.reshape(x, [ix(1) if i in axes else next(dims) for i in range(rank)])


def axis_flags(ctx: Context, node: Node, i: int, rank: int) -> list[Value]:
    """For each axis of a tensor of this rank, whether input i, integers known only at run time, names it."""
    given = [Index(a) for a in ctx.integers(node.input(i), "its axes").reshape(-1)]
    flags = []
    for axis in range(rank):
        flag: Value = Const(False, "bool")
        for a in given:
            named = Op("or", (equal(a, axis), equal(a, axis - rank)), "bool")
            flag = named if flag == Const(False, "bool") else Op("or", (flag, named), "bool")
        flags.append(flag)
    return flags


def kept_sizes(ctx: Context, x: Operand, flags: Sequence[Value], count: int) -> list[Ix]:
    """The sizes of the `count` axes that have no flag, in order."""
    largest = ix(0)
    for d in x.shape:
        largest = maximum(largest, d)
    sizes = []
    for wanted in range(count):
        size: Value = Const(1, "i64")
        before: Value = Const(0, "i64")
        for flag, d in zip(flags, x.shape, strict=True):
            here = Op("and", (Op("eq", (flag, Const(False, "bool")), "bool"), equal(before, wanted)), "bool")
            size = Select(here, Index(d), size)
            step = Select(flag, Const(0, "i64"), Const(1, "i64"))
            before = Op("add", (before, step), "i64")
        sizes.append(ctx.size(size, largest, 0, wanted))
    return sizes


def _spread_sizes(ctx: Context, x: Operand, flags: Sequence[Value]) -> list[Ix]:
    """1 for each axis with a flag, and the sizes of x, in order, for the others."""
    largest = ix(1)
    for d in x.shape:
        largest = maximum(largest, d)
    sizes = []
    before: Value = Const(0, "i64")
    for axis, flag in enumerate(flags):
        size: Value = Const(1, "i64")
        for i, d in enumerate(x.shape):
            size = Select(equal(before, i), Index(d), size)
        sizes.append(ctx.size(Select(flag, Const(1, "i64"), size), largest, 0, axis))
        step = Select(flag, Const(0, "i64"), Const(1, "i64"))
        before = Op("add", (before, step), "i64")
    return sizes


@lowers("Transpose")
def transpose(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    perm = [int(p) for p in node.get("perm", range(x.rank - 1, -1, -1))]
    return ctx.view(x, [x.shape[p] for p in perm], lambda *axes: [axes[perm.index(i)] for i in range(x.rank)])


@lowers("Concat")
def concat(ctx: Context, node: Node) -> Operand:
    operands = node.operands()
    return joined(ctx, operands, axis_of(node, operands[0].rank))


def joined(ctx: Context, operands: Sequence[Operand], axis: int) -> Operand:
    """Operands one after the other along an axis; empty ones are left out."""
    full = [x for x in operands if x.shape[axis] != ix(0)] or operands[:1]
    return full[0] if len(full) == 1 else ctx.concat(full, axis)


@lowers("Expand")
def expand(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    target = integers(ctx, node, 1, "the shape") or []
    if any(ctx.is_loose(d) for d in target):
        target = _run_time_target(ctx, node, x, target)
    shape = ctx.broadcast(x.shape, tuple(target))
    return ctx.map(shape, x.dtype, lambda axes: ctx.read_broadcast(x, axes))


def _run_time_target(ctx: Context, node: Node, x: Operand, target: Sequence[Ix]) -> list[Ix]:
    """The sizes that x is expanded to: those of x wherever they are not 1."""
    rank = max(x.rank, len(target))
    shape: list[Ix] = [*[ix(1)] * (rank - x.rank), *x.shape]
    for i, wanted in enumerate(target, rank - len(target)):
        if shape[i] == ix(1):
            shape[i] = ctx.size(wanted, None, 0, i)
        elif ctx.is_loose(wanted):
            one = Op("eq", (Index(wanted), Const(1, "i64")), "bool")
            given = ctx.scalar(Select(one, Index(shape[i]), Index(wanted)))
            ctx.require(ctx.measure(given), shape[i])
    return shape


@lowers("Tile")
def tile(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    repeats = integers(ctx, node, 1, "repeats") or []
    shape = [ctx.size(d * r, None, 0, i) for i, (d, r) in enumerate(zip(x.shape, repeats, strict=True))]
    return ctx.view(
        x, shape, lambda *axes: [ix(0) if d == ix(0) else a % d for a, d in zip(axes, x.shape, strict=True)]
    )


@lowers("Gather")
def gather(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    axis = axis_of(node, x.rank)
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    exact = _in_range(indices.data, x.shape[axis])
    ctx.check_indices(indices, x.shape[axis : axis + 1])

    def at(axes: Sequence[Ix]) -> Ix:
        value = ctx.read(indices, axes[axis : axis + indices.rank])
        return as_index(value) if exact else wrap_index(value, x.shape[axis])

    return ctx.view(x, shape, lambda *axes: [*axes[:axis], at(axes), *axes[axis + indices.rank :]])


def _in_range(data: np.ndarray | None, dim: Ix) -> bool:
    return data is not None and dim.is_const and bool(((data >= 0) & (data < dim.value)).all())


@lowers("GatherElements")
def gather_elements(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    axis = axis_of(node, x.rank)
    inside_all_but(ctx, axis, indices, x)
    ctx.check_indices(indices, x.shape[axis : axis + 1])

    def source(*axes: Ix) -> list[Ix]:
        found = list(axes)
        found[axis] = wrap_index(ctx.read(indices, axes), x.shape[axis])
        return found

    return ctx.view(x, indices.shape, source)


@lowers("GatherND")
def gather_nd(ctx: Context, node: Node) -> Operand:
    x, indices = node.input(0), node.input(1)
    batch = node.get("batch_dims", 0)
    depth = indices.shape[-1].value
    shape = [*indices.shape[:-1], *x.shape[batch + depth :]]
    n = indices.rank - 1
    ctx.require_all(indices.shape[:batch], x.shape[:batch])
    ctx.check_indices(indices, x.shape[batch : batch + depth])

    def source(*axes: Ix) -> list[Ix]:
        picked = [wrap_index(ctx.read(indices, [*axes[:n], k]), x.shape[batch + k]) for k in range(depth)]
        return [*axes[:batch], *picked, *axes[n:]]

    return ctx.view(x, shape, source)


@lowers("DepthToSpace")
def depth_to_space(ctx: Context, node: Node) -> Operand:
    x, b = node.input(0), int(node.attributes["blocksize"])
    n, c, h, w = x.shape
    depth = c // (b * b)

    def source(i: Ix, f: Ix, y: Ix, z: Ix) -> list[Ix]:
        dy, dz = y % b, z % b
        if node.get("mode", "DCR") == "CRD":
            channel = (f * b + dy) * b + dz
        else:
            channel = (dy * b + dz) * depth + f
        return [i, channel, y // b, z // b]

    return ctx.view(x, [n, depth, h * b, w * b], source)


@lowers("SpaceToDepth")
def space_to_depth(ctx: Context, node: Node) -> Operand:
    x, b = node.input(0), int(node.attributes["blocksize"])
    n, c, h, w = x.shape

    def source(i: Ix, f: Ix, y: Ix, z: Ix) -> list[Ix]:
        if node.get("mode", "DCR") == "CRD":
            block, channel = f % (b * b), f // (b * b)
        else:
            block, channel = f // c, f % c
        return [i, channel, y * b + block // b, z * b + block % b]

    return ctx.view(x, [n, c * b * b, h // b, w // b], source)


@lowers("Trilu")
def trilu(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    offset = integers(ctx, node, 1, "k")
    k = offset[0] if offset else ix(0)
    upper = bool(node.get("upper", 1))

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        row, column = ix(axes[-2]) + k, ix(axes[-1])
        keep = Op("ge" if upper else "le", (Index(column), Index(row)), "bool")
        return Select(keep, ctx.read(x, axes), nothing(x.dtype))

    return ctx.map(x.shape, x.dtype, value)


@lowers("OneHot")
def one_hot(ctx: Context, node: Node) -> Operand:
    indices, values = node.input(0), node.input(2)
    rank = indices.rank + 1
    axis = node.get("axis", -1) % rank
    depth = ctx.size((integers(ctx, node, 1, "depth") or [ix(0)])[0], None, 0, axis)
    shape = [*indices.shape[:axis], depth, *indices.shape[axis:]]

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        at = cast(ctx.read(indices, [a for i, a in enumerate(axes) if i != axis]), "i64")
        at = Select(Op("lt", (at, Const(0, "i64")), "bool"), Op("add", (at, Index(depth)), "i64"), at)
        hit = Op("eq", (at, Index(ix(axes[axis]))), "bool")
        return Select(hit, ctx.read(values, [1]), ctx.read(values, [0]))

    return ctx.map(shape, values.dtype, value)


@lowers("Shape")
def shape_of(ctx: Context, node: Node) -> Operand:
    dims = list(node.input(0).shape)[slice(node.get("start", 0), node.get("end", None))]
    return known(ctx, np.array(dims, object))


@lowers("Size")
def size(ctx: Context, node: Node) -> Operand:
    total = np.empty((), object)
    total[()] = product(node.input(0).shape)
    return known(ctx, total)


def known(ctx: Context, values: np.ndarray, dtype: str = "i64") -> Operand:
    """An operand of integers known up to symbols."""
    if all(v.is_const for v in values.reshape(-1)):
        numbers = [bool(v.value) if dtype == "bool" else wrapped(v.value, dtype) for v in values.reshape(-1)]
        return ctx.constant(np.array(numbers, DTYPES[dtype]).reshape(values.shape))
    return Operand(ctx.unique("k"), dtype, tuple(ix(d) for d in values.shape), known=values)


@lowers("ConstantOfShape")
def constant_of_shape(ctx: Context, node: Node) -> Operand:
    wanted = integers(ctx, node, 0, "the shape") or []
    shape = [ctx.size(d, None, 0, i) for i, d in enumerate(wanted)]
    value = node.get("value")
    data = np.zeros(1, np.float32) if value is None else elements_of(value)
    fill = ctx.constant(data.reshape(-1)[:1])
    return ctx.map(shape, fill.dtype, lambda axes: ctx.read(fill, [0]))


MAX_RANGE = 2**24
"""Elements of a range that becomes a constant."""


def _count(start: float, stop: float, step: float) -> float:
    """Of a range, about."""
    return (stop - start) / step if step else float("inf")


@lowers("Range")
def range_(ctx: Context, node: Node) -> Operand:
    bounds = [node.input(i) for i in range(3)]
    start = bounds[0]
    data = [x.data.reshape(-1)[0] for x in bounds if x.data is not None]
    if len(data) == 3 and _count(*map(float, data)) <= MAX_RANGE:
        return ctx.constant(np.arange(*data, dtype=DTYPES[start.dtype]))
    known_bounds = [x.known.reshape(-1)[0] for x in bounds if x.known is not None]
    if len(known_bounds) < 3 or not known_bounds[2].is_const or any(map(ctx.is_loose, known_bounds)):
        return _run_time_range(ctx, node, bounds)
    a, b, step = known_bounds
    count = maximum((b - a).ceildiv(step) if step.value > 0 else (a - b).ceildiv(-step), 0)
    return ctx.map([count], start.dtype, lambda axes: cast(Index(a + ix(axes[0]) * step), start.dtype))


def _run_time_range(ctx: Context, node: Node, bounds: Sequence[Operand]) -> Operand:
    """A Range of scalars that only a run tells."""
    dtype = bounds[0].dtype
    start, limit, step = (ctx.read(x, [0] * x.rank) for x in bounds)
    gap = Op("sub", (limit, start), dtype)
    if dtype in FLOATS:
        count = cast(Op("ceil", (Op("div", (gap, step), dtype),), dtype), "i64")
    else:
        wide, by = cast(gap, "i64"), cast(step, "i64")
        by = Select(equal(by, 0), Const(1, "i64"), by)
        even = Op("eq", (Op("mul", (Op("div", (wide, by), "i64"), by), "i64"), wide), "bool")
        same = Op("eq", (_negative(wide), _negative(by)), "bool")
        up = Select(even, Const(0, "i64"), Select(same, Const(1, "i64"), Const(0, "i64")))
        count = Op("add", (Op("div", (wide, by), "i64"), up), "i64")
    size = ctx.size(Op("max", (count, Const(0, "i64")), "i64"), None, 0, 0)

    def element(axes: tuple) -> Value:  # type: ignore[type-arg]
        return Op("add", (start, Op("mul", (cast(Index(ix(axes[0])), dtype), step), dtype)), dtype)

    return ctx.map([size], dtype, element)


def _negative(a: Value) -> Value:
    return Op("lt", (a, Const(0, "i64")), "bool")


@lowers("EyeLike")
def eye_like(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    dtype = dtype_name(node.attributes["dtype"], node) if "dtype" in node.attributes else x.dtype
    k = node.get("k", 0)
    return ctx.map(
        x.shape,
        dtype,
        lambda axes: cast(Op("eq", (Index(ix(axes[1])), Index(ix(axes[0]) + k)), "bool"), dtype),
    )
