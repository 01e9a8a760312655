"""Random cases of sorting, selection and search: ties, NaN, infinities, outputs whose size depends on data."""

from __future__ import annotations

import numpy as np
from case import Case
from hypothesis import strategies as st
from strategies import Draw, arrays, axis, node, shapes

from ingot.testing import Array, ulp

TIES = np.array([0, 1, -1, 2, 2, np.inf, -np.inf, np.nan], np.float32)
"""Few, so that many are equal."""


@st.composite
def top_k(draw: Draw) -> Case:
    """Of equal ones the first comes first; NaN is larger than any number. k may be known in the run only."""
    dtype = draw(st.sampled_from(("float32", "float64", "int32", "int64", "uint8")))
    x = draw(arrays(dtype, draw(shapes(1)), TIES if dtype == "float32" else None))
    along, largest = draw(axis(x.ndim)), draw(st.integers(0, 1))
    k = np.array([draw(st.integers(0, x.shape[along]))])
    order = np.argsort(x, along, kind="stable")
    if largest:
        order = np.flip(x.shape[along] - 1 - np.argsort(np.flip(x, along), along, kind="stable"), along)
    picks = np.take(order, range(int(k[0])), along)
    return node(
        draw, "TopK", [x, k], [dtype, "int64"], attributes={"axis": along, "largest": largest}, fixed=(0,), level=ulp(0),
        constants=draw(st.sampled_from([(), (1,)])), expected=([np.take_along_axis(x, picks, along), picks],),
    )  # fmt: skip


@st.composite
def unique(draw: Draw) -> Case:
    x = draw(arrays("float32", (draw(st.integers(1, 40)),), TIES))
    return node(
        draw,
        "Unique",
        [x],
        ["float32", "int64", "int64", "int64"],
        attributes={"sorted": draw(st.integers(0, 1))},
    )


@st.composite
def non_zero(draw: Draw) -> Case:
    x = draw(arrays(draw(st.sampled_from(("float32", "int64", "bool", "uint8"))), draw(shapes(0, 3))))
    # onnx.reference gives a scalar one row, as NumPy did; ONNX says none
    found = np.argwhere(x).T if x.ndim else np.zeros((0, int(x != 0)), np.int64)
    return node(draw, "NonZero", [x], ["int64"], expected=([found.astype(np.int64)],))


@st.composite
def compress(draw: Draw) -> Case:
    """By a mask that may be shorter than the axis."""
    x = draw(arrays("float32", draw(shapes(1, 3, empty=False))))
    along = draw(st.none() | axis(x.ndim))
    length = x.size if along is None else x.shape[along]
    mask = draw(arrays("bool", (draw(st.integers(1, length)),)))
    return node(draw, "Compress", [x, mask], attributes={"axis": along})


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes of two corners each."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = (
        (*np.minimum(r[:2], r[2:]), *np.maximum(r[:2], r[2:]))
        for r in (a.astype(np.float64), b.astype(np.float64))
    )
    inner = max(0.0, min(a2, b2) - max(a0, b0)) * max(0.0, min(a3, b3) - max(a1, b1))
    union = (a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - inner
    return inner / union if union > 0 else 0.0


@st.composite
def suppression(draw: Draw) -> Case:
    """Boxes on a grid, so that many overlap by the same share; of equal scores the first box wins."""
    batch, classes, boxes = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 6))
    x = draw(arrays("float32", (batch, boxes, 4), np.arange(4, dtype=np.float32)))
    scores = draw(arrays("float32", (batch, classes, boxes), np.array([0.5, 0.25, 0.75, 0.9], np.float32)))
    most, limit = draw(st.integers(0, 4)), draw(st.sampled_from((0.0, 0.3, 1.0)))
    least = draw(st.sampled_from((0.0, 0.4)))
    found = []
    for b in range(batch):
        for c in range(classes):
            kept: list[int] = []
            for i in np.argsort(-scores[b, c], kind="stable"):
                if (
                    len(kept) < most
                    and scores[b, c, i] > least
                    and all(overlap(x[b, i], x[b, j]) <= limit for j in kept)
                ):
                    kept.append(int(i))
                    found.append((b, c, int(i)))
    # onnx.reference sorts equal scores in another order
    return node(
        draw, "NonMaxSuppression", [x, scores, np.array([most]), np.float32([limit]), np.float32([least])], ["int64"],
        fixed=(0, 1, 2, 3, 4), constants=draw(st.sampled_from([(2, 3, 4), (3, 4), ()])),
        expected=([np.array(found, np.int64).reshape(-1, 3)],),
    )  # fmt: skip


@st.composite
def least_bits(draw: Draw) -> Case:
    """Sorting of integers at the limits of their type."""
    dtype = draw(st.sampled_from(("int32", "int64", "uint32", "uint64")))
    x = draw(arrays(dtype, (draw(st.integers(1, 40)),)))
    order = np.argsort(x, kind="stable")
    return node(
        draw, "TopK", [x, np.array([x.size])], [dtype, "int64"], attributes={"largest": 0}, constants=(1,), fixed=(0,),
        expected=([x[order], order],),
    )  # fmt: skip


PROPERTIES: dict[str, st.SearchStrategy[Case]] = {
    "top_k": top_k(),
    "unique": unique(),
    "non_zero": non_zero(),
    "compress": compress(),
    "suppression": suppression(),
    "least_bits": least_bits(),
}
