"""What ONNX Runtime's attention operators are in standard ONNX.

Source: onnxruntime/docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ingot.graph import edit
from ingot.graph.contrib import Call, RefusalError, counted, expands
from ingot.graph.edit import Dim

_HIDDEN = -10000.0
"""What is added to the score of a key that a mask hides, unless an attribute says so."""

_SHARES = "it rotates its queries, or its past and its present share memory"


@expands("Attention")
def _attention(call: Call) -> Sequence[ir.Value | None]:
    """Queries, keys and values from one product of the input; past and present hold keys and values of all heads."""
    if call.optional(6) is not None:
        raise RefusalError(_SHARES)
    joined = call.plus(call.op("MatMul", call.input(0), call.input(1)), call.optional(2))
    sizes = list(call.get("qkv_hidden_sizes", ()))
    return _self_attention(call, joined, sizes, call.optional(3), call.optional(4), call.optional(5))


@expands("QAttention")
def _quantized_attention(call: Call) -> Sequence[ir.Value | None]:
    """The same of quantised inputs and weights, whose scales may be those of columns; the rest is in floats."""
    x = call.op("DequantizeLinear", call.input(0), call.input(3), call.optional(6))
    w = call.op("DequantizeLinear", call.input(1), call.input(4), call.optional(7), axis=1)
    joined = call.plus(call.op("MatMul", x, w), call.input(2))
    return _self_attention(call, joined, [], call.optional(5), call.optional(8), None)


def _self_attention(
    call: Call,
    joined: ir.Value,
    sizes: list[int],
    mask: ir.Value | None,
    past: ir.Value | None,
    bias: ir.Value | None,
) -> Sequence[ir.Value | None]:
    """joined: queries, keys and values of all heads in the last axis. sizes: of each of the three, or empty."""
    heads, width = call.needed("num_heads"), next(reversed(call.dims(call.input(1))), None)
    if call.get("do_rotary", 0) or call.get("past_present_share_buffer", 0):
        raise RefusalError(_SHARES)
    if not isinstance(width, int):
        raise RefusalError("the sizes of its weights are not known")
    sizes = sizes or [width // 3] * 3
    parts = call.ops("Split", joined, call.ints(*sizes), outputs=3, axis=-1)
    q, k, v = (_split_heads(call, part, heads, size) for part, size in zip(parts, sizes, strict=True))
    if past is not None:
        halves = call.ops("Split", past, call.ints(1, 1), outputs=2, axis=0)
        old = [call.op("Squeeze", half, call.ints(0)) for half in halves]
        k, v = (call.op("Concat", a, b, axis=2) for a, b in zip(old, (k, v), strict=True))
    y = _attend(call, q, k, v, sizes[0] // heads, mask, bias)
    present = None
    if len(call.node.outputs) > 1:
        present = call.op("Concat", *(call.op("Unsqueeze", half, call.ints(0)) for half in (k, v)), axis=0)
    return [_join_heads(call, y, sizes[2]), present]


@expands("MultiHeadAttention")
def _multi_head_attention(call: Call) -> Sequence[ir.Value | None]:
    """Queries (batch, length, heads * size); keys and values alike, or with their heads as the second axis."""
    heads, biases = call.needed("num_heads"), call.optional(3)
    if call.optional(8) is not None or call.optional(9) is not None:
        raise RefusalError("its past and its present share memory")
    inputs = [call.input(i) for i in range(3)]
    widths = [_width(call, x) for x in inputs]
    if biases is not None:
        given = call.ops("Split", biases, call.ints(*widths), outputs=3, axis=0)
        if any(len(call.dims(x)) != 3 for x in inputs):
            raise RefusalError("it has a bias, and heads that are split already")
        inputs = [call.plus(x, bias) for x, bias in zip(inputs, given, strict=True)]
    q, k, v = (
        x if len(call.dims(x)) == 4 else _split_heads(call, x, heads, width)
        for x, width in zip(inputs, widths, strict=True)
    )
    past = [call.optional(6), call.optional(7)]
    if past[0] is not None and past[1] is not None:
        k, v = call.op("Concat", past[0], k, axis=2), call.op("Concat", past[1], v, axis=2)
    y = _attend(call, q, k, v, widths[0] // heads, call.optional(4), call.optional(5))
    return [_join_heads(call, y, widths[2]), k, v, None]


def _width(call: Call, x: ir.Value) -> int:
    """heads * size of (batch, length, heads * size) or (batch, heads, length, size)."""
    dims = call.dims(x)
    sizes = dims[2:] if len(dims) == 3 else [dims[1], dims[3]] if len(dims) == 4 else []
    known = [size for size in sizes if isinstance(size, int)]
    if not known or len(known) < len(sizes):
        raise RefusalError("its queries, keys and values are packed, or their sizes are not known")
    return int(np.prod(known))


def _split_heads(call: Call, x: ir.Value, heads: int, width: int) -> ir.Value:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    split = call.op("Reshape", x, call.ints(0, 0, heads, width // heads))
    return call.op("Transpose", split, perm=[0, 2, 1, 3])


def _join_heads(call: Call, y: ir.Value, width: int) -> ir.Value:
    return call.op("Reshape", call.op("Transpose", y, perm=[0, 2, 1, 3]), call.ints(0, 0, width))


def _attend(
    call: Call,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    size: int,
    mask: ir.Value | None,
    bias: ir.Value | None,
) -> ir.Value:
    """Softmax(q @ k^T * scale + bias + mask) @ v, all (batch, heads, length, size)."""
    scale = call.get("scale", 0.0) or size**-0.5
    scores = call.op("MatMul", q, call.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = call.op("Mul", scores, call.number(scale, q))
    hidden = None if mask is None else _hidden(call, mask, k)
    future = _future(call, q, k) if call.get("unidirectional", 0) else None
    return call.op("MatMul", call.op("Softmax", call.plus(scores, bias, hidden, future), axis=-1), v)


def _hidden(call: Call, mask: ir.Value, k: ir.Value) -> ir.Value:
    """What a mask adds to the scores; mask: 1 where a key is seen, or how many of the first keys are."""
    dims: list[Dim] = call.dims(mask)
    whole = call.op("Shape", k)
    if len(dims) == 1:
        if not edit.same_dim(dims[0], call.dims(call.input(0))[0]):
            raise RefusalError("its mask is not known to be a length for each row of the batch")
        lengths = call.op("Unsqueeze", call.op("Cast", mask, to=ir.DataType.INT64.value), call.ints(1, 2, 3))
        seen = call.op("Less", _places(call, whole), lengths)
    elif len(dims) in (2, 3):
        one = call.op("Cast", mask, to=ir.DataType.BOOL.value)
        seen = call.op("Unsqueeze", one, call.ints(1, 2) if len(dims) == 2 else call.ints(1))
    else:
        raise RefusalError("its mask has four axes")
    value = call.get("mask_filter_value", _HIDDEN)
    return call.op("Where", seen, call.number(0.0, k), call.number(value, k))


def _places(call: Call, shape: ir.Value) -> ir.Value:
    """0, 1, … up to the number of keys, whose (batch, heads, keys, size) is `shape`."""
    return counted(call, call.op("Gather", shape, call.ints(2)))


def _future(call: Call, q: ir.Value, k: ir.Value) -> ir.Value:
    """(queries, keys): the lowest number where a key comes after the query, whose last one sees all; else 0."""
    shapes = [call.op("Shape", x) for x in (q, k)]
    keys = _places(call, shapes[1])
    queries, whole = (call.op("Gather", shape, call.ints(2)) for shape in shapes)
    rows = call.op("Add", _places(call, shapes[0]), call.op("Sub", whole, queries))
    later = call.op("Greater", keys, call.op("Unsqueeze", rows, call.ints(1)))
    assert q.dtype is not None
    lowest = float(np.finfo(q.dtype.numpy()).min)
    return call.op("Where", later, call.number(lowest, q), call.number(0.0, q))
