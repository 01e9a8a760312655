"""Conv(x, w, b) * c, / c, + c, - c, c - with one constant a channel  ->  Conv(x, w * c, b * c) and so on

Also ConvTranspose and Gemm, and chains of such operators, which are rounded once together.
Refuses constants that vary over space or batch or change the shape, a convolution whose output others use too, and
results that leave the range of the dtype.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, trace

_ARITHMETIC = ("Mul", "Add", "Sub", "Div")


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, *affine.OPERATORS):
        if not _followed(node):
            continue
        form = affine.read(node)
        if isinstance(form, str):
            trace.refused(node, form)
            continue
        chain, scale, shift = _chain(form)
        if not chain:
            trace.refused(node, "what follows is not one constant a channel")
        elif not affine.write(form, scale, shift, names):
            trace.refused(node, "a weight would leave the range of its dtype")
        else:
            for user in chain:
                edit.bypass(user, node.outputs[0])
                fired += trace.fired(user)
    return fired


def _followed(node: ir.Node) -> bool:
    user = edit.only_user(node.outputs[0])
    return user is not None and user.op_type in _ARITHMETIC and not user.domain and len(node.outputs) == 1


def _chain(form: affine.Affine) -> tuple[list[ir.Node], affine.Vector, affine.Vector]:
    """The arithmetic nodes after a convolution that its weights can take in, and their scale and shift together."""
    scale, shift = np.ones(form.channels), np.zeros(form.channels)
    chain: list[ir.Node] = []
    value = form.node.outputs[0]
    while (user := edit.only_user(value)) is not None and user.op_type in _ARITHMETIC and not user.domain:
        step = affine.step(user, value, form.rank, form.channels)
        if step is None or not edit.can_replace(user.outputs[0], value):
            break
        with np.errstate(all="ignore"):
            new_scale, new_shift = scale * step[0], shift * step[0] + step[1]
        if not (np.all(np.isfinite(new_scale)) and np.all(np.isfinite(new_shift))):
            break
        scale, shift, value = new_scale, new_shift, user.outputs[0]
        chain.append(user)
    return chain, scale, shift
