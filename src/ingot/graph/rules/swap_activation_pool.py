"""MaxPool(f(x))  ->  f(MaxPool(x)), f an operator of one element that never falls: Relu, Clip, Sigmoid, Tanh …

Fewer elements pass through f. Refuses an f right after a convolution or a product, where it costs nothing, indices,
a LeakyRelu that falls, an f that others use too, and one whose result is the graph's.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_RISING = "Clip|Elu|Exp|HardSigmoid|LeakyRelu|Relu|Selu|Sigmoid|Softplus|Softsign|Sqrt|Tanh"
_PATTERN = op("GlobalMaxPool|MaxPool", op(_RISING, Var("x"), name="f"))
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def apply(model: ir.Model) -> int:
    fired = 0
    for found in match.each(model, _PATTERN):
        reason = _unfit(found) or found.leak()
        if reason is None:
            edit.swap(found.named["f"], found.root, found.values["x"])
        fired += trace.outcome(found.root, reason)
    return fired


def _unfit(found: match.Match) -> str | None:
    pool, f = found.root, found.named["f"]
    producer = found.values["x"].producer()
    if producer is not None and producer.op_type in (*_PRODUCTS, "Add"):
        return "it costs nothing after a product or its sum, of which runtimes make one"
    if edit.used_outputs(pool) != [0]:
        return "its indices are used"
    if any(
        f.attributes.get_float(name, 1.0) < 0 for name in ("alpha", "beta", "gamma") if name in f.attributes
    ):
        return "it may fall"
    if any(not edit.is_constant(value) for value in f.inputs[1:] if value is not None):
        return "its bounds are not constant"
    return None
