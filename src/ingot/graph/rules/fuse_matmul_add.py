"""MatMul(x, w) + b  ->  Gemm(x, w, b), of matrices

Refuses an x that is not known to be a matrix, weights or a bias that are not constant, a bias that is not a vector of
the features, and a product that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_PATTERN = op("Add", op("MatMul", Var("x"), Var("w")), Var("b"))


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Add"):
        found = match.find(_PATTERN, node)
        if found is None:
            continue
        x, w, b = (found.values[name] for name in "xwb")
        weights = edit.static_dims(w)
        if len(edit.dims(x) or ()) != 2:
            reason = "its first operand is not known to be a matrix"
        elif not edit.is_constant(w) or not edit.is_constant(b) or weights is None or len(weights) != 2:
            reason = "its weights or its bias are not constant"
        elif edit.static_dims(b) not in ([weights[1]], [1, weights[1]]):
            reason = "its bias is not a vector of the features"
        else:
            reason = found.leak() or ""
        if reason:
            trace.refused(node, reason)
            continue
        match.fuse(found, "Gemm", [x, w, b], [], names)
        fired += trace.fired(node)
    return fired
