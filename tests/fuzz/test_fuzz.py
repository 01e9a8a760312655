"""A few cases of the fuzzer, so that it works when it is wanted."""

from __future__ import annotations

from pathlib import Path

import fuzz
import numpy as np
import pytest
from graphs import random_graph
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as OperatorMissing

from ingot.testing import reference


@pytest.mark.parametrize("number", range(12))
def test_graphs_are_valid(number: int) -> None:
    """ONNX Runtime runs them, or lacks an operator of some small type."""
    model, feed = random_graph(np.random.default_rng([5, number]))
    try:
        results = reference(model, feed)
    except OperatorMissing:
        return
    assert len(results) == len(model.graph.output)


@pytest.mark.parametrize("number", range(3))
def test_graphs_give_what_onnx_runtime_gives(number: int) -> None:
    verdict, _, _, story = fuzz.graph_case(np.random.default_rng([6, number]))
    assert verdict in ("equal", "refused"), story


@pytest.mark.parametrize("number", range(6))
def test_damaged_models_end_well(number: int, tmp_path: Path) -> None:
    rng = np.random.default_rng([7, number])
    smallest = min(fuzz.models(), key=len)
    verdict, story = fuzz.loader_case(fuzz.damaged(smallest, rng), tmp_path)
    assert verdict != "wrong", story
