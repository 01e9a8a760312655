"""e / ReduceSum(e), e = Exp(x - ReduceMax(x))  ->  Softmax(x)

Also without subtracting the largest. Raises the operator set to 13. Refuses sums over anything but one axis that they
keep, parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Var, op

_X = Var("x")


def _normal(exponent: match.Pattern) -> match.Op:
    powers = op("Exp", exponent)
    return op("Div", powers, op("ReduceSum", powers, name="sum"))


_PATTERNS = (_normal(op("Sub", _X, op("ReduceMax", _X, name="max"))), _normal(_X))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _fuse(model, found, names)) for found in match.each(model, *_PATTERNS)
    )


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    axes = {_axis(found.named[name], found.values["x"]) for name in ("sum", "max") if name in found.named}
    axis = next(iter(axes))
    if len(axes) > 1 or axis is None:
        return "its sums are not over one axis that they keep"
    reason = found.leak() or opset.raise_to(model, 13)
    return reason or match.fuse(found, "Softmax", "x", [ir.AttrInt64("axis", axis)], names)


def _axis(node: ir.Node, x: ir.Value) -> int | None:
    given, dims = edit.input_at(node, 1), edit.dims(x)
    axes = node.attributes.get_ints("axes") if given is None else edit.integers(given)
    if axes is None or len(axes) != 1 or dims is None or not node.attributes.get_int("keepdims", 1):
        return None
    return axes[0] % len(dims)
