"""(x - mean) / Sqrt(ReduceMean((x - mean)^2) + e) * scale + shift, mean = ReduceMean(x)  ->  LayerNormalization(x, scale, shift)

Raises the operator set to 17. Refuses means over anything but the same trailing axes, a scale or shift that is not
constant or does not span just those axes, doubles, parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Var, either, op
from ingot.graph.rules.fuse_rms_norm import trailing_axes

_X = Var("x")
_CENTRED = op("Sub", _X, op("ReduceMean", _X, name="mean"))
_SQUARE = either(op("Pow", _CENTRED, Const(2.0)), op("Mul", _CENTRED, _CENTRED))
_SPREAD = op("Add", op("ReduceMean", _SQUARE, name="spread"), Const(name="epsilon"))
_ROOT = op("Sqrt", _SPREAD)
_NORMAL = either(
    op("Div", _CENTRED, _ROOT),
    op("Mul", _CENTRED, either(op("Reciprocal", _ROOT), op("Pow", _SPREAD, Const(-0.5)))),
)
_PATTERN = op("Add", op("Mul", _NORMAL, Var("scale")), Var("shift"))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(trace.outcome(found.root, _fuse(model, found, names)) for found in match.each(model, _PATTERN))


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    reason = _unfit(found) or match.double(found.values["x"]) or found.leak() or opset.raise_to(model, 17)
    if reason is not None:
        return reason
    attributes = [
        ir.AttrInt64("axis", -len(edit.static_dims(found.values["scale"]) or ())),
        ir.AttrFloat32("epsilon", found.number("epsilon")),
    ]
    return match.fuse(found, "LayerNormalization", "x scale shift", attributes, names)


def _unfit(found: match.Match) -> str | None:
    x, scale, shift = (found.values[name] for name in ("x", "scale", "shift"))
    axes = {trailing_axes(found.named[name], x) for name in ("mean", "spread")}
    if len(axes) != 1 or None in axes:
        return "its means are not over the same trailing axes"
    dims = edit.static_dims(scale) if edit.is_constant(scale) else None
    if dims is None or len(dims) not in axes:
        return "its scale is not a constant that spans the axes of the mean"
    if not edit.is_constant(shift) or edit.static_dims(shift) != dims:
        return "its shift is not a constant of the scale's shape"
    return None
