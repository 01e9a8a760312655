"""x / Sqrt(ReduceMean(x^2) + e) * scale  ->  RMSNormalization(x, scale)

Also x * Reciprocal(Sqrt(…)) and x * Pow(…, -0.5). Without a scale it gets one of ones. Raises the operator set to 23.
Refuses a mean over anything but trailing axes that it keeps, a scale that is not constant or does not span just those
axes, doubles, parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Fixed, Var, either, op

_X = Var("x")
_SQUARE = either(op("Pow", _X, Const(2.0)), op("Mul", _X, _X))
_MEAN = op("Add", op("ReduceMean", _SQUARE, name="mean"), Const(name="epsilon"))
_ROOT = op("Sqrt", _MEAN)
_NORMAL = (
    op("Div", _X, _ROOT),
    op(
        "Mul",
        _X,
        either(op("Reciprocal", _ROOT), op("Div", Const(1.0), _ROOT), op("Pow", _MEAN, Const(-0.5))),
    ),
)
_SCALED = op("Mul", either(*_NORMAL), Fixed("scale"))


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    fired = 0
    for found in match.each(model, _SCALED):
        fired += trace.outcome(found.root, _fuse(model, found, names))
    for found in match.each(model, *_NORMAL):
        fired += trace.outcome(found.root, _fuse(model, found, names))
    return fired


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    x, scale = found.values["x"], found.values.get("scale")
    dims, axes = edit.static_dims(scale), trailing_axes(found.named["mean"], x)
    if axes is None:
        return "its mean is not over trailing axes that it keeps"
    if scale is not None and (dims is None or len(dims) != axes):
        return "its scale does not span the axes of the mean"
    reason = match.double(x) or found.leak()
    rank, graph = edit.dims(x), found.root.graph
    if reason is None and rank is not None and scale is None:
        ones = _ones(rank[len(rank) - axes :], x)
        if ones is None:
            return "the sizes of its axes are not known"
        assert graph is not None
        scale = names.add_constant(graph, f"{found.root.outputs[0].name}.scale", ones, x.dtype)
    attributes = [
        ir.AttrInt64("axis", -axes),
        ir.AttrFloat32("epsilon", found.number("epsilon")),
        ir.AttrInt64("stash_type", 1),
    ]
    reason = reason or opset.raise_to(model, 23)
    return reason or match.fuse(found, "RMSNormalization", [x, scale], attributes, names)


def trailing_axes(mean: ir.Node, x: ir.Value) -> int | None:
    """How many axes at the end a ReduceMean that keeps them goes over, or None."""
    if mean.attributes.get_int("keepdims", 1) != 1:
        return None
    given = edit.input_at(mean, 1)
    found = mean.attributes.get_ints("axes") if given is None else edit.integers(given)
    rank = edit.dims(x)
    if found is None or rank is None:
        return len(found) if found is not None and sorted(found) == list(range(-len(found), 0)) else None
    last = sorted(axis % len(rank) for axis in found)
    return len(last) if last and last == list(range(len(rank) - len(last), len(rank))) else None


def _ones(dims: list[edit.Dim], x: ir.Value) -> edit.Array | None:
    sizes = [dim for dim in dims if isinstance(dim, int)]
    return np.ones(sizes, x.dtype.numpy()) if len(sizes) == len(dims) and x.dtype is not None else None
