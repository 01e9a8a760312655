"""BatchNormalization(x)  ->  x * f + (shift - mean * f), f = scale / sqrt(var + epsilon), one constant a channel

Where no more operators are left by it: f or the shift is neutral, or the node stands between two Transposes, which an
arithmetic of constants lets meet (`sink_transposes`). Elsewhere one operator is less than two; `fuse_scale_conv`,
`merge_scales` and the lowering compute the same scale and shift from the node as it is.
Refuses training mode, statistics that are not constant, channels that are not known, other dtypes than floats and doubles,
and results that leave the range of the dtype.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import affine, edit, trace
from ingot.graph.rules.sink_transposes import meets_transpose
from ingot.graph.writer import Writer


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(norm, _replace(model, norm, names)) for norm in edit.nodes(model, "BatchNormalization")
    )


def _replace(model: ir.Model, norm: ir.Node, names: edit.Names) -> str | None:
    x = norm.inputs[0]
    dims = edit.dims(x)
    channels = dims[1] if dims is not None and len(dims) > 1 else None
    if x is None or dims is None or not isinstance(channels, int) or x.dtype not in affine.WIDE:
        return "its channels are not known, or it is not of floats"
    form = affine.batch_norm(norm, channels)
    if isinstance(form, str):
        return form
    parts = affine.parts(*form, len(dims), x.dtype)
    if parts is None:
        return "a constant would leave the range of its dtype"
    if len(parts) > 1 and not _turned(norm, x):
        return "two operators would do what one does"
    writer, y = Writer(norm, names, edit.opset(model)), x
    for kind, array in parts:
        y = writer.op(kind, y, writer.constant(array, x.dtype))
    if not edit.bypass(norm, y):
        return "it names an output of its graph"
    return None


def _turned(norm: ir.Node, x: ir.Value) -> bool:
    """Whether the node stands between Transposes that could meet."""
    before = x.producer()
    if before is None or before.op_type != "Transpose" or before.domain or edit.only_user(x) is not norm:
        return False
    return before.attributes.get_ints("perm") is not None and meets_transpose(norm)
