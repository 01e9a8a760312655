"""The manifest of a package: its place, its format and the checks that every reader makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ingot.errors import IngotError

FORMAT = 1
MANIFEST = "manifest.json"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the package in `folder`: it names the model and its files, none of them outside the folder.

    Raises IngotError package-not-found, package-format and package-damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        cause = f"there is no package: {error.strerror}"
        remedy = "give the folder that `ingot compile` wrote"
        raise IngotError("package-not-found", cause, where=str(path), remedy=remedy) from error
    except ValueError as error:
        raise damaged(path, f"the manifest is no JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        version = manifest.get("format") if isinstance(manifest, dict) else None
        cause = f"the package has format {version!r}, this version of ingot reads {FORMAT}"
        raise IngotError("package-format", cause, where=str(path), remedy="compile the model again")
    name, files = manifest.get("name"), manifest.get("files")
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(files, dict):
        raise damaged(path, "the manifest lacks the name or the files")
    if any(Path(file).is_absolute() or ".." in Path(file).parts for file in files):
        raise damaged(path, "the manifest names files outside the package")
    return manifest


def damaged(where: str | Path, cause: str) -> IngotError:
    """The error of a package that is not as it was written."""
    return IngotError("package-damaged", cause, where=str(where), remedy="compile the model again")
