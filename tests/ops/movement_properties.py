"""Random cases of operators that move elements: places computed from attributes, and places that are data."""

from __future__ import annotations

import math

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import Draw, arrays, axis, broadcasting, node, shapes, some_axes, tiny

from ingot.testing import Array

MOVED = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool")


@st.composite
def moved(draw: Draw, least: int = 0, most: int = 4, *, empty: bool = True) -> Array:
    """What is moved: of any type and any shape."""
    return draw(arrays(draw(st.sampled_from(MOVED)), draw(shapes(least, most, empty=empty))))


@st.composite
def places(draw: Draw, shape: tuple[int, ...], size: int, dtype: str = "int64") -> Array:
    """Indices into an axis, counted from either end."""
    return draw(arrays(dtype, shape, np.arange(-size, size)))


def sliced(size: int, start: int, end: int, step: int) -> range:
    """The elements of an axis that bounds ask for, clamped as ONNX says."""
    start, end = (v + size if v < 0 else v for v in (start, end))
    if step > 0:
        return range(min(max(start, 0), size), min(max(end, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


@st.composite
def slices(draw: Draw) -> Case:
    """Bounds far outside, steps of either sign; constants, or known in the run only."""
    x = draw(moved(1))
    axes = draw(some_axes(x.ndim, 1))
    far = st.sampled_from((2**31 - 1, 2**63 - 1, -(2**31), -(2**63)))
    bounds = [[draw(st.integers(-12, 12) | far) for _ in axes] for _ in range(2)]
    steps = [draw(st.sampled_from((1, 2, 3, -1, -2, 2**62, -(2**62)))) for _ in axes]
    index: list[object] = [slice(None)] * x.ndim
    for a, start, end, step in zip(axes, *bounds, steps, strict=True):
        index[a] = np.array(sliced(x.shape[a], start, end, step), np.int64)
    expected = x
    for a, chosen in enumerate(index):
        if not isinstance(chosen, slice):
            expected = np.take(expected, chosen, a)
    # onnx.reference does not clamp as ONNX says where a step is negative
    return node(
        draw, "Slice", [x, *(np.array(v, np.int64) for v in (*bounds, axes, steps))], fixed=(0, 1, 2, 3, 4),
        constants=draw(st.sampled_from([(1, 2, 3, 4), (3, 4), (1, 3)])), expected=([expected],),
    )  # fmt: skip


def padded(x: Array, before: list[int], after: list[int], mode: str, value: Array) -> Array:
    """Negative pads take away first."""
    for a, (low, high) in enumerate(zip(before, after, strict=True)):
        x = np.take(x, range(max(-low, 0), x.shape[a] - max(-high, 0)), a)
    pads = [(max(low, 0), max(high, 0)) for low, high in zip(before, after, strict=True)]
    if mode == "constant":
        return np.pad(x, pads, constant_values=value)
    return np.pad(x, pads, mode)


@st.composite
def pad(draw: Draw) -> Case:
    """By every mode; by less than nothing in the constant one."""
    mode = draw(st.sampled_from(("constant", "constant", "edge", "reflect", "wrap")))
    dtype = draw(st.sampled_from(("float32", "float64", "int64", "int32", "uint8")))
    x = draw(arrays(dtype, draw(shapes(1, empty=mode == "constant", elements=60))))
    least = -1 if mode == "constant" else 0
    most = [3 if mode == "constant" else min(d - 1, 4) if mode == "reflect" else 4 for d in x.shape]
    axes = draw(some_axes(x.ndim, 1))
    before, after = [0] * x.ndim, [0] * x.ndim
    for a in axes:
        for side in (before, after):
            side[a] = draw(st.integers(least if x.shape[a] > 2 else 0, most[a]))
    given = np.array([side[a] for side in (before, after) for a in axes], np.int64)
    value = draw(arrays(dtype, (), tiny(dtype)[1:]))
    expected = padded(x, before, after, mode, value)
    return node(
        draw, "Pad", [x, given, value if mode == "constant" else None, np.array(axes, np.int64)], attributes={"mode": mode},
        constants=(1, 2, 3), expected=([expected],),
    )  # fmt: skip


@st.composite
def concat(draw: Draw) -> Case:
    """Parts of size zero among them, and one part twice."""
    x = draw(moved(1))
    along = draw(axis(x.ndim))
    parts = [x]
    for _ in range(draw(st.integers(0, 3))):
        shape = list(x.shape)
        shape[along] = draw(st.sampled_from((1, 0, 2, 5)))
        parts.append(draw(arrays(str(x.dtype), shape)))
    return node(
        draw,
        "Concat",
        draw(st.permutations(parts)),
        [str(x.dtype)],
        attributes={"axis": along},
        fixed=range(5),
    )


@st.composite
def split(draw: Draw) -> Case:
    """Into parts of any size, zero included, or into some number of nearly equal ones."""
    x = draw(moved(1))
    along = draw(axis(x.ndim))
    size = x.shape[along]
    if draw(st.booleans()):
        cuts = sorted(draw(st.lists(st.integers(0, size), max_size=3)))
        sizes = np.diff([0, *cuts, size])
        expected = np.split(x, cuts, along)
        return node(
            draw, "Split", [x, sizes], [str(x.dtype)] * len(sizes), attributes={"axis": along}, constants=(1,), fixed=(0,),
            expected=(expected,),
        )  # fmt: skip
    count = draw(
        st.sampled_from([n for n in range(1, 5) if size >= n and -(-size // n) * (n - 1) <= size] or [1])
    )
    part = -(-size // count)
    expected = np.split(x, [part * i for i in range(1, count)], along)
    # onnx.reference splits what does not divide in another way
    return node(
        draw,
        "Split",
        [x],
        [str(x.dtype)] * count,
        attributes={"axis": along, "num_outputs": count},
        fixed=(0,),
        expected=(expected,),
    )


@st.composite
def transpose(draw: Draw) -> Case:
    x = draw(moved())
    perm = draw(st.none() | st.permutations(range(x.ndim)))
    return node(draw, "Transpose", [x], attributes={"perm": perm or None})


@st.composite
def reshape(draw: Draw) -> Case:
    """To a shape with a 0 that keeps a size, or one that means zero, and a -1."""
    x = draw(moved())
    left, target = x.size, []
    for _ in range(draw(st.integers(0, 3))):
        target.append(draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0] or [0, 1])))
        left //= max(target[-1], 1)
    if math.prod(target) != x.size:
        target.append(left)
    wanted, allowzero = list(target), int(0 in target or draw(st.booleans()))
    if not allowzero:
        wanted = [
            0 if i < x.ndim and x.shape[i] == d and draw(st.booleans()) else d for i, d in enumerate(wanted)
        ]
    if target and (0 not in target or target.count(0) == 1) and draw(st.booleans()):
        at = draw(st.integers(0, len(target) - 1))
        if 0 not in target[:at] + target[at + 1 :]:
            wanted[at] = -1
            allowzero = allowzero if 0 in wanted else 0
    return node(
        draw, "Reshape", [x, np.array(wanted, np.int64)], constants=(1,), attributes={"allowzero": allowzero},
        expected=([x.reshape(target)],),
    )  # fmt: skip


@st.composite
def ranks(draw: Draw) -> Case:
    """Axes of size one that come and go."""
    x = draw(moved(0, 3))
    operator = draw(st.sampled_from(("Squeeze", "Unsqueeze", "Flatten")))
    if operator == "Flatten":
        axis = draw(st.integers(-x.ndim, x.ndim))
        outer = x.shape[: axis + x.ndim if axis < 0 else axis]
        flat = x.reshape(math.prod(outer), math.prod(x.shape[len(outer) :]))
        return node(draw, operator, [x], attributes={"axis": axis}, expected=([flat],))
    if operator == "Squeeze":
        ones = [
            i - draw(st.sampled_from((0, x.ndim)))
            for i, d in enumerate(x.shape)
            if d == 1 and draw(st.booleans())
        ]
        given = [np.array(ones, np.int64)] if ones else []
        return node(draw, operator, [x, *given], constants=(1,))
    count = draw(st.integers(1, 3))
    rank = x.ndim + count
    axes = draw(st.permutations(range(rank)))[:count]
    signed = [a - draw(st.sampled_from((0, rank))) for a in axes]
    return node(
        draw,
        operator,
        [x, np.array(signed, np.int64)],
        constants=(1,),
        expected=([np.expand_dims(x, tuple(axes))],),
    )


@st.composite
def expand(draw: Draw) -> Case:
    """Either side may be the one that is broadcast."""
    shape, target = draw(broadcasting(2))
    x = draw(arrays(draw(st.sampled_from(MOVED)), shape))
    return node(draw, "Expand", [x, np.array(target, np.int64)], constants=(1,))


@st.composite
def tile(draw: Draw) -> Case:
    x = draw(moved())
    repeats = np.array([draw(st.sampled_from((1, 2, 0, 3))) for _ in x.shape], np.int64)
    return node(draw, "Tile", [x, repeats], constants=(1,), expected=([np.tile(x, repeats)],))


@st.composite
def gather(draw: Draw) -> Case:
    x = draw(moved(1))
    along = draw(axis(x.ndim))
    shape = draw(shapes(0, 2, elements=12)) if x.shape[along] else (0,)
    kind = draw(st.sampled_from(("int64", "int32")))
    indices = draw(places(shape, max(x.shape[along], 1), kind))
    either = draw(st.sampled_from([(), (1,)]))
    return node(
        draw,
        "Gather",
        [x, indices],
        attributes={"axis": along},
        constants=either,
        expected=([np.take(x, indices, along)],),
    )


@st.composite
def gather_elements(draw: Draw) -> Case:
    x = draw(moved(1, empty=False))
    along = draw(axis(x.ndim))
    shape = tuple(draw(st.integers(0, d)) for d in x.shape)
    indices = draw(places(shape, x.shape[along]))
    grid = list(np.indices(shape, sparse=True))
    grid[along] = indices
    # onnx.reference gathers from all of x
    return node(
        draw,
        "GatherElements",
        [x, indices],
        attributes={"axis": along},
        fixed=(0, 1),
        expected=([x[tuple(grid)]],),
    )


@st.composite
def gather_nd(draw: Draw) -> Case:
    x = draw(moved(1, empty=False))
    batch = draw(st.integers(0, x.ndim - 1))
    depth = draw(st.integers(1, x.ndim - batch))
    rows = (*x.shape[:batch], *draw(shapes(0, 1, elements=6)))
    columns = [draw(places(rows, d)) for d in x.shape[batch : batch + depth]]
    indices = np.stack(columns, -1)
    outer, each = math.prod(x.shape[:batch]), math.prod(rows[batch:])
    flat, picks = x.reshape(outer, *x.shape[batch:]), indices.reshape(outer, each, depth)
    found = [a[tuple(i.T)] for a, i in zip(flat, picks, strict=True)]
    expected = np.stack(found).reshape((*rows, *x.shape[batch + depth :]))
    return node(
        draw, "GatherND", [x, indices], attributes={"batch_dims": batch}, fixed=(0, 1), expected=([expected],)
    )


@st.composite
def scatter_elements(draw: Draw) -> Case:
    """Places may repeat: the last one stays, or all are joined."""
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "int64", "uint8")))
    x = draw(arrays(dtype, draw(shapes(1, empty=False)), tiny(dtype)))
    along = draw(axis(x.ndim))
    shape = tuple(draw(st.integers(0, d)) for d in x.shape)
    return node(
        draw, "ScatterElements", [x, draw(places(shape, x.shape[along])), draw(arrays(dtype, shape, tiny(dtype)))],
        attributes={"axis": along, "reduction": draw(st.sampled_from(("none", "add", "mul", "max", "min")))}, fixed=(0, 1, 2),
    )  # fmt: skip


@st.composite
def scatter_nd(draw: Draw) -> Case:
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "int64")))
    x = draw(arrays(dtype, draw(shapes(1, empty=False)), tiny(dtype)))
    depth, rows = draw(st.integers(1, x.ndim)), draw(shapes(1, 2, elements=6))
    indices = np.stack([draw(places(rows, d)) for d in x.shape[:depth]], -1)
    return node(
        draw, "ScatterND", [x, indices, draw(arrays(dtype, (*rows, *x.shape[depth:]), tiny(dtype)))],
        attributes={"reduction": draw(st.sampled_from(("none", "add", "mul", "max", "min")))}, fixed=(0, 1, 2),
    )  # fmt: skip


@st.composite
def blocks(draw: Draw) -> Case:
    """Blocks of pixels to channels and back."""
    size, batch, channels, high, wide = (draw(st.integers(1, 3)) for _ in range(5))
    dtype = draw(st.sampled_from(("float32", "int32", "uint8")))
    if draw(st.booleans()):
        x = draw(arrays(dtype, (batch, channels * size * size, high, wide)))
        mode = draw(st.sampled_from(("DCR", "CRD")))
        return node(draw, "DepthToSpace", [x], attributes={"blocksize": size, "mode": mode})
    x = draw(arrays(dtype, (batch, channels, high * size, wide * size)))
    made = x.reshape(batch, channels, high, size, wide, size).transpose(0, 3, 5, 1, 2, 4)
    # onnx.reference puts the channels first
    return node(
        draw,
        "SpaceToDepth",
        [x],
        attributes={"blocksize": size},
        fixed=(0,),
        expected=([made.reshape(batch, -1, high, wide)],),
    )


@st.composite
def trilu(draw: Draw) -> Case:
    x = draw(moved(2))
    k = [np.int64(draw(st.integers(-5, 5)))] if draw(st.booleans()) else []
    upper = draw(st.booleans())
    expected = (np.triu if upper else np.tril)(x, int(k[0]) if k else 0)
    # onnx.reference knows no empty tensors
    return node(
        draw,
        "Trilu",
        [x, *k],
        attributes={"upper": int(upper)},
        constants=draw(st.sampled_from([(), (1,)])),
        expected=([expected],),
    )


@st.composite
def one_hot(draw: Draw) -> Case:
    """Indices outside are cold everywhere."""
    depth = draw(st.integers(1, 5))
    indices = draw(arrays("int64", draw(shapes(0, 2, elements=20)), np.arange(-depth - 2, depth + 2)))
    along = draw(st.integers(-indices.ndim - 1, indices.ndim))
    dtype = draw(st.sampled_from(("float32", "int64", "int32")))
    off, on = np.array([2, 5], dtype)
    real = np.where((indices >= -depth) & (indices < depth), indices % depth, -1)
    hot = real[..., None] == np.arange(depth)
    expected = np.moveaxis(np.where(hot, on, off), -1, along)
    # onnx.reference takes indices outside modulo the depth
    return node(
        draw, "OneHot", [indices, np.int64(depth), np.array([off, on])], [dtype], attributes={"axis": along}, constants=(1, 2),
        expected=([expected],),
    )  # fmt: skip


@st.composite
def reverse_sequence(draw: Draw) -> Case:
    x = draw(arrays(draw(st.sampled_from(("float32", "int64"))), draw(shapes(2, 4, empty=False))))
    batch = draw(st.integers(0, 1))
    lengths = draw(arrays("int64", (x.shape[batch],), np.arange(1, x.shape[1 - batch] + 1)))
    return node(
        draw,
        "ReverseSequence",
        [x, lengths],
        attributes={"batch_axis": batch, "time_axis": 1 - batch},
        fixed=(0, 1),
    )


@st.composite
def ranges(draw: Draw) -> Case:
    """Of constants, in either direction."""
    dtype = draw(st.sampled_from(("int64", "int32", "float32")))
    start, limit = (np.array(draw(st.integers(-6, 6)), dtype) for _ in range(2))
    delta = np.array(draw(st.sampled_from((1, 2, -1, -3))), dtype)
    return node(
        draw,
        "Range",
        [start, limit, delta],
        constants=(0, 1, 2),
        expected=([np.arange(start, limit, delta, dtype)],),
    )


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "slices": slices(),
    "pad": pad(),
    "concat": concat(),
    "split": split(),
    "transpose": transpose(),
    "reshape": reshape(),
    "ranks": ranks(),
    "expand": expand(),
    "tile": tile(),
    "gather": gather(),
    "gather_elements": gather_elements(),
    "gather_nd": gather_nd(),
    "scatter_elements": scatter_elements(),
    "scatter_nd": scatter_nd(),
    "blocks": blocks(),
    "trilu": trilu(),
    "one_hot": one_hot(),
    "reverse_sequence": reverse_sequence(),
    "ranges": ranges(),
}
