"""x * Sigmoid(x)  ->  Swish(x);  x * Sigmoid(a * x)  ->  Swish<alpha = a>(x)

Raises the operator set to 24. Refuses a sigmoid that others use too, doubles with a factor, and models that cannot be raised.
ONNX Runtime 1.31 has no kernel for Swish and runs it as its parts.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Var, either, op

_X = Var("x")
_PATTERN = op("Mul", _X, op("Sigmoid", either(_X, op("Mul", _X, Const(name="alpha")))))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(trace.outcome(found.root, _fuse(model, found, names)) for found in match.each(model, _PATTERN))


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    factor = "alpha" in found.values
    reason = match.double(found.values["x"]) if factor else None
    reason = reason or found.leak() or opset.raise_to(model, 24)
    alpha = ir.AttrFloat32("alpha", found.number("alpha") if factor else 1.0)
    return reason or match.fuse(found, "Swish", "x", [alpha], names)
