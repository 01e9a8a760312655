"""Transpose<q>(Transpose<p>(x))  ->  Transpose<p[q]>(x)

Refuses permutations that are not written out or do not fit together.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node, inner in edit.pairs(model, ("Transpose",), ("Transpose",)):
        first, second = _perm(inner), _perm(node)
        if first is None or second is None or len(first) != len(second):
            trace.refused(node, "a permutation is not known")
            continue
        merged = [first[axis] for axis in second]
        node.replace_input_with(0, inner.inputs[0])
        node.attributes["perm"] = ir.AttrInt64s("perm", merged)
        fired += trace.fired(node)
    return fired


def _perm(node: ir.Node) -> list[int] | None:
    perm = node.attributes.get_ints("perm")
    if perm is None:
        dims = edit.dims(edit.input_at(node, 0))
        return list(range(len(dims)))[::-1] if dims is not None else None
    return list(perm) if sorted(perm) == list(range(len(perm))) else None
