"""TFLite's operators that move, gather, reduce and cast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ingot.frontends.tflite.net import FIRST, LAST, Op, operator, pairs


def _type(c: Op, place: int = 0) -> int:
    """ONNX's number of an output's dtype."""
    dtype = c.out(place).dtype
    assert dtype is not None
    return int(ir.DataType.from_numpy(dtype))


def _numbers(c: Op, place: int) -> ir.Value:
    """An input as int64, which ONNX wants for shapes and indices."""
    constant = c.constant(place)
    if constant is not None:
        return c.b.constant(constant.astype(np.int64))
    value = c.plain(place)
    if value.dtype == ir.DataType.INT64:
        return value
    return c.b.op("Cast", value, name=f"{c.name}/long", to=int(ir.DataType.INT64))


def _axis(axis: int, first: bool) -> int:
    return FIRST.index(axis) if first else axis


def _per_axis(values: Sequence[int], first: bool) -> list[int]:
    """Values an axis of NHWC, in the order of the layout."""
    return [values[axis] for axis in FIRST] if first else list(values)


# Shapes


@operator("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(c: Op) -> None:
    """A reshape to [N, rest] is remembered, for a FULLY_CONNECTED that takes the elements in another order."""
    index = c.index(0)
    shape = c.dims()
    in_order = c.net.prefers_first(index) and shape[1:3] == [1, 1]
    x = c.net.value(index, True) if in_order else c.plain()
    if c.op.kind == "RESHAPE" and len(c.out().shape) == 2 and c.rank() == 4 and _keeps_rows(c):
        c.net.flattened[c.op.outputs[0]] = index
    c.put(c.b.op("Reshape", x, _target(c), name=f"{c.name}/reshaped"))


def _keeps_rows(c: Op) -> bool:
    before, after = c.dims()[0], c.out().shape[0]
    return before == after or (before is None and after in (None, 1))


def _target(c: Op) -> ir.Value:
    wanted = c.out().shape
    open_dims = [axis for axis, dim in enumerate(wanted) if dim is None]
    if c.op.kind == "RESHAPE" and c.has(1) and c.constant(1) is None and len(open_dims) > 1:
        return _numbers(c, 1)
    target = [-1 if dim is None else dim for dim in wanted]
    if c.op.kind == "RESHAPE" and c.has(1) and c.constant(1) is not None:
        target = c.ints(1)
    elif len(open_dims) > 1:
        raise c.unsupported("it has several open dimensions", "give the inputs fixed shapes")
    if -1 not in target and None in c.dims() and target[:1] == [1]:
        target[0] = -1
    return c.b.ints(*target)


@operator("SHAPE")
def shape(c: Op) -> None:
    index = c.index(0)
    first = c.net.prefers_first(index)
    made = c.b.op("Shape", c.held_any(0), name=f"{c.name}/shape")
    if first:
        made = c.b.op("Gather", made, c.b.ints(*LAST), name=f"{c.name}/order")
    c.put(c.b.op("Cast", made, name=f"{c.name}/cast", to=_type(c)))


@operator("RANK")
def rank(c: Op) -> None:
    c.put(c.b.op("Identity", c.b.constant(np.array(c.rank(), np.int32)), name=f"{c.name}/rank"))


@operator("TRANSPOSE")
def transpose(c: Op) -> None:
    perm = c.ints(1)
    if sorted(perm) != list(range(c.rank())):
        raise c.b.invalid(f"its permutation is {perm}")
    first = c.net.prefers_first(c.index(0))
    if tuple(perm) == LAST and not first:
        c.put(c.plain(), True)
        return
    if first:
        perm = [FIRST.index(axis) for axis in perm]
    x = c.get(0, first)
    c.put(x if perm == sorted(perm) else c.b.op("Transpose", x, name=f"{c.name}/transposed", perm=perm))


@operator("CONCATENATION")
def concatenation(c: Op) -> None:
    first = c.layout()
    axis = _axis(c.axis(c.option("Axis")), first)
    parts = [c.broadcast(i, first) if first else c.plain(i) for i in range(len(c.op.inputs))]
    c.put(c.b.op("Concat", *parts, name=f"{c.name}/concat", axis=axis) if len(parts) > 1 else parts[0], first)


@operator("PACK")
def pack(c: Op) -> None:
    axis = c.option("Axis")
    axis = axis if axis >= 0 else c.rank() + 1 + axis
    rows = [
        c.b.op("Unsqueeze", c.plain(i), c.b.ints(axis), name=f"{c.name}/row") for i in range(len(c.op.inputs))
    ]
    c.put(c.b.op("Concat", *rows, name=f"{c.name}/pack", axis=axis))


@operator("UNPACK")
def unpack(c: Op) -> None:
    axis = c.axis(c.option("Axis"))
    for place in range(len(c.op.outputs)):
        index = c.b.constant(np.int64(place))
        c.put(c.b.op("Gather", c.plain(), index, name=f"{c.name}/{place}", axis=axis), place=place)


@operator("SPLIT", "SPLIT_V")
def split(c: Op) -> None:
    """Inputs of SPLIT: axis, x; of SPLIT_V: x, sizes, axis."""
    place, axis_place = (1, 0) if c.op.kind == "SPLIT" else (0, 2)
    first = c.net.prefers_first(c.index(place))
    axis, count = c.axis(c.ints(axis_place)[0], place), len(c.op.outputs)
    size = c.known(place, axis)
    sizes = c.ints(1) if c.op.kind == "SPLIT_V" else [size // max(count, 1)] * count
    sizes = [size - sum(s for s in sizes if s >= 0) if s < 0 else s for s in sizes]
    if sum(sizes) != size or len(sizes) != count or min(sizes) < 0:
        raise c.b.invalid(f"{size} elements do not fall into parts of {sizes}")
    x = c.get(place, first)
    parts = [x] if count == 1 else c.b.ops(
        "Split", x, c.b.ints(*sizes), name=f"{c.name}/split", axis=_axis(axis, first), outputs=count
    )  # fmt: skip
    for i, part in enumerate(parts):
        c.put(part, first, i)


@operator("SLICE")
def slice_(c: Op) -> None:
    first = c.net.prefers_first(c.index(0))
    if c.constant(1) is None or c.constant(2) is None:
        start, size = _numbers(c, 1), _numbers(c, 2)
        end = c.b.op("Add", start, size, name=f"{c.name}/end")
        rest = c.b.op("Less", size, c.b.ints(0), name=f"{c.name}/open")
        end = c.b.op("Where", rest, c.b.constant(np.int64(2**31 - 1)), end, name=f"{c.name}/ends")
        c.put(c.b.op("Slice", c.plain(), start, end, name=f"{c.name}/slice"))
        return
    starts, sizes = c.ints(1), c.ints(2)
    ends = [2**31 - 1 if n < 0 else start + n for start, n in zip(starts, sizes, strict=True)]
    if len(starts) != c.rank() or min(starts, default=0) < 0:
        raise c.b.invalid(f"it starts at {starts}")
    whole = c.dims()
    axes = [a for a in range(c.rank()) if starts[a] or (ends[a] != whole[a] and ends[a] < 2**31 - 1)]
    c.put(_cut(c, c.get(0, first), starts, ends, [1] * c.rank(), axes, first), first)


def _cut(
    c: Op,
    x: ir.Value,
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
    axes: Sequence[int],
    first: bool,
) -> ir.Value:
    """x cut along `axes`, which count in the model's own layout, as the lists do."""
    if not axes:
        return x
    operands = [[values[a] for a in axes] for values in (starts, ends)]
    operands += [[_axis(a, first) for a in axes], [steps[a] for a in axes]]
    return c.b.op("Slice", x, *(c.b.ints(*values) for values in operands), name=f"{c.name}/slice")


@operator("STRIDED_SLICE")
def strided_slice(c: Op) -> None:
    """Bits of the masks are positions in begin, end and strides, of which an ellipsis stands for several axes."""
    begin, end, steps = (c.ints(i) for i in (1, 2, 3))
    if not len(begin) == len(end) == len(steps):
        raise c.b.invalid("its begin, end and strides differ in length")
    masks = {name: c.option(f"{name}Mask") for name in ("Begin", "End", "Ellipsis", "NewAxis", "ShrinkAxis")}
    if c.option("Offset"):
        end = [b + e for b, e in zip(begin, end, strict=True)]
    rank = c.rank()
    named = sum(not masks["Ellipsis"] >> i & 1 and not masks["NewAxis"] >> i & 1 for i in range(len(begin)))
    starts, ends, strides = [0] * rank, [2**31 - 1] * rank, [1] * rank
    axes, dropped, added = [], [], []
    axis = made = 0
    for i in range(len(begin)):
        if masks["Ellipsis"] >> i & 1:
            axis, made = axis + rank - named, made + rank - named
            continue
        if masks["NewAxis"] >> i & 1:
            added.append(made)
            made += 1
            continue
        if axis >= rank or steps[i] == 0:
            raise c.b.invalid("it names more axes than its input has, or steps by 0")
        strides[axis] = steps[i]
        if masks["ShrinkAxis"] >> i & 1:
            starts[axis], ends[axis], strides[axis] = (
                begin[i],
                begin[i] + 1 if begin[i] != -1 else 2**31 - 1,
                1,
            )
            dropped.append(axis)
        else:
            backwards = steps[i] < 0
            starts[axis] = begin[i] if not masks["Begin"] >> i & 1 else 2**31 - 1 if backwards else 0
            ends[axis] = end[i] if not masks["End"] >> i & 1 else -(2**31) if backwards else 2**31 - 1
            made += 1
        if (starts[axis], strides[axis]) != (0, 1) or (
            ends[axis] < 2**31 - 1 and ends[axis] != c.dims()[axis]
        ):
            axes.append(axis)
        axis += 1
    first = c.net.prefers_first(c.index(0)) and not dropped and not added
    x = _cut(c, c.get(0, first), starts, ends, strides, axes, first)
    if dropped:
        x = c.b.op("Squeeze", x, c.b.ints(*dropped), name=f"{c.name}/squeezed")
    if added:
        x = c.b.op("Unsqueeze", x, c.b.ints(*added), name=f"{c.name}/widened")
    c.put(x, first)


@operator("PAD", "PADV2", "MIRROR_PAD")
def pad(c: Op) -> None:
    """Zeros around height and width are remembered, for a convolution that makes them itself."""
    first = c.net.prefers_first(c.index(0))
    table = c.data(1).reshape(-1, 2).astype(np.int64)
    if table.shape[0] != c.rank():
        raise c.b.invalid(f"it pads {table.shape[0]} axes of {c.rank()}")
    pads = c.b.ints(*_per_axis(table[:, 0].tolist(), first), *_per_axis(table[:, 1].tolist(), first))
    x = c.get(0, first)
    if c.op.kind == "MIRROR_PAD":
        mode = ["reflect", "symmetric"][c.option("Mode")]
        if mode == "symmetric":
            raise c.unsupported("it mirrors its border too (SYMMETRIC)")
        c.put(c.b.op("Pad", x, pads, name=f"{c.name}/pad", mode=mode), first)
        return
    value = c.plain(2) if c.op.kind == "PADV2" else None
    if value is None and x.dtype is not None and not x.dtype.is_floating_point():
        value = c.b.constant(np.zeros((), x.dtype.numpy()))
    c.put(c.b.op("Pad", x, pads, value, name=f"{c.name}/pad"), first)
    inside, outside = c.tensor(0).quantisation, c.out().quantisation
    same = inside is outside or (
        inside and outside and inside.scale == outside.scale and inside.zero == outside.zero
    )
    if value is None and c.rank() == 4 and same and not table[[0, 3]].any():
        begins_ends = [(int(begin), int(end)) for begin, end in table[1:3]]
        c.net.padded[c.op.outputs[0]] = c.index(0), begins_ends


@operator("TILE")
def tile(c: Op) -> None:
    c.put(c.b.op("Tile", c.plain(), _numbers(c, 1), name=f"{c.name}/tile"))


@operator("BROADCAST_TO")
def broadcast_to(c: Op) -> None:
    c.put(c.b.op("Expand", c.plain(), _numbers(c, 1), name=f"{c.name}/expand"))


@operator("FILL")
def fill(c: Op) -> None:
    c.put(c.b.op("Expand", c.plain(1), _numbers(c, 0), name=f"{c.name}/fill"))


@operator("ZEROS_LIKE")
def zeros_like(c: Op) -> None:
    first = c.layout()
    x = c.get(0, first)
    assert x.dtype is not None
    size = c.b.op("Shape", x, name=f"{c.name}/shape")
    c.put(c.b.op("Expand", c.b.constant(np.zeros((), x.dtype.numpy())), size, name=f"{c.name}/zeros"), first)


@operator("RANGE")
def range_(c: Op) -> None:
    c.put(c.b.op("Range", c.plain(0), c.plain(1), c.plain(2), name=f"{c.name}/range"))


@operator("REVERSE_V2")
def reverse(c: Op) -> None:
    first = c.net.prefers_first(c.index(0))
    axes = [c.axis(a) for a in c.ints(1)]
    n = c.rank()
    c.put(_cut(c, c.get(0, first), [-1] * n, [-(2**31)] * n, [-1] * n, axes, first), first)


# Space and depth


@operator("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def depth_to_space(c: Op) -> None:
    """SPACE_TO_DEPTH orders the new channels as ONNX does, block by block; so does DEPTH_TO_SPACE in its DCR mode."""
    kind = "DepthToSpace" if c.op.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    c.put(c.b.op(kind, c.first(), name=f"{c.name}/{kind}", blocksize=c.option("BlockSize")), True)


@operator("SPACE_TO_BATCH_ND")
def space_to_batch(c: Op) -> None:
    block, table = c.ints(1), pairs(c.ints(2))
    if c.rank() != 4 or len(block) != 2 or len(table) != 2 or min(block) < 1:
        raise c.unsupported("blocks of other than two axes")
    (top, bottom), (left, right) = table
    x = c.b.op("Pad", c.first(), c.b.ints(0, 0, top, left, 0, 0, bottom, right), name=f"{c.name}/pad")
    height, width, channels = (c.known(0, a) for a in (1, 2, 3))
    height, width = (height + top + bottom) // block[0], (width + left + right) // block[1]
    apart = c.b.ints(-1, channels, height, block[0], width, block[1])
    x = c.b.op("Reshape", x, apart, name=f"{c.name}/apart")
    x = c.b.op("Transpose", x, name=f"{c.name}/moved", perm=[3, 5, 0, 1, 2, 4])
    c.put(c.b.op("Reshape", x, c.b.ints(-1, channels, height, width), name=f"{c.name}/batch"), True)
    if block[0] == block[1]:
        c.net.spaced[c.op.outputs[0]] = c.index(0), block, table


@operator("BATCH_TO_SPACE_ND")
def batch_to_space(c: Op) -> None:
    """After a convolution over SPACE_TO_BATCH_ND, both are that convolution with the block as its dilation."""
    block, crops = c.ints(1), pairs(c.ints(2))
    if c.rank() != 4 or len(block) != 2 or len(crops) != 2 or min(block) < 1:
        raise c.unsupported("blocks of other than two axes")
    spread = c.net.spread.get(c.index(0))
    if spread is not None:
        source = next(op for op in c.net.network.operators if c.index(0) in op.outputs).inputs[0]
        before = c.net.spaced[source]
        pads = [(b - x, e - y) for (b, e), (x, y) in zip(before[2], crops, strict=True)]
        same = c.out().quantisation is None or c.tensor(0).quantisation is not None
        if before[1] == block and same and min(min(pair) for pair in pads) >= 0:
            spread(c, block[0], pads)
            return
    height, width, channels = (c.known(0, a) for a in (1, 2, 3))
    x = c.b.op("Reshape", c.first(), c.b.ints(*block, -1, channels, height, width), name=f"{c.name}/apart")
    x = c.b.op("Transpose", x, name=f"{c.name}/moved", perm=[2, 3, 4, 0, 5, 1])
    height, width = height * block[0], width * block[1]
    x = c.b.op("Reshape", x, c.b.ints(-1, channels, height, width), name=f"{c.name}/space")
    (top, bottom), (left, right) = crops
    c.put(_cut(c, x, [0, top, left, 0], [0, height - bottom, width - right, 0], [1] * 4, [1, 2], True), True)


@operator("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(c: Op) -> None:
    height, width = (*c.ints(1), 0, 0)[:2]
    x = c.first()
    corners, half = c.option("AlignCorners"), c.option("HalfPixelCenters")
    linear = c.op.kind == "RESIZE_BILINEAR"
    transform = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    nearest = None if linear else "round_prefer_ceil" if corners or half else "floor"
    if not linear and half:
        transform, nearest = "asymmetric", "floor"
        _check_half_pixels(c, height, width)
    n, channels = c.dims()[0], c.known(0, 3)
    if n is not None:
        sizes = c.b.ints(n, channels, height, width)
    else:
        rows = c.b.op("Shape", x, name=f"{c.name}/rows", start=0, end=1)
        sizes = c.b.op("Concat", rows, c.b.ints(channels, height, width), name=f"{c.name}/sizes", axis=0)
    value = c.b.op(
        "Resize", x, None, None, sizes, name=f"{c.name}/resize", mode="linear" if linear else "nearest",
        coordinate_transformation_mode=transform, nearest_mode=nearest,
    )  # fmt: skip
    c.put(value, True)


def _check_half_pixels(c: Op, height: int, width: int) -> None:
    """floor((i + 1/2) * scale) is floor(i * scale) where a whole factor enlarges."""
    for axis, size in ((1, height), (2, width)):
        if size % c.known(0, axis):
            raise c.unsupported("nearest pixels at half-pixel centres by a factor that is not whole")


# Gathering


@operator("GATHER", "EMBEDDING_LOOKUP")
def gather(c: Op) -> None:
    if c.option("BatchDims"):
        raise c.unsupported("batch dimensions")
    table, indices = (0, 1) if c.op.kind == "GATHER" else (1, 0)
    axis = c.axis(c.option("Axis"), table)
    c.put(c.b.op("Gather", c.plain(table), _numbers(c, indices), name=f"{c.name}/gather", axis=axis))


@operator("GATHER_ND")
def gather_nd(c: Op) -> None:
    c.put(c.b.op("GatherND", c.plain(), _numbers(c, 1), name=f"{c.name}/gather"))


@operator("ONE_HOT")
def one_hot(c: Op) -> None:
    off_on = [c.b.op("Reshape", c.plain(i), c.b.ints(1), name=f"{c.name}/value") for i in (3, 2)]
    values = c.b.op("Concat", *off_on, name=f"{c.name}/values", axis=0)
    depth = c.b.ints(c.ints(1)[0])
    c.put(
        c.b.op("OneHot", _numbers(c, 0), depth, values, name=f"{c.name}/one_hot", axis=c.option("Axis", -1))
    )


@operator("TOPK_V2")
def top_k(c: Op) -> None:
    k = c.b.op("Reshape", _numbers(c, 1), c.b.ints(1), name=f"{c.name}/k")
    values, indices = c.b.ops("TopK", c.plain(), k, name=f"{c.name}/top", outputs=2)
    c.put(values)
    c.put(c.b.op("Cast", indices, name=f"{c.name}/indices", to=_type(c, 1)), place=1)


@operator("ARG_MAX", "ARG_MIN")
def arg_max(c: Op) -> None:
    first = c.net.prefers_first(c.index(0)) and c.axis(c.ints(1)[0]) == 3
    axis = 1 if first else c.axis(c.ints(1)[0])
    kind = "ArgMax" if c.op.kind == "ARG_MAX" else "ArgMin"
    place = c.b.op(kind, c.get(0, first), name=f"{c.name}/place", axis=axis, keepdims=0)
    c.put(c.b.op("Cast", place, name=f"{c.name}/cast", to=_type(c)))


# Products, reductions, types


@operator("BATCH_MATMUL")
def batch_matmul(c: Op) -> None:
    operands = []
    for place, flag in ((0, "AdjX"), (1, "AdjY")):
        value, n = c.plain(place), c.rank(place)
        if c.option(flag):
            perm = [*range(n - 2), n - 1, n - 2]
            value = c.b.op("Transpose", value, name=f"{c.name}/transposed", perm=perm)
        operands.append(value)
    c.put(c.b.op("MatMul", *operands, name=f"{c.name}/product"))


@operator("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL")
def reduce(c: Op) -> None:
    axes = sorted({c.axis(a) for a in c.ints(1)})
    keep = bool(c.option("KeepDims"))
    first = c.net.prefers_first(c.index(0)) and (keep or 3 in axes or {1, 2} <= set(axes))
    x = c.get(0, first)
    places = sorted(_axis(a, first) for a in axes)
    if not places:
        c.put(x, first)
        return
    kind = {"SUM": "ReduceSum", "MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin",
            "REDUCE_PROD": "ReduceProd", "REDUCE_ANY": "ReduceMax", "REDUCE_ALL": "ReduceMin"}[c.op.kind]  # fmt: skip
    logical = c.op.kind in ("REDUCE_ANY", "REDUCE_ALL")
    if logical:
        x = c.b.op("Cast", x, name=f"{c.name}/number", to=int(ir.DataType.INT32))
    if kind == "ReduceSum":
        value = c.b.op(kind, x, c.b.ints(*places), name=f"{c.name}/reduced", keepdims=int(keep))
    else:
        value = c.b.op(kind, x, name=f"{c.name}/reduced", keepdims=int(keep), axes=places)
    if logical:
        value = c.b.op("Cast", value, name=f"{c.name}/truth", to=int(ir.DataType.BOOL))
    c.put(value, first and keep)


@operator("CUMSUM")
def cumsum(c: Op) -> None:
    flags = {"exclusive": int(c.option("Exclusive")), "reverse": int(c.option("Reverse"))}
    axis = c.b.constant(np.int64(c.axis(c.ints(1)[0])))
    c.put(c.b.op("CumSum", c.plain(), axis, name=f"{c.name}/sum", **flags))


@operator("CAST")
def cast(c: Op) -> None:
    first = c.layout()
    c.put(c.b.op("Cast", c.get(0, first), name=f"{c.name}/cast", to=_type(c)), first)


@operator("QUANTIZE", "DEQUANTIZE", "FAKE_QUANT")
def quantize(c: Op) -> None:
    """The types of the tensors say it all; half floats that a model keeps its weights in become floats."""
    first = c.layout()
    if c.op.kind == "FAKE_QUANT":
        raise c.unsupported("quantisation that is only imitated", "convert the model to a quantised one")
    constant = c.constant(0)
    if constant is not None and constant.dtype == np.float16:
        c.put(c.b.constant(constant.astype(np.float32), c.name))
        return
    value = c.get(0, first)
    if value.dtype != ir.DataType.FLOAT:
        value = c.b.op("Cast", value, name=f"{c.name}/float", to=int(ir.DataType.FLOAT))
    c.put(value, first)


# Detection


@operator("TFLite_Detection_PostProcess")
def detection(c: Op) -> None:
    """Boxes, classes, scores and count of the best detections of one picture.

    Inputs: offsets [1, n, 4] as y, x, h, w, scores [1, n, classes], anchors [n, 4]. With use_regular_nms the NMS is
    class by class; otherwise each anchor counts for its best class only.
    """
    b, name, option = c.b, c.name, c.options.get
    n, classes = c.known(0, 1), int(option("num_classes", 0))
    most = int(option("max_detections", 10))
    background = c.known(1, 2) - classes
    if c.dims()[0] != 1 or background not in (0, 1) or int(option("max_classes_per_detection", 1)) != 1:
        raise c.unsupported("more than one picture, or several classes a detection")
    scales = np.array([option(f"{k}_scale", 1.0) for k in ("y", "x", "h", "w")], np.float32)
    anchors = c.plain(2)
    anchor_centre, anchor_size = b.ops(
        "Split", anchors, b.ints(2, 2), name=f"{name}/anchors", outputs=2, axis=-1
    )
    scaled = b.op("Div", c.plain(0), b.constant(scales), name=f"{name}/scaled")
    move, growth = b.ops("Split", scaled, b.ints(2, 2), name=f"{name}/offsets", outputs=2, axis=-1)
    centre = b.op(
        "Add", b.op("Mul", move, anchor_size, name=f"{name}/move"), anchor_centre, name=f"{name}/centre"
    )
    half = b.op("Mul", b.op("Exp", growth, name=f"{name}/growth"), anchor_size, name=f"{name}/size")
    half = b.op("Mul", half, b.constant(np.float32(0.5)), name=f"{name}/half")
    corners = [b.op(kind, centre, half, name=f"{name}/corner") for kind in ("Sub", "Add")]
    boxes = b.op("Concat", *corners, name=f"{name}/boxes", axis=-1)
    scores = c.plain(1)
    if background:
        scores = b.op("Slice", scores, b.ints(1), b.ints(1 + classes), b.ints(2), name=f"{name}/foreground")
    regular = bool(option("use_regular_nms", False))
    label = b.op("ArgMax", scores, name=f"{name}/label", axis=2, keepdims=0)
    if regular:
        rows = b.op("Transpose", scores, name=f"{name}/by_class", perm=[0, 2, 1])
    else:
        rows = b.op("ReduceMax", scores, name=f"{name}/best", axes=[2], keepdims=0)
        rows = b.op("Unsqueeze", rows, b.ints(1), name=f"{name}/row")
    limit = int(option("detections_per_class", 100)) if regular else most
    thresholds = [
        np.array([option(k, 0.0)], np.float32) for k in ("nms_iou_threshold", "nms_score_threshold")
    ]
    chosen = b.op(
        "NonMaxSuppression",
        boxes,
        rows,
        b.ints(min(limit, n)),
        *map(b.constant, thresholds),
        name=f"{name}/nms",
    )
    score = b.op("GatherND", rows, chosen, name=f"{name}/chosen")
    found = b.op("Min", b.op("Shape", score, name=f"{name}/found"), b.ints(most), name=f"{name}/count")
    score, order = b.ops("TopK", score, found, name=f"{name}/top", outputs=2)
    chosen = b.op("Gather", chosen, order, name=f"{name}/order")
    place = b.op("Gather", chosen, b.ints(0, 2), name=f"{name}/place", axis=1)
    box = b.op("GatherND", boxes, place, name=f"{name}/box")
    if regular:
        kind = b.op("Gather", chosen, b.constant(np.int64(1)), name=f"{name}/class", axis=1)
    else:
        kind = b.op("GatherND", label, place, name=f"{name}/class")
    kind = b.op("Cast", kind, name=f"{name}/class_float", to=int(ir.DataType.FLOAT))
    missing = b.op("Sub", b.ints(most), found, name=f"{name}/missing")
    for output, (value, wide) in enumerate(((box, True), (kind, False), (score, False))):
        zeros = [b.ints(0), b.ints(0), missing, b.ints(0)] if wide else [b.ints(0), missing]
        pads = b.op("Concat", *zeros, name=f"{name}/pads", axis=0)
        padded = b.op("Pad", value, pads, name=f"{name}/padded")
        shape = b.ints(1, most, 4) if wide else b.ints(1, most)
        c.put(b.op("Reshape", padded, shape, name=f"{name}/output"), place=output)
    c.put(b.op("Cast", found, name=f"{name}/found_float", to=int(ir.DataType.FLOAT)), place=3)
