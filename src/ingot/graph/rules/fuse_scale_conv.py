"""Conv(x * c + d, w, b)  ->  Conv(x, w * c, b + w * d), one constant c and d a channel

Also Gemm, a MatMul without a shift, both of them after a Flatten too; Sub, Div, BatchNormalization, depthwise convolutions of
single elements, and chains of these. Refuses weights that are not constant, shifts before a convolution that pads, and
results of the chain that others use too.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, trace

_OPERATORS = ("Conv", "Gemm", "MatMul")


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_OPERATORS):
        while _before(node) is not None:
            reason = _fuse(node, names)
            fired += trace.outcome(node, reason)
            if reason is not None:
                break
    return fired


def _before(node: ir.Node) -> ir.Node | None:
    """What may be a scale and a shift of the node's input, or of what a Flatten makes that of."""
    user = _flatten(node) or node
    value = user.inputs[0]
    step = value.producer() if value is not None else None
    if step is None or step.op_type not in affine.STEPS or step.domain:
        return None
    if step.op_type == "Conv" and not _single(step):
        return None
    return step if any(edit.is_constant(value) for value in step.inputs) else None


def _flatten(node: ir.Node) -> ir.Node | None:
    """What makes the rows of a product of whole samples (batch, channels, …)."""
    rows = node.inputs[0]
    flat = rows.producer() if rows is not None and node.op_type != "Conv" else None
    if rows is None or flat is None or flat.op_type not in ("Flatten", "Reshape") or flat.domain:
        return None
    dims, sample = edit.dims(rows) or [], (edit.dims(flat.inputs[0]) or [])[1:]
    known = [dim for dim in sample if isinstance(dim, int)]
    whole = len(dims) == 2 and len(known) == len(sample) > 0 and dims[1] == edit.elements(known)
    return flat if whole and edit.only_user(rows) is node else None


def _single(conv: ir.Node) -> bool:
    """Whether a convolution is a depthwise one of single elements."""
    dims = edit.static_dims(edit.input_at(conv, 1)) or []
    return dims == [conv.attributes.get_int("group", 1), *[1] * (len(dims) - 1)]


def _fuse(node: ir.Node, names: edit.Names) -> str | None:
    step, weights = _before(node), edit.constant(edit.input_at(node, 1))
    assert step is not None
    if weights is None or weights.dtype not in (np.float32, np.float64):
        return "its weights are not constant floats"
    x = next((v for v in step.inputs if not edit.is_constant(v)), None)
    dims, user = edit.dims(x), _flatten(node) or node
    axis = 1 if node.op_type == "Conv" or user is not node else -1
    channels = None if dims is None else dims[axis]
    if (
        x is None
        or dims is None
        or not isinstance(channels, int)
        or node.attributes.get_int("transA", 0) != 0
    ):
        return "its channels are not known"
    form = affine.step(step, x, len(dims), channels, axis)
    if form is None:
        return "what comes before is not one constant a channel"
    if edit.only_user(step.outputs[0]) is not user or step.graph is not node.graph:
        return "what comes before has other users"
    if user is not node:
        positions = edit.elements([dim for dim in dims[2:] if isinstance(dim, int)])
        channels *= positions
        form = np.repeat(form[0], positions), np.repeat(form[1], positions)
    scale, shift = form
    if np.any(shift != 0) and (node.op_type == "MatMul" or _pads(node)):
        return "it has no place for a shift"
    made = _scaled(node, weights, scale, shift, channels)
    if made is None:
        return "a weight would leave the range of its dtype, or does not fit"
    bias, given = edit.input_at(node, 2), edit.constant(edit.input_at(node, 2))
    if np.any(shift != 0) and bias is not None and given is None:
        return "its bias is not constant"
    names.set_constant(node, 1, made[0], "scaled")
    if np.any(shift != 0):
        before = 0 if given is None else given.astype(np.float64) * node.attributes.get_float("beta", 1.0)
        node.attributes.pop("beta", None)
        names.set_constant(node, 2, np.asarray(before + made[1]).astype(weights.dtype), "bias")
    user.replace_input_with(0, x)
    edit.remove(step)
    return None


def _pads(conv: ir.Node) -> bool:
    return conv.op_type == "Conv" and (any(conv.attributes.get_ints("pads", ())) or edit.pads_itself(conv))


def _scaled(
    node: ir.Node, weights: edit.Array, scale: affine.Vector, shift: affine.Vector, channels: int
) -> tuple[edit.Array, edit.Array] | None:
    """The weights with each input channel scaled, and what its shift adds to each output channel."""
    if node.op_type == "Conv":
        group = node.attributes.get_int("group", 1)
        if channels != weights.shape[1] * group or weights.shape[0] % group:
            return None
        split = weights.reshape(group, weights.shape[0] // group, weights.shape[1], -1)
        place: tuple[int, ...] = (group, 1, weights.shape[1], 1)
        over: tuple[int, ...] = (2, 3)
    else:
        turned = node.attributes.get_int("transB", 0)
        if weights.ndim != 2 or weights.shape[1 if turned else 0] != channels:
            return None
        split, place, over = weights, (1, channels) if turned else (channels, 1), (1,) if turned else (0,)
    with np.errstate(all="ignore"):
        scaled = (split.astype(np.float64) * scale.reshape(place)).astype(weights.dtype)
        added = (split.astype(np.float64) * shift.reshape(place)).sum(axis=over).reshape(-1)
    added *= node.attributes.get_float("alpha", 1.0)
    if not math.isfinite(float(np.abs(scaled).sum() + np.abs(added).sum())):
        return None
    return scaled.reshape(weights.shape), added
