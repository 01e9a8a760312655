"""What random cases are drawn from: shapes, axes, element types, arrays of awkward values, and cases of one node.

A property is a strategy of `Case`; `tests/ops/*_properties.py` have a table of them for each family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from case import Case
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from ingot.testing import EXACT, Array, Level

Draw = Callable[[st.SearchStrategy[Any]], Any]

OPSET = 21
"""The operator set of cases that are about no other, so that many cases fit one library."""
DIMS = (1, 2, 3, 0, 4, 5, 7, 8, 9, 16, 17)
ELEMENTS = 160
"""A drawn shape has at most so many."""

FLOATS = ("float32", "float64", "float16", "bfloat16")
SIGNED = ("int32", "int64", "int8", "int16")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
NUMBERS = (*FLOATS, *INTEGERS)


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy type of a name, those of ml_dtypes included."""
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(getattr(ml_dtypes, name))


def tiny(dtype: str) -> Array:
    """Few whole numbers, which sum and multiply without rounding."""
    values = (0, 1, 2, 3, 5) if dtype.startswith("u") else (0, 1, -1, 2, -2, 3, -5)
    return np.array(values).astype(dtype_of(dtype))


def finite(dtype: str) -> Array:
    """Numbers of moderate size, ties of rounding among them."""
    if not is_float(dtype):
        return tiny(dtype)
    return np.array([0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 0.25, 3, -3.25, 7, 0.1, -0.3]).astype(
        dtype_of(dtype)
    )


def awkward(dtype: str) -> Array:
    """Small numbers, the limits of the type, and of floats also -0, subnormals, infinities and NaN."""
    kind = dtype_of(dtype)
    if dtype == "bool":
        return np.array([False, True])
    if is_float(dtype):
        info = ml_dtypes.finfo(kind)
        special = [-0.0, np.inf, -np.inf, np.nan, info.max, info.min, info.smallest_normal, info.eps]
        return np.concatenate([finite(dtype), np.array(special).astype(kind), finite(dtype)[1:5]])
    limits = ml_dtypes.iinfo(kind)
    low, high = int(limits.min), int(limits.max)
    return np.array([*tiny(dtype).tolist(), low, low + 1, high, high - 1, high // 2, 7], object).astype(kind)


def is_float(dtype: str) -> bool:
    return "float" in dtype


@st.composite
def arrays(draw: Draw, dtype: str, shape: Sequence[int], values: Array | None = None) -> Array:
    """An array whose elements are drawn from `values`, the awkward ones where left out; it shrinks to the first of them."""
    pool = awkward(dtype) if values is None else np.asarray(values).astype(dtype_of(dtype))
    picks = np.frombuffer(draw(st.binary(min_size=math.prod(shape), max_size=math.prod(shape))), np.uint8)
    return np.asarray(pool[picks % len(pool)].reshape(shape))


@st.composite
def shapes(
    draw: Draw, least: int = 0, most: int = 4, *, empty: bool = True, elements: int = ELEMENTS
) -> tuple[int, ...]:
    """Shapes of `least` to `most` dimensions; empty: whether one may be 0."""
    shape: list[int] = []
    room = elements
    for _ in range(draw(st.integers(least, most))):
        shape.append(draw(st.sampled_from([d for d in DIMS if d <= room and (d or empty)])))
        room //= max(shape[-1], 1)
    return tuple(draw(st.permutations(shape)))


@st.composite
def broadcasting(draw: Draw, count: int, **how: Any) -> list[tuple[int, ...]]:
    """Shapes that broadcast together."""
    whole = draw(shapes(**how))
    found = []
    for _ in range(count):
        kept = whole[draw(st.integers(0, len(whole))) :] if draw(st.booleans()) else whole
        found.append(tuple(1 if draw(st.sampled_from([False, False, True])) else d for d in kept))
    return found


@st.composite
def axis(draw: Draw, rank: int) -> int:
    """An axis, counted from either end."""
    return draw(st.integers(-rank, rank - 1))


@st.composite
def some_axes(draw: Draw, rank: int, least: int = 0) -> list[int]:
    """Distinct axes in any order, each counted from either end."""
    chosen = (
        draw(st.lists(st.integers(0, rank - 1), min_size=least, max_size=rank, unique=True)) if rank else []
    )
    return [a - rank if draw(st.booleans()) else a for a in chosen]


def node(
    draw: Draw,
    operator: str,
    inputs: Sequence[Array | None],
    outputs: Sequence[str] | None = None,
    *,
    opset: int = OPSET,
    constants: Sequence[int] = (),
    fixed: Sequence[int] = (),
    attributes: Mapping[str, Any] | None = None,
    level: Level = EXACT,
    **how: Any,
) -> Case:
    """A case of one node.

    inputs: None for one that is left out. outputs: their element types, that of the first input where left out.
    constants: which inputs are initializers; now and then all are, and the node is folded. fixed: which keep their sizes;
    the others may have symbols for theirs, equal ones for equal sizes. how: the other fields of the case.
    """
    names = [f"x{i}" if array is not None else "" for i, array in enumerate(inputs)]
    given = {name: np.asarray(x) for name, x in zip(names, inputs, strict=True) if x is not None}
    symbolic, folded = draw(st.booleans()), draw(st.integers(0, 7)) == 7
    ports, kept, feed = [], [], {}
    for number, (name, array) in enumerate(given.items()):
        if folded or names.index(name) in constants:
            kept.append(numpy_helper.from_array(array, name))
            continue
        free = symbolic and names.index(name) not in fixed
        dims = [f"{operator}{d}" if free and d > 1 and (d + number) % 3 else d for d in array.shape]
        ports.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), dims))
        feed[name] = array
    kinds = [str(next(iter(given.values())).dtype)] if outputs is None else outputs
    results = [
        helper.make_tensor_value_info(f"y{i}", helper.np_dtype_to_tensor_dtype(dtype_of(kind)), None)
        for i, kind in enumerate(kinds)
    ]
    made = helper.make_node(
        operator,
        names,
        [f"y{i}" for i in range(len(kinds))],
        **{key: value for key, value in (attributes or {}).items() if value is not None},
    )
    graph = helper.make_graph([made], operator.lower(), ports, results, kept)
    model = helper.make_model(
        graph, ir_version=8 if opset < 21 else 10, opset_imports=[helper.make_opsetid("", opset)]
    )
    return Case(operator.lower(), model, (feed,), level=level, **how)


def tensor_type(dtype: str) -> int:
    """The number that ONNX has for an element type."""
    return int(helper.np_dtype_to_tensor_dtype(dtype_of(dtype)))
