"""Clip(Clip(x, a, b), c, d)  ->  Clip(x, max(a, c), min(b, d)), where Relu is a Clip from 0;  Clip(x, 0)  ->  Relu(x)

Refuses bounds that are not constant, ranges that do not overlap, and operator sets before 11.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.fuse_hard_swish import bounds

_KINDS = ("Clip", "Relu")


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 11:
        return 0
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_KINDS):
        x = node.inputs[0]
        inner = x.producer() if x is not None else None
        nested = inner is not None and inner.op_type in _KINDS and not inner.domain
        if x is None or x.dtype is None or not x.dtype.is_floating_point():
            continue
        if not nested and (node.op_type == "Relu" or bounds(node) != (0.0, np.inf)):
            continue
        limits = [_limits(one) for one in (node, inner) if one is not None and (one is node or nested)]
        known = [limit for limit in limits if limit is not None]
        low, high = max((a for a, _ in known), default=0), min((b for _, b in known), default=0)
        if len(known) < len(limits) or not low <= high:
            trace.refused(node, "its bounds are not constant or do not overlap")
            continue
        source = inner.inputs[0] if nested and inner is not None else x
        assert source is not None
        _replace(node, source, low, high, names)
        fired += trace.fired(node)
    return fired


def _limits(node: ir.Node) -> tuple[float, float] | None:
    return (0.0, np.inf) if node.op_type == "Relu" else bounds(node)


def _replace(node: ir.Node, x: ir.Value, low: float, high: float, names: edit.Names) -> None:
    graph, out = node.graph, node.outputs[0]
    assert graph is not None
    assert x.dtype is not None
    inputs: list[ir.Value | None] = [x]
    if (low, high) != (0.0, np.inf):
        for name, bound in (("min", low), ("max", high)):
            array = np.array(bound, x.dtype.numpy())
            inputs.append(
                names.add_constant(graph, f"{out.name}.{name}", array, x.dtype)
                if np.isfinite(bound)
                else None
            )
    new = ir.Node("", "Relu" if len(inputs) == 1 else "Clip", inputs, name=node.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.clipped")
    graph.insert_before(node, new)
    replaced = edit.bypass(node, new.outputs[0])
    assert replaced
