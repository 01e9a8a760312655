"""Conv<[h, w]>(x, u v^T)  ->  Conv<[1, w]>(Conv<[h, 1]>(x, u), v): h + w products an element instead of h * w

Of depthwise convolutions whose every filter is a column times a row, such as those that blur or find edges. Refuses other filters,
windows that save less than a third, weights that are not constant floats, and automatic pads.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.writer import Writer


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Conv"):
        dims = edit.static_dims(edit.input_at(node, 1))
        if dims is None or len(dims) != 4 or dims[1] != 1 or node.attributes.get_int("group", 1) != dims[0]:
            continue
        rows, columns = dims[2:]
        if min(rows, columns) > 1 and 3 * (rows + columns) <= 2 * rows * columns:
            fired += trace.outcome(node, _split(model, node, names))
    return fired


def _split(model: ir.Model, node: ir.Node, names: edit.Names) -> str | None:
    weights = edit.constant(node.inputs[1])
    if weights is None or weights.dtype not in (np.float32, np.float64):
        return "its weights are not constant floats"
    if edit.pads_itself(node):
        return "it has automatic pads"
    factors = _factors(weights)
    if factors is None:
        return "a filter is no column times a row"
    pads = list(node.attributes.get_ints("pads", (0, 0, 0, 0)))
    lists = {name: list(node.attributes.get_ints(name, (1, 1))) for name in ("strides", "dilations")}
    writer = Writer(node, names, edit.opset(model))
    y, bias = node.inputs[0], edit.input_at(node, 2)
    assert y is not None
    for axis, factor in enumerate(factors):
        sizes = {name: [values[0], 1] if axis == 0 else [1, values[1]] for name, values in lists.items()}
        own = [pads[0], 0, pads[2], 0] if axis == 0 else [0, pads[1], 0, pads[3]]
        constant = writer.constant(factor, node.inputs[1].dtype, "weights")  # type: ignore[union-attr]
        y = writer.op(
            "Conv", y, constant, bias if axis == 1 else None, group=weights.shape[0], pads=own,
            kernel_shape=list(factor.shape[2:]), **sizes,
        )  # fmt: skip
    edit.replace(node.outputs[0], y)
    edit.remove(node)
    return None


def _factors(weights: edit.Array) -> tuple[edit.Array, edit.Array] | None:
    """Columns [channels, 1, rows, 1] and rows [channels, 1, 1, columns] whose products are the filters to a rounding."""
    wide = weights[:, 0].astype(np.float64)
    flat = np.abs(wide).reshape(len(wide), -1)
    peak = flat.argmax(axis=1)
    i, j = np.divmod(peak, wide.shape[2])
    every = np.arange(len(wide))
    column, largest = wide[every, :, j], wide[every, i, j]
    row = wide[every, i, :] / np.where(largest == 0, 1, largest)[:, None]
    error = np.abs(column[:, :, None] * row[:, None, :] - wide).reshape(len(wide), -1).max(axis=1)
    if np.any(error > 4 * np.finfo(weights.dtype).eps * np.abs(largest)):
        return None
    return column[:, None, :, None].astype(weights.dtype), row[:, None, None, :].astype(weights.dtype)
