"""Every real ONNX model gives the same outputs after the rules as before them."""

from __future__ import annotations

import time

import onnx
import onnx_ir as ir
import pytest

from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.testing import CLOSE, SHARED_MODELS, assert_close, data_root, lengths, reference, shared_inputs

ROOT = data_root()
pytestmark = pytest.mark.skipif(ROOT is None, reason="no real models: set INGOT_TEST_DATA to their folder")

NODES_AFTER = {
    "squeezenet": 64,
    "resnet20": 54,
    "ultraface": 125,
    "ultraface_raw": 110,
    "yolox_nano": 370,
    "mnist": 9,
    "yunet": 115,
    "silero": 90,
    "stories260k": 369,
}
"""Most nodes that may be left, subgraphs included."""


def test_the_table_is_complete() -> None:
    assert ROOT is not None
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "models").rglob("*.onnx")}
    assert found == {model.file for model in SHARED_MODELS.values()}
    assert NODES_AFTER.keys() == SHARED_MODELS.keys()


@pytest.mark.parametrize("name", SHARED_MODELS)
def test_outputs_do_not_change(name: str) -> None:
    assert ROOT is not None
    shared = SHARED_MODELS[name]
    path = ROOT / shared.file
    feed = shared_inputs(name)
    before = reference(path, feed)
    model = load_model(path)
    start = time.perf_counter()
    optimize(model)
    seconds = time.perf_counter() - start
    after = ir.to_proto(model)
    onnx.checker.check_model(after)
    assert [v.name for v in after.graph.output] == [v.name for v in onnx.load(str(path)).graph.output]
    for got, expected in zip(reference(after, feed), before, strict=True):
        assert_close(got, expected, CLOSE, reduction=lengths(after)["reduction"], scale=shared.scale)
    assert len(list(model.graph.all_nodes())) <= NODES_AFTER[name]
    assert seconds < 5
