"""MindSpore's primitives that move, select, reduce and cast, and those that hold functions and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.frontends.mindir.call import Call, Handler, primitive
from ingot.frontends.mindir.layers import ATTRIBUTE, operands
from ingot.frontends.mindir.net import Choice, Closure

_TYPES = {
    30: ir.DataType.BOOL, 32: ir.DataType.INT8, 33: ir.DataType.INT16, 34: ir.DataType.INT32, 35: ir.DataType.INT64,
    37: ir.DataType.UINT8, 38: ir.DataType.UINT16, 39: ir.DataType.UINT32, 40: ir.DataType.UINT64,
    42: ir.DataType.FLOAT16, 43: ir.DataType.FLOAT, 44: ir.DataType.DOUBLE, 45: ir.DataType.BFLOAT16,
}  # fmt: skip
"""MindSpore's TypeId of numbers."""
_MOST_PARTS = 4096
_FAR = 2**62
"""Beyond the end of every axis."""


def dtype(c: Call, place: int, name: str) -> int | None:
    """ONNX's number of a type that an argument names; None where there is none."""
    found = c.argument(place, name)
    if found is None:
        return None
    if found not in _TYPES:
        raise c.unsupported(f"its {name} is the type {found!r}")
    return int(_TYPES[found])


# Sequences, functions and the order of effects


@primitive("Depend", "Load", "Identity", "Contiguous", "Clone", "Copy")
def same(c: Call) -> Any:
    return c.given(0)


@primitive("UpdateState")
def update_state(c: Call) -> Any:
    return None


@primitive("MakeTuple", "MakeList", "make_list")
def make_tuple(c: Call) -> Any:
    return tuple(c.given(place) for place in range(len(c)))


@primitive("TupleGetItem", "ListGetItem")
def tuple_get_item(c: Call) -> Any:
    values, place = c.given(0), c.integer(1, "index")
    if isinstance(values, ir.Value):
        return c.op("Gather", values, c.b.constant(np.int64(place)), axis=0)
    if not isinstance(values, tuple) or not -len(values) <= place < len(values):
        raise c.b.invalid(
            f"it takes element {place} of {len(values) if isinstance(values, tuple) else 'no sequence'}"
        )
    return values[place]


@primitive("Partial")
def partial(c: Call) -> Any:
    function, *arguments = (c.given(place) for place in range(len(c)))
    if not isinstance(function, Closure):
        raise c.b.invalid("its first input is no function")
    return Closure(function.graph, (*function.arguments, *arguments))


@primitive("Switch")
def switch(c: Call) -> Any:
    """One of two functions, or of two tensors."""
    found = c.given(1), c.given(2)
    if isinstance(found[0], ir.Value):
        return c.op("Where", c.x(0), c.x(1), c.x(2))
    return Choice(c.given(0), found)


# Shapes


def sequence(c: Call, place: int) -> tuple[Any, ...]:
    found = c.given(place)
    if not isinstance(found, tuple):
        raise c.b.invalid(f"its input {place} is no sequence")
    return found


def size(c: Call, place: int, name: str) -> ir.Value:
    """A vector of int64, of integers and of tensors of one element each."""
    found = c.given(place) if place < len(c) else c.integers(place, name)
    if isinstance(found, tuple) and any(isinstance(item, ir.Value) for item in found):
        return joined(c, found)
    if isinstance(found, ir.Value):
        return c.op("Cast", found, part="sizes", to=int(ir.DataType.INT64))
    return c.b.ints(*c.integers(place, name))


def joined(c: Call, sizes: Sequence[Any]) -> ir.Value:
    """Integers and tensors of one element each as a vector of int64."""
    parts = [c.op("Reshape", c.net.tensor(item), c.b.ints(1), part="element") for item in sizes]
    parts = [c.op("Cast", part, part="size", to=int(ir.DataType.INT64)) for part in parts]
    return c.op("Concat", *parts, part="sizes", axis=0)


@primitive("Shape")
def shape(c: Call) -> Any:
    x = c.x()
    found = c.op("Shape", x, part="sizes")
    return tuple(
        c.op("Gather", found, c.b.constant(np.int64(axis)), axis=0) if dim is None else dim
        for axis, dim in enumerate(c.dims(x))
    )


@primitive("Reshape", "View")
def reshape(c: Call) -> Any:
    found = c.given(1)
    literal = isinstance(found, tuple) and 0 in found
    return c.op("Reshape", c.x(), size(c, 1, "shape"), allowzero=1 if literal else None)


@primitive("Flatten")
def flatten(c: Call) -> Any:
    return c.op("Flatten", c.x())


@primitive("Transpose")
def transpose(c: Call) -> Any:
    x = c.x()
    rank = c.rank(x)
    perm = [c.axis(axis, rank) for axis in c.integers(1, "perm")]
    if sorted(perm) != list(range(rank)):
        raise c.b.invalid(f"its order {perm} is no permutation of {rank} axes")
    return c.op("Transpose", x, perm=perm)


@primitive("ExpandDims")
def expand_dims(c: Call) -> Any:
    return c.op("Unsqueeze", c.x(), c.b.ints(c.integer(1, "axis")))


@primitive("Squeeze")
def squeeze(c: Call) -> Any:
    x, axes = c.x(), c.integers(1, "axis", ())
    axes = axes or tuple(axis for axis, dim in enumerate(c.sizes(x, range(c.rank(x)))) if dim == 1)
    return c.op("Squeeze", x, c.b.ints(*axes)) if axes else x


@primitive("Concat")
def concat(c: Call) -> Any:
    return c.op("Concat", *(c.net.tensor(value) for value in sequence(c, 0)), axis=c.integer(1, "axis", 0))


@primitive("Stack")
def stack(c: Call) -> Any:
    axis = c.integer(ATTRIBUTE, "axis", 0)
    rows = [c.op("Unsqueeze", c.net.tensor(v), c.b.ints(axis), part="row") for v in sequence(c, 0)]
    return c.op("Concat", *rows, axis=axis)


@primitive("Unstack", "Unpack")
def unstack(c: Call) -> Any:
    x, axis = c.x(), c.integer(ATTRIBUTE, "axis", 0)
    parts = _split(c, x, axis, c.sizes(x, (axis,))[0])
    return tuple(c.op("Squeeze", part, c.b.ints(axis), part="row") for part in parts)


@primitive("Split")
def split(c: Call) -> Any:
    return _split(c, c.x(), c.integer(1, "axis", 0), c.integer(2, "output_num", 1))


def _split(c: Call, x: ir.Value, axis: int, count: int) -> tuple[ir.Value, ...]:
    """x in equal parts."""
    (total,) = c.sizes(x, (axis,))
    if not 1 <= count <= _MOST_PARTS or total % count:
        raise c.unsupported(f"{total} elements fall into {count} parts")
    if count == 1:
        return (x,)
    return tuple(c.ops("Split", x, c.b.ints(*[total // count] * count), axis=axis, outputs=count))


@primitive("Tile")
def tile(c: Call) -> Any:
    x, repeats = c.x(), c.integers(1, "multiples")
    if len(repeats) > c.rank(x):
        x = c.op("Unsqueeze", x, c.b.ints(*range(len(repeats) - c.rank(x))), part="wide")
    return c.op("Tile", x, c.b.ints(*[1] * (c.rank(x) - len(repeats)), *repeats))


@primitive("BroadcastTo")
def broadcast_to(c: Call) -> Any:
    """-1 keeps a dimension."""
    found = c.given(1) if len(c) > 1 else c.integers(1, "shape")
    if isinstance(found, tuple):
        wide = len(found) - c.rank(c.x())
        found = [
            1 if isinstance(dim, int) and dim == -1 and place >= wide else dim
            for place, dim in enumerate(found)
        ]
        whole = all(isinstance(dim, int) for dim in found)
        return c.op("Expand", c.x(), c.b.ints(*found) if whole else joined(c, found))
    return c.op("Expand", c.x(), size(c, 1, "shape"))


# Selections


@primitive("StridedSlice")
def strided_slice(c: Call) -> Any:
    """Slices axis after axis: from begin to end by strides.

    Bits of masks say which entries begin or end with the axis, stand for as many axes as are left, make a new axis, or
    are an index that takes the axis away.
    """
    x = c.x()
    begin, end, step = c.integers(1, "begin"), c.integers(2, "end"), c.integers(3, "strides")
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    masks = [c.integer(place, name, 0) for place, name in enumerate(names, 4)]
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise c.b.invalid(f"it slices from {begin} to {end} by {step}")
    taken = sum(not (masks[2] | masks[3]) >> i & 1 for i in range(len(begin)))
    ranges: list[tuple[int, int, int, int]] = []
    gone: list[int] = []
    new: list[int] = []
    axis = out = 0
    for i, (low, high, by) in enumerate(zip(begin, end, step, strict=True)):
        first, last, ellipsis, fresh, shrink = (mask >> i & 1 for mask in masks)
        if ellipsis:
            axis, out = axis + c.rank(x) - taken, out + c.rank(x) - taken
            continue
        if fresh:
            new.append(out)
            out += 1
            continue
        if shrink:
            high, by, first = low + 1 if low != -1 else _FAR, 1, 0
            gone.append(axis)
        elif last:
            high = _FAR if by > 0 else -_FAR
        if first:
            low = 0 if by > 0 else _FAR
        ranges.append((low, high, axis, by))
        axis, out = axis + 1, out + (not shrink)
    if ranges:
        x = c.op("Slice", x, *(c.b.ints(*numbers) for numbers in zip(*ranges, strict=True)), part="slice")
    if gone:
        x = c.op("Squeeze", x, c.b.ints(*gone), part="squeezed")
    return c.op("Unsqueeze", x, c.b.ints(*new)) if new else x


@primitive("Slice")
def slice_(c: Call) -> Any:
    """From begin on; a size of -1 takes the rest."""
    begin, sizes = c.integers(1, "begin"), c.integers(2, "size")
    if len(begin) != len(sizes):
        raise c.b.invalid(f"it takes {sizes} from {begin} on")
    ends = [_FAR if size == -1 else low + size for low, size in zip(begin, sizes, strict=True)]
    return c.op("Slice", c.x(), c.b.ints(*begin), c.b.ints(*ends), c.b.ints(*range(len(begin))))


@primitive("ReverseV2")
def reverse(c: Call) -> Any:
    axes = c.integers(1, "axis")
    n = len(axes)
    low, high, by = ([number] * n for number in (-1, -_FAR, -1))
    return c.op("Slice", c.x(), c.b.ints(*low), c.b.ints(*high), c.b.ints(*axes), c.b.ints(*by))


@primitive("Gather")
def gather(c: Call) -> Any:
    if c.integer(3, "batch_dims", 0):
        raise c.unsupported("it has batch_dims")
    return c.op("Gather", c.x(0), c.x(1), axis=c.integer(2, "axis"))


@primitive("GatherD")
def gather_elements(c: Call) -> Any:
    return c.op("GatherElements", c.x(0), c.x(2), axis=c.integer(1, "dim"))


@primitive("GatherNd")
def gather_nd(c: Call) -> Any:
    return c.op("GatherND", c.x(0), c.op("Cast", c.x(1), part="indices", to=int(ir.DataType.INT64)))


@primitive("OneHot")
def one_hot(c: Call) -> Any:
    """Inputs: indices, depth, the values on and off, axis."""
    on, off = operands(c, 2, 3)
    values = [c.op("Reshape", value, c.b.ints(1), part="value") for value in (off, on)]
    both = c.op("Concat", *values, part="values", axis=0)
    indices = c.op("Cast", c.x(0), part="indices", to=int(ir.DataType.INT64))
    return c.op("OneHot", indices, c.b.ints(c.integer(1, "depth")), both, axis=c.integer(4, "axis", -1))


@primitive("TopK")
def top_k(c: Call) -> Any:
    values, places = c.ops("TopK", c.x(), c.b.ints(c.integer(1, "k")), axis=-1, outputs=2)
    return values, c.op("Cast", places, part="places", to=int(ir.DataType.INT32))


@primitive("Triu", "Tril")
def triangle(c: Call) -> Any:
    diagonal = c.b.constant(np.int64(c.integer(1, "diagonal", 0)))
    return c.op("Trilu", c.x(), diagonal, upper=int(c.node.op == "Triu"))


# Reductions


def _axes(c: Call, found: Any) -> list[int] | None:
    axes = [found] if isinstance(found, int) else list(found or ())
    if not all(isinstance(axis, int) for axis in axes):
        raise c.b.invalid(f"its axes are {found!r}")
    return axes or None


def _reduced(c: Call, kind: str, x: ir.Value, axes: list[int] | None, keep: bool) -> ir.Value:
    if kind == "ReduceSum":
        return c.op(kind, x, None if axes is None else c.b.ints(*axes), keepdims=int(keep))
    return c.op(kind, x, axes=axes, keepdims=int(keep))


def reduction(kind: str, names: tuple[str, str] = ("axis", "keep_dims")) -> Handler:
    """Over all axes where none are given. names: of the second and third argument; a fourth is a dtype or a mode."""

    def handler(c: Call) -> Any:
        x = c.x()
        to = dtype(c, 3, "dtype") if names[0] == "dim" else None
        if to is not None:
            x = c.op("Cast", x, part="cast", to=to)
        axes = _axes(c, c.argument(1, names[0])) if len(c) > 1 or names[0] in c.node.attributes else None
        return _reduced(c, kind, x, axes, c.flag(2, names[1]))

    return handler


for _kind in ("Max", "Mean", "Min", "Prod", "Sum"):
    primitive(f"Reduce{_kind}")(reduction(f"Reduce{_kind}"))
for _kind in ("Mean", "Prod", "Sum"):
    primitive(f"{_kind}Ext")(reduction(f"Reduce{_kind}", ("dim", "keepdim")))
for _kind in ("Max", "Min"):
    primitive(_kind)(reduction(f"Reduce{_kind}"))


@primitive("ReduceAll", "ReduceAny")
def reduce_bool(c: Call) -> Any:
    numbers = c.op("Cast", c.x(), part="numbers", to=int(ir.DataType.INT32))
    kind = "ReduceMin" if c.node.op == "ReduceAll" else "ReduceMax"
    found = _reduced(c, kind, numbers, _axes(c, c.argument(1, "axis")), c.flag(2, "keep_dims"))
    return c.op("Cast", found, to=int(ir.DataType.BOOL))


@primitive("Argmax")
def argmax(c: Call) -> Any:
    places = c.op("ArgMax", c.x(), part="places", axis=c.integer(1, "axis", -1), keepdims=0)
    return c.op("Cast", places, to=dtype(c, 2, "output_type") or int(ir.DataType.INT32))


@primitive("ArgMaxWithValue", "ArgMinWithValue")
def argmax_with_value(c: Call) -> Any:
    x, axis, keep = c.x(), c.integer(1, "axis", 0), c.flag(2, "keep_dims")
    kind = "Max" if c.node.op == "ArgMaxWithValue" else "Min"
    places = c.op(f"Arg{kind}", x, part="places", axis=axis, keepdims=int(keep))
    return places, _reduced(c, f"Reduce{kind}", x, [axis], keep)


@primitive("CumSum")
def cumsum(c: Call) -> Any:
    axis = c.b.constant(np.int64(c.integer(1, "axis")))
    return c.op(
        "CumSum", c.x(), axis, exclusive=int(c.flag(2, "exclusive")), reverse=int(c.flag(3, "reverse"))
    )


# Types, pictures, padding


@primitive("Cast")
def cast(c: Call) -> Any:
    to = dtype(c, 1, "dst_type")
    if to is None:
        raise c.b.invalid("it has no type to cast to")
    return c.op("Cast", c.x(), to=to)


@primitive("OnesLike", "ZerosLike")
def filled_like(c: Call) -> Any:
    x = c.x()
    number = c.like(float(c.node.op == "OnesLike"), x)
    return c.op("Expand", number, c.shape(x))


@primitive("Pad")
def pad(c: Call) -> Any:
    """A pair of begin and end for each axis."""
    pairs = c.node.attributes.get("paddings", ())
    if not isinstance(pairs, tuple) or any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise c.b.invalid(f"its paddings are {pairs!r}")
    return c.op("Pad", c.x(), c.b.ints(*(begin for begin, _ in pairs), *(end for _, end in pairs)))


@primitive("PadV3")
def pad_v3(c: Call) -> Any:
    """Pairs of begin and end, from the last axis on."""
    x, flat, mode = c.x(), c.integers(1, "paddings"), c.argument(ATTRIBUTE, "mode", "constant")
    if not c.flag(ATTRIBUTE, "paddings_contiguous", True) or len(flat) % 2 or len(flat) > 2 * c.rank(x):
        raise c.unsupported(f"its paddings are {flat}")
    if mode not in ("constant", "reflect", "edge"):
        raise c.unsupported(f"its mode is {mode!r}")
    axes = [c.rank(x) - 1 - i for i in range(len(flat) // 2)]
    pads = [0] * 2 * c.rank(x)
    for axis, begin, end in zip(axes, flat[::2], flat[1::2], strict=True):
        pads[axis], pads[axis + c.rank(x)] = begin, end
    value = None
    if mode == "constant" and len(c) > 2 and c.given(2) is not None:
        value = c.op("Reshape", c.x(2), c.b.ints(), part="value")
    return c.op("Pad", x, c.b.ints(*pads), value, mode=mode)


@primitive("DepthToSpace", "SpaceToDepth")
def depth_to_space(c: Call) -> Any:
    return c.op(c.node.op, c.x(), blocksize=c.integer(ATTRIBUTE, "block_size"))


@primitive("ResizeBilinearV2", "ResizeNearestNeighborV2")
def resize(c: Call) -> Any:
    """Height and width, by the places of corners, or of the middles of pixels, or of their edges."""
    x, wanted = c.x(), c.integers(1, "size")
    align, half = c.flag(2, "align_corners"), c.flag(3, "half_pixel_centers")
    nearest = c.node.op == "ResizeNearestNeighborV2"
    if len(wanted) != 2:
        raise c.b.invalid(f"its size is {wanted}")
    if nearest and (align or half):
        raise c.unsupported("it takes the nearest neighbour by corners or middles")
    mode = "align_corners" if align else "half_pixel" if half else "asymmetric"
    sizes = c.op("Concat", c.op("Shape", x, part="outer", end=2), c.b.ints(*wanted), part="sizes", axis=0)
    return c.op(
        "Resize", x, None, None, sizes, coordinate_transformation_mode=mode,
        mode="nearest" if nearest else "linear", nearest_mode="floor" if nearest else None,
    )  # fmt: skip
