"""Conv(DequantizeLinear(x, sx, zx), DequantizeLinear(w, sw, zw))  ->  Conv(DequantizeLinear(x, 1, zx), w - zw) * sx sw

Also MatMul and Gemm with constant weights, and a bias of integers in steps of sx sw. The sums are of whole numbers then,
exact in floats below 2^24, as integer kernels have them; like those they are multiplied once, by sx sw / sy, where a
QuantizeLinear of scale sy follows, at once or after a Relu; so are the terms of an Add between such. Refuses more than 8
bits, scales of the input for each channel, a bias in other steps, and alpha, beta or transposed inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ingot.graph import affine, edit, trace

_ROUNDING = 1e-5
_EXACT = 2**24
_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Conv", "MatMul", "Gemm"):
        x = edit.input_at(node, 0)
        source, movers = (None, []) if x is None else affine.unmoved(x)
        parts = [_parts(value) for value in (source, edit.input_at(node, 1), edit.input_at(node, 2))]
        if parts[0] is not None and parts[1] is not None:
            fired += trace.outcome(node, _hoist(node, parts[0], movers, parts[1], parts[2], names))
    for node in edit.nodes(model, "Add"):
        one, other = (_parts(edit.input_at(node, i)) for i in range(2))
        if one is not None and other is not None:
            fired += trace.outcome(node, _divide(node, [one, other], names))
    return fired


@dataclass(frozen=True)
class _Parts:
    """What a DequantizeLinear with a constant scale and zero point computes its floats from."""

    integers: ir.Value
    scale: edit.Array
    zero: edit.Array
    axis: int


def _parts(value: ir.Value | None) -> _Parts | None:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear" or node.domain:
        return None
    scale, zero = edit.constant(edit.input_at(node, 1)), edit.constant(edit.input_at(node, 2))
    if edit.input_at(node, 2) is None:
        zero = np.zeros(1, np.int32)
    integers = edit.input_at(node, 0)
    if integers is None or scale is None or zero is None or (node.attributes.get_int("block_size") or 0):
        return None
    return _Parts(
        integers, scale.astype(np.float64), zero.astype(np.int64), node.attributes.get_int("axis", 1)
    )


def _hoist(
    node: ir.Node, x: _Parts, movers: list[ir.Node], w: _Parts, bias: _Parts | None, names: edit.Names
) -> str | None:
    weights, graph, out = edit.constant(w.integers), node.graph, node.outputs[0]
    assert graph is not None
    if weights is None or x.integers.dtype not in _BYTES or w.integers.dtype not in _BYTES:
        return "its weights are not constant, or an operand has more than 8 bits"
    if out.dtype != ir.DataType.FLOAT:
        return "it does not compute in float32"
    if x.scale.size != 1 or x.zero.size != 1:
        return "its input has a scale for each channel"
    axis = _feature_axis(node, weights)
    if axis is None:
        return "its attributes are not those of a plain product"
    if max(w.scale.size, w.zero.size) > 1 and w.axis % weights.ndim != axis:
        return "its weights have scales along another axis"
    if not {w.scale.size, w.zero.size, 1 if bias is None else bias.scale.size} <= {1, weights.shape[axis]}:
        return "its scales do not fit its weights"
    along = [-1 if a == axis else 1 for a in range(weights.ndim)]
    scale = (x.scale.reshape(()) * w.scale).reshape(-1)
    given, steps = edit.input_at(node, 2), None
    if given is not None:
        steps = edit.constant(bias.integers) if bias is not None else None
        if bias is None or steps is None or np.any(bias.zero) or np.abs(steps).max(initial=0) >= _EXACT:
            return "its bias is not an integer"
        if np.any(np.abs(bias.scale - scale) > _ROUNDING * scale):
            return "its bias has steps of another size"
    whole = _dequantized(node, x, 1.0, names)
    for mover in movers:
        inputs, attributes = [whole, *mover.inputs[1:]], list(mover.attributes.values())
        moved = ir.Node("", mover.op_type, inputs, attributes, name=mover.name, num_outputs=1)
        moved.outputs[0].name = names.fresh(f"{mover.outputs[0].name}.whole")
        graph.insert_before(node, moved)
        whole = moved.outputs[0]
    node.replace_input_with(0, whole)
    names.set_constant(node, 1, (weights - w.zero.reshape(along)).astype(np.float32), "whole")
    if steps is not None:
        names.set_constant(node, 2, steps.astype(np.float32), "whole")
    sums = ir.Node(
        "", node.op_type, list(node.inputs), list(node.attributes.values()), name=node.name, num_outputs=1
    )
    sums.outputs[0].name = names.fresh(f"{out.name}.sums")
    sums.outputs[0].type, sums.outputs[0].shape = out.type, out.shape
    scale = _and_the_steps_after(out, scale, names)
    channels = (-1, *[1] * (weights.ndim - 2)) if node.op_type == "Conv" else (-1,)
    factor = names.add_constant(graph, f"{out.name}.scale", scale.astype(np.float32).reshape(channels))
    product = ir.Node("", "Mul", [sums.outputs[0], factor], name=node.name, num_outputs=1)
    product.outputs[0].name = names.fresh(f"{out.name}.scaled")
    graph.insert_before(node, [sums, product])
    replaced = edit.bypass(node, product.outputs[0])
    assert replaced
    return None


def _dequantized(node: ir.Node, x: _Parts, scale: float, names: edit.Names) -> ir.Value:
    """The floats that the integers are with another scale, before `node`."""
    graph, dtype, name = node.graph, x.integers.dtype, x.integers.name
    assert graph is not None
    assert dtype is not None
    factor = names.add_constant(graph, f"{name}.scale", np.array(scale, np.float32))
    zero = names.add_constant(graph, f"{name}.zero", x.zero.reshape(()).astype(dtype.numpy()), dtype)
    made = ir.Node("", "DequantizeLinear", [x.integers, factor, zero], name=node.name, num_outputs=1)
    made.outputs[0].name = names.fresh(f"{name}.floats")
    graph.insert_before(node, made)
    return made.outputs[0]


def _divide(node: ir.Node, terms: list[_Parts], names: edit.Names) -> str | None:
    """Add(DequantizeLinear(a, sa), DequantizeLinear(b, sb)) before a QuantizeLinear of sy: in steps of sy at once."""
    if any(x.scale.size != 1 or x.zero.size != 1 or x.integers.dtype not in _BYTES for x in terms):
        return "its inputs have a scale for each channel, or more than 8 bits"
    if node.outputs[0].dtype != ir.DataType.FLOAT:
        return "it does not compute in float32"
    scales = np.array([x.scale.item() for x in terms])
    divided = _and_the_steps_after(node.outputs[0], scales, names)
    if divided is scales:
        return "no QuantizeLinear with other steps follows"
    for i, (x, scale) in enumerate(zip(terms, divided, strict=True)):
        node.replace_input_with(i, _dequantized(node, x, float(scale), names))
    return None


def _and_the_steps_after(value: ir.Value, scale: edit.Array, names: edit.Names) -> edit.Array:
    """The scale over that of a QuantizeLinear which follows, and then has scale 1: one rounding, not two."""
    user = edit.only_user(value)
    if user is not None and user.op_type == "Relu" and not user.domain:
        user = edit.only_user(user.outputs[0])
    if user is None or user.op_type != "QuantizeLinear" or user.domain:
        return scale
    step = edit.constant(edit.input_at(user, 1))
    if step is None or step.size != 1 or step.dtype != np.float32 or step.item() == 1:
        return scale
    names.set_constant(user, 1, np.ones_like(step), "one")
    return scale / float(step.item())


def _feature_axis(node: ir.Node, weights: edit.Array) -> int | None:
    """The axis of the weights along which the outputs lie."""
    if node.op_type == "Conv":
        return 0
    if weights.ndim != 2 or any(node.attributes.get_float(name, 1.0) != 1 for name in ("alpha", "beta")):
        return None
    if node.op_type == "MatMul":
        return 1
    return None if node.attributes.get_int("transA", 0) else 1 - node.attributes.get_int("transB", 0)
