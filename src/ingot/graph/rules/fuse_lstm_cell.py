"""one step of an LSTM from Gemms, a Split in four, Sigmoids and Tanhs  ->  LSTM of a sequence of one

    i, f, g, o = Split(Gemm(h, r) + Gemm(x, w));  c' = Sigmoid(f) * c + Sigmoid(i) * Tanh(g);  h' = Sigmoid(o) * Tanh(c')

The order of the gates is PyTorch's. Refuses other dtypes than float32, weights and biases that are not constant, a Gemm with factors, unequal parts,
states whose size is not the cell's, and parts other than the new states that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import cells, edit, match, trace
from ingot.graph.match import Op, Var, op
from ingot.graph.writer import Writer

_GATES = op(
    "Add", op("Gemm", Var("a"), Var("u"), name="first"), op("Gemm", Var("b"), Var("v"), name="second")
)


def _gate(index: int) -> Op:
    return op("Split", _GATES, name="split", output=index)


_CELL = op(
    "Add",
    op("Mul", op("Sigmoid", _gate(1)), Var("c")),
    op("Mul", op("Sigmoid", _gate(0)), op("Tanh", _gate(2))),
    name="cell",
)
_PATTERN = op("Mul", op("Sigmoid", _gate(3)), op("Tanh", _CELL))
_ORDER = (0, 3, 1, 2)
"""ONNX has the gates in the order i, o, f, g."""


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 13:
        return 0
    names = edit.Names(model)
    return sum(
        trace.outcome(found.root, found.leak("cell") or _unfit(found) or _fuse(model, found, names))
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    single = found.values["c"].dtype == ir.DataType.FLOAT
    return None if single else "it is not known to be of float32, which ONNX Runtime's LSTM is for"


def _fuse(model: ir.Model, found: match.Match, names: edit.Names) -> str | None:
    """Why it cannot be, None when it is done."""
    parts = [cells.gemm(found.named[name]) for name in ("first", "second")]
    inputs, layers = [found.values["a"], found.values["b"]], [part for part in parts if part is not None]
    if len(layers) < 2:
        return "its Gemms have factors, or weights or biases that are not constant"
    size = layers[0][0].shape[0] // 4
    equal = cells.splits_evenly(found.named["split"], 4, size)
    if layers[0][0].shape[0] != 4 * size or layers[1][0].shape[0] != 4 * size or not equal:
        return "its gates are not of one size"
    state = next(
        (i for i in (0, 1) if cells.is_state(inputs[i], size) and layers[i][0].shape[1] == size), None
    )
    if state is None or not cells.is_state(found.values["c"], size):
        return "its states are not known to be of the cell's size"
    (w, wb), (r, rb) = (
        [cells.reordered(array, _ORDER) for array in layers[index]] for index in (1 - state, state)
    )
    given = [inputs[1 - state], inputs[state], found.values["c"]]
    weights = (w, r, np.concatenate([wb, rb]))
    y, c = cells.write(Writer(found.named["cell"], names, edit.opset(model)), "LSTM", weights, given)
    edit.replace(found.root.outputs[0], y)
    edit.replace(found.named["cell"].outputs[0], c)
    edit.remove_unused(found.nodes)
    return None
