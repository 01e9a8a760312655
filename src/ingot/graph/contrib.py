"""What ONNX Runtime's operators of the domain com.microsoft are in standard ONNX.

Source: onnxruntime/docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.graph import edit
from ingot.graph.edit import Dim
from ingot.graph.writer import Writer

DOMAIN = "com.microsoft"


class RefusalError(Exception):
    """Why an operator cannot be written in standard ONNX."""


class Call:
    """A node that is to be expanded, and what writes its expansion."""

    def __init__(self, node: ir.Node, writer: Writer) -> None:
        self.node, self.writer = node, writer
        self.op, self.ops, self.constant, self.ints = writer.op, writer.ops, writer.constant, writer.ints

    def optional(self, index: int) -> ir.Value | None:
        return edit.input_at(self.node, index)

    def input(self, index: int) -> ir.Value:
        value = self.optional(index)
        if value is None:
            raise RefusalError(f"its input {index} is left out")
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute's value."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.value

    def needed(self, name: str) -> Any:
        """The value of an attribute that has no default."""
        if name not in self.node.attributes:
            raise RefusalError(f"its attribute {name} is left out")
        return self.get(name)

    def kept(self, *names: str) -> dict[str, Any]:
        """The attributes of these names that the node has."""
        return {name: self.get(name) for name in names if name in self.node.attributes}

    def dims(self, value: ir.Value | None) -> list[Dim]:
        found = edit.dims(value)
        if found is None:
            raise RefusalError("the rank of an input is not known")
        return found

    def number(self, x: float, like: ir.Value) -> ir.Value:
        """A scalar of the dtype of `like`."""
        if like.dtype is None:
            raise RefusalError("the dtype of an input is not known")
        return self.constant(x, like.dtype)

    def plus(self, x: ir.Value, *others: ir.Value | None) -> ir.Value:
        """The sum with those that there are."""
        for other in others:
            x = x if other is None else self.op("Add", x, other)
        return x


Expansion = Callable[[Call], ir.Value | Sequence[ir.Value | None]]
"""A value for each output of the node, None for one that it cannot give."""

EXPANSIONS: dict[str, tuple[int, Expansion]] = {}
"""By operator: the operator set that the expansion is written in, and what writes it."""


def expands(*operators: str, opset: int = 13) -> Callable[[Expansion], Expansion]:
    def register(function: Expansion) -> Expansion:
        EXPANSIONS.update(dict.fromkeys(operators, (opset, function)))
        return function

    return register


_ACTIVATIONS = {
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "Elu": ("alpha",),
    "LeakyRelu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}
"""Activations inside other operators, and their attributes."""


def _activated(call: Call, x: ir.Value, kind: str, params: dict[str, float]) -> ir.Value:
    if kind not in _ACTIVATIONS:
        raise RefusalError(f"its activation {kind} is not known")
    return call.op(kind, x, **params)


@expands("FusedConv", opset=7)
def _fused_conv(call: Call) -> ir.Value:
    """activation(Conv(X, W, B) + Z)."""
    shape = call.kept("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    y = call.plus(call.op("Conv", *(call.optional(i) for i in range(3)), **shape), call.optional(3))
    kind, params = call.get("activation", ""), [float(p) for p in call.get("activation_params", ())]
    if kind == "Clip":
        return _clipped(call, y, *params)
    if not kind:
        return y
    return _activated(call, y, kind, dict(zip(_ACTIVATIONS.get(kind, ()), params, strict=False)))


def _clipped(call: Call, x: ir.Value, low: float, high: float) -> ir.Value:
    if call.writer.opset < 11:
        return call.op("Clip", x, min=low, max=high)
    return call.op("Clip", x, call.number(low, x), call.number(high, x))


@expands("FusedGemm", opset=7)
def _fused_gemm(call: Call) -> ir.Value:
    """activation(Gemm(A, B, C))."""
    inputs = [call.optional(i) for i in range(3)]
    y = call.op("Gemm", *inputs, **call.kept("alpha", "beta", "transA", "transB"))
    kind = call.get("activation", "")
    given = {name: call.get(f"activation_{name}") for name in _ACTIVATIONS.get(kind, ())}
    return _activated(call, y, kind, given) if kind else y


@expands("FusedMatMul", "TransposeMatMul", opset=7)
def _fused_matmul(call: Call) -> ir.Value:
    """alpha * A' @ B', the last two axes swapped by transA, the first put before the last by transBatchA; so for B."""
    a, b = (_turned(call, call.input(i), side) for i, side in enumerate("AB"))
    y = call.op("MatMul", a, b)
    alpha = call.get("alpha", 1.0)
    return y if alpha == 1 else call.op("Mul", y, call.number(alpha, call.input(0)))


def _turned(call: Call, x: ir.Value, side: str) -> ir.Value:
    swap, batch = call.get(f"trans{side}", 0), call.get(f"transBatch{side}", 0)
    if not swap and not batch:
        return x
    axes = list(range(len(call.dims(x))))
    if len(axes) < 2:
        return x
    if batch:
        axes = [*axes[1:-1], 0, axes[-1]]
    if swap:
        axes[-2:] = axes[:-3:-1]
    return call.op("Transpose", x, perm=axes)


@expands("Gelu", opset=20)
def _gelu(call: Call) -> ir.Value:
    return call.op("Gelu", call.input(0))


@expands("BiasGelu", opset=20)
def _bias_gelu(call: Call) -> ir.Value:
    return call.op("Gelu", call.plus(call.input(0), call.input(1)))


@expands("FastGelu", opset=20)
def _fast_gelu(call: Call) -> ir.Value:
    return call.op("Gelu", call.plus(call.input(0), call.optional(1)), approximate="tanh")


@expands("QuickGelu", opset=7)
def _quick_gelu(call: Call) -> ir.Value:
    """x * Sigmoid(alpha * x)."""
    x = call.input(0)
    scaled = call.op("Mul", x, call.number(call.get("alpha", 1.702), x))
    return call.op("Mul", x, call.op("Sigmoid", scaled))


@expands("SimplifiedLayerNormalization", opset=23)
def _rms_norm(call: Call) -> Sequence[ir.Value | None]:
    attributes = {"axis": -1, "epsilon": 1e-5} | call.kept("axis", "epsilon", "stash_type")
    return [call.op("RMSNormalization", call.input(0), call.input(1), **attributes), None]


@expands("SkipLayerNormalization", opset=17)
def _skip_layer_norm(call: Call) -> Sequence[ir.Value | None]:
    """LayerNormalization(input + skip + bias), and that sum as the fourth output."""
    total = call.plus(call.input(0), call.input(1), call.optional(4))
    y = call.op(
        "LayerNormalization", total, call.input(2), call.optional(3), epsilon=call.get("epsilon", 1e-12)
    )
    return [y, None, None, total]


@expands("SkipSimplifiedLayerNormalization", opset=23)
def _skip_rms_norm(call: Call) -> Sequence[ir.Value | None]:
    total = call.plus(call.input(0), call.input(1), call.optional(3))
    y = call.op("RMSNormalization", total, call.input(2), epsilon=call.get("epsilon", 1e-12))
    return [y, None, None, total]


@expands("EmbedLayerNormalization", opset=17)
def _embed_layer_norm(call: Call) -> Sequence[ir.Value | None]:
    """The normalised sum of word, position and segment embeddings, how much of each mask is 1, and the sum itself."""
    ids, segments, mask, positions = (call.optional(i) for i in (0, 1, 7, 8))
    words = call.op("Gather", call.input(2), ids)
    table = call.input(3)
    if positions is None:
        length = call.op("Gather", call.op("Shape", ids), call.ints(1))
        places = call.op("Slice", table, call.ints(0), length, call.ints(0))
    else:
        places = call.op("Gather", table, positions)
    kinds = None if segments is None else call.op("Gather", call.input(4), segments)
    total = call.plus(words, places, kinds)
    y = call.op("LayerNormalization", total, call.input(5), call.input(6), epsilon=call.get("epsilon", 1e-12))
    counted = None
    if mask is not None:
        ones = call.op("Cast", call.op("Equal", mask, call.number(1, mask)), to=ir.DataType.INT32.value)
        counted = call.op("ReduceSum", ones, call.ints(1), keepdims=0)
    return [y, counted, total]


@expands("RotaryEmbedding", opset=23)
def _rotary(call: Call) -> ir.Value:
    """The standard operator, which wants a position for every token: position_ids of one element is the first one's."""
    x, positions = call.input(0), call.input(1)
    rank = len(call.dims(x))
    if call.get("scale", 1.0) != 1.0 or call.get("is_packed_batching", 0):
        raise RefusalError("it has a scale or packed batches")
    if rank not in (3, 4):
        raise RefusalError(f"its input has {rank} axes")
    if len(call.dims(positions)) == 1:
        shape = call.op("Shape", x)
        batch, length = (call.op("Gather", shape, call.ints(axis)) for axis in (0, 1 if rank == 3 else 2))
        places = call.op("Add", counted(call, length), positions)
        positions = call.op("Expand", places, call.op("Concat", batch, length, axis=0))
    width = call.get("rotary_embedding_dim", 0)
    heads = call.get("num_heads", 0)
    if rank == 3 and not heads:
        size, whole = call.dims(call.input(2))[-1], call.dims(x)[-1]
        if not isinstance(size, int) or not isinstance(whole, int) or width:
            raise RefusalError("its number of heads is not known")
        heads = whole // (2 * size)
    return call.op(
        "RotaryEmbedding", x, call.input(2), call.input(3), positions, interleaved=call.get("interleaved", 0),
        rotary_embedding_dim=width or None, num_heads=heads if rank == 3 else None,
    )  # fmt: skip


def counted(call: Call, length: ir.Value) -> ir.Value:
    """0, 1, … up to a vector of one int64."""
    zero, one = (call.constant(i, ir.DataType.INT64) for i in (0, 1))
    return call.op("Range", zero, call.op("Squeeze", length, call.ints(0)), one)


def _dequantized(call: Call, at: int, axis: int | None = None) -> ir.Value:
    """Inputs at, at + 1, at + 2: integers, their scale and their zero point."""
    return call.op("DequantizeLinear", call.input(at), call.input(at + 1), call.optional(at + 2), axis=axis)


def _quantized(call: Call, y: ir.Value, at: int) -> ir.Value:
    """Inputs at and at + 1: the scale and the zero point of the output, uint8's zero where that is left out."""
    return call.op("QuantizeLinear", y, call.input(at), call.optional(at + 1))


@expands("QLinearAdd", "QLinearMul")
def _quantized_arithmetic(call: Call) -> ir.Value:
    kind = call.node.op_type.removeprefix("QLinear")
    return _quantized(call, call.op(kind, _dequantized(call, 0), _dequantized(call, 3)), 6)


@expands("QLinearSigmoid", "QLinearLeakyRelu")
def _quantized_activation(call: Call) -> ir.Value:
    kind = call.node.op_type.removeprefix("QLinear")
    return _quantized(call, call.op(kind, _dequantized(call, 0), **call.kept("alpha")), 3)


@expands("QLinearSoftmax")
def _quantized_softmax(call: Call) -> ir.Value:
    """opset: the set whose Softmax is meant; before 13 it flattened the axes from `axis` on."""
    axis, last = call.get("axis", -1), len(call.dims(call.input(0))) - 1
    if call.get("opset", 13) < 13 and axis not in (-1, last):
        raise RefusalError("its softmax is over several axes")
    return _quantized(call, call.op("Softmax", _dequantized(call, 0), axis=axis), 3)


@expands("QLinearAveragePool", "QLinearGlobalAveragePool")
def _quantized_pool(call: Call) -> ir.Value:
    x, rank = _dequantized(call, 0), len(call.dims(call.input(0)))
    last = call.get("channels_last", 0)
    x = _channels_first(call, x, rank) if last else x
    window = call.kept("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
    y = call.op(call.node.op_type.removeprefix("QLinear"), x, **window)
    return _quantized(call, _channels_last(call, y, rank) if last else y, 3)


def _channels_first(call: Call, x: ir.Value, rank: int) -> ir.Value:
    return call.op("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])


def _channels_last(call: Call, x: ir.Value, rank: int) -> ir.Value:
    return call.op("Transpose", x, perm=[0, *range(2, rank), 1])


@expands("QLinearConcat")
def _quantized_concat(call: Call) -> ir.Value:
    parts = [_dequantized(call, at) for at in range(2, len(call.node.inputs), 3)]
    return _quantized(call, call.op("Concat", *parts, axis=call.get("axis", 0)), 0)


@expands("QLinearWhere")
def _quantized_where(call: Call) -> ir.Value:
    taken, other = _dequantized(call, 1), _dequantized(call, 4)
    return _quantized(call, call.op("Where", call.input(0), taken, other), 7)


@expands("QGemm")
def _quantized_gemm(call: Call) -> ir.Value:
    """Integers times integers, plus C of the scale of their products; float where the output has no scale."""
    turned = call.get("transB", 0)
    columns = None if edit.dims(call.input(4)) == [] else 0 if turned else 1
    a, b = _dequantized(call, 0), _dequantized(call, 3, columns)
    c = call.optional(6)
    if c is not None:
        scale = call.op("Mul", call.input(1), call.input(4))
        c = call.op("Mul", call.op("Cast", c, to=ir.DataType.FLOAT.value), scale)
    y = call.op("Gemm", a, b, c, **call.kept("alpha", "transA", "transB"))
    return y if call.optional(7) is None else _quantized(call, y, 7)


@expands("DynamicQuantizeMatMul")
def _dynamic_matmul(call: Call) -> ir.Value:
    """A quantised to uint8 by its own range, times B."""
    a, scale, zero = call.ops("DynamicQuantizeLinear", call.input(0), outputs=3)
    y = call.op("MatMulInteger", a, call.input(1), zero, call.optional(3))
    return _rescaled(call, y, scale, call.input(2), call.optional(4))


@expands("MatMulIntegerToFloat")
def _integer_matmul(call: Call) -> ir.Value:
    y = call.op("MatMulInteger", call.input(0), call.input(1), call.optional(4), call.optional(5))
    return _rescaled(call, y, call.input(2), call.input(3), call.optional(6))


def _rescaled(call: Call, y: ir.Value, a: ir.Value, b: ir.Value, bias: ir.Value | None) -> ir.Value:
    """Integer sums of products as floats."""
    wide = call.op("Cast", y, to=ir.DataType.FLOAT.value)
    return call.plus(call.op("Mul", wide, call.op("Mul", a, b)), bias)


@expands("MatMulNBits", opset=21)
def _blocked_matmul(call: Call) -> ir.Value:
    """A @ B^T, B of 4 or 8 bits with a scale for each block of a row: B's bytes are [N, blocks, bytes of a block]."""
    bits, rows, width, block = (call.get(name) for name in ("bits", "N", "K", "block_size"))
    packed, scales = edit.constant(call.input(1)), call.input(2)
    if packed is None or bits not in (4, 8):
        raise RefusalError("its weights are not constants of 4 or 8 bits")
    if call.optional(4) is not None:
        raise RefusalError("its weights are reordered by g_idx")
    blocks = -(-width // block)
    dtype = ir.DataType.UINT4 if bits == 4 else ir.DataType.UINT8
    weights = call.constant(_unpacked(packed.reshape(rows, -1), bits)[:, :width], dtype, "weights")
    zero = np.full((rows, blocks), 1 << (bits - 1), np.uint8)
    if call.optional(3) is not None:
        given = edit.constant(call.optional(3))
        if given is None or given.dtype != np.uint8:
            raise RefusalError("its zero points are not constant integers")
        zero = _unpacked(given.reshape(rows, -1), bits)[:, :blocks]
    scale = call.op("Reshape", scales, call.ints(rows, blocks))
    floats = call.op(
        "DequantizeLinear", weights, scale, call.constant(zero, dtype, "zeros"), axis=1, block_size=block
    )
    y = call.op("MatMul", call.input(0), call.op("Transpose", floats, perm=[1, 0]))
    return call.plus(y, call.optional(5))


def _unpacked(array: edit.Array, bits: int) -> edit.Array:
    """Bytes as integers of 4 or 8 bits, the low half first."""
    if bits == 8:
        return array
    return np.stack([array & 15, array >> 4], axis=-1).reshape(array.shape[0], -1)
