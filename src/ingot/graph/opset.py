"""Raise a model's operator set where every operator in it keeps its meaning.

The source of what changed between versions is the ONNX changelog, as `onnx.defs` holds it.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from ingot.graph import edit

NEWEST = 24
"""The newest set that rules raise a model to: ONNX Runtime 1.31 lacks operators of those after it."""

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
_INPUTS: dict[str, tuple[int, dict[str, int]]] = {
    "Clip": (11, {"min": 1, "max": 2}),
    "Dropout": (12, {"ratio": 1}),
    "Pad": (11, {"pads": 1, "value": 2}),
    "ReduceSum": (13, {"axes": 1}),
    "Slice": (10, {"starts": 1, "ends": 2, "axes": 3}),
    "Split": (13, {"split": 1}),
    "Squeeze": (13, {"axes": 1}),
    "Unsqueeze": (13, {"axes": 1}),
} | {f"Reduce{name}": (18, {"axes": 1}) for name in _REDUCTIONS}
"""Operators whose attributes became inputs, in which set, and at which place."""

_NORMALISERS = ("Softmax", "LogSoftmax", "Hardmax")
_DIFFERENT = frozenset({"GroupNormalization", "RoiAlign", "Upsample"})
"""Operators that mean something else in a newer set, though their signature does not tell."""

_EARLY = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
"""What ONNX Runtime writes in sets that lack it; the first means there what set 17 says."""


def raise_to(model: ir.Model, version: int) -> str | None:
    """Let `model` use operator set `version` or newer. Returns why that cannot be, and then nothing changed."""
    now = edit.opset(model)
    if now >= version:
        return None
    if version > NEWEST or model.functions:
        return f"it needs operator set {version}"
    nodes = list(edit.nodes(model))
    for node in nodes:
        if not _keeps_meaning(node, now, version):
            return f"it needs operator set {version}, in which {node.op_type} means something else"
    names = edit.Names(model)
    for node in nodes:
        _convert(node, now, version, names)
    model.opset_imports[""] = version
    model.ir_version = max(model.ir_version, onnx.helper.OP_SET_ID_VERSION_MAP["ai.onnx", version])
    return None


def _keeps_meaning(node: ir.Node, now: int, version: int) -> bool:
    if node.op_type in _EARLY:
        return True
    try:
        old, new = (onnx.defs.get_schema(node.op_type, v, "") for v in (now, version))
    except onnx.defs.SchemaError:
        return False
    if new.since_version == old.since_version:
        return True
    if new.deprecated or node.op_type in _DIFFERENT:
        return False
    if node.op_type in _NORMALISERS and now < 13:
        return _last_axis(node)
    if node.op_type == "BatchNormalization" and now < 14:
        return len(node.outputs) == 1 and node.attributes.get_int("spatial", 1) == 1
    if node.op_type == "AveragePool" and now < 19 and node.attributes.get_int("ceil_mode"):
        return False
    since, moved = _INPUTS.get(node.op_type, (0, {}))
    if now < since:
        return all(name in new.attributes or name in moved for name in node.attributes)
    return _same_signature(old, new)


def _same_signature(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Whether all that the old signature allows is allowed and spelled alike in the new one."""
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    if len(old.outputs) != len(new.outputs) or len(old.inputs) > len(new.inputs):
        return False
    if any(a.name != b.name for a, b in zip(old.inputs, new.inputs, strict=False)):
        return False
    if any(parameter.option != optional for parameter in new.inputs[len(old.inputs) :]):
        return False
    for name, attribute in old.attributes.items():
        if name not in new.attributes or new.attributes[name].default_value != attribute.default_value:
            return False
    return not any(a.required and name not in old.attributes for name, a in new.attributes.items())


def _last_axis(node: ir.Node) -> bool:
    """Before set 13 these operators flattened all axes from theirs on: the same where theirs is the last."""
    dims = edit.dims(node.inputs[0])
    return dims is not None and node.attributes.get_int("axis", 1) in (len(dims) - 1, -1)


def _convert(node: ir.Node, now: int, version: int, names: edit.Names) -> None:
    if node.op_type in _NORMALISERS and now < 13 <= version:
        node.attributes["axis"] = ir.AttrInt64("axis", -1)
    if node.op_type == "BatchNormalization":
        node.attributes.pop("spatial", None)
    since, moved = _INPUTS.get(node.op_type, (0, {}))
    if now < since <= version:
        for name, index in moved.items():
            if name in node.attributes:
                _to_input(node, name, index, names)
    if node.op_type == "Split" and now < 18 <= version and edit.input_at(node, 1) is None:
        node.attributes["num_outputs"] = ir.AttrInt64("num_outputs", len(node.outputs))


def _to_input(node: ir.Node, name: str, index: int, names: edit.Names) -> None:
    attribute = node.attributes.pop(name)
    if attribute.type == ir.AttributeType.INTS:
        array = np.array(attribute.as_ints(), np.int64)
    else:
        source = node.inputs[0]
        dtype = source.dtype if source is not None and source.dtype is not None else ir.DataType.FLOAT
        array = np.array(attribute.as_float(), dtype.numpy())
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    graph = node.graph
    assert graph is not None
    value = names.add_constant(graph, f"{node.outputs[0].name}.{name}", array)
    node.replace_input_with(index, value)
