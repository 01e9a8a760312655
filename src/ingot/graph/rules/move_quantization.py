"""QuantizeLinear(f(g(DequantizeLinear(x, s, z))), s, z)  ->  f(g(x)), f and g operators that only move elements, or none

Also Pad, whose value is quantised; MaxPool of 8-bit integers, from operator set 12; Resize to the nearest; a Split all of whose
parts are quantised; and Concat(DequantizeLinear(x, s, z), DequantizeLinear(y, s, z)) -> DequantizeLinear(Concat(x, y), s, z),
whatever follows. Refuses different or other than single constant scales and zero points, and parts that others use too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.writer import Writer

_MOVERS = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "MaxPool",
        "Pad",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


class _Steps(NamedTuple):
    """How integers of `dtype` stand for floats: one scale and one zero point for all."""

    scale: float
    zero: float
    dtype: ir.DataType | None


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "QuantizeLinear"):
        movers, first = _chain(node)
        if first is not None:
            fired += trace.outcome(node, _cancel(model, node, movers, first, names))
    for node in edit.nodes(model, "Split"):
        first = _producer(node.inputs[0], "DequantizeLinear")
        if first is not None:
            fired += trace.outcome(node, _split(node, first))
    for node in edit.nodes(model, "Concat"):
        sources = [_producer(value, "DequantizeLinear") for value in node.inputs]
        given = [source for source in sources if source is not None]
        if len(given) == len(sources) > 1:
            fired += trace.outcome(node, _join(model, node, given, names))
    return fired


def _producer(value: ir.Value | None, *kinds: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in kinds and not node.domain else None


def _chain(quantize: ir.Node) -> tuple[list[ir.Node], ir.Node | None]:
    """The movers before a QuantizeLinear, the last one first, and the DequantizeLinear before those."""
    movers, value = list[ir.Node](), quantize.inputs[0]
    while (mover := _producer(value, *_MOVERS)) is not None:
        movers.append(mover)
        value = mover.inputs[0]
    return movers, _producer(value, "DequantizeLinear")


def _steps(node: ir.Node) -> _Steps | str:
    arrays = [edit.constant(edit.input_at(node, index)) for index in (1, 2)]
    given = edit.input_at(node, 2) is not None
    scale, zero = arrays
    if scale is None or scale.size != 1 or (given and (zero is None or zero.size != 1)):
        return "its scales or zero points are not single constants"
    value = node.inputs[0] if node.op_type == "DequantizeLinear" else node.outputs[0]
    dtype = None if value is None else value.dtype
    return _Steps(float(scale.item()), 0.0 if zero is None else float(zero.item()), dtype)


def _alike(nodes: list[ir.Node]) -> _Steps | str:
    """What integers stand for before or after all of the nodes."""
    found = list[_Steps]()
    for node in nodes:
        steps = _steps(node)
        if isinstance(steps, str):
            return steps
        found.append(steps)
    if any(steps[:2] != found[0][:2] for steps in found):
        return "its scales or zero points differ"
    return found[0] if all(steps.dtype == found[0].dtype for steps in found) else "the dtypes differ"


def _cancel(
    model: ir.Model, node: ir.Node, movers: list[ir.Node], first: ir.Node, names: edit.Names
) -> str | None:
    steps, x = _alike([first, node]), first.inputs[0]
    if isinstance(steps, str):
        return steps
    reason = next(filter(None, (_unmoved(mover, steps, edit.opset(model)) for mover in movers)), None)
    if reason is not None:
        return reason
    users = [node, *movers]
    if any(edit.only_user(mover.outputs[0]) is not user for mover, user in zip(movers, users, strict=False)):
        return "a part of it is used elsewhere"
    moved = movers[0].outputs[0] if movers else x
    if x is None or moved is None or not edit.can_replace(node.outputs[0], moved):
        return "it is an output of its graph"
    for mover in movers:
        mover.outputs[0].type = node.outputs[0].type
        if mover.op_type == "Pad" and mover.attributes.get_string("mode", "constant") == "constant":
            _quantize_value(mover, steps, names)
    if movers:
        movers[-1].replace_input_with(0, x)
    edit.bypass(node, moved)
    return None


def _unmoved(mover: ir.Node, steps: _Steps, opset: int) -> str | None:
    """Why an operator may not move integers as it moves floats."""
    if mover.op_type == "MaxPool":
        fits = steps.dtype in _BYTES and opset >= 12 and edit.used_outputs(mover) == [0]
        return (
            None if fits else "a MaxPool of such integers is not in the operator set, or its indices are used"
        )
    if mover.op_type == "Pad":
        value = edit.input_at(mover, 2)
        fits = steps.dtype in _BYTES and opset >= 11 and (value is None or edit.is_constant(value))
        return None if fits else "a Pad of such integers is not in the operator set, or its value is computed"
    if mover.op_type == "Resize":
        crops = mover.attributes.get_string("coordinate_transformation_mode") == "tf_crop_and_resize"
        nearest = mover.attributes.get_string("mode", "nearest") == "nearest" and not crops
        return (
            None if nearest and steps.dtype in _BYTES and opset >= 11 else "it interpolates or extrapolates"
        )
    return None


def _quantize_value(pad: ir.Node, steps: _Steps, names: edit.Names) -> None:
    """Pad with the integer that a QuantizeLinear would have made of the value."""
    value, graph = edit.constant(edit.input_at(pad, 2)), pad.graph
    assert steps.dtype is not None
    assert graph is not None
    dtype = steps.dtype.numpy()
    number = 0.0 if value is None else float(value.item())
    bounds = np.iinfo(dtype)
    step = np.clip(np.rint(np.float32(number) / np.float32(steps.scale)) + steps.zero, bounds.min, bounds.max)
    if len(pad.inputs) < 3:
        pad.resize_inputs(3)
    array = np.array(step).astype(dtype)
    pad.replace_input_with(2, names.add_constant(graph, f"{pad.outputs[0].name}.value", array, steps.dtype))


def _split(node: ir.Node, first: ir.Node) -> str | None:
    parts = [node.outputs[index] for index in edit.used_outputs(node)]
    users = [edit.only_user(part) for part in parts]
    quantizers = [
        user for user in users if user is not None and user.op_type == "QuantizeLinear" and not user.domain
    ]
    if not parts or len(quantizers) < len(parts):
        return "a part of it is not quantised, or used elsewhere"
    steps, x = _alike([first, *quantizers]), first.inputs[0]
    if isinstance(steps, str):
        return steps
    pairs = list(zip(parts, quantizers, strict=True))
    if x is None or not all(edit.can_replace(quantize.outputs[0], part) for part, quantize in pairs):
        return "it is an output of its graph"
    node.replace_input_with(0, x)
    for out in node.outputs:
        out.type = x.type
    for part, quantize in pairs:
        edit.bypass(quantize, part)
    return None


def _join(model: ir.Model, node: ir.Node, sources: list[ir.Node], names: edit.Names) -> str | None:
    steps = _alike(sources)
    if isinstance(steps, str):
        return steps
    if sum(edit.only_user(source.outputs[0]) is node for source in sources) < 2:
        return "a part of it is used elsewhere"
    if len({source.outputs[0].dtype for source in sources}) > 1:
        return "the dtypes differ"
    writer, attributes = Writer(node, names, edit.opset(model)), node.attributes
    whole = writer.op("Concat", *(source.inputs[0] for source in sources), axis=attributes.get_int("axis"))
    kept = sources[0].attributes.get_int("output_dtype")
    edit.bypass(node, writer.op("DequantizeLinear", whole, *sources[0].inputs[1:], output_dtype=kept))
    return None
