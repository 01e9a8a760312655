"""Attention(q, k, v, mask), heads in the last axis  ->  com.microsoft.MultiHeadAttention(q, k, v, mask)

For ONNX Runtime, whose kernel for this one keeps the scores of a block only. Refuses heads that share keys, past keys,
soft caps, masks of other than four axes or of bools, and other dtypes than float32.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.contrib import DOMAIN
from ingot.graph.match import Var, op

_PATTERN = op("Attention", Var("q"), Var("k"), Var("v"))
_TAKEN = {"q_num_heads", "kv_num_heads", "scale", "is_causal"}


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _unfit(found.root) or _replace(found, names))
        for found in match.each(model, _PATTERN)
    )


def _unfit(node: ir.Node) -> str | None:
    given = node.attributes
    if any(len(edit.dims(value) or ()) != 3 or _other(value) for value in node.inputs[:3]):
        return "its operands are not known to be of float32 and three axes"
    if given.get_int("q_num_heads") != given.get_int("kv_num_heads"):
        return "its heads share keys"
    if given.keys() - _TAKEN or len(node.inputs) > 4 or edit.used_outputs(node) != [0]:
        return "it has more than a mask, a scale and a causal order"
    mask = edit.input_at(node, 3)
    if mask is not None and (len(edit.dims(mask) or ()) != 4 or _other(mask)):
        return "its mask is not known to be of float32 and four axes"
    return None


def _other(value: ir.Value | None) -> bool:
    return value is None or value.dtype != ir.DataType.FLOAT


def _replace(found: match.Match, names: edit.Names) -> str | None:
    node = found.root
    attributes: list[ir.Attr] = [ir.AttrInt64("num_heads", node.attributes.get_int("q_num_heads") or 1)]
    if "scale" in node.attributes:
        attributes.append(node.attributes["scale"])
    if node.attributes.get_int("is_causal", 0):
        attributes.append(ir.AttrInt64("unidirectional", 1))
    inputs: list[ir.Value | None] = list(node.inputs[:3])
    mask = edit.input_at(node, 3)
    if mask is not None:
        inputs += [None, None, mask]
    return match.fuse(found, "MultiHeadAttention", inputs, attributes, names, DOMAIN)
