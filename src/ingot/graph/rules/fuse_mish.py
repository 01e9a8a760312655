"""x * Tanh(Softplus(x))  ->  Mish(x);  Log(Exp(x) + 1)  ->  Softplus(x)

Mish raises the operator set to 18. Refuses parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Var, op

_X = Var("x")
_SOFTPLUS = op("Log", op("Add", op("Exp", _X), Const(1.0)))
_MISH = op("Mul", _X, op("Tanh", op("Softplus", _X)))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(
            found.root,
            found.leak() or opset.raise_to(model, version) or match.fuse(found, op_type, "x", [], names),
        )
        for op_type, pattern, version in (("Softplus", _SOFTPLUS, 1), ("Mish", _MISH, 18))
        for found in match.each(model, pattern)
    )
