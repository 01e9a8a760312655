"""Gelu(x + b)  ->  com.microsoft.BiasGelu(x, b);  Gelu<tanh>(x + b)  ->  com.microsoft.FastGelu(x, b), b a constant vector

For ONNX Runtime. Refuses other dtypes than float32 and a sum that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.contrib import DOMAIN
from ingot.graph.match import Fixed, Var, op

_PATTERN = op("Gelu", op("Add", Var("x"), Fixed("b")))


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for found in match.each(model, _PATTERN):
        x, b = found.values["x"], found.values["b"]
        dims, size = edit.dims(x), edit.static_dims(b)
        if size is None or len(size) != 1 or not dims or dims[-1] != size[0]:
            continue
        form = found.root.attributes.get_string("approximate", "none")
        kind = "FastGelu" if form == "tanh" else "BiasGelu"
        single = x.dtype == ir.DataType.FLOAT
        reason = found.leak() if single else "it is not known to be of float32"
        reason = reason or match.fuse(found, kind, [x, b], [], names, DOMAIN)
        fired += trace.outcome(found.root, reason)
    return fired
