"""Concat(Concat(a, b), c)  ->  Concat(a, b, c) along the same axis

Refuses an inner Concat that others use too, along another axis, or along one that cannot be compared.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Concat"):
        parts: list[ir.Value | None] = []
        dying: list[ir.Node] = []
        for value in node.inputs:
            inner = value.producer() if value is not None else None
            if value is None or inner is None or inner.op_type != "Concat" or inner.domain:
                parts.append(value)
                continue
            if edit.only_user(value) is not node:
                trace.refused(node, "the inner Concat has other users")
                parts.append(value)
            elif _axis(node) != _axis(inner):
                trace.refused(node, "they are not known to be along the same axis")
                parts.append(value)
            else:
                parts += inner.inputs
                dying.append(inner)
        if not dying:
            continue
        node.resize_inputs(len(parts))
        for index, value in enumerate(parts):
            node.replace_input_with(index, value)
        for inner in dying:
            edit.remove(inner)
        fired += trace.fired(node)
    return fired


def _axis(node: ir.Node) -> int:
    """From the end where the rank is known, else as it was given."""
    axis, dims = node.attributes.get_int("axis", 0), edit.dims(node.outputs[0])
    return axis - len(dims) if dims is not None and axis >= 0 else axis
