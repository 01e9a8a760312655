"""What commands that take a model or a package are given, told apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ingot
from ingot.emit.package import Package
from ingot.report.inputs import Shapes

Progress = Callable[[str, int, int], None]


def is_folder(source: Any) -> bool:
    """Whether `source` names a folder, and so a package."""
    return isinstance(source, (str, os.PathLike)) and Path(source).is_dir()


def package_of(
    source: Any,
    *,
    shapes: Shapes | None = None,
    target: str = "native",
    precision: str = "f32",
    progress: Progress | None = None,
) -> Package:
    """`source` as a package: itself, opened from its folder, or compiled from a model (path, ModelProto or ir.Model).

    shapes, target and precision are for compiling and mean nothing for a package. Raises IngotError.
    """
    if isinstance(source, Package):
        return source
    if is_folder(source):
        return Package.open(source)
    package: Package = ingot.compile(
        source, shapes=shapes, target=target, precision=precision, progress=progress
    )
    return package
