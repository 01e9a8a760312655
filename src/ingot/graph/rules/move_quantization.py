"""QuantizeLinear(f(DequantizeLinear(x, s, z)), s, z)  ->  f(x), f an operator that only moves elements, or none

Also MaxPool of 8-bit integers, from operator set 12. Refuses different or other than single constant scales and zero points, and parts that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace

_MOVERS = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "MaxPool",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
    }
)


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "QuantizeLinear"):
        moved = node.inputs[0]
        mover = moved.producer() if moved is not None else None
        if moved is None or mover is None or mover.domain:
            continue
        direct = mover.op_type == "DequantizeLinear"
        if not direct and mover.op_type not in _MOVERS:
            continue
        source = moved if direct else mover.inputs[0]
        first = source.producer() if source is not None else None
        if source is None or first is None or first.op_type != "DequantizeLinear" or first.domain:
            continue
        reason = _unfit(node, first)
        if mover.op_type == "MaxPool" and not _pools_integers(mover, first, edit.opset(model)):
            reason = "a MaxPool of such integers is not in the operator set, or its indices are used"
        if reason is None and (
            edit.only_user(moved) is not node or (not direct and edit.only_user(source) is not mover)
        ):
            reason = "a part of it is used elsewhere"
        x = first.inputs[0]
        if reason is None and direct and x is not None and not edit.can_replace(node.outputs[0], x):
            reason = "it is an output of its graph"
        if reason is not None or x is None:
            trace.refused(node, reason or "")
            continue
        if not direct:
            mover.replace_input_with(0, x)
            moved.type = node.outputs[0].type
        edit.bypass(node, x if direct else moved)
        fired += trace.fired(node)
    return fired


def _unfit(quantize: ir.Node, dequantize: ir.Node) -> str | None:
    for index, default in ((1, None), (2, 0)):
        arrays = [edit.constant(edit.input_at(node, index)) for node in (quantize, dequantize)]
        given = [edit.input_at(node, index) is not None for node in (quantize, dequantize)]
        if any(g and (a is None or a.size != 1) for a, g in zip(arrays, given, strict=True)):
            return "its scales or zero points are not single constants"
        numbers = [default if a is None else a.item() for a in arrays]
        if numbers[0] != numbers[1]:
            return "its scales or zero points differ"
    x = dequantize.inputs[0]
    return None if x is not None and x.dtype == quantize.outputs[0].dtype else "the dtypes differ"


def _pools_integers(pool: ir.Node, dequantize: ir.Node, opset: int) -> bool:
    x = dequantize.inputs[0]
    byte = x is not None and x.dtype in (ir.DataType.INT8, ir.DataType.UINT8)
    return byte and opset >= 12 and edit.used_outputs(pool) == [0]
