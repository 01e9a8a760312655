"""x / c  ->  x * (1 / c), c constant

Refuses integers, and a c with a zero or whose reciprocal leaves the normal range of the dtype.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16)


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Div"):
        x, c = node.inputs
        array = edit.constant(c)
        if array is None or x is None or edit.is_constant(x):
            continue
        if c is None or c.dtype not in _FLOATS:
            trace.refused(node, "it divides integers")
            continue
        with np.errstate(all="ignore"):
            inverse = (1 / array.astype(np.float64)).astype(array.dtype)
        if not np.all(np.isfinite(inverse)) or np.any(
            np.abs(inverse) < np.finfo(inverse.dtype).smallest_normal
        ):
            trace.refused(node, "a reciprocal leaves the range of the dtype")
            continue
        graph, out = node.graph, node.outputs[0]
        assert graph is not None
        factor = names.add_constant(graph, f"{out.name}.reciprocal", inverse, c.dtype)
        new = ir.Node("", "Mul", [x, factor], name=node.name, num_outputs=1)
        new.outputs[0].name = names.fresh(f"{out.name}.scaled")
        graph.insert_before(node, new)
        edit.bypass(node, new.outputs[0])
        fired += trace.fired(node)
    return fired
