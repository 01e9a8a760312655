"""An index outside a tensor, found while running, ends the run with an error that names the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from small import normal, parse

import ingot
from ingot.errors import IngotError
from ingot.oracle import interpret_model
from ingot.testing import EXACT, Array, assert_close

X = normal(4, 3)


@dataclass(frozen=True)
class Indexed:
    """A model with a node named "pick". right: values of the input `i` that are in range; wrong: that are not."""

    name: str
    text: str
    right: tuple[Any, ...]
    wrong: tuple[Any, ...]
    feed: Mapping[str, Array]
    constants: Mapping[str, Any] | None = None


CASES = (
    Indexed(
        "gather",
        "net (int64[N] i) => (float[N, 3] y) { [pick] y = Gather(x, i) }",
        ([0, 3, -4], []),
        ([4], [0, -5], [2**40], [-(2**63)], [*range(4)] * 40 + [4]),
        {},
        {"x": X},
    ),
    Indexed(
        "gather_scalar",
        "net (int32 i, float[N, 3] x) => (float[3] y) { [pick] y = Gather(x, i) }",
        (0, 3, -4),
        (4, -5),
        {"x": X},
    ),
    Indexed(
        "gather_axis",
        "net (int64[2, 2] i, float[A, B] x) => (float[A, 2, 2] y) { [pick] y = Gather <axis = -1> (x, i) }",
        ([[0, 2], [-1, -3]],),
        ([[0, 0], [0, 3]],),
        {"x": X},
    ),
    Indexed(
        "gather_elements",
        "net (int64[4, 3] i, float[4, 3] x) => (float[4, 3] y) { [pick] y = GatherElements <axis = 1> (x, i) }",
        (np.full((4, 3), -3), np.full((4, 3), 2)),
        (np.full((4, 3), -4), np.full((4, 3), 3)),
        {"x": X},
    ),
    Indexed(
        "gather_nd",
        "net (int64[M, 2] i, float[A, B] x) => (float[M] y) { [pick] y = GatherND(x, i) }",
        ([[3, 2], [-4, -3]],),
        ([[4, 0]], [[0, 3]], [[0, -4]]),
        {"x": X},
    ),
    Indexed(
        "computed_by_the_model",
        "net (int64[N] i, float[4, 3] x) => (float[N, 3] y) { j = Add(i, i) [pick] y = Gather(x, j) z = Exp(y) }",
        ([1, 0], [-2]),
        ([2],),
        {"x": X},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_index_out_of_range(case: Indexed) -> None:
    model = parse(case.text, case.constants)
    session = ingot.load(ingot.compile(model))
    interpreted = interpret_model(model)
    dtype = session.get_inputs()[0].dtype
    for value in case.wrong:
        feed = {"i": np.array(value, dtype), **case.feed}
        for run in (lambda feed: session.run(None, feed), interpreted):
            with pytest.raises(IngotError, match="pick: an index is outside") as caught:
                run(feed)
            assert caught.value.code == "index-range"
    for value in case.right:
        feed = {"i": np.array(value, dtype), **case.feed}
        for got, wanted in zip(session.run(None, feed), interpreted(feed), strict=True):
            assert_close(got, wanted, EXACT)


def test_a_constant_index_into_a_size_that_is_zero() -> None:
    model = parse("net (float[N, 3] x) => (float[3] y) { [pick] y = Gather(x, zero) }", {"zero": np.array(0)})
    session = ingot.load(ingot.compile(model))
    assert_close(session.run(None, {"x": X})[0], X[0], EXACT)
    with pytest.raises(IngotError, match="a dimension of N"):
        session.run(None, {"x": X[:0]})


def test_only_the_branch_that_runs_is_checked() -> None:
    text = """net (float[N, 3] x, int64 i, bool c) => (float[3] y) {
        y = If (c) <then_branch = a () => (r) { [pick] r = Gather(x, i) },
                    else_branch = b () => (s) { s = ReduceMax <keepdims = 0> (x, zero) }>
    }"""
    session = ingot.load(ingot.compile(parse(text, {"zero": np.array([0])})))
    feed = {"x": X, "i": np.array(9)}
    assert_close(session.run(None, {**feed, "c": np.array(False)})[0], X.max(0), EXACT)
    with pytest.raises(IngotError, match="pick"):
        session.run(None, {**feed, "c": np.array(True)})


def test_a_binding_tells_too() -> None:
    model = parse("net (int64[2] i) => (float[2, 3] y) { [pick] y = Gather(x, i) }", {"x": X})
    session = ingot.load(ingot.compile(model))
    binding = session.bind({"i": np.array([0, 1])})
    binding.inputs["i"][1] = 4
    with pytest.raises(IngotError, match="pick") as caught:
        binding.run()
    assert caught.value.code == "index-range"
    binding.inputs["i"][1] = 2
    assert_close(binding.run()[0], X[[0, 2]], EXACT)
