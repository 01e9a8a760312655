"""Compile a model for one or more targets and save the packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ingot
from ingot.compiler import identifier
from ingot.emit.package import check_destination
from ingot.errors import IngotError
from ingot.kernels.use_winograd import DEFAULT_ERROR
from ingot.report.accuracy import accuracy
from ingot.report.inputs import parse_shapes
from ingot.report.optimize import destination
from ingot.report.page import Recorder, write_page
from ingot.report.sources import Progress
from ingot.target import resolve

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Build:
    """A saved package. folder: where. report: what compiling told, with the "target"."""

    folder: Path
    report: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"folder": str(self.folder), **self.report}


def build(
    model: Path,
    output: Path | None = None,
    *,
    targets: Sequence[str] = ("native",),
    shapes: Iterable[str] = (),
    precision: str = "f32",
    inputs: Sequence[str] = (),
    emit: str = "library",
    cc: str | None = None,
    tune: float | None = None,
    tuning: Path | None = None,
    max_memory: str | None = None,
    winograd_error: float | None = None,
    report: Path | None = None,
    progress: Progress | None = None,
) -> list[Build]:
    """Compiles `model` for each target and saves what comes out; nothing is saved unless all of them compile.

    output: the package folder, by default the model's name with ".ingot" in the current folder. With several targets
    "net.ingot" becomes "net.avx2.ingot" and so on. report: an HTML file that shows what was compiled, and how; with several
    targets one each, named in the same way. shapes: "x:1x3x224x224" texts. max_memory: most bytes that the arena
    may take, such as "64M". Of a precision below f32 the report and the manifest get the "accuracy", measured on `inputs`
    as `accuracy` takes them. tune, tuning, winograd_error: as `ingot.compile` takes
    them, None for its default. Raises IngotError, and memory-exceeded.
    """
    limit = None if max_memory is None else parse_bytes(max_memory)
    chosen = [resolve(name.strip(), precision).name for name in targets]
    if len(set(chosen)) != len(chosen):
        raise IngotError(
            "option-invalid", "a target is named twice", where="--target", remedy="name each once"
        )
    folders = _each(output or Path(f"{model.stem}.ingot"), chosen, ".ingot")
    pages = [] if report is None else _each(report, chosen, ".html")
    for place in folders:
        check_destination(place)
    for page in pages:
        destination(page)
    table = parse_shapes(shapes)
    packages = []
    recorders = []
    for name in chosen:
        recorder = None if report is None else Recorder(identifier(model.stem), name, precision)
        package = ingot.compile(
            model,
            shapes=table or None,
            target=name,
            precision=precision,
            emit=emit,
            cc=cc,
            tune=tune,
            tuning=tuning,
            winograd_error=DEFAULT_ERROR if winograd_error is None else winograd_error,
            progress=progress,
            observer=recorder,
        )
        arena = package.report["arena_bytes"]
        if limit is not None and arena > limit:
            raise IngotError(
                "memory-exceeded",
                f"a context needs {arena} bytes, and --max-memory allows {limit}",
                where=str(model),
                remedy="allow more, or compile for smaller input shapes with --shape",
            )
        if precision != "f32":
            loss = accuracy(model, package, inputs=inputs, shapes=table or None, cc=cc).to_dict()
            package.report["accuracy"] = package.manifest["accuracy"] = loss
        packages.append((name, package))
        recorders += [] if recorder is None else [recorder]
    for page, recorder in zip(pages, recorders, strict=True):
        write_page(recorder.data(), page)
    return [
        Build(package.save(place), {"target": name, **package.report})
        for place, (name, package) in zip(folders, packages, strict=True)
    ]


def _each(path: Path, targets: Sequence[str], suffix: str) -> list[Path]:
    """A path for each target: itself where there is one, otherwise with the target's name before the suffix."""
    if len(targets) == 1:
        return [path]
    return [path.with_name(f"{path.stem}.{name}{path.suffix or suffix}") for name in targets]


def parse_bytes(text: str) -> int:
    """A number of bytes such as "4096", "512K" or "1.5G", in units of 1024. Raises IngotError option-invalid."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise IngotError(
            "option-invalid",
            f"{text!r} is not a number of bytes",
            where="--max-memory",
            remedy="write it as 512K or 64M",
        )
    return int(float(match[1]) * _UNITS[match[2].upper()])
