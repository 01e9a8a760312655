"""`ingot.convert`: a model of any framework as an ONNX file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends.onnx import load_model

MAX_PROTOBUF = 2**31 - 2**20
"""Most bytes of weights in the file itself; more go into a file beside it."""


@dataclass(frozen=True)
class Conversion:
    """model: as ONNX, which `ingot.compile` takes. file: where it was written, if it was."""

    model: ir.Model
    file: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report, of what fits JSON: "file", "opset", "inputs", "outputs", "nodes", "operators", "parameters"."""
        graph = self.model.graph
        weights = [v.const_value.size for v in graph.initializers.values() if v.const_value is not None]
        operators = Counter(node.op_type for node in graph.all_nodes())
        return {
            "file": None if self.file is None else str(self.file),
            "opset": self.model.opset_imports.get(""),
            "inputs": [_port(value) for value in graph.inputs],
            "outputs": [_port(value) for value in graph.outputs],
            "nodes": sum(operators.values()),
            "operators": dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
            "parameters": sum(weights),
        }


def _port(value: ir.Value) -> dict[str, Any]:
    shape = (
        None if value.shape is None else [dim if isinstance(dim, int) else str(dim) for dim in value.shape]
    )
    return {
        "name": value.name,
        "dtype": value.dtype.name.lower() if value.dtype else "unknown",
        "shape": shape,
    }


def convert(
    model: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    inputs: Mapping[str, Any] | None = None,
    python: str | os.PathLike[str] | None = None,
) -> Conversion:
    """A model of another framework as ONNX, written to `output` where one is named.

    model: the path of a Caffe prototxt, a TFLite model, a PyTorch program (.pt2), a TensorFlow SavedModel or frozen
    graph, a Keras model, a Paddle inference model, a MindIR model or an ONNX file; "module:factory", a function that returns a
    torch.nn.Module (with a checkpoint of MindSpore: a Cell); or a torch.nn.Module, an onnx.ModelProto or an
    onnx_ir.Model. weights: the caffemodel or .pdiparams, where it is not beside the model, or a checkpoint for the
    factory's module, which is loaded without running code. shapes: input name -> dimensions, integers or symbol names;
    of a module, those of forward's parameters. inputs: example arrays for a module whose inputs are not all float32.
    python: the interpreter that has the framework of the model, for those that convert in a process of their own; this
    one by default.
    Raises IngotError: model-*, weights-*, framework-*, option-invalid, unsupported, input-*, output-unwritable.
    """
    paths = [None if path is None else Path(path) for path in (weights, python)]
    loaded = load_model(model, shapes, paths[0], inputs, paths[1])
    if output is None:
        return Conversion(loaded)
    file = Path(output)
    size = sum(v.const_value.nbytes for v in loaded.graph.initializers.values() if v.const_value is not None)
    external = f"{file.name}.data" if size > MAX_PROTOBUF else None
    try:
        ir.save(loaded, file, external_data=external)
    except OSError as error:
        raise IngotError(
            "output-unwritable",
            f"cannot write: {error.strerror or error}",
            where=str(file),
            remedy="choose another file",
        ) from None
    return Conversion(loaded, file)
