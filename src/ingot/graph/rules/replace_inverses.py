"""x + Neg(y)  ->  x - y;  x - Neg(y)  ->  x + y;  x * Reciprocal(y)  ->  x / y;  1 / x  ->  Reciprocal(x);  0 - x, x * -1  ->  Neg(x)

Also Neg(Neg(x)) and Not(Not(x)), which are x. Refuses integers where the operator is for floats alone, and parts that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Const, Var, op

_X, _Y = Var("x"), Var("y")
_FORMS = (
    (op("Add", _X, op("Neg", _Y)), "Sub", "x y"),
    (op("Sub", _X, op("Neg", _Y)), "Add", "x y"),
    (op("Mul", _X, op("Reciprocal", _Y)), "Div", "x y"),
    (op("Div", Const(1.0, "one"), _X), "Reciprocal", "x"),
    (op("Sub", Const(0.0, "one"), _X), "Neg", "x"),
    (op("Mul", _X, Const(-1.0, "one")), "Neg", "x"),
)
_TWICE = (op("Neg", op("Neg", _X)), op("Not", op("Not", _X)))


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for pattern, op_type, operands in _FORMS:
        for node in edit.nodes(model, pattern.kinds):
            found = match.find(pattern, node)
            if found is not None:
                reason = _unfit(found) or found.leak() or match.fuse(found, op_type, operands, [], names)
                fired += trace.outcome(node, reason)
    for found in match.each(model, *_TWICE):
        inner = found.nodes[0]
        done = edit.bypass(found.root, found.values["x"])
        if done and not edit.used_outputs(inner):
            edit.remove(inner)
        fired += trace.outcome(found.root, None if done else "it is an output of its graph")
    return fired


def _unfit(found: match.Match) -> str | None:
    one = found.values.get("one")
    return None if one is None else match.widens(one, found.values["x"])
