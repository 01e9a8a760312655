"""Swish<a>(x)  ->  com.microsoft.QuickGelu<a>(x)

For ONNX Runtime, which has a kernel for this one only. Refuses other dtypes than float32.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.contrib import DOMAIN
from ingot.graph.match import Var, op

_PATTERN = op("Swish", Var("x"))


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for found in match.each(model, _PATTERN):
        single = found.values["x"].dtype == ir.DataType.FLOAT
        reason = None if single else "it is not known to be of float32"
        if reason is None:
            alpha = ir.AttrFloat32("alpha", found.root.attributes.get_float("alpha", 1.0))
            model.opset_imports.setdefault(DOMAIN, 1)
            reason = match.fuse(found, "QuickGelu", "x", [alpha], names, DOMAIN)
        fired += trace.outcome(found.root, reason)
    return fired
