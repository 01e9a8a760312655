"""Slice(f(x))  ->  f(Slice(x)), also Gather, f an operator of one element that needs no other

Less is computed. Refuses an f whose result others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Slice", "Gather"):
        value = node.inputs[0]
        inner = value.producer() if value is not None else None
        if value is None or inner is None or inner.op_type not in ELEMENTWISE or inner.domain:
            continue
        if edit.only_user(value) is not node or inner.graph is not node.graph or node.graph is None:
            trace.refused(node, "what it cuts has other users")
            continue
        x, out = inner.inputs[0], node.outputs[0]
        node.replace_input_with(0, x)
        edit.remove(inner)
        new = ir.Node(
            "", inner.op_type, [out], list(inner.attributes.values()), name=inner.name, num_outputs=1
        )
        new.outputs[0].name = value.name
        node.graph.insert_after(node, new)
        edit.replace(out, new.outputs[0])
        new.replace_input_with(0, out)
        fired += trace.fired(node)
    return fired
