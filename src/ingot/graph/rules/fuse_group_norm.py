"""Reshape(InstanceNormalization(Reshape(x, [n, groups, -1]))) * scale + shift  ->  GroupNormalization<groups>(x, scale, shift)

As PyTorch writes it. Without the scale and the shift too. Raises the operator set to 21. Refuses sizes that are not known to be
these, constants that are not one number a channel, doubles, parts that others use too, and models that cannot be raised.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, match, opset, trace
from ingot.graph.match import Fixed, Var, op

_NORMAL = op(
    "Reshape",
    op(
        "InstanceNormalization",
        op("Reshape", Var("x"), name="split"),
        Fixed("inner_scale"),
        Fixed("inner_shift"),
        name="norm",
    ),
)
_PATTERNS = (
    op("Add", op("Mul", _NORMAL, Fixed("scale")), Fixed("shift")),
    op("Mul", _NORMAL, Fixed("scale")),
    _NORMAL,
)


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _fuse(model, found, names))
        for pattern in _PATTERNS
        for found in match.each(model, pattern)
    )


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    x, graph = found.values["x"], found.root.graph
    dims, split = edit.dims(x), edit.dims(found.named["split"].outputs[0])
    groups = split[1] if split is not None and len(split) == 3 else None
    if dims is None or len(dims) < 3 or not isinstance(groups, int) or not isinstance(dims[1], int):
        return "its groups are not known"
    out = edit.dims(found.root.outputs[0])
    if dims[1] % groups or not edit.same_dim(dims[0], (split or [0])[0]) or not _like(out, dims):
        return "its sizes are not known to be those of groups"
    vectors = _channels(found, dims[1], groups, len(dims))
    if vectors is None:
        return "its scale or its shift is not one number a channel"
    reason = match.double(x) or found.leak() or opset.raise_to(model, 21)
    if reason is not None:
        return reason
    assert graph is not None
    assert x.dtype is not None
    label = found.root.outputs[0].name
    constants = [
        names.add_constant(graph, f"{label}.{name}", vector.astype(x.dtype.numpy()), x.dtype)
        for name, vector in zip(("scale", "shift"), vectors, strict=True)
    ]
    attributes = [
        ir.AttrInt64("num_groups", groups),
        ir.AttrFloat32("epsilon", found.named["norm"].attributes.get_float("epsilon", 1e-5)),
    ]
    return match.fuse(found, "GroupNormalization", [x, *constants], attributes, names)


def _like(out: list[edit.Dim] | None, dims: list[edit.Dim]) -> bool:
    """Whether the result has the shape of the input: all its dimensions but one, and that one then too."""
    if out is None or len(out) != len(dims):
        return False
    return sum(not edit.same_dim(a, b) for a, b in zip(out, dims, strict=True)) <= 1


def _channels(
    found: match.Match, channels: int, groups: int, rank: int
) -> tuple[affine.Vector, affine.Vector] | None:
    """The scale and the shift of each channel, those inside the norm and those after it in one."""
    inner = [edit.constant(found.values[f"inner_{name}"]) for name in ("scale", "shift")]
    if any(array is None or array.shape != (groups,) for array in inner):
        return None
    scale, shift = (
        np.repeat(array.astype(np.float64), channels // groups) for array in inner if array is not None
    )
    for name in ("scale", "shift"):
        array = edit.constant(found.values.get(name))
        if array is None:
            continue
        vector = affine.per_channel(array, rank, channels)
        if vector is None:
            return None
        scale, shift = (scale * vector, shift * vector) if name == "scale" else (scale, shift + vector)
    return scale, shift
