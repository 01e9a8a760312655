"""Caffe's layers that move, select and reduce."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.frontends.builder import Builder
from ingot.frontends.caffe.layers import Values, affine, axis_of, dims, picture
from ingot.frontends.caffe.net import Layer, layer

# Shapes


@layer("Concat")
def concat(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("concat_param")
    axis = axis_of(b, x[0], params.int("axis", params.int("concat_dim", 1)))
    return [b.op("Concat", *x, name=it.name, axis=axis) if len(x) > 1 else x[0]]


@layer("Slice")
def slice_(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("slice_param")
    axis = axis_of(b, x[0], params.int("axis", params.int("slice_dim", 1)))
    size, count, points = dims(b, x[0])[axis], len(it.tops), params.ints("slice_point")
    if not points and count and size % count == 0:
        points = [size // count * i for i in range(1, count)]
    sizes = np.diff([0, *points, size]).tolist()
    if len(sizes) != count or min(sizes) < 1:
        raise b.invalid(f"{size} elements do not fall into {count} tops at {points}")
    if count == 1:
        return x[:1]
    return list(b.ops("Split", x[0], b.ints(*sizes), name=it.name, axis=axis, outputs=count))


@layer("Crop", bottoms=2)
def crop(b: Builder, it: Layer, x: Values) -> Values:
    """The first bottom cut to the size of the second one, from an axis on."""
    params = it.message.message("crop_param")
    axis, sizes = axis_of(b, x[0], params.int("axis", 2)), dims(b, x[1])
    rank = len(dims(b, x[0]))
    offsets = params.ints("offset") or [0]
    axes = list(range(axis, rank))
    offsets = offsets * len(axes) if len(offsets) == 1 else offsets
    if len(sizes) != rank or len(offsets) != len(axes):
        raise b.invalid(f"{len(offsets)} offsets for {len(axes)} axes, {rank} and {len(sizes)} dimensions")
    ends = [offset + sizes[a] for offset, a in zip(offsets, axes, strict=True)]
    if any(
        offset < 0 or end > size
        for offset, end, size in zip(offsets, ends, dims(b, x[0])[axis:], strict=True)
    ):
        raise b.invalid("it crops beyond its bottom")
    return [b.op("Slice", x[0], b.ints(*offsets), b.ints(*ends), b.ints(*axes), name=it.name)]


@layer("Reshape")
def reshape(b: Builder, it: Layer, x: Values) -> Values:
    """`shape` replaces num_axes axes from `axis` on; 0 keeps a dimension, -1 takes what is left."""
    params = it.message.message("reshape_param")
    shape, wanted = dims(b, x[0]), params.message("shape").ints("dim")
    axis = params.int("axis")
    start = axis if axis >= 0 else len(shape) + 1 + axis
    count = params.int("num_axes", -1)
    end = len(shape) if count < 0 else start + count
    if not 0 <= start <= end <= len(shape):
        raise b.invalid(f"it replaces the axes {start} to {end} of {len(shape)}")
    kept = (
        wanted
        if start == 0
        else [
            shape[start + i] if dim == 0 and start + i < len(shape) else dim for i, dim in enumerate(wanted)
        ]
    )
    target = [*([0] * start), *kept, *shape[end:]]
    return [b.op("Reshape", x[0], b.ints(*target), name=it.name)]


@layer("Flatten")
def flatten(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("flatten_param")
    shape = dims(b, x[0])
    start, end = axis_of(b, x[0], params.int("axis", 1)), axis_of(b, x[0], params.int("end_axis", -1))
    if start == 1 and end == len(shape) - 1:
        return [b.op("Flatten", x[0], name=it.name)]
    if end < start:
        raise b.invalid(f"it flattens the axes {start} to {end}")
    return [b.op("Reshape", x[0], b.ints(*[0] * start, -1, *shape[end + 1 :]), name=it.name)]


@layer("Permute")
def permute(b: Builder, it: Layer, x: Values) -> Values:
    order = it.message.message("permute_param").ints("order")
    order = order + [axis for axis in range(len(dims(b, x[0]))) if axis not in order]
    if sorted(order) != list(range(len(dims(b, x[0])))):
        raise b.invalid(f"its order {order} is no permutation of its bottom's axes")
    return [b.op("Transpose", x[0], name=it.name, perm=order)]


@layer("ShuffleChannel")
def shuffle_channel(b: Builder, it: Layer, x: Values) -> Values:
    _, channels, *size = picture(b, x[0])
    group = it.message.message("shuffle_channel_param").int("group", 1)
    if group < 1 or channels % group:
        raise b.invalid(f"{channels} channels do not fall into {group} groups")
    apart = b.op("Reshape", x[0], b.ints(0, group, channels // group, *size), name=f"{it.name}/apart")
    order = [0, 2, 1, *range(3, 3 + len(size))]
    swapped = b.op("Transpose", apart, name=f"{it.name}/swap", perm=order)
    return [b.op("Reshape", swapped, b.ints(0, channels, *size), name=it.name)]


@layer("Tile")
def tile(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("tile_param")
    axis = axis_of(b, x[0], params.int("axis", 1))
    repeats = [params.int("tiles", 1) if a == axis else 1 for a in range(len(dims(b, x[0])))]
    return [b.op("Tile", x[0], b.ints(*repeats), name=it.name)]


# Reductions


@layer("ArgMax")
def argmax(b: Builder, it: Layer, x: Values) -> Values:
    """Without an axis: over all of a picture, as [N, 1, k], or [N, 2, k] with the values. Indices are floats."""
    params = it.message.message("argmax_param")
    k, with_values = params.int("top_k", 1), params.bool("out_max_val")
    if k < 1:
        raise b.invalid(f"its top_k is {k}")
    axis = axis_of(b, x[0], params.int("axis")) if "axis" in params else -1
    source = x[0] if axis >= 0 else b.op("Flatten", x[0], name=f"{it.name}/flat")
    values, indices = b.ops("TopK", source, b.ints(k), name=f"{it.name}/top", outputs=2, axis=axis)
    places = b.op("Cast", indices, name=it.name, to=int(ir.DataType.FLOAT))
    if axis >= 0:
        return [values if with_values else places]
    rows = [places, values] if with_values else [places]
    rows = [b.op("Unsqueeze", row, b.ints(1), name=f"{it.name}/row") for row in rows]
    return [b.op("Concat", *rows, name=f"{it.name}/rows", axis=1) if with_values else rows[0]]


@layer("Reduction")
def reduction(b: Builder, it: Layer, x: Values) -> Values:
    """Over all axes from `axis` on, which go."""
    params = it.message.message("reduction_param")
    kind = params.word("operation", "SUM", {"1": "SUM", "2": "ASUM", "3": "SUMSQ", "4": "MEAN"})
    axes = list(range(axis_of(b, x[0], params.int("axis")), len(dims(b, x[0]))))
    if kind == "SUM":
        y = b.op("ReduceSum", x[0], b.ints(*axes), name=it.name, keepdims=0)
    elif kind in ("ASUM", "SUMSQ", "MEAN"):
        operator = {"ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[kind]
        y = b.op(operator, x[0], name=it.name, axes=axes, keepdims=0)
    else:
        raise b.invalid(f"there is no reduction {kind}")
    return [affine(b, it.name, y, params.float("coeff", 1.0), 0.0)]
