"""Compile a model for one or more targets and save the packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ingot
from ingot.emit.package import check_destination
from ingot.errors import IngotError
from ingot.kernels.use_winograd import DEFAULT_ERROR
from ingot.report.accuracy import accuracy
from ingot.report.inputs import parse_shapes
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
    progress: Progress | None = None,
) -> list[Build]:
    """Compiles `model` for each target and saves what comes out; nothing is saved unless all of them compile.

    output: the package folder, by default the model's name with ".ingot" in the current folder. With several targets
    "net.ingot" becomes "net.avx2.ingot" and so on. shapes: "x:1x3x224x224" texts. max_memory: most bytes that the arena
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
    folder = output or Path(f"{model.stem}.ingot")
    if len(chosen) == 1:
        folders = [folder]
    else:
        folders = [folder.with_name(f"{folder.stem}.{name}{folder.suffix or '.ingot'}") for name in chosen]
    for place in folders:
        check_destination(place)
    table = parse_shapes(shapes)
    packages = []
    for name in chosen:
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
    return [
        Build(package.save(place), {"target": name, **package.report})
        for place, (name, package) in zip(folders, packages, strict=True)
    ]


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
