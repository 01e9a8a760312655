"""f(Transpose<p>(x), Transpose<p>(y), …)  ->  Transpose<p>(f(x, y, …)), f: Concat, or an operator that works element by element

With one operand only where that brings two Transposes together, perhaps after more such operators. Constants are turned back.
Refuses permutations that differ, a Transpose that others use too, operands whose ranks are not known to be equal, and large constants.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE

_SEVERAL = ("Add", "Concat", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_SEVERAL, *ELEMENTWISE):
        values = _varying(node)
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


def meets_transpose(node: ir.Node) -> bool:
    """Whether a Transpose follows, at once or after operators that it could be put before."""
    user = edit.only_user(node.outputs[0])
    while user is not None and not user.domain and user.op_type != "Transpose":
        if user.op_type not in ELEMENTWISE and (user.op_type not in _SEVERAL or len(_varying(user)) > 1):
            return False
        user = edit.only_user(user.outputs[0])
    return user is not None and user.op_type == "Transpose" and not user.domain


def _varying(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and not edit.is_constant(value)]


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
    constants = [value for value in node.inputs if edit.is_constant(value)]
    if any(len(edit.dims(value) or ()) > len(_perm(turns[0])) for value in constants):
        return "a constant adds axes"
    if any(edit.nbytes(value) > edit.MAX_GROWTH for value in constants):
        return "a constant is large"
    return None if len(turns) > 1 or meets_transpose(node) else "nothing would be gained"


def _sink(node: ir.Node, turns: list[ir.Node], names: edit.Names) -> None:
    perm, out, graph = _perm(turns[0]), node.outputs[0], node.graph
    assert graph is not None
    for turn in turns:
        for index, value in enumerate(node.inputs):
            if value is turn.outputs[0]:
                node.replace_input_with(index, turn.inputs[0])
    for index, value in enumerate(node.inputs):
        array = edit.constant(value)
        if array is not None and array.size > 1:
            whole = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            names.set_constant(node, index, np.ascontiguousarray(whole.transpose(np.argsort(perm))), "turned")
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
