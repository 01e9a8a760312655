"""activation(Conv(x, w, b) + z)  ->  com.microsoft.FusedConv<activation>(x, w, b, z)

For ONNX Runtime. Without the sum or without the activation too: Relu, Sigmoid, Tanh, LeakyRelu, HardSigmoid, or Clip to
constants. Refuses other dtypes than float32, a z that is not known to have the shape of the convolution, and parts that
others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.contrib import DOMAIN
from ingot.graph.match import Op, Var, either, op
from ingot.graph.rules.fuse_hard_swish import bounds

_CONV = op("Conv", Var("x"), Var("w"), name="conv")
_SUM = op("Add", _CONV, Var("z"), name="sum")
_PARAMS = {"HardSigmoid": (("alpha", 0.2), ("beta", 0.5)), "LeakyRelu": (("alpha", 0.01),)}
_KINDS = "Clip|HardSigmoid|LeakyRelu|Relu|Sigmoid|Tanh"
_PATTERNS: tuple[Op, ...] = (op(_KINDS, either(_SUM, _CONV), name="activation"), _SUM)


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, _unfit(found) or found.leak() or _fuse(found, names))
        for pattern in _PATTERNS
        for found in match.each(model, pattern)
    )


def _unfit(found: match.Match) -> str | None:
    conv, z = found.named["conv"], found.values.get("z")
    if conv.outputs[0].dtype != ir.DataType.FLOAT:
        return "it is not known to be of float32"
    if z is not None and not edit.same_dims(edit.dims(z), edit.dims(conv.outputs[0])):
        return "what is added is not known to have its shape"
    activation = found.named.get("activation")
    if activation is not None and activation.op_type == "Clip" and bounds(activation) is None:
        return "its bounds are not constant"
    return None


def _fuse(found: match.Match, names: edit.Names) -> str | None:
    conv, activation = found.named["conv"], found.named.get("activation")
    attributes = list(conv.attributes.values())
    if activation is not None:
        attributes.append(ir.AttrString("activation", activation.op_type))
        params = _params(activation)
        if params:
            attributes.append(ir.AttrFloat32s("activation_params", params))
    inputs = [found.values["x"], found.values["w"], edit.input_at(conv, 2)]
    if "z" in found.values:
        inputs.append(found.values["z"])
    return match.fuse(found, "FusedConv", inputs, attributes, names, DOMAIN)


def _params(activation: ir.Node) -> list[float]:
    if activation.op_type == "Clip":
        limits = bounds(activation)
        assert limits is not None
        return [float(np.clip(x, *np.finfo(np.float32).max * np.array([-1, 1]))) for x in limits]
    known = _PARAMS.get(activation.op_type, ())
    return [activation.attributes.get_float(name, default) for name, default in known]
