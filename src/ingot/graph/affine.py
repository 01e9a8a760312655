"""Conv, ConvTranspose and Gemm as y = scale * linear(x) + shift with one scale and shift an output channel, and operators that
compute just a scale and a shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ingot.graph import edit

OPERATORS = ("Conv", "ConvTranspose", "Gemm")

_MOVES = ("Transpose", "Reshape", "Flatten")

Vector = npt.NDArray[np.float64]
WIDE = (ir.DataType.FLOAT, ir.DataType.DOUBLE)
"""Dtypes in which a scale and a shift may be two operators, each of which rounds."""
_FLOATS = (*WIDE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@dataclass(frozen=True)
class Affine:
    """A node whose weights are constant.

    channels: of its output, which stand on axis 1. rank: of its output. layout: the shape in which the weights are
    multiplied by a factor of shape `factor`. bias: [channels], with beta applied.
    """

    node: ir.Node
    channels: int
    rank: int
    layout: tuple[int, ...]
    factor: tuple[int, ...]
    bias: Vector


def read(node: ir.Node) -> Affine | str:
    """The affine form of a node of `OPERATORS`, or why it has none."""
    weights = edit.constant(edit.input_at(node, 1))
    if weights is None:
        return "its weights are not constant"
    if reads_whole_numbers(node):
        return "its sums of whole numbers are exact"
    value = node.inputs[1]
    assert value is not None
    if value.dtype not in _FLOATS:
        return "its weights are not floating point"
    if (
        edit.only_user(value) is not node
        and value.const_value is not None
        and value.const_value.nbytes > edit.MAX_GROWTH
    ):
        return "its weights are shared and large"
    shape = weights.shape
    factor: tuple[int, ...]
    if node.op_type == "Gemm":
        if len(shape) != 2:
            return "its weights are no matrix"
        axis = 0 if node.attributes.get_int("transB", 0) else 1
        channels, rank, layout = shape[axis], 2, shape
        factor = (channels, 1) if axis == 0 else (1, channels)
    elif node.op_type == "Conv":
        channels, rank, layout = shape[0], len(shape), shape
        factor = (channels,) + (1,) * (rank - 1)
    else:
        group = node.attributes.get_int("group", 1)
        if group < 1 or len(shape) < 3 or shape[0] % group:
            return "its weights do not fit its groups"
        channels, rank = shape[1] * group, len(shape)
        layout = (group, shape[0] // group, *shape[1:])
        factor = (group, 1, shape[1]) + (1,) * (rank - 2)
    bias = _bias(node, channels)
    return bias if isinstance(bias, str) else Affine(node, channels, rank, layout, factor, bias)


def reads_whole_numbers(node: ir.Node) -> bool:
    """Whether the first input of a node is a DequantizeLinear of scale 1, perhaps moved."""
    value = edit.input_at(node, 0)
    producer = None if value is None else unmoved(value)[0].producer()
    if producer is None or producer.op_type != "DequantizeLinear" or producer.domain:
        return False
    scale = edit.constant(edit.input_at(producer, 1))
    return scale is not None and bool(np.all(scale == 1))


def unmoved(value: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """The value before the nodes that only moved its elements, and those nodes, the first one first."""
    movers: list[ir.Node] = []
    while (node := value.producer()) is not None and node.op_type in _MOVES and not node.domain:
        assert node.inputs[0] is not None
        value = node.inputs[0]
        movers.insert(0, node)
    return value, movers


def _bias(node: ir.Node, channels: int) -> Vector | str:
    value = edit.input_at(node, 2)
    if value is None:
        return np.zeros(channels)
    array = edit.constant(value)
    if array is None:
        return "its bias is not constant"
    vector = per_channel(array, 2 if node.op_type == "Gemm" else 1, channels, axis=-1)
    if vector is None:
        return "its bias is not one number a channel"
    return vector * node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else vector


def per_channel(array: edit.Array, rank: int, channels: int, axis: int = 1) -> Vector | None:
    """[channels] in float64 of an array that broadcasts along all axes but `axis` of a tensor of `rank`, or None."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(n != 1 for i, n in enumerate(shape) if i != axis % rank) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (channels,))


def write(affine: Affine, scale: Vector, shift: Vector, names: edit.Names) -> bool:
    """Make the node compute scale * y + shift, both [channels] in float64, rounding each weight once.

    False, and nothing changed, when a weight would leave the range of its dtype.
    """
    node = affine.node
    weights = edit.constant(node.inputs[1])
    assert weights is not None
    scaled = weights
    if np.any(scale != 1):
        scaled = np.empty_like(weights.reshape(affine.layout))
        factor = scale.reshape(affine.factor)
        with np.errstate(over="ignore", invalid="ignore"):
            if weights.dtype in (np.float32, np.float64):
                np.multiply(
                    weights.reshape(affine.layout), factor, out=scaled, dtype=np.float64, casting="same_kind"
                )
            else:
                scaled[...] = weights.reshape(affine.layout).astype(np.float64) * factor
        scaled = scaled.reshape(weights.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        bias = (affine.bias * scale + shift).astype(weights.dtype)
    if not np.all(np.isfinite(bias)) or (scaled is not weights and not np.all(np.isfinite(scaled))):
        return False
    if scaled is not weights:
        names.set_constant(node, 1, scaled, "scaled")
    if node.op_type == "Gemm" and node.attributes.get_float("beta", 1.0) != 1.0:
        node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    if edit.input_at(node, 2) is not None or np.any(bias != 0):
        names.set_constant(node, 2, bias, "bias")
        bias_value = node.inputs[2]
        assert bias_value is not None
        bias_value.dtype = node.inputs[1].dtype  # type: ignore[union-attr, assignment]
    return True


STEPS = ("Add", "BatchNormalization", "Conv", "Div", "Mul", "Sub")
"""Operators that may be a scale and a shift a channel."""


def step(
    node: ir.Node, value: ir.Value, rank: int, channels: int, axis: int = 1
) -> tuple[Vector, Vector] | None:
    """What a node of `STEPS` makes of `value`, as a scale and a shift a channel; None where it is no such thing."""
    if node.domain or node.op_type not in STEPS:
        return None
    if node.op_type == "BatchNormalization":
        found = batch_norm(node, channels)
        return None if isinstance(found, str) or axis % rank != 1 or node.inputs[0] is not value else found
    if node.op_type == "Conv":
        return _depthwise(node, channels) if axis % rank == 1 and node.inputs[0] is value else None
    side = 1 if node.inputs[0] is value else 0
    array = edit.constant(node.inputs[side])
    vector = None if array is None else per_channel(array, rank, channels, axis)
    if vector is None:
        return None
    one, zero = np.ones_like(vector), np.zeros_like(vector)
    if node.op_type == "Add":
        return one, vector
    if node.op_type == "Sub":
        return (one, -vector) if side == 1 else (-one, vector)
    if node.op_type == "Mul":
        return vector, zero
    with np.errstate(all="ignore"):
        return (one / vector, zero) if side == 1 else None


def _depthwise(conv: ir.Node, channels: int) -> tuple[Vector, Vector] | None:
    """The scale and the shift of a depthwise convolution of single elements."""
    weights, given = edit.constant(conv.inputs[1]), edit.input_at(conv, 2)
    bias = edit.constant(given)
    if (
        weights is None
        or (given is not None and bias is None)
        or conv.attributes.get_int("group", 1) != channels
    ):
        return None
    if weights.shape[0] != channels or weights.size != channels or any(conv.attributes.get_ints("pads", ())):
        return None
    if any(stride != 1 for stride in conv.attributes.get_ints("strides", ())):
        return None
    shift = np.zeros(channels) if bias is None else bias.astype(np.float64)
    return weights.reshape(-1).astype(np.float64), shift


def batch_norm(norm: ir.Node, channels: int) -> tuple[Vector, Vector] | str:
    """The scale and the shift of a BatchNormalization, or why it is none."""
    if norm.attributes.get_int("training_mode", 0) or edit.used_outputs(norm) not in ([], [0]):
        return "it is in training mode"
    if not norm.attributes.get_int("spatial", 1):
        return "it is not spatial"
    statistics = [edit.constant(edit.input_at(norm, index)) for index in range(1, 5)]
    vectors = [a.astype(np.float64) for a in statistics if a is not None and a.shape == (channels,)]
    if len(vectors) < 4:
        return "its statistics are not constants of one number a channel"
    scale, shift, mean, variance = vectors
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    if not np.all(np.isfinite(factor)):
        return "its scale is not finite"
    return factor, shift - mean * factor


def parts(scale: Vector, shift: Vector, rank: int, dtype: ir.DataType) -> list[tuple[str, edit.Array]] | None:
    """The operators of x * scale + shift and their constants of `dtype`, without what is neutral, for channels on axis 1 of `rank`.

    None when a constant would leave the range of the dtype.
    """
    found = [("Mul", scale)] if np.any(scale != 1) else []
    found += [("Add", shift)] if np.any(shift != 0) else []
    with np.errstate(all="ignore"):
        arrays = [(kind, _along_channels(vector.astype(dtype.numpy()), rank)) for kind, vector in found]
    return arrays if all(np.all(np.isfinite(array)) for _, array in arrays) else None


def _along_channels(vector: edit.Array, rank: int) -> edit.Array:
    """As it broadcasts along all axes but the second; one number where all are equal."""
    if np.all(vector == vector[:1]):
        return vector[:1].reshape(())
    return vector.reshape(-1, *[1] * (rank - 2))
