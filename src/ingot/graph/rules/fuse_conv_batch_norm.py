"""BatchNormalization(Conv(x, w, b))  ->  Conv(x, w * f, (b - mean) * f + shift), f = scale / sqrt(var + epsilon)

Also ConvTranspose and Gemm. The arithmetic is float64, rounded once.
Refuses training mode, statistics or weights that are not constant, a convolution whose output others use too, and
results that leave the range of the dtype.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import affine, edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for norm in edit.nodes(model, "BatchNormalization"):
        reason = _fuse(norm, names)
        if reason is None:
            fired += trace.fired(norm)
        else:
            trace.refused(norm, reason)
    return fired


def _fuse(norm: ir.Node, names: edit.Names) -> str | None:
    """Why `norm` cannot go into the node before it, None when it did."""
    source = edit.input_at(norm, 0)
    node = source.producer() if source is not None else None
    if source is None or node is None or node.domain or node.op_type not in affine.OPERATORS:
        return "there is no convolution before it"
    if edit.only_user(source) is not norm:
        return "the convolution's output has other users"
    form = affine.read(node)
    if isinstance(form, str):
        return form
    found = affine.batch_norm(norm, form.channels)
    if isinstance(found, str):
        return found
    scale, shift = found
    if not edit.can_replace(norm.outputs[0], source):
        return "it names an output of its graph"
    if not affine.write(form, scale, shift, names):
        return "a weight would leave the range of its dtype"
    edit.bypass(norm, source)
    return None
