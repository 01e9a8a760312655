"""The benchmark models: what they compute is what ONNX Runtime computes, in little space."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from agreement import assert_agrees, assert_first_is_alone, assert_small

import ingot

NAMES = (
    "resnet50",
    "mobilenetv2",
    "mobilenetv3_large",
    "efficientnet_b0",
    "shufflenetv2",
    "yolov8n",
    "vit_tiny",
    "bert_base",
    "bert_dynamic",
    "unet",
    "lstm",
    "gru",
)
"""The models of bench/models.py, whose import takes seconds."""


@cache
def zoo() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "bench" / "models.py"
    spec = importlib.util.spec_from_file_location("bench_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_complete() -> None:
    assert zoo().MODELS.keys() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_library_for_every_batch(name: str) -> None:
    path = zoo().path(name)
    package = ingot.compile(path)
    assert_small(package)
    feeds = [zoo().inputs(name, 1), zoo().inputs(name, 3)]
    if name == "bert_dynamic":
        feeds += [{key: ids[:, :length] for key, ids in feeds[1].items()} for length in (1, 17, 47)]
    for feed in feeds:
        outputs = assert_agrees(package, path, feed)
        if len(next(iter(feed.values()))) > 1:
            assert_first_is_alone(ingot.load(package), feed, outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_library_for_known_shapes(name: str) -> None:
    path = zoo().path(name)
    feed = zoo().inputs(name)
    package = ingot.compile(path, shapes={key: array.shape for key, array in feed.items()})
    assert package.manifest["symbols"] == {}
    assert_small(package)
    assert_agrees(package, path, feed)
