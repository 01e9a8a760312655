"""Slice(f(x))  ->  f(Slice(x)), also Gather, f an operator of one element, alone or with constants of one; Slice of a Transpose

Less is computed, and less is moved. Refuses an f whose result others use too, constants that may add axes, and a Transpose
whose axes are not known.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.hoist_above_split import ELEMENTWISE
from ingot.graph.rules.merge_slices import cuts, set_cuts

WITH_CONSTANTS = frozenset({"Add", "Cast", "Clip", "Div", "HardSigmoid", "Max", "Min", "Mul", "Pow", "Sub"})


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    movable = ELEMENTWISE | WITH_CONSTANTS
    for node, inner in edit.pairs(model, ("Slice", "Gather"), movable | {"Transpose"}):
        if inner.op_type in movable:
            x = only_input(inner)
            if x is None:
                continue
            reason = _small(inner, node)
        elif node.op_type == "Slice" and edit.opset(model) >= 10:
            x, reason = inner.inputs[0], _turned(inner, node)
        else:
            continue
        if edit.only_user(inner.outputs[0]) is not node or inner.graph is not node.graph:
            reason = "what it cuts has other users"
        if reason is None and x is not None:
            _hoist(node, inner, x, names)
        fired += trace.outcome(node, reason)
    return fired


def only_input(node: ir.Node) -> ir.Value | None:
    """What varies of an operator's inputs, where the others are constants of one element."""
    varying = [v for v in node.inputs if v is not None and not (edit.is_constant(v) and _single(v))]
    return varying[0] if len(varying) == 1 else None


def _single(value: ir.Value) -> bool:
    return value.const_value is not None and value.const_value.size == 1


def _small(inner: ir.Node, node: ir.Node) -> str | None:
    """Constants must not have more axes than what is left after the cut."""
    most = max(
        (len(edit.dims(v) or ()) for v in inner.inputs if v is not None and edit.is_constant(v)), default=0
    )
    x, out = edit.dims(only_input(inner)), edit.dims(node.outputs[0])
    fits = most == 0 or (x is not None and out is not None and most <= min(len(x), len(out)))
    return None if fits else "its constants may add axes"


def _turned(inner: ir.Node, node: ir.Node) -> str | None:
    known = inner.attributes.get_ints("perm") is not None and edit.dims(inner.outputs[0]) is not None
    return None if known and cuts(node) is not None else "its axes are not known"


def _hoist(node: ir.Node, inner: ir.Node, x: ir.Value, names: edit.Names) -> None:
    perm = list(inner.attributes.get_ints("perm") or ())
    wanted = {perm[axis]: cut for axis, cut in (cuts(node) or {}).items()} if perm else {}
    out = edit.swap(inner, node, x)
    if perm:
        set_cuts(node, wanted, names)
        dims = edit.dims(out)
        if dims is not None:
            out.shape = ir.Shape([dims[perm.index(axis)] for axis in range(len(perm))])
