"""What reads the formats that are not ONNX: a table, and how a missing package is told."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends.check import MAX_ELEMENTS
from ingot.frontends.formats import recognise
from ingot.frontends.process import FRAMEWORKS, convert_apart


class Importer(NamedTuple):
    """A reader of one format.

    module: it has `read(path: Path, weights: Path | None) -> onnx_ir.Model`, which raises IngotError for every file
    that it cannot read. package: what it imports beyond ingot's own dependencies, and extra: of ingot, which installs it.
    """

    module: str
    package: str = ""
    extra: str = ""


IMPORTERS: dict[str, Importer] = {
    "caffe": Importer("ingot.frontends.caffe"),
    "mindir": Importer("ingot.frontends.mindir"),
    "tflite": Importer("ingot.frontends.tflite"),
    "torch": Importer("ingot.frontends.torch", "torch", "torch"),
}
"""By the name that `formats.Format.importer` gives."""


def importer(name: str, where: str) -> Any:
    """The module of an importer. Raises IngotError framework-missing where its package is not installed."""
    entry = IMPORTERS[name]
    try:
        if entry.package:
            import_module(entry.package)
        return import_module(entry.module)
    except ImportError as error:
        raise IngotError(
            "framework-missing",
            f"reading it needs the package {entry.package}, which cannot be imported: {error}",
            where=where,
            remedy=f"install it with `pip install 'ingot[{entry.extra}]'`",
        ) from None


def importable(path: Path) -> bool:
    """Whether a file is of a format of `IMPORTERS` or `FRAMEWORKS`."""
    try:
        path = model_file(path)
        with path.open("rb") as file:
            known = recognise(file.read(4096), path.name)
    except OSError:
        return False
    return known is not None and bool(known.importer)


def model_file(path: Path) -> Path:
    """The file that stands for a model: of a folder that is a SavedModel, its saved_model.pb."""
    inside = path / "saved_model.pb"
    return inside if inside.is_file() else path


def import_file(
    name: str, path: Path, weights: Path | None, python: Path | None
) -> ir.Model | onnx.ModelProto:
    """The model in a file of a format, as ONNX; a ModelProto is not checked yet. Raises IngotError."""
    if name in FRAMEWORKS:
        return convert_apart(name, path, weights, python)
    module = importer(name, str(path))
    try:
        model = module.read(path, weights)
    except IngotError:
        raise
    except Exception as error:
        raise IngotError(
            "model-invalid",
            f"the model cannot be read: {type(error).__name__}: {str(error)[:200]}",
            where=str(path),
            remedy="copy, download or export the file again",
        ) from error
    assert isinstance(model, ir.Model)
    return model


def is_torch(model: Any) -> bool:
    """Whether a model is a torch.nn.Module, or the name "module:factory" of what makes one and no file."""
    if isinstance(model, str | Path):
        named = re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", str(model))
        return named is not None and not Path(model).exists()
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def is_mindspore(model: Any, weights: Path | None) -> bool:
    """Whether a model is the name "module:factory" of a network, and its checkpoint is one of MindSpore."""
    if weights is None or not isinstance(model, str | Path) or not is_torch(model):
        return False
    try:
        with weights.open("rb") as file:
            return file.read(1) == b"\n"
    except OSError:
        return False


def import_mindspore(
    model: str,
    weights: Path,
    inputs: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int | str]],
    python: Path | None,
) -> onnx.ModelProto:
    """What `is_mindspore` accepts, as ONNX that is not checked yet. Raises IngotError."""
    given: dict[str, tuple[Sequence[int], str]] = {}
    for name, shape in shapes.items():
        sizes = [dim for dim in shape if isinstance(dim, int)]
        if len(sizes) < len(shape) or math.prod(sizes) > MAX_ELEMENTS:
            raise IngotError(
                "input-shape",
                f"{tuple(shape)} is no shape that MindSpore can export",
                where=f"input {name}",
                remedy="give sizes such as 1x3x224x224; they are fixed in the model",
            )
        given[name] = sizes, "float32"
    for name, value in inputs.items():
        given[name] = np.shape(value), str(np.asarray(value).dtype)
    return convert_apart("mindspore", model, weights, python, given)


def import_torch(
    model: Any, weights: Path | None, inputs: Mapping[str, Any], shapes: Mapping[str, Sequence[int | str]]
) -> ir.Model:
    """What `is_torch` accepts, as ONNX. Raises IngotError."""
    named = isinstance(model, str | Path)
    module = importer("torch", str(model) if named else type(model).__name__)
    if named:
        made = module.read_factory(str(model), weights, inputs, shapes)
    else:
        if weights is not None:
            module.load_weights(model, weights)
        made = module.read_module(model, inputs, shapes, type(model).__name__)
    assert isinstance(made, ir.Model)
    return made
