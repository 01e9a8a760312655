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
    names = edit.Names(model)
    return sum(
        trace.outcome(
            found.root, _unfit(found) or found.leak() or match.fuse(found, "Gemm", "x w b", [], names)
        )
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    x, w, b = (found.values[name] for name in "xwb")
    weights = edit.static_dims(w)
    if len(edit.dims(x) or ()) != 2:
        return "its first operand is not known to be a matrix"
    if not edit.is_constant(w) or not edit.is_constant(b) or weights is None or len(weights) != 2:
        return "its weights or its bias are not constant"
    if edit.static_dims(b) not in ([weights[1]], [1, weights[1]]):
        return "its bias is not a vector of the features"
    return None
