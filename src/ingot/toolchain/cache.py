"""The folder that keeps compiled objects under the hash of everything they were made from.

`objects/<key>/<file>` holds results, `work/` what is being made, `failed/<key>/` the C that a compiler refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ingot import debug
from ingot.errors import IngotError

KEEP_DAYS = 30


@dataclass(frozen=True)
class Usage:
    """folder: where the cache is. files, bytes: what it holds. writable: whether objects can be added to it."""

    folder: Path
    files: int
    bytes: int
    writable: bool


def digest(parts: Iterable[str]) -> str:
    """The SHA-256, in hexadecimal, of `parts` with their lengths, so that moving text between parts changes it."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def _unwritable(error: OSError) -> IngotError:
    return IngotError(
        "cache-unwritable",
        f"the build cache cannot be written: {error.strerror or error}",
        where=str(debug.cache_folder()),
        remedy="set INGOT_CACHE to a folder that you can write",
    )


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A new folder inside the cache, gone at the end. Raises IngotError cache-unwritable."""
    parent = debug.cache_folder() / "work"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise _unwritable(error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def lookup(key: str, name: str) -> Path | None:
    """The object `name` stored under `key`, marked as used now; None when there is none."""
    path = debug.cache_folder() / "objects" / key / name
    try:
        os.utime(path.parent)
    except OSError:
        return None
    return path if path.is_file() else None


def store(key: str, made: Path) -> Path:
    """Moves the file `made` (in a workspace) into the cache under `key` in one step, and gives its new path."""
    path = debug.cache_folder() / "objects" / key / made.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(made, path)
    except OSError as error:
        raise _unwritable(error) from error
    return path


def keep_failed(key: str, folder: Path, names: Iterable[str]) -> Path:
    """Copies the files `names` of `folder` to where refused sources are kept, and gives that place."""
    kept = debug.cache_folder() / "failed" / key[:16]
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(folder / name, kept / name)
    except OSError as error:
        raise _unwritable(error) from error
    return kept


def prune() -> None:
    """Once a day, removes what was not used for `KEEP_DAYS` days and what a killed process left behind."""
    root = debug.cache_folder()
    stamp = root / "pruned"
    now = time.time()
    with contextlib.suppress(OSError):
        if stamp.exists() and now - stamp.stat().st_mtime < 86400:
            return
        stamp.touch()
        for group, days in (("objects", KEEP_DAYS), ("failed", KEEP_DAYS), ("work", 1)):
            for entry in (root / group).glob("*"):
                if now - entry.stat().st_mtime > days * 86400:
                    shutil.rmtree(entry, ignore_errors=True)


def cache_usage() -> Usage:
    """Counts the cache; a folder that does not exist yet counts as empty."""
    root = debug.cache_folder()
    sizes = []
    for path in root.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                sizes.append(path.stat().st_size)
    try:
        with workspace():
            writable = True
    except IngotError:
        writable = False
    return Usage(root, len(sizes), sum(sizes), writable)
