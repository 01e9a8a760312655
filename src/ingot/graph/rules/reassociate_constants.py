"""(x + a) + b  ->  x + (a + b);  (x * a) * b  ->  x * (a * b), a and b constant

Refuses integers that could overflow otherwise, inner results that others use too, and constants that would grow by more
than 64 KiB.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_MOST = 1 << 16


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Add", "Mul"):
        outer = _parts(node)
        inner = outer[0].producer() if outer is not None else None
        if outer is None or inner is None or inner.op_type != node.op_type or inner.domain:
            continue
        nested = _parts(inner)
        if nested is None:
            continue
        if edit.only_user(outer[0]) is not node:
            trace.refused(node, "the inner result has other users")
            continue
        array = _combined(node.op_type, nested[1], outer[1])
        graph = node.graph
        if array is None or graph is None or inner.graph is not graph:
            trace.refused(node, "the constants are not floats of a range and size that allow it")
            continue
        constant = names.add_constant(graph, f"{node.outputs[0].name}.both", array, outer[1].dtype)
        node.replace_input_with(0, nested[0])
        node.replace_input_with(1, constant)
        edit.remove(inner)
        fired += trace.fired(node)
    return fired


def _parts(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """What varies, and what is constant."""
    for x, c in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        if x is not None and c is not None and edit.is_constant(c) and not edit.is_constant(x):
            return x, c
    return None


def _combined(kind: str, a: ir.Value, b: ir.Value) -> edit.Array | None:
    if a.dtype != b.dtype or a.dtype is None or not a.dtype.is_floating_point() or a.dtype.bitwidth < 16:
        return None
    first, second = edit.constant(a), edit.constant(b)
    assert first is not None
    assert second is not None
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        return None
    if edit.elements(shape) * first.itemsize > max(first.nbytes, second.nbytes) + _MOST:
        return None
    wide = [array.astype(np.float64) for array in (first, second)]
    with np.errstate(all="ignore"):
        result = (wide[0] + wide[1] if kind == "Add" else wide[0] * wide[1]).astype(first.dtype)
    return result if np.all(np.isfinite(result.astype(np.float64))) else None
