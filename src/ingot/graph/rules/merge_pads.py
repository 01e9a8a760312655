"""Pad(Pad(x))  ->  Pad(x) by both

Refuses pads that are not constant or negative, modes other than constant, different values, axes that are named, an
inner Pad that others use too, and operator sets before 11.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 11:
        return 0
    fired, names = 0, edit.Names(model)
    for node, inner in edit.pairs(model, ("Pad",), ("Pad",)):
        alone = edit.only_user(inner.outputs[0]) is node
        reason = _unfit(node, inner) if alone else "the inner Pad has other users"
        if reason is not None:
            trace.refused(node, reason)
            continue
        given = [edit.integers(one.inputs[1]) or [] for one in (node, inner)]
        node.replace_input_with(0, inner.inputs[0])
        names.set_constant(node, 1, np.asarray(np.sum(given, axis=0, dtype=np.int64)), "both")
        edit.remove(inner)
        fired += trace.fired(node)
    return fired


def _unfit(node: ir.Node, inner: ir.Node) -> str | None:
    fills, pads = [], []
    for one in (node, inner):
        if one.attributes.get_string("mode", "constant") != "constant":
            return "a mode is not constant"
        given = edit.integers(edit.input_at(one, 1))
        if given is None or min(given, default=0) < 0 or edit.input_at(one, 3) is not None:
            return "the pads are not constant, or negative, or on named axes"
        fill = edit.input_at(one, 2)
        array = edit.constant(fill)
        if fill is not None and array is None:
            return "a padding value is not constant"
        fills.append(0 if array is None else array.item())
        pads.append(given)
    if len(pads[0]) != len(pads[1]):
        return "the pads do not fit together"
    return None if fills[0] == fills[1] else "the padding values differ"
