"""Random shapes, axes and attributes of operators whose places or order depend on data, against the reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from case import case, run_interpreted
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.testing import EXACT, Array

VALUES = np.array([0, 1, -1, 2, 2, np.inf, -np.inf, np.nan], np.float32)
"""Few, so that ties are frequent."""


def array(data: st.DataObject, shape: list[int], values: Array = VALUES) -> Array:
    picks = data.draw(
        st.lists(st.integers(0, len(values) - 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    return np.asarray(values[np.array(picks, np.int64)].reshape(shape))


def places(data: st.DataObject, shape: list[int], dim: int) -> Array:
    return array(data, shape, np.arange(-dim, dim))


def shapes(least: int = 0, rank: int = 3) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(least, 4), min_size=1, max_size=rank)


def listed(shape: list[int]) -> str:
    return ",".join(map(str, shape))


def agree(inputs: str, body: str, outputs: str, feed: dict[str, Array], **how: Any) -> None:
    made = case("random", inputs, body, outputs, feed=feed, level=EXACT, **{"opset": 18, **how})
    made.check(run_interpreted(made, "generic"))


quick = settings(max_examples=25, deadline=None, derandomize=True)


@quick
@given(st.data(), shapes(1), st.sampled_from(["none", "add", "mul", "max", "min"]))
def test_scatter_elements(data: st.DataObject, shape: list[int], reduction: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    part = [data.draw(st.integers(0, d)) for d in shape]
    numbers = VALUES[:5]
    agree(
        f"float[{listed(shape)}] x, int64[{listed(part)}] i, float[{listed(part)}] u",
        f'a = Neg(x)  y = ScatterElements<axis: int = {axis}, reduction="{reduction}">(a, i, u)', "float[] y",
        {"x": array(data, shape, numbers), "i": places(data, part, shape[axis]), "u": array(data, part, numbers)},
    )  # fmt: skip


@quick
@given(st.data(), shapes(1), st.integers(1, 3), st.sampled_from(["none", "add", "max"]))
def test_scatter_nd(data: st.DataObject, shape: list[int], depth: int, reduction: str) -> None:
    depth = min(depth, len(shape))
    rows = data.draw(st.integers(0, 5))
    columns = [places(data, [rows], d) for d in shape[:depth]]
    updates = [rows, *shape[depth:]]
    agree(
        f"float[{listed(shape)}] x, int64[{rows},{depth}] i, float[{listed(updates)}] u",
        f'y = ScatterND<reduction="{reduction}">(x, i, u)', "float[] y",
        {"x": array(data, shape), "i": np.stack(columns, 1), "u": array(data, updates)},
    )  # fmt: skip


@quick
@given(st.data(), shapes(1))
def test_gather_elements(data: st.DataObject, shape: list[int]) -> None:
    axis = data.draw(st.integers(0, len(shape) - 1))
    part = list(shape)
    part[axis] = data.draw(st.integers(0, 5))
    agree(
        f"float[{listed(shape)}] x, int64[{listed(part)}] i", f"y = GatherElements<axis: int = {axis}>(x, i)", "float[] y",
        {"x": array(data, shape), "i": places(data, part, shape[axis])},
    )  # fmt: skip


@quick
@given(st.data(), shapes(0, 2), st.integers(0, 45), st.booleans(), st.integers(0, 1))
def test_top_k(data: st.DataObject, rows: list[int], length: int, by_input: bool, largest: int) -> None:
    shape, axis = list(rows), data.draw(st.integers(0, len(rows)))
    shape.insert(axis, length)
    k = np.array([data.draw(st.integers(0, length))])
    given_k = (
        {"feed": {"x": array(data, shape), "k": k}}
        if by_input
        else {"feed": {"x": array(data, shape)}, "constants": {"k": k}}
    )
    agree(
        f"float[{listed(shape)}] x" + (", int64[1] k" if by_input else ""),
        f"y, i = TopK<axis: int = {axis}, largest: int = {largest}>(x, k)", "float[] y, int64[] i", **given_k,
    )  # fmt: skip


@quick
@given(st.data(), st.integers(1, 40), st.integers(0, 1))
def test_unique(data: st.DataObject, length: int, in_order: int) -> None:
    agree(
        f"float[{length}] x", f"y, i, v, c = Unique<sorted: int = {in_order}>(x)", "float[] y, int64[] i, int64[] v, int64[] c",
        {"x": array(data, [length])},
    )  # fmt: skip


@quick
@given(st.data(), shapes())
def test_non_zero(data: st.DataObject, shape: list[int]) -> None:
    agree(f"float[{listed(shape)}] x", "y = NonZero(x)", "int64[] y", {"x": array(data, shape)})


@pytest.mark.parametrize("axis", [None, 0, 1])
@quick
@given(data=st.data(), shape=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_compress(axis: int | None, data: st.DataObject, shape: tuple[int, int]) -> None:
    length = shape[0] * shape[1] if axis is None else shape[axis]
    mask = array(data, [data.draw(st.integers(1, length))], np.array([False, True]))
    attribute = "" if axis is None else f"<axis: int = {axis}>"
    agree(
        f"float[{listed(list(shape))}] x, bool[{len(mask)}] c", f"y = Compress{attribute}(x, c)", "float[] y",
        {"x": array(data, list(shape)), "c": mask},
    )  # fmt: skip
