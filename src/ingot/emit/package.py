"""The package: the folder that a model is compiled to, in memory or on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ingot.errors import IngotError
from ingot.runtime.manifest import FORMAT, MANIFEST, read_manifest

_CHOOSE = "choose a folder whose parent exists and that you can write"


class Package:
    """A compiled model.

    name: the stem of its files. manifest: what `manifest.json` says; its "files" (name -> SHA-256) is filled in when the
    package is written. files: name -> content, or the path of a file to copy. report: what compiling told, empty for a
    package that was opened from disk: "nodes_before", "nodes_after", "kernels" (counts), "arena_bytes",
    "arena_lower_bound", "library_bytes", "weights_bytes", "precision", "seconds" (stage -> seconds).
    """

    def __init__(
        self,
        name: str,
        manifest: Mapping[str, Any],
        files: Mapping[str, bytes | Path],
        report: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.manifest: dict[str, Any] = {"format": FORMAT, "name": name, **manifest}
        self.files: dict[str, bytes | Path] = dict(files)
        self.report: dict[str, Any] = dict(report or {})
        self._folder: Path | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Package:
        """The package in `folder`; its files are read when they are needed. Raises IngotError package-*."""
        path = Path(folder)
        manifest = read_manifest(path)
        package = cls(manifest["name"], manifest, {name: path / name for name in manifest["files"]})
        package._folder = path.absolute()
        return package

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the package to `folder` and gives its absolute path.

        It is written beside `folder` first and renamed at the end, so that whatever goes wrong, `folder` is as it was or
        whole. An existing package, or an empty folder, is replaced. Raises IngotError output-exists if `folder` is
        something else, and output-unwritable.
        """
        target = check_destination(folder)
        try:
            with _aside(target) as made:
                self._write(made)
                _swap(made, target)
        except OSError as error:
            raise IngotError(
                "output-unwritable",
                f"the package cannot be written: {error.strerror or error}",
                where=str(target),
                remedy=_CHOOSE,
            ) from error
        self._folder = target
        return target

    def folder(self) -> Path:
        """A folder with the package's files: where it was opened or saved, or one that lives as long as this object."""
        if self._folder is None or not self._folder.is_dir():
            temporary = tempfile.TemporaryDirectory(prefix=f"ingot-{self.name}-")
            self._write(Path(temporary.name))
            self._temporary, self._folder = temporary, Path(temporary.name)
        return self._folder

    def damaged(self) -> list[str]:
        """The names of files in `folder()` that are missing or differ from the hashes of the manifest."""
        folder = self.folder()
        return [
            name
            for name, digest in sorted(self.manifest["files"].items())
            if not (folder / name).is_file() or _sha256(folder / name) != digest
        ]

    def _write(self, folder: Path) -> None:
        for name, content in sorted(self.files.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                shutil.copyfile(content, path)
        self.manifest["files"] = {name: _sha256(folder / name) for name in sorted(self.files)}
        (folder / MANIFEST).write_text(json.dumps(self.manifest, indent=2, sort_keys=True) + "\n")


def is_package(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder with a manifest."""
    return (Path(path) / MANIFEST).is_file()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_destination(folder: str | os.PathLike[str]) -> Path:
    """The absolute path that a package saved to `folder` goes to: `folder`, or where it links to.

    Raises IngotError output-exists unless it is absent, an empty folder or a package, and output-unwritable where its
    parent is not a folder that can be written.
    """
    target = Path(folder).absolute()
    if target.is_symlink():
        target = target.resolve()
    foreign = os.path.lexists(target)
    if target.is_dir():
        foreign = not is_package(target) and any(target.iterdir())
    if foreign:
        cause = "it exists and is not a package, so it is not replaced"
        raise IngotError(
            "output-exists", cause, where=str(target), remedy="remove it, or choose another folder"
        )
    if not target.parent.is_dir():
        raise IngotError("output-unwritable", "its parent is not a folder", where=str(target), remedy=_CHOOSE)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise IngotError("output-unwritable", "its parent is not writable", where=str(target), remedy=_CHOOSE)
    return target


@contextlib.contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, gone at the end unless it was renamed."""
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        made.chmod(0o755)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _swap(made: Path, target: Path) -> None:
    """Renames the folder `made` to `target`; what stood there goes, or comes back if renaming fails."""
    if not target.exists():
        made.rename(target)
        return
    with _aside(target) as bin_folder:
        old = bin_folder / "old"
        target.rename(old)
        try:
            made.rename(target)
        except BaseException:
            old.rename(target)
            raise
