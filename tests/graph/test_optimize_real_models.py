"""`ingot optimize` keeps the outputs of every real model rule by rule, and leaves no more operators than it did."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import ingot
from ingot.testing import CLOSE, SHARED_MODELS, assert_close, data_root, lengths, reference, shared_inputs

ROOT = data_root()
pytestmark = pytest.mark.skipif(ROOT is None, reason="no real models: set INGOT_TEST_DATA to their folder")

OPERATORS = {
    "squeezenet": 64,
    "resnet20": 53,
    "ultraface": 122,
    "ultraface_raw": 110,
    "yolox_nano": 256,
    "mnist": 8,
    "yunet": 91,
    "silero": 70,
    "stories260k": 294,
}


@pytest.mark.parametrize("name", SHARED_MODELS)
def test_real_models(name: str, tmp_path: Path) -> None:
    assert ROOT is not None
    shared, feed, out = SHARED_MODELS[name], shared_inputs(name), tmp_path / "out.onnx"
    result = ingot.optimize(ROOT / shared.file, out, verify=True, inputs=feed)
    assert result.operators_after <= OPERATORS[name]
    onnx.checker.check_model(str(out), full_check=True)
    reduction = lengths(out)["reduction"]
    for got, expected in zip(reference(out, feed), reference(ROOT / shared.file, feed), strict=True):
        assert_close(got, expected, CLOSE, reduction=reduction, scale=shared.scale)
