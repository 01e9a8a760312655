"""Look inside a model or a package."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ingot.emit.package import Package
from ingot.frontends import load_model
from ingot.report.sources import is_folder


def inspect(source: Any) -> dict[str, Any]:
    """What a model (path, ModelProto or ir.Model) or a package (folder or `Package`) holds; every value fits JSON.

    A model: "kind" "model", "name", "producer", "opsets", "inputs", "outputs", "nodes", "operators" (name -> count, also in
    subgraphs), "parameters", "parameter_bytes". A package: "kind" "package", its "manifest", the "sizes" of its files in
    bytes, and "damaged", the files that differ from the manifest. Raises IngotError.
    """
    if isinstance(source, Package) or is_folder(source):
        return _package(source if isinstance(source, Package) else Package.open(source))
    return facts(load_model(source), Path(source).stem if isinstance(source, (str, Path)) else "")


def _package(package: Package) -> dict[str, Any]:
    folder = package.folder()
    sizes = {name: (folder / name).stat().st_size for name in package.files if (folder / name).is_file()}
    return {
        "kind": "package",
        "name": package.name,
        "folder": str(folder),
        "manifest": package.manifest,
        "sizes": sizes,
        "damaged": package.damaged(),
    }


def facts(model: ir.Model, name: str) -> dict[str, Any]:
    """What `inspect` tells of a model that is loaded already."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    operators = Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)
    weights = [
        value.const_value for value in model.graph.initializers.values() if value.const_value is not None
    ]
    return {
        "kind": "model",
        "name": name or model.graph.name or "",
        "producer": " ".join(word for word in (model.producer_name, model.producer_version) if word),
        "ir_version": model.ir_version,
        "opsets": dict(sorted(model.opset_imports.items())),
        "inputs": [_port(value) for value in model.graph.inputs],
        "outputs": [_port(value) for value in model.graph.outputs],
        "nodes": len(nodes),
        "operators": dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        "parameters": sum(tensor.size for tensor in weights),
        "parameter_bytes": sum(tensor.nbytes for tensor in weights),
    }


def _port(value: ir.Value) -> dict[str, Any]:
    dtype = value.dtype.name.lower() if value.dtype is not None else "unknown"
    shape = (
        None if value.shape is None else [dim if isinstance(dim, int) else str(dim) for dim in value.shape]
    )
    return {"name": value.name, "dtype": dtype, "shape": shape}
