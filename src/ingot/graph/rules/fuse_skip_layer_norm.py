"""LayerNormalization(x + bias + skip)  ->  com.microsoft.SkipLayerNormalization(x, skip, scale, shift, bias)

For ONNX Runtime; RMSNormalization becomes SkipSimplifiedLayerNormalization. Without the bias too. The sum is an output
where others use it. Refuses norms over more than the last axis, operands that are not known to have three axes and equal
shapes, doubles, and a bias whose sum others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.contrib import DOMAIN
from ingot.graph.match import Fixed, Var, op
from ingot.graph.writer import Writer

_BIASED = op("Add", Var("x"), Fixed("bias"), name="biased")
_PATTERNS = tuple(
    op("LayerNormalization|RMSNormalization", op("Add", x, Var("skip"), name="sum"), Var("scale"))
    for x in (_BIASED, Var("x"))
)


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for pattern in _PATTERNS:
        for found in match.each(model, pattern):
            if len(edit.dims(found.values.get("bias")) or [0]) == 1:
                reason = _unfit(found) or found.leak("sum") or _fuse(model, found, names)
                fired += trace.outcome(found.root, reason)
    return fired


def _unfit(found: match.Match) -> str | None:
    x, skip, total = found.values["x"], found.values["skip"], found.named["sum"].outputs[0]
    dims = edit.dims(total)
    if dims is None or len(dims) != 3 or found.root.attributes.get_int("axis", -1) not in (-1, 2):
        return "it is not known to be over the last of three axes"
    if not edit.same_dims(edit.dims(x), dims) or not edit.same_dims(edit.dims(skip), dims):
        return "its operands are not known to have one shape"
    if edit.used_outputs(found.root) != [0]:
        return "its statistics are used"
    return match.double(total)


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    root, total = found.root, found.named["sum"].outputs[0]
    rms = root.op_type == "RMSNormalization"
    kind = "SkipSimplifiedLayerNormalization" if rms else "SkipLayerNormalization"
    shift = [] if rms else [edit.input_at(root, 2)]
    made = Writer(root, names, edit.opset(model)).ops(
        kind, found.values["x"], found.values["skip"], found.values["scale"], *shift, found.values.get("bias"),
        outputs=4, domain=DOMAIN, epsilon=root.attributes.get_float("epsilon", 1e-5),
    )  # fmt: skip
    for out, old in ((made[0], root.outputs[0]), (made[3], total)):
        out.type, out.shape = old.type, old.shape
    for out in made[1:3]:
        out.name = ""
    edit.replace(root.outputs[0], made[0])
    if len(total.uses()) > 1 or total.is_graph_output():
        edit.replace(total, made[3])
    edit.remove_unused(found.nodes)
    return None
