"""One step of a recurrent layer, which rules find in its parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ingot.graph import edit


def gemm(node: ir.Node) -> tuple[edit.Array, edit.Array] | None:
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


def is_state(value: ir.Value, size: int) -> bool:
    """Whether a value is known to be [batch, size]."""
    dims = edit.dims(value)
    return dims is not None and len(dims) == 2 and dims[1] == size


def reordered(array: edit.Array, order: Sequence[int]) -> edit.Array:
    """The gates of the first axis in another order."""
    gates = np.split(array, len(order))
    return np.concatenate([gates[index] for index in order])


def write(
    before: ir.Node,
    label: str,
    op_type: str,
    weights: tuple[edit.Array, edit.Array, edit.Array],
    inputs: Sequence[ir.Value],
    names: edit.Names,
    **attributes: int,
) -> list[ir.Value]:
    """The new states by a layer over a sequence of one, in front of a node. inputs: what it reads, and its states."""
    graph, size, like = before.graph, weights[1].shape[-1], inputs[1]
    assert graph is not None
    constants = [
        names.add_constant(graph, f"{label}.{name}", array[None])
        for name, array in zip(("weights", "recurrence", "biases"), weights, strict=True)
    ]
    axis = names.add_constant(graph, f"{label}.axis", np.array([0], np.int64))
    made: list[ir.Node] = []

    def add(kind: str, given: Sequence[ir.Value | None], name: str, outputs: int = 1) -> ir.Node:
        node = ir.Node("", kind, given, num_outputs=outputs)
        for index, out in enumerate(node.outputs):
            out.name = names.fresh(f"{name}.{index}" if outputs > 1 else name)
            out.type = like.type
        made.append(node)
        return node

    x, *states = (
        add("Unsqueeze", [value, axis], f"{label}.{name}").outputs[0]
        for value, name in zip(inputs, "xhc", strict=False)
    )
    layer = add(op_type, [x, *constants, None, *states], f"{label}.{op_type.lower()}", 1 + len(states))
    layer.attributes["hidden_size"] = ir.AttrInt64("hidden_size", size)
    for name, value in attributes.items():
        layer.attributes[name] = ir.AttrInt64(name, value)
    layer.outputs[0].name = ""
    results = [add("Squeeze", [out, axis], f"{label}.step").outputs[0] for out in layer.outputs[1:]]
    dims = edit.dims(like)
    for result, out in zip(results, layer.outputs[1:], strict=True):
        if dims is not None:
            result.shape, out.shape = ir.Shape(dims), ir.Shape([1, *dims])
    graph.insert_before(before, made)
    return results
