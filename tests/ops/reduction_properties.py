"""Random cases of reductions, softmax, normalisation and pooling."""

from __future__ import annotations

import math

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import (
    INTEGERS,
    Draw,
    arrays,
    awkward,
    axis,
    finite,
    is_float,
    node,
    shapes,
    some_axes,
)

from ingot.testing import CLOSE, EXACT, Array, ulp

SUMS = {
    "float32": CLOSE,
    "float64": CLOSE,
    "float16": CLOSE,
    "int32": EXACT,
    "int64": EXACT,
    "uint32": EXACT,
    "uint64": EXACT,
}


@st.composite
def axes_of(draw: Draw, x: Array) -> tuple[list[Array], dict[str, int], tuple[int, ...] | None, bool]:
    """The input of axes, the attributes, and what they come to: the axes (None: left as it is), and whether they are kept."""
    keep, noop = draw(st.booleans()), draw(st.booleans())
    chosen = draw(some_axes(x.ndim))
    given = [np.array(chosen, np.int64)] if chosen or draw(st.booleans()) else []
    attributes = {"keepdims": int(keep), "noop_with_empty_axes": int(noop)}
    reduced = tuple(a % x.ndim for a in chosen) if chosen else None if noop else tuple(range(x.ndim))
    return given, attributes, reduced, keep


@st.composite
def extreme(draw: Draw) -> Case:
    """NaN where one is among the floats. Of nothing, the least and the largest number of the type."""
    dtype = draw(
        st.sampled_from(("float32", "float64", "float16", "int32", "int64", "int8", "uint8", "uint64"))
    )
    largest = draw(st.booleans())
    x = draw(arrays(dtype, draw(shapes())))
    axes, attributes, reduced, keep = draw(axes_of(x))
    limits = np.finfo(dtype) if is_float(dtype) else np.iinfo(dtype)
    nothing = (-np.inf if largest else np.inf) if is_float(dtype) else limits.min if largest else limits.max
    expected = x
    if reduced is not None:
        expected = (np.max if largest else np.min)(x, axis=reduced, keepdims=keep, initial=nothing)
    # onnx.reference reduces all axes where none are given, noop_with_empty_axes or not
    return node(
        draw, "ReduceMax" if largest else "ReduceMin", [x, *axes], constants=(1,), attributes=attributes, level=ulp(0),
        expected=([np.asarray(expected, dtype)],),
    )  # fmt: skip


SUMMED = (
    "ReduceSum",
    "ReduceMean",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSum",
    "ReduceLogSumExp",
)


def summed(name: str, x: Array, axes: tuple[int, ...] | None, keep: bool) -> Array:
    """What an operator means, in float64 or the integers' own type. axes: None to reduce nothing."""
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    before = {
        "ReduceL1": np.abs, "ReduceL2": np.square, "ReduceSumSquare": np.square, "ReduceLogSumExp": np.exp,
    }.get(name, np.asarray)(wide)  # fmt: skip
    if axes is None:
        total = before
    elif name == "ReduceProd":
        total = np.prod(before, axis=axes, keepdims=keep, dtype=before.dtype)
    else:
        total = np.sum(before, axis=axes, keepdims=keep, dtype=before.dtype)
        if name == "ReduceMean":
            total = total / math.prod(x.shape[a] for a in axes)
    after = {"ReduceL2": np.sqrt, "ReduceLogSum": np.log, "ReduceLogSumExp": np.log}.get(name, np.asarray)(
        total
    )
    return np.asarray(after).astype(x.dtype)


@st.composite
def total(draw: Draw) -> Case:
    """Floats of moderate size, integers that wrap; the mean of nothing is not asked for."""
    operator = draw(st.sampled_from(SUMMED))
    whole = operator in ("ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare")
    dtype = draw(
        st.sampled_from(
            ("float32", "float64", "float16", *(("int32", "int64", "uint32", "uint64") if whole else ()))
        )
    )
    x = draw(
        arrays(
            dtype,
            draw(shapes(empty=operator != "ReduceMean")),
            finite(dtype) if is_float(dtype) else awkward(dtype),
        )
    )
    axes, attributes, reduced, keep = draw(axes_of(x))
    if operator == "ReduceLogSum":
        x = np.abs(x)
    with np.errstate(all="ignore"):
        expected = summed(operator, x, reduced, keep)
    return node(
        draw, operator, [x, *axes], constants=(1,), attributes=attributes, level=SUMS[dtype], reduction=160, scale=1.0,
        expected=([expected],),
    )  # fmt: skip


@st.composite
def old_total(draw: Draw) -> Case:
    """With the axes as an attribute."""
    operator = draw(st.sampled_from(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")))
    x = draw(
        arrays(
            "float32",
            draw(shapes(empty=operator not in ("ReduceMean", "ReduceMax", "ReduceMin"))),
            finite("float32"),
        )
    )
    chosen, keep = draw(some_axes(x.ndim)), draw(st.booleans())
    reduced = tuple(a % x.ndim for a in chosen) or tuple(range(x.ndim))
    if operator in ("ReduceMax", "ReduceMin"):
        expected = np.asarray((np.max if operator == "ReduceMax" else np.min)(x, axis=reduced, keepdims=keep))
    else:
        expected = summed(operator, x, reduced, keep)
    return node(
        draw, operator, [x], opset=11, attributes={"axes": chosen or None, "keepdims": int(keep)}, level=CLOSE, reduction=160,
        scale=1.0, expected=([expected],),
    )  # fmt: skip


@st.composite
def arg(draw: Draw) -> Case:
    """The first or the last of equal ones."""
    dtype = draw(st.sampled_from(("float32", "float64", "float16", *INTEGERS)))
    x = draw(arrays(dtype, draw(shapes(1, empty=False)), finite(dtype) if is_float(dtype) else None))
    operator = draw(st.sampled_from(("ArgMax", "ArgMin")))
    attributes = {
        "axis": draw(axis(x.ndim)),
        **{k: draw(st.integers(0, 1)) for k in ("keepdims", "select_last_index")},
    }
    key = x if operator == "ArgMax" else -x if is_float(dtype) else np.invert(x)
    along = attributes["axis"]
    found = np.argmax(key, along, keepdims=bool(attributes["keepdims"]))
    if attributes["select_last_index"]:
        found = (
            x.shape[along] - 1 - np.argmax(np.flip(key, along), along, keepdims=bool(attributes["keepdims"]))
        )
    return node(
        draw, operator, [x], ["int64"], attributes=attributes, expected=([np.asarray(found, np.int64)],)
    )


@st.composite
def rows(draw: Draw) -> Case:
    """Along one axis."""
    operator = draw(st.sampled_from(("Softmax", "LogSoftmax", "Hardmax")))
    dtype = draw(st.sampled_from(("float32", "float64", "float16")))
    x = draw(arrays(dtype, draw(shapes(1, empty=False)), finite(dtype)))
    return node(
        draw, operator, [x], attributes={"axis": draw(axis(x.ndim))}, level=CLOSE, scale=1.0, reduction=20
    )


@st.composite
def old_rows(draw: Draw) -> Case:
    """All axes from one on are one row."""
    operator = draw(st.sampled_from(("Softmax", "LogSoftmax", "Hardmax")))
    x = draw(arrays("float32", draw(shapes(1, empty=False)), finite("float32")))
    first = draw(axis(x.ndim))
    flat = x.reshape(math.prod(x.shape[: first % x.ndim]), -1)
    shifted = flat - flat.max(1, keepdims=True)
    soft = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
    hard = (np.arange(flat.shape[1]) == flat.argmax(1)[:, None]).astype(np.float32)
    expected = {"Softmax": soft, "LogSoftmax": np.log(soft), "Hardmax": hard}[operator].reshape(x.shape)
    return node(
        draw,
        operator,
        [x],
        opset=11,
        attributes={"axis": first},
        level=CLOSE,
        scale=1.0,
        reduction=160,
        expected=([expected],),
    )


@st.composite
def layer_norm(draw: Draw) -> Case:
    operator = draw(st.sampled_from(("LayerNormalization", "RMSNormalization")))
    x = draw(arrays("float32", draw(shapes(1, empty=False)), finite("float32")))
    first = draw(axis(x.ndim))
    inner = x.shape[first:]
    bias = (
        [draw(arrays("float32", inner, finite("float32")))]
        if operator[0] == "L" and draw(st.booleans())
        else []
    )
    scale = draw(arrays("float32", inner, finite("float32")))
    wide = x.astype(np.float64)
    over = tuple(range(first % x.ndim, x.ndim))
    centred = wide - wide.mean(over, keepdims=True) if operator[0] == "L" else wide
    expected = centred / np.sqrt((centred**2).mean(over, keepdims=True) + 0.25) * scale + (
        bias[0] if bias else 0
    )
    return node(
        draw, operator, [x, scale, *bias], opset=23, attributes={"axis": first, "epsilon": 0.25}, level=CLOSE, reduction=160,
        scale=1.0, expected=([expected.astype(np.float32)],), fixed=(1, 2), constants=draw(st.sampled_from([(), (1, 2)])),
    )  # fmt: skip


@st.composite
def channel_norm(draw: Draw) -> Case:
    """One scale and one shift a channel."""
    operator = draw(
        st.sampled_from(
            ("InstanceNormalization", "GroupNormalization", "BatchNormalization", "LpNormalization")
        )
    )
    groups = draw(st.sampled_from((1, 2, 3)))
    shape = (
        draw(st.sampled_from((1, 2))),
        groups * draw(st.sampled_from((1, 2, 3))),
        *draw(shapes(1, 2, empty=False, elements=20)),
    )
    x = draw(arrays("float32", shape, finite("float32")))
    how = {"level": CLOSE, "reduction": 160, "scale": 4.0}
    if operator == "LpNormalization":
        # onnx.reference has no absolute value for p = 1
        along, p = draw(axis(x.ndim)), draw(st.sampled_from((1, 2)))
        norm = (np.abs(x.astype(np.float64)) ** p).sum(along, keepdims=True) ** (1 / p)
        expected = (x / np.where(norm == 0, 1, norm)).astype(np.float32)
        return node(
            draw, operator, [x], attributes={"axis": along, "p": p}, opset=22, expected=([expected],), **how
        )
    count = 4 if operator[0] == "B" else 2
    given = [draw(arrays("float32", shape[1:2], finite("float32"))) for _ in range(count)]
    if operator[0] == "B":
        given[3] = np.abs(given[3])
    attributes = {"epsilon": 0.25} | ({"num_groups": groups} if operator[0] == "G" else {})
    either = draw(st.sampled_from([(), (1, 2, 3, 4)]))
    return node(
        draw, operator, [x, *given], attributes=attributes, constants=either, fixed=(0, 1, 2, 3, 4), **how
    )


@st.composite
def pool(draw: Draw) -> Case:
    """Windows of every stride, padding, dilation and rounding; the largest of bytes too."""
    operator = draw(st.sampled_from(("MaxPool", "AveragePool", "LpPool")))
    dims = draw(st.integers(1, 3))
    size = draw(st.lists(st.sampled_from((1, 2, 3, 4, 5, 7)[: 6 - dims]), min_size=dims, max_size=dims))
    kernel = [draw(st.integers(1, 3)) for _ in size]
    attributes: dict[str, object] = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in size],
    }
    dilations = [draw(st.sampled_from((1, 1, 2))) for _ in size]
    attributes["dilations"] = dilations
    mode = draw(st.sampled_from(("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")))
    pads = [0] * 2 * dims
    if mode == "NOTSET":
        pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        attributes["pads"] = pads
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["auto_pad"] = mode
        if mode != "VALID":
            # ONNX Runtime pads for a window without dilation, and by less than nothing where the stride is longer
            dilations[:] = [1] * dims
            attributes["strides"] = [draw(st.integers(1, k)) for k in kernel]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [max(s, r - pads[i] - pads[dims + i]) for i, (s, r) in enumerate(zip(size, reach, strict=True))]
    if operator == "MaxPool":
        # of a window in the padding alone ONNX Runtime takes the lowest finite number, ingot minus infinity
        size = [max(s, d) for s, d in zip(size, dilations, strict=True)]
    if operator == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    if operator == "LpPool":
        attributes["p"] = draw(st.sampled_from((1, 2, 3)))
    dtype = (
        "float32" if operator != "MaxPool" else draw(st.sampled_from(("float32", "float64", "int8", "uint8")))
    )
    shape = (draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 3))), *size)
    x = draw(arrays(dtype, shape, finite(dtype) if is_float(dtype) else awkward(dtype)))
    outputs = [dtype, "int64"] if operator == "MaxPool" and draw(st.booleans()) else [dtype]
    return node(
        draw, operator, [x], outputs, attributes=attributes, level=EXACT if operator == "MaxPool" else CLOSE, reduction=27,
        scale=1.0, oracle="onnxruntime", fixed=(0,) if mode.startswith("SAME") else (),
    )  # fmt: skip


@st.composite
def global_pool(draw: Draw) -> Case:
    operator = draw(st.sampled_from(("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")))
    x = draw(arrays("float32", draw(shapes(3, 4, empty=False)), finite("float32")))
    return node(draw, operator, [x], level=CLOSE, reduction=160, scale=1.0, oracle="onnxruntime")


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "extreme": extreme(),
    "total": total(),
    "old_total": old_total(),
    "arg": arg(),
    "rows": rows(),
    "old_rows": old_rows(),
    "layer_norm": layer_norm(),
    "channel_norm": channel_norm(),
    "pool": pool(),
    "global_pool": global_pool(),
}
