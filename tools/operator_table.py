"""What each operator is lowered to, found by lowering the cases of ONNX's own node suite, and the first of each also with
every other element type that ONNX allows there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx_suite import cases

from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.lower import lowering
from ingot.lower.registry import REGISTRY
from ingot.schedule.fuse import fuse

Key = tuple[str, str]


@dataclass
class Support:
    """Of one operator: ONNX's names of the element types of its first tensor, and the operations that compute it."""

    types: set[str] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)


def single(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The node of a case about one operator, with all but Constant nodes counted."""
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    return nodes[0] if len(nodes) == 1 else None


def first_type(model: onnx.ModelProto) -> str | None:
    """The element type of the first tensor among a model's inputs and outputs."""
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.HasField("tensor_type"):
            return onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return None


def supported() -> dict[Key, Support]:
    """By operator, what its cases show."""
    found: dict[Key, Support] = {}
    for name, model, *_ in cases():
        node, kind = single(model), first_type(model)
        if not name.startswith("node/") or node is None or kind is None:
            continue
        operations = lowered(model)
        if operations is None:
            continue
        key = ("" if node.domain == "ai.onnx" else node.domain), node.op_type
        if key not in found:
            found[key] = Support()
            for other, changed in _variants(model, node):
                if lowered(changed) is not None:
                    found[key].types.add(other)
        found[key].types.add(kind)
        found[key].operations |= operations
    return found


def lowered(model: onnx.ModelProto) -> set[str] | None:
    """The kinds of operations that a model becomes; None where it cannot be lowered."""
    try:
        graph = load_model(model)
        optimize(graph, keep=REGISTRY)
        return {type(o).__name__ for o in fuse(lowering.lower(graph, "model")).operations}
    except IngotError:
        return None


def _variants(model: onnx.ModelProto, node: onnx.NodeProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The model with each element type that the operator allows for its first tensor, in all places of the same type."""
    schema = _schema(model, node)
    formal = [*zip(node.input, _repeated(schema.inputs, len(node.input)), strict=False)]
    formal += [*zip(node.output, _repeated(schema.outputs, len(node.output)), strict=False)]
    values = [*model.graph.input, *model.graph.output]
    first = next((v.name for v in values if v.type.HasField("tensor_type")), "")
    letter = next((f.type_str for name, f in formal if name == first), "")
    same = {name for name, f in formal if f.type_str == letter}
    allowed = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == letter), [])
    for text in allowed:
        found = re.fullmatch(r"tensor\((\w+)\)", text)
        if found is None:
            continue
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        for value in [*changed.graph.input, *changed.graph.output]:
            if value.name in same and value.type.HasField("tensor_type"):
                value.type.tensor_type.elem_type = onnx.TensorProto.DataType.Value(found[1].upper())
        yield found[1], changed


def _schema(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.defs.OpSchema:
    version = next(o.version for o in model.opset_import if o.domain == node.domain)
    return onnx.defs.get_schema(node.op_type, version, node.domain)


def _repeated(formal: Sequence[Any], count: int) -> list[Any]:
    """The formal parameters of `count` arguments: the last one stands for all that follow."""
    return [formal[min(i, len(formal) - 1)] for i in range(count)] if formal else []


def opsets(key: Key) -> str:
    """The versions of the operator's domain that define it, such as "1–27"."""
    domain, name = key
    history = [s for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain and s.name == name]
    if not history:
        return ""
    first = min(s.since_version for s in history)
    last = max(history, key=lambda s: s.since_version)
    newest = (
        max(s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain)
        if domain
        else onnx.defs.onnx_opset_version()
    )
    return f"{first}–{last.since_version - 1 if last.deprecated else newest}"
