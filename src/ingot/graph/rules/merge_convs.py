"""Conv(x, w1), Conv(x, w2), …, all followed by the same activation or three and more  ->  Split(Conv(x, [w1; w2; …]))

As the branches of an inception block begin. `hoist_above_split` then makes one activation of theirs. Refuses groups that would
not become smaller, convolutions that differ in more than their features, and weights that are not constant float32.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE
from ingot.graph.rules.merge_small_convs import alike, merge


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for convs in alike(model):
        activations = {_activation(conv) for conv in convs}
        if len(convs) < 3 and (None in activations or len(activations) > 1):
            trace.refused(convs[0], "nothing would be gained")
            continue
        x = convs[0].inputs[0]
        assert x is not None
        fired += merge(model, convs, x, convs[0], 1, names)
    return fired


def _activation(conv: ir.Node) -> str | None:
    user = edit.only_user(conv.outputs[0])
    plain = user is not None and not user.domain and user.op_type in ELEMENTWISE
    return user.op_type if plain and user is not None else None
