"""f(Expand(x), y)  ->  f(x, y), f an operator of two that broadcasts, y of the shape of the result

Also a Tile of axes of size 1. Refuses a y that is not known to have that shape.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace

_BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, *_BROADCASTING):
        for index in (0, 1):
            value, other = node.inputs[index], node.inputs[1 - index]
            expand = value.producer() if value is not None else None
            if expand is None or expand.domain or not (expand.op_type == "Expand" or _stretches(expand)):
                continue
            if edit.same_dims(edit.dims(other), edit.dims(node.outputs[0])):
                node.replace_input_with(index, expand.inputs[0])
                fired += trace.fired(node)
            else:
                trace.refused(node, "the other operand is not known to have the shape of the result")
    return fired


def _stretches(node: ir.Node) -> bool:
    """Whether a node is a Tile that repeats only axes of size 1, as broadcasting does."""
    if node.op_type != "Tile":
        return False
    dims, repeats = edit.dims(node.inputs[0]), edit.integers(edit.input_at(node, 1))
    if dims is None or repeats is None or len(repeats) != len(dims):
        return False
    return all(count == 1 or dim == 1 for count, dim in zip(repeats, dims, strict=True))
