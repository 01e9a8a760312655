"""x * 0.5 * (1 + Erf(x / sqrt(2)))  ->  Gelu(x);  0.5 * x * (1 + Tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))  ->  Gelu<tanh>(x)

The factors may stand in any order. Raises the operator set to 20. Refuses other constants, parts that others use too,
and models that cannot be raised.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Op, Var, either, op

_X = Var("x")


def _halved(gate: Op) -> tuple[Op, ...]:
    """The ways to write x * gate / 2."""
    half = Const(0.5)
    return (
        op("Mul", op("Mul", _X, gate), half),
        op("Mul", op("Mul", _X, half), gate),
        op("Mul", _X, op("Mul", gate, half)),
        op("Div", op("Mul", _X, gate), Const(2.0)),
    )


_SCALED = either(op("Div", _X, Const(math.sqrt(2))), op("Mul", _X, Const(math.sqrt(0.5))))
_ERF = _halved(op("Add", op("Erf", _SCALED), Const(1.0)))

_CUBE = either(
    op("Pow", _X, Const(3.0)),
    op("Mul", op("Mul", _X, _X), _X),
    op("Mul", op("Pow", _X, Const(2.0)), _X),
)
_BEND = Const(0.044715)
_INNER = either(
    op("Add", _X, op("Mul", _CUBE, _BEND)),
    op("Add", _X, op("Mul", op("Mul", op("Mul", _X, _BEND), _X), _X)),
    op(
        "Mul",
        _X,
        op("Add", op("Mul", either(op("Mul", _X, _X), op("Pow", _X, Const(2.0))), _BEND), Const(1.0)),
    ),
)
_TANH = _halved(op("Add", op("Tanh", op("Mul", _INNER, Const(math.sqrt(2 / math.pi)))), Const(1.0)))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(
            found.root,
            found.leak()
            or opset.raise_to(model, 20)
            or match.fuse(found, "Gelu", "x", [ir.AttrString("approximate", form)], names),
        )
        for form, patterns in (("none", _ERF), ("tanh", _TANH))
        for found in match.each(model, *patterns)
    )
