"""Run a model once and say what came out."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ingot
from ingot.errors import IngotError
from ingot.report.inputs import Array, Shapes, make_inputs, parse_inputs
from ingot.report.sources import Progress, package_of


@dataclass(frozen=True)
class Class:
    """index: in the output. label: its name, or the index in words. score: the output's value. probability: the score
    itself where the scores are probabilities, their softmax where they are not.
    """

    index: int
    label: str
    score: float
    probability: float


@dataclass(frozen=True)
class Inference:
    """One run.

    name, target: of the package. outputs: output name -> array. classes: output name -> the best classes of each row, for
    outputs that hold one score a class. load_seconds, run_seconds: loading the package, and the first run.
    """

    name: str
    target: str
    outputs: dict[str, Array]
    classes: dict[str, list[list[Class]]]
    load_seconds: float
    run_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON: of each output its shape, dtype, range (of numbers), first 16 values and best classes."""
        return {
            "name": self.name,
            "target": self.target,
            "load_seconds": self.load_seconds,
            "run_seconds": self.run_seconds,
            "outputs": {name: self._output(name, array) for name, array in self.outputs.items()},
        }

    def _output(self, name: str, array: Array) -> dict[str, Any]:
        values = array.ravel()
        entry: dict[str, Any] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "first": values[:16].tolist(),
        }
        if array.size and array.dtype.kind != "O":
            entry |= {"min": values.min().item(), "max": values.max().item()}
        if name in self.classes:
            entry["classes"] = [[vars(one) for one in row] for row in self.classes[name]]
        return entry


def infer(
    source: Any,
    inputs: Sequence[str] | Mapping[str, str | Array] = (),
    *,
    shapes: Shapes | None = None,
    target: str = "native",
    preprocess: Any = None,
    labels: str | Path | None = None,
    top: int = 5,
    threads: int = 1,
    progress: Progress | None = None,
) -> Inference:
    """Runs a model or package once.

    inputs: "name=file" options, or a table from input name to array, file or "random". preprocess: for pictures, as
    `preprocess_of` takes it. labels: a file with a class name on each line. top: how many classes to name. Raises IngotError.
    """
    package = package_of(source, shapes=shapes, target=target, progress=progress)
    names = read_labels(labels) if labels is not None else None
    start = time.perf_counter()
    session = ingot.load(package, threads=threads)
    loaded = time.perf_counter()
    ports = session.get_inputs()
    given = inputs if isinstance(inputs, Mapping) else parse_inputs(inputs, [port.name for port in ports])
    arrays = make_inputs(ports, given, shapes, preprocess)
    begin = time.perf_counter()
    results = session.run(None, arrays)
    end = time.perf_counter()
    outputs = {port.name: result for port, result in zip(session.get_outputs(), results, strict=True)}
    classes = {name: rows for name, array in outputs.items() if (rows := best_classes(array, names, top))}
    target_name = str(package.manifest.get("target", {}).get("name", ""))
    return Inference(package.name, target_name, outputs, classes, loaded - start, end - begin)


def read_labels(path: str | Path) -> list[str]:
    """The lines of a file of class names. Raises IngotError input-unreadable."""
    try:
        return Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IngotError(
            "input-unreadable",
            f"the labels cannot be read: {error}",
            where=str(path),
            remedy="give a text file with one class name on each line",
        ) from error


def best_classes(array: Array, labels: Sequence[str] | None, top: int) -> list[list[Class]]:
    """The `top` best classes of each row of scores (N, classes), best first; a row may have trailing dimensions of 1.

    Empty for arrays that are not such scores: another rank, fewer than two classes, not floating point, more than 16 rows.
    """
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    scores = np.atleast_2d(array)
    rows = scores.shape[0]
    if (
        scores.ndim != 2
        or not 1 <= rows <= 16
        or scores.shape[1] < 2
        or not np.issubdtype(scores.dtype, np.floating)
    ):
        return []
    return [_best(row.astype(np.float64), labels, top) for row in scores]


def _best(row: Array, labels: Sequence[str] | None, top: int) -> list[Class]:
    chances = row
    if row.min() < 0 or abs(row.sum() - 1) > 1e-3:
        powers = np.exp(row - row.max())
        chances = powers / powers.sum()
    order = np.argsort(-row, kind="stable")[:top]
    return [Class(int(i), _label(int(i), labels), float(row[i]), float(chances[i])) for i in order]


def _label(index: int, labels: Sequence[str] | None) -> str:
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"


def save_outputs(outputs: Mapping[str, Array], folder: str | Path) -> list[Path]:
    """Writes each output to `folder`/NAME.npy, other characters than letters, digits, "_" and "-" of a name as "_".

    Raises IngotError output-unwritable.
    """
    paths = []
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, array in outputs.items():
            paths.append(Path(folder) / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.npy")
            np.save(paths[-1], array.astype(np.str_) if array.dtype.kind == "O" else array)
    except OSError as error:
        raise IngotError(
            "output-unwritable",
            f"cannot write: {error.strerror}",
            where=str(folder),
            remedy="choose another folder",
        ) from error
    return paths
