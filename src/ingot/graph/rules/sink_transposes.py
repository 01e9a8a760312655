"""f(Transpose<p>(x), Transpose<p>(y), …)  ->  Transpose<p>(f(x, y, …)), f: Concat, or an operator that works element by element

With one operand only where that brings two Transposes together. Constants of one element need no Transpose.
Refuses permutations that differ, a Transpose that others use too, and operands whose ranks are not known to be equal.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE

_SEVERAL = ("Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_SEVERAL, *ELEMENTWISE):
        values = [v for v in node.inputs if v is not None and not _single(v)]
        turns = [value.producer() for value in values]
        found = [
            turn for turn in turns if turn is not None and turn.op_type == "Transpose" and not turn.domain
        ]
        if not found:
            continue
        reason = _unfit(node, values, found)
        if reason is not None:
            trace.refused(node, reason)
            continue
        _sink(node, found, names)
        fired += trace.fired(node)
    return fired


def _single(value: ir.Value) -> bool:
    return edit.is_constant(value) and value.const_value is not None and value.const_value.size == 1


def _perm(node: ir.Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm") or ())


def _unfit(node: ir.Node, values: list[ir.Value], turns: list[ir.Node]) -> str | None:
    perms = {_perm(turn) for turn in turns}
    if len(turns) < len(values) or len(perms) > 1 or not _perm(turns[0]):
        return "not all operands are transposed alike"
    if any(edit.only_user(turn.outputs[0]) is not node for turn in turns) or node.graph is not turns[0].graph:
        return "a Transpose has other users"
    if any(edit.dims(turn.inputs[0]) is None for turn in turns):
        return "a rank is not known"
    if any(
        _single(v) and len(edit.dims(v) or ()) > len(_perm(turns[0])) for v in node.inputs if v is not None
    ):
        return "a constant adds axes"
    user = edit.only_user(node.outputs[0])
    meets = user is not None and user.op_type == "Transpose" and not user.domain
    return None if len(turns) > 1 or meets else "nothing would be gained"


def _sink(node: ir.Node, turns: list[ir.Node], names: edit.Names) -> None:
    perm, out, graph = _perm(turns[0]), node.outputs[0], node.graph
    assert graph is not None
    for turn in turns:
        for index, value in enumerate(node.inputs):
            if value is turn.outputs[0]:
                node.replace_input_with(index, turn.inputs[0])
    if node.op_type == "Concat":
        node.attributes["axis"] = ir.AttrInt64("axis", perm[node.attributes.get_int("axis", 0) % len(perm)])
    new = ir.Node("", "Transpose", [out], [ir.AttrInt64s("perm", perm)], num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.turned")
    graph.insert_after(node, new)
    edit.replace(out, new.outputs[0])
    new.replace_input_with(0, out)
    dims = edit.dims(out)
    if dims is not None:
        out.shape = ir.Shape([dims[perm.index(axis)] for axis in range(len(perm))])
    for turn in turns:
        if not edit.used_outputs(turn):
            edit.remove(turn)
