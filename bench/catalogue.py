"""The models that the bench times, by name: where each one's files are, and what it is fed.

A name may end in "@8": the same model at batch 8.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ingot.debug import cache_folder
from ingot.testing import SHARED_MODELS, Feed, data_root, shared_inputs, with_batch

ZOO = (
    "resnet50", "mobilenetv2", "bert_base", "efficientnet_b0", "mobilenetv3_large", "shufflenetv2", "vit_tiny", "unet",
    "yolov8n", "lstm", "gru", "bert_dynamic",
)  # fmt: skip
"""Those of `models.py`, whose import takes seconds."""

STORIES = {"stories260k_1": 1, "stories260k_64": 64}
"""Tokens that the small language model is fed."""

TINY = {
    "resnet8": ("models/mlperf_tiny/pretrainedResnet.tflite", (32, 32, 3), 255.0),
    "ad01": ("models/mlperf_tiny/ad01_fp32.tflite", (640,), 1.0),
}
"""TFLite file, shape and range of the input."""

NAMES = (
    "resnet50", "mobilenetv2", "bert_base", "squeezenet", "resnet20", "ultraface", "yolox_nano", "yunet", "resnet8",
    "mnist", "silero", "stories260k_1", "stories260k_64", "ad01", "efficientnet_b0", "mobilenetv3_large", "shufflenetv2",
    "vit_tiny", "unet", "yolov8n", "lstm", "gru",
)  # fmt: skip
"""What is timed unless names are given."""

KNOWN = (*NAMES, "bert_dynamic", "ultraface_raw")


@dataclass(frozen=True)
class Source:
    """model: an ONNX file. feed: its inputs. files: the same model for a peer that takes no ONNX, by the peer's name."""

    model: Path
    feed: Feed
    files: dict[str, Path] = field(default_factory=dict)


def known(name: str) -> bool:
    """Whether `name`, perhaps with a batch, is one of the bench's."""
    base, _, batch = name.partition("@")
    return base in KNOWN and (not batch or (batch.isdecimal() and int(batch) > 0))


def source(name: str) -> Source | None:
    """The model's files and inputs, made now where they are missing; None for a shared model that is not here.

    Raises ValueError for a batch that the model does not take.
    """
    base, _, text = name.partition("@")
    batch = int(text or 1)
    if base in ZOO:
        zoo = importlib.import_module("models")
        return Source(zoo.path(base), zoo.inputs(base, batch))
    root = data_root()
    if root is None:
        return None
    if base in TINY:
        return _tiny(base, batch, root)
    if base in STORIES:
        ids = np.random.default_rng([batch, STORIES[base]]).integers(3, 512, (batch, STORIES[base]))
        ids[:, 0] = 1
        return Source(root / SHARED_MODELS["stories260k"].file, {"ids": ids})
    model = SHARED_MODELS[base]
    path, feed = root / model.file, shared_inputs(base, batch)
    if batch > 1 and not model.batchable:
        raise ValueError(f"{base} takes one picture at a time")
    if batch > 1 and model.fixed:
        made = _folder() / f"{base}-{batch}.onnx"
        made.write_bytes(with_batch(path, batch).SerializeToString())
        path = made
    return Source(path, feed)


def _tiny(base: str, batch: int, root: Path) -> Source:
    file, shape, scale = TINY[base]
    if batch > 1:
        raise ValueError(f"{base} is timed at batch 1")
    made = _folder() / f"{base}.onnx"
    importlib.import_module("tiny").convert(root / file, made)
    x = np.random.default_rng(0).uniform(0, scale, (batch, *shape)).astype(np.float32)
    return Source(made, {"x": x}, {"litert": root / file})


def _folder() -> Path:
    folder = cache_folder() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
