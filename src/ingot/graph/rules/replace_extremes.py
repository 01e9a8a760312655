"""Max(x, low), Min(x, high)  ->  Clip(x, low, high), constants of one element;  Max(x, a * x)  ->  LeakyRelu<a>(x), 0 <= a <= 1

Each alone, and one of the other. Refuses integers, doubles for LeakyRelu, constants that may add axes, operator sets
before 11, and parts that others use too.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Const, Var, op

_X = Var("x")
_LEAKY = op("Max", _X, op("Mul", _X, Const(name="slope")))
_LIMITS = (op("Max", _X, Const(name="low")), op("Min", _X, Const(name="high")))


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 11:
        return 0
    fired, names = 0, edit.Names(model)
    for found in match.each(model, _LEAKY):
        x, slope = found.values["x"], found.number("slope")
        if len(found.root.inputs) == 2 and 0 <= slope <= 1:
            reason = match.widens(found.values["slope"], x) or match.double(x) or found.leak()
            attributes = [ir.AttrFloat32("alpha", slope)]
            fired += trace.outcome(
                found.root, reason or match.fuse(found, "LeakyRelu", "x", attributes, names)
            )
    for found in match.each(model, *_LIMITS):
        x = found.values["x"]
        if len(found.root.inputs) == 2 and not edit.is_constant(x):
            name = "low" if "low" in found.values else "high"
            reason = match.widens(found.values[name], x) or _clip(found, name, names)
            fired += trace.outcome(found.root, reason)
    return fired


def _clip(found: match.Match, name: str, names: edit.Names) -> str | None:
    x, graph = found.values["x"], found.root.graph
    assert graph is not None
    array = edit.constant(found.values[name])
    assert array is not None
    bound = names.add_constant(graph, f"{found.root.outputs[0].name}.{name}", array.reshape(()), x.dtype)
    return match.fuse(found, "Clip", [x, bound] if name == "low" else [x, None, bound], [], names)
