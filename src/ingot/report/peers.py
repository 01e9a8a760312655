"""Other runtimes that a model is timed against, each with the settings that it is fastest with at float32.

Every peer gets the model with its inputs fixed to the shapes of the feed and with constants that are no inputs. Its own
file, where it needs one, is converted once and kept in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ingot.debug import cache_folder
from ingot.errors import IngotError
from ingot.report.inputs import Array

Run = Callable[[], list[Array]]
CONVERT_SECONDS = 600


class RefusedError(Exception):
    """A peer cannot take a model; the text says why."""


@dataclass(frozen=True)
class Job:
    """What a peer is to run. model: an ONNX file, or one of the peer's own format. feed: input name -> array.

    outputs: output name -> shape, in the model's order. A peer that renames or flattens them gives them in this order
    and these shapes.
    """

    model: Path
    feed: Mapping[str, Array]
    outputs: Mapping[str, tuple[int, ...]]
    threads: int

    def in_order(self, found: Mapping[str, Array]) -> list[Array]:
        """Outputs by name where the names are the model's, otherwise by place, in the model's shapes."""
        named = all(name in found for name in self.outputs)
        arrays = [found[name] for name in self.outputs] if named else list(found.values())
        return [a.reshape(shape) for a, shape in zip(arrays, self.outputs.values(), strict=True)]


@dataclass(frozen=True)
class Peer:
    """Another runtime.

    modules: what has to be importable, the runtime itself first. settings: how it runs, with "{threads}". ready: makes
    the file that `open` loads, once for a model. open: loads it; the feed is bound, so that a run takes no arguments.
    """

    modules: tuple[str, ...]
    settings: str
    ready: Callable[[Job], Path]
    open: Callable[[Job], Run]
    extra: str = "bench"

    @property
    def installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    @property
    def version(self) -> str:
        """Of the runtime; empty where it is not installed."""
        names = importlib.metadata.packages_distributions().get(self.modules[0], [])
        return importlib.metadata.version(names[0]) if names else ""

    @property
    def library_bytes(self) -> int:
        """Of the shared objects that its distributions install."""
        owners = importlib.metadata.packages_distributions()
        files = [
            Path(str(file.locate()))
            for name in dict.fromkeys(owners.get(self.modules[0], []))
            for file in importlib.metadata.files(name) or []
            if re.search(r"\.so(\.|$)", file.name)
        ]
        return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def require_peer(name: str) -> Peer:
    """The peer called `name`, installed. Raises IngotError peer-missing."""
    if name not in PEERS:
        raise IngotError(
            "peer-missing",
            f"ingot cannot run {name!r}",
            where="--against",
            remedy=f"use one of: {', '.join(PEERS)}",
        )
    peer = PEERS[name]
    if not peer.installed:
        raise IngotError(
            "peer-missing",
            f"{name} is not installed",
            where="--against",
            remedy=f"run `pip install 'ingot[{peer.extra}]'`, or leave it out of --against",
        )
    return peer


def ready_peer(name: str, job: Job) -> Job:
    """`job` with the file that the peer loads, which is made where it is missing. Raises RefusedError."""
    with _refusing() as said:
        return replace(job, model=_said(said, lambda: require_peer(name).ready(job)))


def open_peer(name: str, job: Job) -> Run:
    """The model of a job of `ready_peer`, loaded in the peer and run once. Raises RefusedError."""
    with _refusing() as said:
        run = _said(said, lambda: require_peer(name).open(job))
        _said(said, run)
        return run


def model_file(model: Any) -> Path:
    """A path as it is; a ModelProto or ir.Model as a file of the cache."""
    if isinstance(model, (str, Path)):
        return Path(model)
    if not hasattr(model, "SerializeToString"):
        model = importlib.import_module("onnx_ir").to_proto(model)
    data: bytes = model.SerializeToString()
    return _kept(hashlib.sha256(data).hexdigest(), "model.onnx", lambda path: path.write_bytes(data))


@contextlib.contextmanager
def _refusing() -> Iterator[Path]:
    """Sends what is printed inside, also by C, to the file that it gives, as runtimes print to standard output."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.NamedTemporaryFile(prefix="ingot-peer-") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        try:
            yield Path(said.name)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, target in zip(kept, (1, 2), strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)


def _said[T](said: Path, step: Callable[[], T]) -> T:
    """What `step` gives; where it fails, RefusedError with its reason and the last that was printed."""
    try:
        return step()
    except IngotError:
        raise
    except Exception as error:
        printed = said.read_text(errors="replace").strip().splitlines()[-1:]
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise RefusedError("; ".join([reason[:200], *(line[:200] for line in printed)])) from error
