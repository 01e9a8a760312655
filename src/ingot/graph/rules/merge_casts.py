"""Cast(Cast(x))  ->  Cast(x) to the last dtype

Refuses a first Cast that may lose something of x.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node, inner in edit.pairs(model, ("Cast",), ("Cast",)):
        x, between = inner.inputs[0], inner.outputs[0].dtype
        if x is None or x.dtype is None or between is None or not _keeps_all(x.dtype, between):
            trace.refused(node, "the first Cast may lose something")
            continue
        node.replace_input_with(0, x)
        fired += trace.fired(node)
    return fired


def _keeps_all(source: ir.DataType, target: ir.DataType) -> bool:
    if ir.DataType.STRING in (source, target) or min(source.bitwidth, target.bitwidth) < 8:
        return False
    if source == ir.DataType.BFLOAT16 or target == ir.DataType.BFLOAT16:
        return source == target or target in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
    if "FLOAT8" in source.name or "FLOAT8" in target.name:
        return source == target
    return bool(np.can_cast(source.numpy(), target.numpy(), "safe"))
