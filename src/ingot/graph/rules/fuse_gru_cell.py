"""one step of a GRU from two Gemms, Splits in three, Sigmoids and a Tanh  ->  GRU of a sequence of one

    a, b, c = Split(Gemm(x, w)); d, e, f = Split(Gemm(h, u)); r = Sigmoid(a + d); z = Sigmoid(b + e)
    n = Tanh(c + r * f); h' = n + z * (h - n), or (1 - z) * n + z * h

The order of the gates is PyTorch's. Refuses other dtypes than float32, weights and biases that are not constant, a Gemm with
factors, unequal parts, states whose size is not the cell's, and parts that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import cells, edit, match, trace
from ingot.graph.match import Const, Op, Var, op
from ingot.graph.writer import Writer

_H = Var("h")


def _part(name: str, x: str, weights: str, index: int) -> Op:
    return op("Split", op("Gemm", Var(x), Var(weights), name=name), name=f"{name}_parts", output=index)


def _gate(index: int) -> Op:
    return op("Sigmoid", op("Add", _part("input", "x", "w", index), _part("state", "h", "u", index)))


_NEW = op("Tanh", op("Add", _part("input", "x", "w", 2), op("Mul", _gate(0), _part("state", "h", "u", 2))))
_PATTERNS = (
    op("Add", op("Mul", op("Sub", _H, _NEW), _gate(1)), _NEW),
    op("Add", op("Mul", op("Sub", Const(1.0), _gate(1)), _NEW), op("Mul", _gate(1), _H)),
)
_ORDER = (1, 0, 2)
"""ONNX has the gates in the order z, r, n."""


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 13:
        return 0
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, found.leak() or _fuse(model, found, names))
        for found in match.each(model, *_PATTERNS)
    )


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    """Why it cannot be, None when it is done."""
    x, h = found.values["x"], found.values["h"]
    if h.dtype != ir.DataType.FLOAT:
        return "it is not known to be of float32, which ONNX Runtime's GRU is for"
    layers = [cells.gemm(found.named[name]) for name in ("input", "state")]
    if layers[0] is None or layers[1] is None:
        return "its Gemms have factors, or weights or biases that are not constant"
    size = layers[1][0].shape[1]
    splits = [found.named[f"{name}_parts"] for name in ("input", "state")]
    equal = all(cells.splits_evenly(split, 3, size) for split in splits)
    if not equal or any(layer is not None and layer[0].shape[0] != 3 * size for layer in layers):
        return "its gates are not of one size"
    if not cells.is_state(h, size):
        return "its state is not known to be of the cell's size"
    (w, wb), (r, rb) = ([cells.reordered(array, _ORDER) for array in layer] for layer in layers if layer)
    writer = Writer(found.root, names, edit.opset(model))
    weights = (w, r, np.concatenate([wb, rb]))
    (y,) = cells.write(writer, "GRU", weights, [x, h], linear_before_reset=1)
    edit.replace(found.root.outputs[0], y)
    edit.remove_unused(found.nodes)
    return None
