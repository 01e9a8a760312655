"""What ONNX Runtime's GroupQueryAttention is in standard ONNX.

Source: onnxruntime/docs/ContribOperators.md, and what its CPU provider computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ingot.graph.contrib import Call, RefusalError, counted, expands


@dataclass(frozen=True)
class _Sizes:
    """heads: of the keys and values. group: queries that share a head. size: of a head."""

    heads: int
    group: int
    size: int


@dataclass(frozen=True)
class _Places:
    """int64: how many keys each sample had before and has at its end, [batch, 1]; the length of the queries, and the total of keys, [1]."""

    before: ir.Value
    end: ir.Value
    length: ir.Value
    total: ir.Value


@expands("GroupQueryAttention", opset=23)
def _group_query_attention(call: Call) -> Sequence[ir.Value | None]:
    """Queries (batch, length, heads * size); keys and values alike, of fewer heads, or all three in one.

    The new keys of a sample follow the seqlens_k + 1 - length that it had, which the past may be longer than.
    """
    _refuse(call)
    sizes, parts = _parts(call)
    places = _places(call, parts[0])
    if call.get("do_rotary", 0):
        positions = call.optional(9)
        if positions is None:
            positions = call.op("Add", places.before, counted(call, places.length))
        parts = [*(_rotated(call, x, positions, sizes) for x in parts[:2]), parts[2]]
    k, v = (
        call.op(
            "Transpose", call.op("Reshape", x, call.ints(0, 0, sizes.heads, sizes.size)), perm=[0, 2, 1, 3]
        )
        for x in parts[1:]
    )
    present = [k, v]
    if call.optional(3) is not None:
        rows = _rows(call, places)
        present = [_appended(call, call.input(3 + i), x, rows) for i, x in enumerate((k, v))]
        k, v = (call.op("Slice", x, call.ints(0), places.total, call.ints(2)) for x in present)
    return [_attend(call, parts[0], k, v, sizes, places), *present, None]


def _refuse(call: Call) -> None:
    if any(call.get(name, "NONE") not in ("", "NONE") for name in ("k_quant_type", "v_quant_type")):
        raise RefusalError("its past and its present are quantised")
    if call.get("sliding_window_cache", 0):
        raise RefusalError("its past and its present hold a window")
    if call.optional(14) is not None or call.optional(15) is not None:
        raise RefusalError("its queries and keys are normalised")
    if (call.optional(3) is None) != (call.optional(4) is None):
        raise RefusalError("it has a past of keys or of values alone")


def _parts(call: Call) -> tuple[_Sizes, list[ir.Value]]:
    query, key, value = (call.optional(i) for i in range(3))
    heads, shared = call.get("num_heads", 0), call.get("kv_num_heads", 0)
    width = _last(call, query)
    if query is None or min(heads, shared) < 1 or heads % shared:
        raise RefusalError("its heads do not come in groups")
    if key is not None and value is not None:
        return _Sizes(shared, heads // shared, width // heads), [query, key, value]
    size = width // (heads + 2 * shared)
    widths = call.ints(heads * size, shared * size, shared * size)
    return _Sizes(shared, heads // shared, size), list(call.ops("Split", query, widths, outputs=3, axis=-1))


def _last(call: Call, x: ir.Value | None) -> int:
    size = next(reversed(call.dims(x)), None)
    if not isinstance(size, int):
        raise RefusalError("the sizes of its heads are not known")
    return size


def _places(call: Call, q: ir.Value) -> _Places:
    length = call.op("Shape", q, start=1, end=2)
    known = call.op("Cast", call.op("Reshape", call.input(5), call.ints(-1, 1)), to=ir.DataType.INT64.value)
    end = call.op("Add", known, call.ints(1))
    before = call.op("Max", call.op("Sub", end, length), call.ints(0))
    total = call.op("Cast", call.op("Reshape", call.input(6), call.ints(1)), to=ir.DataType.INT64.value)
    return _Places(before, end, length, total)


def _rotated(call: Call, x: ir.Value, positions: ir.Value, sizes: _Sizes) -> ir.Value:
    cos, sin = call.input(7), call.input(8)
    half, width = _last(call, cos), _last(call, x)
    return call.op(
        "RotaryEmbedding", x, cos, sin, positions, interleaved=call.get("rotary_interleaved", 0),
        num_heads=width // sizes.size, rotary_embedding_dim=2 * half if 2 * half < sizes.size else None,
    )  # fmt: skip


def _rows(call: Call, places: _Places) -> ir.Value:
    """[batch, present, 1]: where in the past and the new keys behind it each row of the present lies."""
    past = call.op("Shape", call.input(3), start=2, end=3)
    row = call.op("Unsqueeze", counted(call, call.op("Max", past, places.total)), call.ints(0))
    new = call.op("Sub", row, places.before)
    fresh = call.op("And", call.op("GreaterOrEqual", new, call.ints(0)), call.op("Less", new, places.length))
    # a row that is neither old nor new is beyond what any query sees
    last = call.op("Sub", call.op("Add", past, places.length), call.ints(1))
    taken = call.op("Where", fresh, call.op("Add", new, past), call.op("Min", row, last))
    return call.op("Unsqueeze", taken, call.ints(2))


def _appended(call: Call, past: ir.Value, x: ir.Value, rows: ir.Value) -> ir.Value:
    """Rows of both, (batch, heads, length, size)."""
    both = call.op("Transpose", call.op("Concat", past, x, axis=2), perm=[0, 2, 1, 3])
    return call.op("Transpose", call.op("GatherND", both, rows, batch_dims=1), perm=[0, 2, 1, 3])


def _attend(call: Call, q: ir.Value, k: ir.Value, v: ir.Value, sizes: _Sizes, places: _Places) -> ir.Value:
    """Scores are (batch, heads, group, queries, keys)."""
    split = call.op("Reshape", q, call.ints(0, 0, sizes.heads, sizes.group, sizes.size))
    queries = call.op("Transpose", split, perm=[0, 2, 3, 1, 4])
    keys = call.op("Unsqueeze", call.op("Transpose", k, perm=[0, 1, 3, 2]), call.ints(2))
    scale = call.get("scale", 0.0) or sizes.size**-0.5
    scores = call.op("Mul", call.op("MatMul", queries, keys), call.number(scale, q))
    cap = call.get("softcap", 0.0)
    if cap > 0:
        capped = call.op("Tanh", call.op("Div", scores, call.number(cap, q)))
        scores = call.op("Mul", capped, call.number(cap, q))
    scores = call.plus(scores, _bias(call, sizes), _hidden(call, q, k, places))
    weights = _softmax(call, scores, sizes)
    y = call.op("MatMul", weights, call.op("Unsqueeze", v, call.ints(2)))
    joined = call.op("Transpose", y, perm=[0, 3, 1, 2, 4])
    return call.op("Reshape", joined, call.ints(0, 0, sizes.heads * sizes.group * sizes.size))


def _bias(call: Call, sizes: _Sizes) -> ir.Value | None:
    bias = call.optional(10)
    if bias is None:
        return None
    dims = call.dims(bias)
    if len(dims) == 4 and dims[1] == 1:
        return call.op("Unsqueeze", bias, call.ints(1))
    if len(dims) != 4 or dims[1] != sizes.heads * sizes.group:
        raise RefusalError("the heads of its bias are not known")
    ends = [call.op("Shape", bias, end=1), call.op("Shape", bias, start=2)]
    shape = call.op("Concat", ends[0], call.ints(sizes.heads, sizes.group), ends[1], axis=0)
    return call.op("Reshape", bias, shape)


def _hidden(call: Call, q: ir.Value, k: ir.Value, places: _Places) -> ir.Value:
    """[batch, 1, 1, queries, keys]: the lowest number for keys that a query does not see, else 0."""
    key = counted(call, call.op("Shape", k, start=2, end=3))
    seen = call.op("Less", key, call.op("Unsqueeze", places.end, call.ints(2)))
    if call.get("causal", 1):
        query = call.op("Unsqueeze", counted(call, places.length), call.ints(1))
        at = call.op("Add", call.op("Unsqueeze", places.before, call.ints(2)), query)
        seen = call.op("And", seen, call.op("LessOrEqual", key, at))
        window = call.get("local_window_size", -1)
        if window >= 0:
            near = call.op("Greater", key, call.op("Sub", at, call.ints(window)))
            seen = call.op("And", seen, near)
    assert q.dtype is not None
    lowest = float(np.finfo(q.dtype.numpy()).min)
    added = call.op("Where", seen, call.number(0.0, q), call.number(lowest, q))
    return call.op("Unsqueeze", added, call.ints(1, 2))


def _softmax(call: Call, scores: ir.Value, sizes: _Sizes) -> ir.Value:
    """Beside a score of each head, or of 0, that has a weight and no value."""
    sink = call.optional(11)
    if sink is None and call.get("smooth_softmax", 0) <= 0:
        return call.op("Softmax", scores, axis=-1)
    if sink is None:
        sink = call.constant(np.zeros(sizes.heads * sizes.group), scores.dtype)
    column = call.op("Reshape", sink, call.ints(1, sizes.heads, sizes.group, 1, 1))
    shape = call.op("Concat", call.op("Shape", scores, end=-1), call.ints(1), axis=0)
    whole = call.op("Concat", scores, call.op("Expand", column, shape), axis=-1)
    weights = call.op("Softmax", whole, axis=-1)
    return call.op("Slice", weights, call.ints(0), call.ints(-1), call.ints(-1))
