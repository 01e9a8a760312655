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
    names = edit.Names(model)
    return sum(trace.outcome(found.root, _replace(found, names)) for found in match.each(model, _PATTERN))


def _replace(found: match.Match, names: edit.Names) -> str | None:
    if found.values["x"].dtype != ir.DataType.FLOAT:
        return "it is not known to be of float32"
    alpha = ir.AttrFloat32("alpha", found.root.attributes.get_float("alpha", 1.0))
    return match.fuse(found, "QuickGelu", "x", [alpha], names, DOMAIN)
