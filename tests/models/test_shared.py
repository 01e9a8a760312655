"""The real models: what they compute is what ONNX Runtime computes."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from agreement import assert_agrees, assert_first_is_alone, assert_small

import ingot
from ingot.errors import IngotError
from ingot.report.pictures import PRESETS, load_picture
from ingot.testing import SHARED_MODELS, Array, data_root, reference, shared_inputs, with_batch

ROOT = data_root()
pytestmark = pytest.mark.skipif(ROOT is None, reason="no real models: set INGOT_TEST_DATA to their folder")
FIXED = [name for name, model in SHARED_MODELS.items() if model.fixed]
SYMBOLIC = [name for name, model in SHARED_MODELS.items() if not model.fixed]


def file_of(name: str) -> Path:
    assert ROOT is not None
    return ROOT / SHARED_MODELS[name].file


@cache
def package_of(name: str) -> ingot.Package:
    return ingot.compile(file_of(name))


@pytest.mark.parametrize("name", SYMBOLIC)
def test_one_library_for_every_batch(name: str) -> None:
    package = package_of(name)
    assert_small(package)
    for batch in (1, 3):
        feed = shared_inputs(name, batch)
        outputs = assert_agrees(package, file_of(name), feed, SHARED_MODELS[name].scale)
        if batch > 1:
            assert_first_is_alone(ingot.load(package), feed, outputs)


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_batch(name: str) -> None:
    package = package_of(name)
    assert_small(package)
    assert_agrees(package, file_of(name), shared_inputs(name), SHARED_MODELS[name].scale)


@pytest.mark.parametrize("name", [name for name in FIXED if name != "mnist"])
def test_a_fixed_batch_of_three(name: str) -> None:
    """Where a model bakes one picture into its Reshapes, both runtimes make the same of three."""
    model = with_batch(file_of(name), 3)
    package = ingot.compile(model)
    assert_small(package)
    assert_agrees(package, model, shared_inputs(name, 3), SHARED_MODELS[name].scale)


def test_a_batch_that_a_model_cannot_take() -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(with_batch(file_of("mnist"), 3))
    assert caught.value.code in ("model-invalid", "input-shape", "shape-mismatch", "unsupported")
    assert caught.value.where
    assert caught.value.remedy


def test_stories_of_any_length() -> None:
    session = ingot.load(package_of("stories260k"))
    ids = shared_inputs("stories260k")["ids"]
    (whole,) = session.run(None, {"ids": ids})
    for length in (1, 2, 7, 39):
        assert_agrees(package_of("stories260k"), file_of("stories260k"), {"ids": ids[:, :length]})
    assert whole.shape == (1, 40, 512)


def test_a_stream_of_speech() -> None:
    """Each frame's state goes into the next one; both runtimes hear the same for a second."""
    package, path = package_of("silero"), file_of("silero")
    state = np.zeros((2, 1, 128), np.float32)
    for frame in range(30):
        feed = shared_inputs("silero", seed=frame) | {"state": state}
        _, state = assert_agrees(package, path, feed, SHARED_MODELS["silero"].scale)


def test_squeezenet_sees_the_same_in_every_picture() -> None:
    assert ROOT is not None
    folder = ROOT / "images" / "imagenet500"
    with (folder / "labels.csv").open() as file:
        labels = {row["file"]: int(row["class_idx"]) for row in csv.DictReader(file)}
    assert len(labels) == 500
    names = sorted(labels)
    model = onnx.load(str(file_of("squeezenet")))
    session = ingot.load(package_of("squeezenet"), threads=2)
    shape = session.get_inputs()[0].shape
    right = 0
    for start in range(0, len(names), 10):
        some = names[start : start + 10]
        pictures = [load_picture(folder / name, PRESETS["caffe_bgr"], shape) for name in some]
        feed = {"data": np.concatenate(pictures)}
        got, expected = best(session.run(None, feed)), best(reference(model, feed))
        assert got.tolist() == expected.tolist()
        right += int(np.sum(got == [labels[name] for name in some]))
    assert right >= 300


def best(outputs: list[Array]) -> Array:
    """The class with the highest score, for each picture."""
    (scores,) = outputs
    return np.argmax(scores.reshape(len(scores), -1), axis=1)
