"""one step of an LSTM from Gemms, a Split in four, Sigmoids and Tanhs  ->  LSTM of a sequence of one

    i, f, g, o = Split(Gemm(h, r) + Gemm(x, w));  c' = Sigmoid(f) * c + Sigmoid(i) * Tanh(g);  h' = Sigmoid(o) * Tanh(c')

The order of the gates is PyTorch's. Refuses other dtypes than float32, weights and biases that are not constant, a Gemm with factors, unequal parts,
states whose size is not the cell's, and parts other than the new states that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Op, Var, op

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
        trace.outcome(found.root, found.leak("cell") or _unfit(found) or _fuse(found, names))
        for found in match.each(model, _PATTERN)
    )


def _unfit(found: match.Match) -> str | None:
    single = found.values["c"].dtype == ir.DataType.FLOAT
    return None if single else "it is not known to be of float32, which ONNX Runtime's LSTM is for"


def _gemm(node: ir.Node) -> tuple[edit.Array, edit.Array] | None:
    """[features, inputs] and [features] of a Gemm without factors, None for another one."""
    weights, bias = edit.constant(node.inputs[1]), edit.constant(edit.input_at(node, 2))
    if weights is None or node.attributes.get_int("transA"):
        return None
    if any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta")):
        return None
    weights = weights if node.attributes.get_int("transB", 0) else weights.T
    if edit.input_at(node, 2) is None:
        bias = np.zeros(weights.shape[0], weights.dtype)
    return None if bias is None or bias.shape != weights.shape[:1] else (weights, bias)


def _fuse(found: match.Match, names: edit.Names) -> str | None:
    """Why it cannot be, None when it is done."""
    parts = [_gemm(found.named[name]) for name in ("first", "second")]
    inputs, layers = [found.values["a"], found.values["b"]], [part for part in parts if part is not None]
    if len(layers) < 2:
        return "its Gemms have factors, or weights or biases that are not constant"
    size = layers[0][0].shape[0] // 4
    sizes = edit.integers(edit.input_at(found.named["split"], 1))
    equal = sizes == [size] * 4 if edit.input_at(found.named["split"], 1) is not None else True
    if layers[0][0].shape[0] != 4 * size or layers[1][0].shape[0] != 4 * size or not equal:
        return "its gates are not of one size"
    state = next((i for i in (0, 1) if _is_state(inputs[i], size) and layers[i][0].shape[1] == size), None)
    if state is None or not _is_state(found.values["c"], size):
        return "its states are not known to be of the cell's size"
    root, graph = found.root, found.root.graph
    assert graph is not None
    label = root.outputs[0].name
    (w, wb), (r, rb) = layers[1 - state], layers[state]
    made = [_ordered(w)[None], _ordered(r)[None], np.concatenate([_ordered(wb), _ordered(rb)])[None]]
    dtype = found.named["first"].inputs[1].dtype if found.named["first"].inputs[1] is not None else None
    constants = [
        names.add_constant(graph, f"{label}.{name}", array, dtype)
        for name, array in zip(("weights", "recurrence", "biases"), made, strict=True)
    ]
    axis = names.add_constant(graph, f"{label}.axis", np.array([0], np.int64))
    nodes: list[ir.Node] = []

    def add(op_type: str, given: list[ir.Value | None], name: str, outputs: int = 1) -> ir.Node:
        node = ir.Node("", op_type, given, num_outputs=outputs)
        for index, out in enumerate(node.outputs):
            out.name = names.fresh(f"{name}.{index}" if outputs > 1 else name)
            out.type = root.outputs[0].type
        nodes.append(node)
        return node

    x, h, c = (
        add("Unsqueeze", [value, axis], f"{label}.{name}").outputs[0]
        for value, name in ((inputs[1 - state], "x"), (inputs[state], "h"), (found.values["c"], "c"))
    )
    lstm = add("LSTM", [x, *constants, None, h, c], f"{label}.lstm", 3)
    lstm.attributes["hidden_size"] = ir.AttrInt64("hidden_size", size)
    lstm.outputs[0].name = ""
    dims = edit.dims(found.values["c"])
    results = []
    for out, old in zip(lstm.outputs[1:], (root, found.named["cell"]), strict=True):
        result = add("Squeeze", [out, axis], f"{old.outputs[0].name}.step").outputs[0]
        results.append((old.outputs[0], result))
        if dims is not None:
            result.shape, out.shape = ir.Shape(dims), ir.Shape([1, *dims])
    graph.insert_before(found.named["cell"], nodes)
    for before, after in results:
        edit.replace(before, after)
    for node in reversed(found.nodes):
        if not edit.used_outputs(node):
            edit.remove(node)
    return None


def _ordered(array: edit.Array) -> edit.Array:
    """The gates of the first axis in ONNX's order."""
    gates = np.split(array, 4)
    return np.concatenate([gates[index] for index in _ORDER])


def _is_state(value: ir.Value, size: int) -> bool:
    dims = edit.dims(value)
    return dims is not None and len(dims) == 2 and dims[1] == size
