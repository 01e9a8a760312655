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
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Mul"):
        found = match.find(_PATTERN, node)
        if found is None:
            continue
        reason = (
            (match.double(found.values["x"]) if "alpha" in found.values else None)
            or found.leak()
            or opset.raise_to(model, 24)
        )
        if reason is not None:
            trace.refused(node, reason)
            continue
        alpha = found.number("alpha") if "alpha" in found.values else 1.0
        match.fuse(found, "Swish", [found.values["x"]], [ir.AttrFloat32("alpha", alpha)], names)
        fired += trace.fired(node)
    return fired
