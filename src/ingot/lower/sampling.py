"""Operators that read between elements, at places that data says: grids, regions of interest, deformed windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.ir.index import Ix, IxLike, Var, ix, maximum, minimum, product, var
from ingot.ir.nodes import Acc, Const, Index, Op, Select, Value, as_index
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.contraction import with_bias
from ingot.lower.elementwise import const, op
from ingot.lower.movement import integers
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import spatial, summed, window_size
from ingot.lower.registry import lowers
from ingot.lower.values import all_of, cast, ravel
from ingot.lower.writer import Writer

MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}
CUBIC = -0.75
"""The parameter of Keys's cubic convolution that ONNX takes."""
SAMPLES = 1 << 12
"""Samples along one axis of a bin of RoiAlign, where its region's size gives their number."""

Pixel = Callable[[Sequence[Ix]], Value]


def const_of(value: float | Ix, dtype: str) -> Value:
    """A size or a number as a float."""
    if isinstance(value, Ix):
        return cast(Index(value), dtype) if not value.is_const else Const(float(value.value), dtype)
    return Const(float(value), dtype)


def within(x: Value, low: Value, high: Value) -> Value:
    """x kept between two floats; a NaN becomes the upper one."""
    return op("max", low, op("min", high, x))


def floor_of(x: Value) -> tuple[Ix, Value]:
    """The integer at or below a float of moderate size, and what is left."""
    low = op("floor", x)
    return as_index(cast(low, "i64")), op("sub", x, low)


def weights(mode: str, part: Value) -> list[tuple[int, Value]]:
    """(step from the element at or below, weight) of each element that an interpolation takes along one axis."""
    one = Const(1.0, part.dtype)
    if mode == "linear":
        return [(0, op("sub", one, part)), (1, part)]

    def near(t: Value) -> Value:
        inner = op("sub", op("mul", t, Const(CUBIC + 2, t.dtype)), Const(CUBIC + 3, t.dtype))
        return op("add", op("mul", op("mul", inner, t), t), one)

    def far(t: Value) -> Value:
        inner = op("sub", op("mul", t, Const(CUBIC, t.dtype)), Const(5 * CUBIC, t.dtype))
        inner = op("add", op("mul", inner, t), Const(8 * CUBIC, t.dtype))
        return op("sub", op("mul", inner, t), Const(4 * CUBIC, t.dtype))

    rest = op("sub", one, part)
    return [(-1, far(op("add", part, one))), (0, near(part)), (1, near(rest)), (2, far(op("add", rest, one)))]


def interpolated(mode: str, places: Sequence[Value], pixel: Pixel) -> Value:
    """The value of a picture between its elements: a weighted sum along each axis in turn."""
    if mode == "nearest":
        return pixel([as_index(cast(op("round", at), "i64")) for at in places])
    split = [floor_of(at) for at in places]

    def along(axis: int, index: list[Ix]) -> Value:
        if axis == len(split):
            return pixel(index)
        base, part = split[axis]
        total: Value | None = None
        for step, weight in weights(mode, part):
            term = op("mul", along(axis + 1, [*index, base + step]), weight)
            total = term if total is None else op("add", total, term)
        assert total is not None
        return total

    return along(0, [])


def padded_with_zeros(read: Pixel, dims: Sequence[Ix]) -> Pixel:
    """Elements, and zeros outside; what is outside is not read."""

    def pixel(index: Sequence[Ix]) -> Value:
        tests = []
        for i, d in zip(index, dims, strict=True):
            tests += [op("ge", Index(i), Const(0, "i64")), op("lt", Index(i), Index(d))]
        value = read([maximum(minimum(i, d - 1), 0) for i, d in zip(index, dims, strict=True)])
        return Select(all_of(tests), value, Const(0, value.dtype), guards=False)

    return pixel


@lowers("GridSample")
def grid_sample(ctx: Context, node: Node) -> Operand:
    """output[n, c, o] = x[n, c] at the place grid[n, o] says, -1 and 1 being its ends; the last axis comes first."""
    x, grid = node.input(0), node.input(1)
    name, padding = (
        node.get("mode", "linear" if node.opset >= 20 else "bilinear"),
        node.get("padding_mode", "zeros"),
    )
    if name not in MODES or padding not in ("zeros", "border", "reflection"):
        raise node.unsupported(f"mode={name}, padding_mode={padding}")
    mode, aligned = MODES[name], bool(node.get("align_corners", 0))
    dims, rank = x.shape[2:], x.rank - 2
    ctx.require(grid.shape[0], x.shape[0])

    def place(axes: tuple[Var, ...]) -> Value:
        n, axis, *at = axes
        value: Value | None = None
        for i in range(rank - 1, -1, -1):
            one = _place(ctx.read(grid, [n, *at, rank - 1 - i]), dims[i], mode, padding, aligned)
            mine = Op("eq", (Index(ix(axis)), Const(i, "i64")), "bool")
            value = one if value is None else Select(mine, one, value, guards=False)
        assert value is not None
        return value

    places = ctx.map([x.shape[0], rank, *grid.shape[1:-1]], grid.dtype, place)

    def element(axes: tuple[Var, ...]) -> Value:
        n, c, *at = axes

        def read(index: Sequence[Ix]) -> Value:
            return cast(ctx.read(x, [n, c, *index]), grid.dtype)

        def pixel(index: Sequence[Ix]) -> Value:
            if padding == "reflection":
                index = [_reflected(i, d, aligned) for i, d in zip(index, dims, strict=True)]
            return read([maximum(minimum(i, d - 1), 0) for i, d in zip(index, dims, strict=True)])

        source = padded_with_zeros(read, dims) if padding == "zeros" else pixel
        found = [ctx.read(places, [n, i, *at]) for i in range(rank)]
        return cast(interpolated(mode, found, source), x.dtype)

    return ctx.map([*x.shape[:2], *grid.shape[1:-1]], x.dtype, element)


def _place(value: Value, dim: Ix, mode: str, padding: str, aligned: bool) -> Value:
    """Where a coordinate of the grid lies along an axis, in elements, after the padding; never far outside."""
    dtype = value.dtype
    size, one, half = const_of(dim, dtype), Const(1.0, dtype), Const(0.5, dtype)
    shifted = op("add", value, one)
    if aligned:
        at = op("mul", op("mul", shifted, half), op("sub", size, one))
        low, high = Const(0.0, dtype), op("sub", size, one)
    else:
        at = op("mul", op("sub", op("mul", shifted, size), one), half)
        low, high = Const(-0.5, dtype), op("sub", size, half)
    if mode == "nearest":
        at = op("round", at)
    inside = op("and", op("ge", at, low), op("le", at, high))
    if padding == "border":
        at = Select(inside, at, within(at, Const(0.0, dtype), op("sub", size, one)))
    if padding == "reflection":
        span = op("sub", high, low)
        away = op("fmod", op("abs", op("sub", at, low)), op("add", span, span))
        turned = op("add", low, op("min", away, op("sub", op("add", span, span), away)))
        at = Select(inside, at, turned)
    return within(at, Const(-3.0, dtype), op("add", size, Const(2.0, dtype)))


def _reflected(i: Ix, dim: Ix, aligned: bool) -> Ix:
    """An index outside reflected inside: at the centres of the last elements where aligned, else at their borders."""
    if aligned:
        period = maximum((dim - 1) * 2, 1)
        return minimum(i % period, (dim - 1) * 2 - i % period)
    return minimum(i % (dim * 2), dim * 2 - 1 - i % (dim * 2))


@lowers("DeformConv")
def deform_conv(ctx: Context, node: Node) -> Operand:
    """A convolution whose taps are displaced by `offset` and scaled by `mask`; x is read between its elements, and is
    zero outside. The samples of all taps are one tensor (n, c, taps…, o…), which the weights then sum."""
    x, w, offset = (node.input(i) for i in range(3))
    bias, mask = node.optional(3), node.optional(4)
    groups, parts = int(node.get("group", 1)), int(node.get("offset_group", 1))
    kernel = [d.value for d in w.shape[2:]]
    strides, dilations, pads, sizes = spatial(node, x, kernel)
    rank, taps, dims = len(kernel), product(map(ix, kernel)), x.shape[2:]
    ctx.require(x.shape[1], w.shape[1] * groups)
    ctx.require_all(offset.shape, [x.shape[0], taps * (parts * rank), *sizes])
    if mask is not None:
        ctx.require_all(mask.shape, [x.shape[0], taps * parts, *sizes])

    def place(axes: tuple[Var, ...]) -> Value:
        n, part, tap, axis = axes[:4]
        at = axes[4:]
        moved = ctx.read(offset, [n, (ix(part) * taps + tap) * rank + axis, *at])
        value: Value | None = None
        inner = taps
        for i in range(rank):
            inner = inner // kernel[i]
            step = (ix(tap) // inner) % kernel[i] * dilations[i] + ix(at[i]) * strides[i] - pads[i][0]
            size = const_of(dims[i], x.dtype)
            one = within(
                op("add", cast(Index(step), x.dtype), moved),
                Const(-3.0, x.dtype),
                op("add", size, Const(2.0, x.dtype)),
            )
            mine = Op("eq", (Index(ix(axis)), Const(i, "i64")), "bool")
            value = one if value is None else Select(mine, one, value, guards=False)
        assert value is not None
        return value

    places = ctx.map([x.shape[0], parts, taps, rank, *sizes], x.dtype, place)
    per_part = x.shape[1] // parts

    def sample(axes: tuple[Var, ...]) -> Value:
        n, c, tap, *at = axes
        part = ix(c) // per_part
        pixel = padded_with_zeros(lambda index: ctx.read(x, [n, c, *index]), dims)
        found = [ctx.read(places, [n, part, tap, i, *at]) for i in range(rank)]
        value = interpolated("linear", found, pixel)
        if mask is None:
            return value
        return op("mul", value, ctx.read(mask, [n, part * taps + tap, *at]))

    samples = ctx.map([x.shape[0], x.shape[1], taps, *sizes], x.dtype, sample)
    flat = ctx.reshape(w, [*w.shape[:2], taps])
    shape = [x.shape[0], w.shape[0], *sizes]
    out = ctx.axes(shape)
    channel, tap = var(ctx.unique("r"), w.shape[1]), var(ctx.unique("r"), taps)
    group = ix(out[1]) // (w.shape[0] // groups)
    a = ctx.read(samples, [out[0], group * w.shape[1] + channel, tap, *out[2:]])
    b = ctx.read(flat, [out[1], channel, tap])
    finish = with_bias(ctx, bias, out[1], x.dtype)
    return summed(ctx, ctx.tensor(x.dtype, shape), out, finish, (channel, tap), a, b)


@lowers("Col2Im")
def col2im(ctx: Context, node: Node) -> Operand:
    """Windows laid over one another: each element is the sum of all that the windows say of it."""
    x = node.input(0)
    image = [ctx.size(d, None, 0, i + 2) for i, d in enumerate(integers(ctx, node, 1, "image_shape") or [])]
    block = [maximum(b, 1) for b in integers(ctx, node, 2, "block_shape") or []]
    rank = len(block)
    strides, dilations = (list(node.get(name, [1] * rank)) for name in ("strides", "dilations"))
    flat = list(node.get("pads", [0] * 2 * rank))
    pads = list(zip(flat[:rank], flat[rank:], strict=True))
    columns = [window_size(*a, False) for a in zip(image, block, strides, dilations, pads, strict=True)]
    taps = product(block)
    ctx.require(x.shape[2], product(columns))
    shape = [x.shape[0], ctx.size(x.shape[1] // taps, x.shape[1], 0, 1), *image]
    out, over = ctx.axes(shape), tuple(var(ctx.unique("r"), b) for b in block)
    index, tests = [], []
    for o, t, s, d, (before, _), size in zip(out[2:], over, strides, dilations, pads, columns, strict=True):
        from_first = ix(o) + before - ix(t) * d
        window = from_first // s
        tests += [op("eq", Index(from_first % s), Const(0, "i64")), op("ge", Index(window), Const(0, "i64"))]
        tests.append(op("lt", Index(window), Index(size)))
        index.append(maximum(minimum(window, size - 1), 0))
    read = ctx.read(x, [out[0], ix(out[1]) * taps + ravel(over, block), ravel(index, columns)])
    value = Select(all_of(tests), read, Const(0, x.dtype), guards=False)
    return ctx.add(Reduce(ctx.tensor(x.dtype, shape), out, Acc(x.dtype), "add", over, value))


@lowers("RoiAlign")
def roi_align(ctx: Context, node: Node) -> Operand:
    """The mean or the largest of samples in each bin of a region, a region's channel a task. Where `sampling_ratio` is
    0, a bin has as many samples as elements along each axis."""
    x, rois, batch = (node.input(i) for i in range(3))
    height, width = x.shape[2:]
    out = [int(node.get("output_height", 1)), int(node.get("output_width", 1))]
    ratio, scale = int(node.get("sampling_ratio", 0)), float(node.get("spatial_scale", 1.0))
    default = "half_pixel" if node.opset >= 16 else "output_half_pixel"
    half = node.get("coordinate_transformation_mode", default) == "half_pixel"
    mode, dtype = node.get("mode", "avg"), x.dtype
    if mode not in ("avg", "max"):
        raise node.unsupported(f"mode={mode}", "use avg or max")
    ctx.require_all(batch.shape, rois.shape[:1])
    ctx.check_indices(batch, x.shape[:1], low=0)
    output = ctx.tensor(dtype, [rois.shape[0], x.shape[1], *out])

    def number(value: float) -> Const:
        return Const(value, dtype)

    def body(r: Writer) -> None:
        roi, c = r.tasks
        given = as_index(cast(ctx.read(batch, [roi]), "i64"))
        image = r.define(maximum(minimum(given, x.shape[0] - 1), 0), x.shape[0])
        starts, bins, counts = [], [], []
        for axis in (0, 1):
            ends = [op("mul", ctx.read(rois, [roi, 1 - axis + 2 * end]), number(scale)) for end in (0, 1)]
            if half:
                ends = [op("sub", end, number(0.5)) for end in ends]
            start, end = (r.let(value, "end") for value in ends)
            extent: Value = op("sub", end, start)
            extent = extent if half else op("max", extent, number(1.0))
            size = r.let(op("div", extent, number(out[axis])), "size")
            starts.append(start)
            bins.append(size)
            most = within(op("ceil", size), number(0.0), number(SAMPLES))
            counts.append(r.let(Const(ratio, "i64") if ratio > 0 else cast(most, "i64"), "samples"))
        with r.loops(out) as place:
            total = r.let(number(0.0), "total")
            fresh = r.let(Const(True, "bool"), "fresh")
            with (
                r.loop(SAMPLES, stop=as_index(counts[0])) as i,
                r.loop(SAMPLES, stop=as_index(counts[1])) as j,
            ):
                at = []
                for axis, step in enumerate((i, j)):
                    inner = op(
                        "div", op("add", cast(Index(step), dtype), number(0.5)), cast(counts[axis], dtype)
                    )
                    whole = op("add", inner, cast(Index(place[axis]), dtype))
                    at.append(r.let(op("add", starts[axis], op("mul", whole, bins[axis])), "at"))
                terms = _corner_terms(ctx, r, x, image, c, at, [height, width])
                if mode == "avg":
                    value = op("add", op("add", terms[0], terms[1]), op("add", terms[2], terms[3]))
                    r.assign(total, op("add", total, value))
                else:
                    value = op("max", op("max", terms[0], terms[1]), op("max", terms[2], terms[3]))
                    r.assign(total, Select(fresh, value, op("max", total, value)))
                    r.assign(fresh, Const(False, "bool"))
            if mode == "avg":
                samples = op("max", op("mul", *counts), Const(1, "i64"))
                r.assign(total, op("div", total, cast(samples, dtype)))
            r.write(output, [roi, c, *place], total)

    work = 40 * out[0] * out[1] * max(ratio, 2) ** 2
    return ctx.routine("roi_align", [output], body, tasks=[rois.shape[0], x.shape[1]], work=work)[0]


def _corner_terms(
    ctx: Context, r: Writer, x: Operand, image: Ix, c: Ix, at: Sequence[Value], dims: Sequence[Ix]
) -> list[Value]:
    """The four elements around a place, each times its weight; all 0 where the place is more than 1 outside."""
    dtype = at[0].dtype
    tests, sides = [], []
    for place, dim in zip(at, dims, strict=True):
        size = const_of(dim, dtype)
        tests += [op("ge", place, Const(-1.0, dtype)), op("le", place, size)]
        inside = r.let(within(place, Const(0.0, dtype), op("sub", size, Const(1.0, dtype))), "inside")
        low, part = floor_of(inside)
        low = r.define(maximum(minimum(low, dim - 1), 0), dim)
        high = r.define(minimum(low + 1, dim - 1), dim)
        upper = r.let(part, "part")
        sides.append([(low, op("sub", Const(1.0, dtype), upper)), (high, upper)])
    holds = r.let(all_of(tests), "holds")
    return [
        r.let(
            Select(holds, op("mul", op("mul", a, b), ctx.read(x, [image, c, i, j])), Const(0.0, dtype)),
            "term",
        )
        for i, a in sides[0]
        for j, b in sides[1]
    ]


@lowers("MaxRoiPool")
def max_roi_pool(ctx: Context, node: Node) -> Operand:
    """The largest element of each bin of a region, 0 of an empty one; a region's channel a task."""
    x, rois = node.input(0), node.input(1)
    out, scale = [int(p) for p in node.attributes["pooled_shape"]], float(node.get("spatial_scale", 1.0))
    dims, dtype = x.shape[2:], x.dtype
    batch = ctx.map(rois.shape[:1], "i64", lambda axes: cast(_bounded(ctx.read(rois, [axes[0], 0])), "i64"))
    ctx.check_indices(batch, x.shape[:1], low=0)
    output = ctx.tensor(dtype, [rois.shape[0], x.shape[1], *out])

    def body(r: Writer) -> None:
        roi, c = r.tasks
        given = as_index(ctx.read(batch, [roi]))
        image = r.define(maximum(minimum(given, x.shape[0] - 1), 0), x.shape[0])
        starts, sizes = [], []
        for axis in (0, 1):
            ends = []
            for end in (0, 1):
                place = _bounded(op("mul", ctx.read(rois, [roi, 2 - axis + 2 * end]), Const(scale, dtype)))
                ends.append(r.let(_rounded(place), "end"))
            starts.append(as_index(cast(ends[0], "i64")))
            extent = op("add", op("sub", ends[1], ends[0]), Const(1.0, dtype))
            size = op("max", extent, Const(1.0, dtype))
            sizes.append(r.let(op("div", size, Const(float(out[axis]), dtype)), "size"))
        with r.loops(out) as place_of:
            bounds = []
            for axis, step in enumerate(place_of):
                for name, more in (("floor", 0), ("ceil", 1)):
                    edge = op(name, op("mul", cast(Index(step + more), dtype), sizes[axis]))
                    at = as_index(cast(edge, "i64")) + starts[axis]
                    bounds.append(r.define(maximum(minimum(at, dims[axis]), 0), dims[axis] + 1))
            best = r.let(Const(0.0, dtype), "best")
            fresh = r.let(Const(True, "bool"), "fresh")
            with (
                r.loop(dims[0], start=bounds[0], stop=bounds[1]) as i,
                r.loop(dims[1], start=bounds[2], stop=bounds[3]) as j,
            ):
                value = r.let(ctx.read(x, [image, c, i, j]), "value")
                r.assign(best, Select(fresh, value, op("max", best, value)))
                r.assign(fresh, Const(False, "bool"))
            r.write(output, [roi, c, *place_of], best)

    work = product(dims)
    work = work * 4 if work.is_const else ix(1000)
    return ctx.routine("max_roi_pool", [output], body, tasks=[rois.shape[0], x.shape[1]], work=work)[0]


def _bounded(x: Value) -> Value:
    """A float that fits an integer."""
    return within(x, Const(-1e9, x.dtype), Const(1e9, x.dtype))


def _rounded(x: Value) -> Value:
    """To the nearest integer, halves away from 0."""
    half = op("floor", op("add", op("abs", x), Const(0.5, x.dtype)))
    return Select(op("lt", x, Const(0.0, x.dtype)), op("neg", half), half)


@lowers("MaxUnpool")
def max_unpool(ctx: Context, node: Node) -> Operand:
    """The elements at the places, in the flattened output of the pooling's input, that MaxPool gave; zeros elsewhere."""
    x, indices = node.input(0), node.input(1)
    kernel = [int(k) for k in node.attributes["kernel_shape"]]
    strides = [int(s) for s in node.get("strides", [1] * len(kernel))]
    pads = [int(p) for p in node.get("pads", [0] * 2 * len(kernel))]
    inferred = [*x.shape[:2]]
    for i, (d, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True)):
        inferred.append((d - 1) * s + k - pads[i] - pads[i + len(kernel)])
    total = product(inferred)
    flat, places = ctx.reshape(x, [product(x.shape)]), ctx.reshape(indices, [product(x.shape)])
    ctx.check_indices(places, [total], low=0)
    output = ctx.copy(ctx.map([total], x.dtype, lambda axes: Const(0, x.dtype)))

    def body(r: Writer) -> None:
        with r.loop(flat.shape[0]) as i:
            at = maximum(minimum(as_index(ctx.read(places, [i])), total - 1), 0)
            r.write(output, [r.define(at, total)], ctx.read(flat, [i]))

    made = ctx.reshape(ctx.routine("unpool", [output], body, updates=[output])[0], inferred)
    wanted = integers(ctx, node, 2, "output_shape")
    if wanted is None:
        return made
    around: list[tuple[IxLike, IxLike]] = []
    for i, (have, want) in enumerate(zip(inferred, wanted, strict=True)):
        around.append((0, ctx.size(want, None, 0, i) - have))
    return ctx.pad(made, around, 0)


@lowers("LRN")
def lrn(ctx: Context, node: Node) -> Operand:
    """x / (bias + alpha / size * the sum of squares over `size` channels around)^beta."""
    x, size = node.input(0), int(node.attributes["size"])
    alpha, beta, bias = node.get("alpha", 1e-4), node.get("beta", 0.75), node.get("bias", 1.0)
    out, over = ctx.axes(x.shape), var(ctx.unique("r"), size)
    at, channels = ix(out[1]) + over - (size - 1) // 2, x.shape[1]
    element = ctx.read(x, [out[0], maximum(minimum(at, channels - 1), 0), *out[2:]])
    inside = all_of([op("ge", Index(at), Const(0, "i64")), op("lt", Index(at), Index(channels))])
    value = Select(inside, op("mul", element, element), Const(0.0, x.dtype), guards=False)
    total = op("add", op("mul", Acc(x.dtype), Const(alpha / size, x.dtype)), Const(bias, x.dtype))
    finish = op("div", ctx.read(x, out), op("pow", total, Const(beta, x.dtype)))
    return ctx.add(Reduce(ctx.tensor(x.dtype, x.shape), out, finish, "add", (over,), value))


@lowers("AffineGrid")
def affine_grid(ctx: Context, node: Node) -> Operand:
    """The positions of a grid from -1 to 1, x fastest, each turned by its batch's matrix."""
    theta = node.input(0)
    count = theta.shape[1].value
    wanted = integers(ctx, node, 1, "the size") or []
    ctx.require(wanted[0], theta.shape[0])
    sizes = [ctx.size(size, None, 0, i) for i, size in enumerate(wanted[2:], 1)]
    dtype = theta.dtype

    def place(at: Var, size: Ix) -> Value:
        """The coordinate of a step along an axis."""
        corners = bool(node.get("align_corners", 0))
        steps = cast(Index(ix(at) * 2 + (0 if corners else 1)), dtype)
        length = cast(Index(maximum(size - 1, 1) if corners else size), dtype)
        return op("sub", op("div", steps, length), const(1, steps))

    def value(out: tuple[Var, ...]) -> Value:
        row = out[-1]
        total = ctx.read(theta, [out[0], row, count])
        for k in range(count):
            coordinate = place(out[count - k], sizes[count - 1 - k])
            total = op("add", total, op("mul", ctx.read(theta, [out[0], row, k]), coordinate))
        return total

    return ctx.map([theta.shape[0], *sizes, count], dtype, value)
