"""f(Expand(x), y)  ->  f(x, y), f an operator of two that broadcasts, y of the shape of the result

Refuses a y that is not known to have that shape.
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
            if expand is None or expand.op_type != "Expand" or expand.domain:
                continue
            if edit.same_dims(edit.dims(other), edit.dims(node.outputs[0])):
                node.replace_input_with(index, expand.inputs[0])
                fired += trace.fired(node)
            else:
                trace.refused(node, "the other operand is not known to have the shape of the result")
    return fired
