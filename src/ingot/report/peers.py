"""Other runtimes that a model is timed against, each with the settings that it is fastest with."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingot.errors import IngotError
from ingot.report.inputs import Array

Run = Callable[[Mapping[str, Array]], list[Array]]


@dataclass(frozen=True)
class Peer:
    """module: what has to be importable. extra: the extra of ingot that installs it. open: (model, threads) -> run."""

    module: str
    extra: str
    open: Callable[[Any, int], Run]

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


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


def open_peer(name: str, model: Any, threads: int) -> Run:
    """`model` (path, ModelProto or ir.Model) loaded in the peer `name`. Raises IngotError peer-missing."""
    peer = require_peer(name)
    try:
        return peer.open(model, threads)
    except Exception as error:
        raise IngotError(
            "peer-missing",
            f"{name} refuses the model: {error}",
            where="--against",
            remedy="leave it out of --against",
        ) from error


def _onnxruntime(model: Any, threads: int) -> Run:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    session = ort.InferenceSession(_file_or_bytes(model), options, providers=["CPUExecutionProvider"])
    return lambda inputs: list(session.run(None, dict(inputs)))


def _file_or_bytes(model: Any) -> str | bytes:
    if isinstance(model, (str, Path)):
        return str(model)
    if not hasattr(model, "SerializeToString"):
        model = importlib.import_module("onnx_ir").to_proto(model)
    data: bytes = model.SerializeToString()
    return data


PEERS: dict[str, Peer] = {"onnxruntime": Peer("onnxruntime", "bench", _onnxruntime)}
