"""BatchNormalization(x * c), ((x + d) * c) - e, …  ->  x * c' + d', one constant a channel

Of chains of BatchNormalization, Add, Sub, Mul and Div, where fewer operators are left. Refuses channels that are not known,
other dtypes than floats and doubles, and results that leave the range of the dtype.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, trace
from ingot.graph.writer import Writer

_STEPS = tuple(kind for kind in affine.STEPS if kind != "Conv")


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_STEPS):
        x = next((v for v in node.inputs if v is not None and not edit.is_constant(v)), None)
        user = edit.only_user(node.outputs[0])
        if x is not None and user is not None and user.op_type in _STEPS and not user.domain:
            fired += _merge(model, node, x, names)
    return fired


def _merge(model: ir.Model, first: ir.Node, x: ir.Value, names: edit.Names) -> int:
    dims = edit.dims(x)
    channels = dims[1] if dims is not None and len(dims) > 1 else None
    if dims is None or not isinstance(channels, int) or x.dtype not in affine.WIDE:
        trace.refused(first, "its channels are not known, or it is not of floats")
        return 0
    scale, shift, chain = np.ones(channels), np.zeros(channels), list[ir.Node]()
    value, user = x, first
    while (form := affine.step(user, value, len(dims), channels)) is not None:
        with np.errstate(all="ignore"):
            scale, shift = scale * form[0], shift * form[0] + form[1]
        chain.append(user)
        value, following = user.outputs[0], edit.only_user(user.outputs[0])
        if following is None or following.op_type not in _STEPS or following.graph is not first.graph:
            break
        user = following
    parts = affine.parts(scale, shift, len(dims), x.dtype)
    if parts is None:
        trace.refused(first, "a constant would leave the range of its dtype")
        return 0
    if not parts or len(parts) >= len(chain):
        return 0
    last = chain[-1]
    writer, y = Writer(last, names, edit.opset(model)), x
    for kind, array in parts:
        y = writer.op(kind, y, writer.constant(array, x.dtype))
    edit.replace(last.outputs[0], y)
    for node in reversed(chain):
        edit.remove(node)
    return trace.fired(first)
