"""Conv(Pad(x))  ->  Conv(x) with larger pads

Also AveragePool that counts its padding, and MaxPool over padding that can never be the maximum.
Refuses pads that are not constant, negative, on batch or channels, not of the operator's own padding value, or together
with auto_pad.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_NOT_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Abs", "HardSigmoid", "Exp", "Softplus"})


def apply(model: ir.Model) -> int:
    fired, opset = 0, edit.opset(model)
    for node in edit.nodes(model, "Conv", "AveragePool", "MaxPool"):
        padded = edit.input_at(node, 0)
        pad = padded.producer() if padded is not None else None
        if pad is None or pad.op_type != "Pad" or pad.domain:
            continue
        reason = _fuse(node, pad, opset)
        if reason is None:
            fired += trace.fired(node)
        else:
            trace.refused(node, reason)
    return fired


def _fuse(node: ir.Node, pad: ir.Node, opset: int) -> str | None:
    source = edit.input_at(pad, 0)
    if source is None or pad.attributes.get_string("mode", "constant") != "constant":
        return "the Pad is not of constant mode"
    if edit.pads_itself(node):
        return "it has auto_pad"
    padded = edit.dims(pad.outputs[0]) or edit.dims(source)
    weights = edit.dims(edit.input_at(node, 1)) if node.op_type == "Conv" else None
    kernel = list(node.attributes.get_ints("kernel_shape", ()))
    rank = len(weights) if weights is not None else len(kernel) + 2 if kernel else len(padded or ())
    pads = _pads(pad, opset, rank)
    if rank < 3 or pads is None:
        return "the pads are not constant"
    if min(pads) < 0 or any(pads[:2]) or any(pads[rank : rank + 2]):
        return "the pads are negative or on batch or channels"
    fill = _fill(pad, opset)
    if fill is None:
        return "the padding value is not constant"
    outer = pads[2:rank] + pads[rank + 2 :]
    own = list(node.attributes.get_ints("pads", (0,) * len(outer)))
    if len(own) != len(outer):
        return "its own pads do not fit"
    merged = [a + b for a, b in zip(own, outer, strict=True)]
    reason = (
        _pooling(node, source, fill, own, merged, kernel) if node.op_type != "Conv" else _convolution(fill)
    )
    if reason is not None:
        return reason
    node.attributes["pads"] = ir.AttrInt64s("pads", merged)
    node.attributes.pop("auto_pad", None)
    if node.op_type == "AveragePool":
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
    node.replace_input_with(0, source)
    return None


def _convolution(fill: float) -> str | None:
    return None if fill == 0 else "the padding value is not zero"


def _pooling(
    node: ir.Node, source: ir.Value, fill: float, own: list[int], merged: list[int], kernel: list[int]
) -> str | None:
    if node.attributes.get_int("ceil_mode"):
        return "it rounds its output size up"
    if len(kernel) * 2 != len(merged) or any(
        size <= amount for size, amount in zip(kernel * 2, merged, strict=True)
    ):
        return "a window could lie in the padding alone"
    if any(rate != 1 for rate in node.attributes.get_ints("dilations", ())):
        return "its window is dilated"
    if node.op_type == "AveragePool":
        if fill != 0:
            return "the padding value is not zero"
        counted = node.attributes.get_int("count_include_pad") == 1 or not any(own)
        return None if counted else "it does not count its own padding"
    if len(edit.used_outputs(node)) > 1 or node.attributes.get_int("storage_order"):
        return "its indices are used"
    producer = source.producer()
    positive = producer is not None and not producer.domain and producer.op_type in _NOT_NEGATIVE
    lowest = source.dtype is not None and source.dtype.is_floating_point() and fill <= _lowest(source.dtype)
    return None if lowest or (positive and fill == 0) else "the padding could be the maximum"


def _lowest(dtype: ir.DataType) -> float:
    return (
        float(np.finfo(np.float32 if dtype.bitwidth == 32 else np.float64).min)
        if dtype.bitwidth >= 32
        else -np.inf
    )


def _pads(pad: ir.Node, opset: int, rank: int) -> list[int] | None:
    """Begins of all axes, then ends."""
    given = list(pad.attributes.get_ints("pads", ())) if opset < 11 else edit.integers(edit.input_at(pad, 1))
    if given is None:
        return None
    axes: list[int] | None = list(range(rank))
    if edit.input_at(pad, 3) is not None:
        axes = edit.integers(edit.input_at(pad, 3))
    if axes is None or len(given) != 2 * len(axes) or any(not -rank <= axis < rank for axis in axes):
        return None
    pads = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        pads[axis % rank], pads[rank + axis % rank] = given[i], given[i + len(axes)]
    return pads


def _fill(pad: ir.Node, opset: int) -> float | None:
    if opset < 11:
        return pad.attributes.get_float("value", 0.0)
    if edit.input_at(pad, 2) is None:
        return 0.0
    array = edit.constant(pad.inputs[2])
    return float(array.item()) if array is not None and array.size == 1 else None
