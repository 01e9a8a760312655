"""Model files, protobufs and onnx_ir models -> a checked onnx_ir.Model."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ingot.errors import IngotError
from ingot.frontends.check import check_model, external_path, read_bytes
from ingot.frontends.formats import recognise
from ingot.frontends.importers import (
    import_file,
    import_mindspore,
    import_torch,
    is_mindspore,
    is_torch,
    model_file,
)
from ingot.frontends.old_opsets import OLDEST, upgraded
from ingot.frontends.shapes import apply_shapes, name_symbols
from ingot.frontends.structure import expand_inputs
from ingot.frontends.wire import SELF, MalformedError, TruncatedError, strip_weights

ModelLike = str | os.PathLike[str] | onnx.ModelProto | ir.Model
"""What a model is given as; a torch.nn.Module too, whose type is only known where PyTorch is installed."""

_AGAIN = "copy, download or export the file again"


def load_model(
    model: ModelLike | Any,
    shapes: Mapping[str, Sequence[int | str] | None] | None = None,
    weights: Path | None = None,
    inputs: Mapping[str, Any] | None = None,
    python: Path | None = None,
) -> ir.Model:
    """The model as onnx_ir, checked, with constants only as initializers and every input dimension known or named.

    model: the path of a file, in ONNX or a format that is imported, "module:factory" for a PyTorch or MindSpore network, or a
    model in memory, which is not changed, but that an onnx_ir.Model gets its nodes in topological order. shapes: new
    shapes of inputs, of
    integers and symbol names, and what sequences and optionals are made of; see `apply_shapes` and `expand_inputs`.
    weights: the file of the weights, for formats that keep them apart. inputs: example arrays for a PyTorch network.
    python: the interpreter that has the framework of `process.FRAMEWORKS` which converts the file; this one by default.
    Initializers that are also graph inputs are constants. Values of all graphs have distinct names, and nodes stand
    in topological order. External data is mapped, not read. Operators that nobody knows are no error here.
    Raises IngotError: model-*, external-data-*, input-name, input-shape, and of importers weights-*, framework-*,
    unsupported.
    """
    if isinstance(model, ir.Model):
        loaded = _from_ir(model)
    elif isinstance(model, onnx.ModelProto):
        loaded = _from_proto(model, b"", (), "model")
    elif is_mindspore(model, weights):
        assert weights is not None
        proto = import_mindspore(str(model), weights, inputs or {}, _given(shapes), python)
        loaded = _from_proto(proto, b"", (), str(model))
    elif is_torch(model):
        given = _given(shapes)
        loaded = import_torch(model, weights, inputs or {}, given)
    elif isinstance(model, str | os.PathLike):
        loaded = _from_file(model_file(Path(model)), weights, python)
    else:
        raise IngotError(
            "model-not-found",
            f"a model is a path, an onnx.ModelProto, an onnx_ir.Model or a torch.nn.Module, not {type(model).__name__}",
            remedy="give one of these",
        )
    _drop_constant_inputs(loaded)
    separate_names(loaded)
    tensors = expand_inputs(loaded, shapes or {})
    name_symbols(loaded)
    apply_shapes(loaded, tensors)
    return loaded


def _given(shapes: Mapping[str, Sequence[int | str] | None] | None) -> dict[str, Sequence[int | str]]:
    return {name: shape for name, shape in (shapes or {}).items() if shape is not None}


def _from_file(path: Path, weights: Path | None, python: Path | None) -> ir.Model:
    where = str(path)
    data = read_bytes(path)
    if not data:
        raise IngotError("model-empty", "the file has no bytes", where=where, remedy=_AGAIN)
    known = recognise(data[:4096], path.name)
    if known is not None and known.importer:
        made = import_file(known.importer, path, weights, python)
        return made if isinstance(made, ir.Model) else _from_proto(made, b"", (), where)
    if known is not None:
        raise IngotError("model-not-onnx", f"the file is {known.name}", where=where, remedy=known.remedy)
    try:
        proto = onnx.ModelProto.FromString(strip_weights(data))
    except TruncatedError as error:
        if not _starts_like_onnx(data):
            raise _not_onnx(where) from None
        raise IngotError(
            "model-truncated", f"the file is cut short: it has {error}", where=where, remedy=_AGAIN
        ) from None
    except (MalformedError, DecodeError, UnicodeDecodeError):
        if not _starts_like_onnx(data):
            raise _not_onnx(where) from None
        raise IngotError(
            "model-invalid", "the file is damaged: its protobuf is broken", where=where, remedy=_AGAIN
        ) from None
    if not proto.HasField("graph"):
        if not proto.ir_version or not _starts_like_onnx(data):
            raise _not_onnx(where)
        raise IngotError("model-truncated", "the file ends before its graph", where=where, remedy=_AGAIN)
    roots = dict.fromkeys((path.absolute().parent, path.resolve().parent))
    return _from_proto(proto, data, tuple(roots), where)


def _starts_like_onnx(data: bytes) -> bool:
    """ModelProto.ir_version comes first in every file that protobuf wrote."""
    return data[0] == 0x08 and (len(data) < 2 or 1 <= data[1] < 0x80)


def _not_onnx(where: str) -> IngotError:
    return IngotError("model-not-onnx", "the file is no ONNX model", where=where, remedy="give an ONNX file")


def _from_proto(proto: onnx.ModelProto, data: bytes, roots: Sequence[Path], where: str) -> ir.Model:
    """data: the file that `SELF` tensors point into. roots: the folders of external data."""
    if not proto.HasField("graph"):
        raise IngotError(
            "model-invalid", "the model has no graph", where=where, remedy="give a whole ModelProto"
        )
    try:
        ordered = check_model(proto, roots=roots, file_bytes=len(data))
        model = ir.from_proto(upgraded(proto))
        _read_tensors(model, _Buffers(data, roots))
    except IngotError:
        raise
    except Exception as error:
        raise IngotError(
            "model-invalid", f"the model cannot be read: {_root(error)}", where=where, remedy=_AGAIN
        ) from error
    if not ordered:
        _sort(model)
    return model


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


class _Buffers:
    """The bytes that external tensors point to: one mapping a file, however many tensors lie in it."""

    def __init__(self, data: bytes, roots: Sequence[Path]) -> None:
        self._data, self._roots = data, roots
        self._maps: dict[Path, mmap.mmap] = {}

    def at(self, location: str, where: str) -> bytes | mmap.mmap:
        if location == SELF:
            return self._data
        path = external_path(location, self._roots, where)
        if path not in self._maps:
            with path.open("rb") as file:
                self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


def _read_tensors(model: ir.Model, buffers: _Buffers) -> None:
    """Make every initializer and tensor attribute an ir.Tensor over an array, so that reading it costs nothing."""
    for graph in [*model.graphs(), *(function.graph for function in model.functions.values())]:
        for value in graph.initializers.values():
            assert value.const_value is not None
            value.const_value = _as_array(value.const_value, f"initializer {value.name}", buffers)
        for node in graph:
            for name, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    tensor = _as_array(attribute.as_tensor(), f"{node.op_type} {node.name}", buffers)
                    node.attributes[name] = ir.AttrTensor(name, tensor)


def _as_array(tensor: ir.TensorProtocol, where: str, buffers: _Buffers) -> ir.TensorProtocol:
    if tensor.dtype == ir.DataType.STRING:
        return tensor
    if isinstance(tensor, ir.ExternalTensor):
        shape = tensor.shape.numpy()
        if tensor.size == 0:
            array = np.zeros(shape, tensor.dtype.numpy())
        elif tensor.dtype.bitwidth < 8:
            external_path(str(tensor.location), buffers._roots, where)
            tensor.base_dir = buffers._roots[0]
            array = tensor.numpy()
        else:
            flat = np.frombuffer(
                buffers.at(str(tensor.location), where), tensor.dtype.numpy(), tensor.size, tensor.offset or 0
            )
            array = flat.reshape(shape)
    else:
        array = tensor.numpy()
        array.flags.writeable = False
    return ir.Tensor(array, dtype=tensor.dtype, name=tensor.name, doc_string=tensor.doc_string)


def _from_ir(model: ir.Model) -> ir.Model:
    """A copy that shares the weights, after the checks of `check_model` that an onnx_ir.Model can still fail."""
    opset = model.opset_imports.get("", onnx.defs.onnx_opset_version())
    if opset < OLDEST:
        return _from_proto(ir.to_proto(model), b"", (), "model")
    if opset > onnx.defs.onnx_opset_version():
        raise IngotError(
            "model-opset",
            f"the model uses operator set {opset}, the newest known one is {onnx.defs.onnx_opset_version()}",
            remedy="update the onnx package, or export the model with an older opset_version",
        )
    for graph in model.graphs():
        seen: set[str] = set()
        values = [*graph.inputs, *(v for v in graph.initializers.values() if not v.is_graph_input())]
        values += [out for node in graph for out in node.outputs]
        for value in values:
            if value.name and value.name in seen:
                raise _invalid_ir(f"the value {value.name!r} is defined twice", graph)
            seen.add(value.name or "")
        used = [value for node in graph for value in node.inputs if value is not None]
        for value in [*used, *graph.outputs]:
            if value.graph is None:
                raise _invalid_ir(f"the value {value.name!r} is used and produced by no node", graph)
    if not _ordered(model.graph):
        _sort(model)
    try:
        return model.clone()
    except Exception as error:
        raise IngotError(
            "model-invalid", f"the model cannot be copied: {_root(error)}", remedy="mend the model"
        ) from error


def _ordered(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        if any(producer.graph is graph and producer not in seen for producer in _dependencies(node)):
            return False
        seen.add(node)
    return True


def _invalid_ir(cause: str, graph: ir.Graph) -> IngotError:
    return IngotError("model-invalid", cause, where=f"graph {graph.name}", remedy="mend the model")


def _sort(model: ir.Model) -> None:
    try:
        model.graph.sort()
        for function in model.functions.values():
            function.sort()
    except ValueError:
        raise IngotError(
            "model-cyclic",
            f"nodes depend on their own outputs: {_cycle(model.graph)}",
            where=f"graph {model.graph.name}",
            remedy="export the model again; ONNX has Loop and Scan for repeated work",
        ) from None


def _cycle(graph: ir.Graph) -> str:
    """One cycle of a graph that has one, as "a -> b -> a"."""
    needs = {node: _dependencies(node) for node in graph}
    while True:
        free = [node for node, before in needs.items() if not before & needs.keys()]
        if not free:
            break
        for node in free:
            del needs[node]
    if not needs:
        return "inside a subgraph"
    path = [next(iter(needs))]
    while path[-1] not in path[:-1]:
        path.append(min(needs[path[-1]] & needs.keys(), key=lambda node: list(needs).index(node)))
    cycle = path[path.index(path[-1]) :]
    return " -> ".join(node.name or f"{node.op_type} {node.outputs[0].name}" for node in reversed(cycle))


def _dependencies(node: ir.Node) -> set[ir.Node]:
    """The nodes whose outputs a node or its subgraphs use."""
    graphs = [g for a in node.attributes.values() for g in _attribute_graphs(a)]
    inner = [n for g in graphs for n in g.all_nodes()]
    used = [value for n in [node, *inner] for value in n.inputs if value is not None]
    return {producer for value in used if (producer := value.producer()) is not None}


def _attribute_graphs(attribute: ir.Attr) -> Iterable[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else ()


def _drop_constant_inputs(model: ir.Model) -> None:
    """An initializer that is also an input is a default value; a compiled model takes it as a constant."""
    for value in [v for v in model.graph.inputs if v.is_initializer()]:
        model.graph.inputs.remove(value)
    model.ir_version = max(model.ir_version, 4)


def separate_names(model: ir.Model) -> None:
    """Rename values of subgraphs whose name another graph uses too, so that code may move between graphs."""
    graphs = list(model.graphs())
    if len(graphs) == 1:
        return
    taken: set[str] = set()
    for graph in graphs:
        own = [*graph.inputs, *(v for v in graph.initializers.values() if not v.is_graph_input())]
        for value in [*own, *(out for node in graph for out in node.outputs)]:
            base = name = value.name
            count = 1
            while name and name in taken:
                count += 1
                name = f"{base}_{count}"
            if name != base:
                value.name = name
            if name:
                taken.add(name)
