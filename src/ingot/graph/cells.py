"""One step of a recurrent layer, which rules find in its parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.graph import edit
from ingot.graph.writer import Writer


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


def splits_evenly(split: ir.Node, parts: int, size: int) -> bool:
    """Whether a Split is of the features, into so many parts of one size."""
    sizes = edit.input_at(split, 1)
    return split.attributes.get_int("axis", 0) in (-1, 1) and (
        sizes is None or edit.integers(sizes) == [size] * parts
    )


def reordered(array: edit.Array, order: Sequence[int]) -> edit.Array:
    """The gates of the first axis in another order."""
    gates = np.split(array, len(order))
    return np.concatenate([gates[index] for index in order])


def write(
    writer: Writer,
    op_type: str,
    weights: tuple[edit.Array, edit.Array, edit.Array],
    inputs: Sequence[ir.Value],
    **attributes: Any,
) -> list[ir.Value]:
    """The new states by a layer over a sequence of one. inputs: what it reads, and its states, which `is_state` took."""
    constants = [
        writer.constant(array[None], name=name)
        for name, array in zip(("weights", "recurrence", "biases"), weights, strict=True)
    ]
    axis, dims = writer.ints(0), edit.dims(inputs[1])
    x, *states = (writer.op("Unsqueeze", value, axis) for value in inputs)
    layer = writer.ops(
        op_type, x, *constants, None, *states,
        outputs=1 + len(states), hidden_size=weights[1].shape[-1], **attributes,
    )  # fmt: skip
    layer[0].name = ""
    results = [writer.op("Squeeze", out, axis) for out in layer[1:]]
    for result in results:
        result.type = inputs[1].type
        result.shape = None if dims is None else ir.Shape(dims)
    return results
