"""x * Clip(x + 3, 0, 6) / 6  ->  HardSwish(x);  Clip(x + 3, 0, 6) / 6  ->  HardSigmoid<1/6, 1/2>(x)

Also x * HardSigmoid<1/6, 1/2>(x). HardSwish raises the operator set to 14. Refuses other constants, doubles, a Clip that others
use too, and models that cannot be raised.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, opset, trace
from ingot.graph.match import Const, Var, either, op

_X = Var("x")
_CLIP = op("Clip", op("Add", _X, Const(3.0)), name="clip")
_SIXTH = Const(1 / 6)
_SIGMOIDS = (op("Div", _CLIP, Const(6.0)), op("Mul", _CLIP, _SIXTH))
_SWISHES = (
    op("Div", op("Mul", _X, _CLIP), Const(6.0)),
    op("Mul", op("Mul", _X, _CLIP), _SIXTH),
    op("Mul", _X, either(*_SIGMOIDS)),
    op("Mul", _X, op("HardSigmoid", _X, name="sigmoid")),
)


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    slope = [ir.AttrFloat32("alpha", 1 / 6), ir.AttrFloat32("beta", 0.5)]
    fired = 0
    for op_type, patterns, version, attributes in (
        ("HardSwish", _SWISHES, 14, []),
        ("HardSigmoid", _SIGMOIDS, 1, slope),
    ):
        for found in match.each(model, *patterns):
            reason = _unfit(found) or match.double(found.values["x"]) or found.leak()
            reason = reason or opset.raise_to(model, version)
            reason = reason or match.fuse(found, op_type, "x", attributes, names)
            fired += trace.outcome(found.root, reason)
    return fired


def _unfit(found: match.Match) -> str | None:
    if "sigmoid" in found.named:
        attributes = found.named["sigmoid"].attributes
        given = [attributes.get_float("alpha", 0.2), attributes.get_float("beta", 0.5)]
        return None if np.allclose(given, [1 / 6, 0.5], rtol=1e-6) else "its sigmoid has another slope"
    return None if bounds(found.named["clip"]) == (0.0, 6.0) else "its Clip is not from 0 to 6"


def bounds(clip: ir.Node) -> tuple[float, float] | None:
    """From what to what a Clip limits, None where that is not constant."""
    found = []
    for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        value, array = edit.input_at(clip, index), edit.constant(edit.input_at(clip, index))
        if value is not None and (array is None or array.size != 1):
            return None
        found.append(float(array.item()) if array is not None else clip.attributes.get_float(name, default))
    return found[0], found[1]
