"""One ONNX node on NumPy arrays, with the meaning that ONNX gives it. Only operators that models compute constants with.

Each operator says how many elements it will produce before it produces them, so that a small file cannot ask for a
large array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.graph.edit import Array, elements

MAX_MULTIPLIES = 1 << 30
"""Most multiplications that evaluating one node may take."""

Inputs = Sequence[Array | None]
Operator = Callable[[ir.Node, Inputs, int], Array | list[Array]]


def supported(node: ir.Node) -> bool:
    """Whether `evaluate` knows the operator."""
    return not node.domain and (node.op_type in _OPERATORS or node.op_type in _REFERENCE)


def evaluate(node: ir.Node, inputs: Inputs, opset: int, max_bytes: int) -> list[Array] | None:
    """The outputs of `node`, or None when it cannot be evaluated here or an output would exceed `max_bytes`.

    inputs: an array an input, None for absent ones. Results have ONNX's dtypes and shapes and are new or views.
    """
    if not supported(node):
        return None
    try:
        with np.errstate(all="ignore"):
            size = _size(node, inputs, opset)
            width = _need(inputs, 1 if node.op_type == "Where" else 0).dtype.itemsize
            if size is None or size * (max(width, 16) if node.op_type in _WIDENING else width) > max_bytes:
                return None
            operator = _OPERATORS.get(node.op_type)
            result = _reference(node, inputs, opset) if operator is None else operator(node, inputs, opset)
    except (
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        ZeroDivisionError,
        OverflowError,
        NotImplementedError,
    ):
        return None
    results = result if isinstance(result, list) else [result]
    return results if all(a.nbytes <= max_bytes for a in results) else None


def _size(node: ir.Node, inputs: Inputs, opset: int) -> int | None:
    """An upper bound of the elements of the largest output."""
    kind = node.op_type
    first = _need(inputs, 0)
    if kind == "Expand":
        return math.prod(np.broadcast_shapes(first.shape, _ints(inputs, 1)))
    if kind == "Tile":
        return first.size * math.prod(_ints(inputs, 1))
    if kind == "ConstantOfShape":
        return math.prod(_ints(inputs, 0))
    if kind == "Range":
        start, limit, delta = (float(_need(inputs, i).item()) for i in range(3))
        return max(0, math.ceil((limit - start) / delta)) if delta else None
    if kind == "Concat":
        return sum(a.size for a in inputs if a is not None)
    if kind == "Gather":
        axis = _axis(node, first.ndim)
        return _need(inputs, 1).size * math.prod(first.shape[:axis] + first.shape[axis + 1 :])
    if kind == "NonZero":
        return first.size * first.ndim if first.ndim else None
    if kind == "Pad":
        padded = [n + a + b for n, a, b in zip(first.shape, *_pads(node, inputs, opset), strict=True)]
        return elements(padded)
    if kind == "MatMul":
        a, b = first, _need(inputs, 1)
        if a.ndim < 2 or b.ndim < 2:
            return max(a.size, b.size)
        size = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * a.shape[-2] * b.shape[-1]
        return size if size * a.shape[-1] <= MAX_MULTIPLIES else None
    if kind in _BROADCASTING:
        return math.prod(np.broadcast_shapes(*(a.shape for a in inputs if a is not None)))
    return max((a.size for a in inputs if a is not None), default=0)


def _need(inputs: Inputs, index: int) -> Array:
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ValueError("an input is absent")
    return value


def _maybe(inputs: Inputs, index: int) -> Array | None:
    return inputs[index] if index < len(inputs) else None


def _ints(inputs: Inputs, index: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in _need(inputs, index).reshape(-1))
    if any(v < 0 for v in values):
        raise ValueError("a negative size")
    return values


def _axis(node: ir.Node, rank: int, default: int = 0) -> int:
    axis = node.attributes.get_int("axis", default)
    if not -rank <= axis < max(rank, 1):
        raise ValueError("axis out of range")
    return axis % rank if rank else 0


def _axes(node: ir.Node, inputs: Inputs, index: int) -> list[int] | None:
    """Axes from the input (newer operator sets) or the attribute."""
    given = _maybe(inputs, index)
    if given is not None:
        return [int(axis) for axis in given.reshape(-1)]
    found = node.attributes.get_ints("axes")
    return None if found is None else list(found)


def _binary(function: Callable[[Any, Any], Any]) -> Operator:
    def run(node: ir.Node, inputs: Inputs, opset: int) -> Array:
        a, b = _need(inputs, 0), _need(inputs, 1)
        return np.asarray(function(a, b), dtype=a.dtype)

    return run


def _comparison(function: Callable[[Any, Any], Any]) -> Operator:
    def run(node: ir.Node, inputs: Inputs, opset: int) -> Array:
        return np.asarray(function(_need(inputs, 0), _need(inputs, 1)), dtype=np.bool_)

    return run


def _unary(function: Callable[[Any], Any]) -> Operator:
    def run(node: ir.Node, inputs: Inputs, opset: int) -> Array:
        a = _need(inputs, 0)
        return np.asarray(function(a), dtype=a.dtype)

    return run


def _variadic(function: Callable[[Any, Any], Any]) -> Operator:
    def run(node: ir.Node, inputs: Inputs, opset: int) -> Array:
        result = _need(inputs, 0)
        for other in inputs[1:]:
            if other is not None:
                result = np.asarray(function(result, other), dtype=result.dtype)
        return result

    return run


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.divide(a, b)
    if not b.all():
        raise ZeroDivisionError
    quotient = np.abs(a) // np.abs(b)
    return np.asarray(np.where((a < 0) != (b < 0), -quotient, quotient))


def _power(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu" and b.dtype.kind not in "iu":
        raise NotImplementedError
    return np.asarray(np.power(a, b.astype(a.dtype)))


def _mod(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    a, b = _need(inputs, 0), _need(inputs, 1)
    if a.dtype.kind in "iu" and not b.all():
        raise ZeroDivisionError
    return np.asarray(np.fmod(a, b) if node.attributes.get_int("fmod", 0) else np.mod(a, b), dtype=a.dtype)


def _cast(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    target = ir.DataType(node.attributes["to"].as_int())
    source = _need(inputs, 0)
    plain = target.bitwidth >= 8 and "FLOAT8" not in target.name and target != ir.DataType.STRING
    if not plain or source.dtype.kind == "O":
        raise NotImplementedError
    if source.dtype.kind == "f" and target.is_integer() and not np.all(np.isfinite(source)):
        raise NotImplementedError
    return source.astype(target.numpy())


def _where(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    a, b = _need(inputs, 1), _need(inputs, 2)
    return np.asarray(np.where(_need(inputs, 0), a, b), dtype=a.dtype)


def _reshape(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data, wanted = _need(inputs, 0), [int(v) for v in _need(inputs, 1).reshape(-1)]
    if not node.attributes.get_int("allowzero", 0):
        wanted = [data.shape[i] if dim == 0 else dim for i, dim in enumerate(wanted)]
    return data.reshape(wanted)


def _flatten(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data = _need(inputs, 0)
    axis = node.attributes.get_int("axis", 1)
    axis = axis + data.ndim if axis < 0 else axis
    return data.reshape(math.prod(data.shape[:axis]), -1 if data.size else math.prod(data.shape[axis:]))


def _squeeze(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data, axes = _need(inputs, 0), _axes(node, inputs, 1)
    return data.squeeze() if axes is None else data.squeeze(tuple(axes))


def _unsqueeze(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    axes = _axes(node, inputs, 1)
    if axes is None:
        raise ValueError("no axes")
    return np.expand_dims(_need(inputs, 0), tuple(axes))


def _transpose(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    return np.transpose(_need(inputs, 0), node.attributes.get_ints("perm"))


def _concat(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    arrays = [a for a in inputs if a is not None]
    return np.concatenate(arrays, _axis(node, arrays[0].ndim))


def _gather(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data = _need(inputs, 0)
    return np.asarray(np.take(data, _need(inputs, 1), axis=_axis(node, data.ndim)))


def _slice(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data = _need(inputs, 0)
    if opset < 10:
        starts, ends = list(node.attributes["starts"].as_ints()), list(node.attributes["ends"].as_ints())
        axes, steps = _axes(node, (), 3), None
    else:
        starts, ends = _need(inputs, 1).tolist(), _need(inputs, 2).tolist()
        given, stride = _maybe(inputs, 3), _maybe(inputs, 4)
        axes = None if given is None else given.tolist()
        steps = None if stride is None else stride.tolist()
    axes = list(range(len(starts))) if axes is None else axes
    where = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
        where[axis] = _python_slice(data.shape[axis], int(start), int(end), int(step))
    return data[tuple(where)]


def _python_slice(dim: int, start: int, end: int, step: int) -> slice:
    """ONNX clamps negative bounds to the start of the dimension; so does Python, but for -1 as an end."""
    start, end = (bound + dim if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return slice(max(start, 0), max(end, 0), step)
    return slice(min(max(start, 0), dim - 1), None if end < 0 else end, step) if dim else slice(0, 0)


def _expand(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data = _need(inputs, 0)
    return np.broadcast_to(data, np.broadcast_shapes(data.shape, _ints(inputs, 1))).copy()


def _tile(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    return np.tile(_need(inputs, 0), _ints(inputs, 1))


def _constant_of_shape(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    tensor = node.attributes.get_tensor("value")
    fill = np.zeros(1, np.float32) if tensor is None else tensor.numpy()
    return np.full(_ints(inputs, 0), fill.reshape(-1)[0], fill.dtype)


def _range(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    start, limit, delta = (_need(inputs, i) for i in range(3))
    count = max(0, math.ceil((limit.item() - start.item()) / delta.item()))
    return np.asarray(
        start.reshape(()) + np.arange(count).astype(start.dtype) * delta.reshape(()), dtype=start.dtype
    )


def _split(node: ir.Node, inputs: Inputs, opset: int) -> list[Array]:
    data = _need(inputs, 0)
    axis = _axis(node, data.ndim)
    given = _maybe(inputs, 1)
    sizes = list(node.attributes.get_ints("split", ())) if given is None else given.tolist()
    if not sizes:
        part = -(-data.shape[axis] // len(node.outputs))
        sizes = [max(0, min(part, data.shape[axis] - i * part)) for i in range(len(node.outputs))]
    if sum(sizes) != data.shape[axis] or len(sizes) != len(node.outputs) or min(sizes) < 0:
        raise ValueError("sizes do not add up")
    return np.split(data, np.cumsum(sizes)[:-1], axis)


def _pads(node: ir.Node, inputs: Inputs, opset: int) -> tuple[list[int], list[int]]:
    rank = _need(inputs, 0).ndim
    given = list(node.attributes.get_ints("pads", ())) if opset < 11 else _need(inputs, 1).tolist()
    axes = _axes(node, inputs, 3) if opset >= 18 else None
    axes = list(range(rank)) if axes is None else axes
    if len(given) != 2 * len(axes):
        raise ValueError("pads do not fit the axes")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = int(given[i]), int(given[i + len(axes)])
    return before, after


def _pad(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    data = _need(inputs, 0)
    before, after = _pads(node, inputs, opset)
    if node.attributes.get_string("mode", "constant") != "constant" or min([0, *before, *after]) < 0:
        raise NotImplementedError
    given = _maybe(inputs, 2) if opset >= 11 else None
    fill = node.attributes.get_float("value", 0.0) if given is None else given.item()
    return np.pad(data, list(zip(before, after, strict=True)), constant_values=fill)


def _matmul(node: ir.Node, inputs: Inputs, opset: int) -> Array:
    a, b = _need(inputs, 0), _need(inputs, 1)
    wide = np.dtype(np.float64) if a.dtype.kind == "f" else a.dtype
    return np.asarray(np.matmul(a.astype(wide), b.astype(wide))).astype(a.dtype)


_BROADCASTING: dict[str, Operator] = {
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(_power),
    "Mod": _mod,
    "And": _comparison(np.logical_and),
    "Or": _comparison(np.logical_or),
    "Xor": _comparison(np.logical_xor),
    "Equal": _comparison(np.equal),
    "Less": _comparison(np.less),
    "LessOrEqual": _comparison(np.less_equal),
    "Greater": _comparison(np.greater),
    "GreaterOrEqual": _comparison(np.greater_equal),
    "Where": _where,
    "Min": _variadic(np.minimum),
    "Max": _variadic(np.maximum),
    "Sum": _variadic(np.add),
}

_OPERATORS: dict[str, Operator] = _BROADCASTING | {
    "Abs": _unary(np.abs),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Exp": _unary(np.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "Identity": _unary(np.asarray),
    "Log": _unary(np.log),
    "MatMul": _matmul,
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Pad": _pad,
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "Relu": _unary(lambda a: np.maximum(a, 0)),
    "Reshape": _reshape,
    "Sign": _unary(np.sign),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Tanh": _unary(np.tanh),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

_REFERENCE_NAMES = """Acos Acosh ArgMax ArgMin Asin Asinh Atan Atanh Clip Cos Cosh CumSum Elu Erf GatherElements Gelu
    HardSigmoid HardSwish IsInf IsNaN LeakyRelu LogSoftmax Mish NonZero ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Round ScatterElements ScatterND Selu Sigmoid
    Sin Sinh Softmax Softplus Softsign Tan Trilu"""
_REFERENCE = frozenset(_REFERENCE_NAMES.split())
"""Operators whose output is bounded by their inputs and that onnx.reference evaluates."""


_WIDENING = frozenset({"ArgMax", "ArgMin", "Cast", "ConstantOfShape", "NonZero"})
"""Operators whose output may have wider elements than their inputs."""


def _reference(node: ir.Node, inputs: Inputs, opset: int) -> list[Array]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.attributes.get_int("noop_with_empty_axes", 0) and _maybe(inputs, 1) is None:
        raise NotImplementedError("onnx.reference reduces all axes")
    proto = ir.to_proto(node)
    feeds = {f"i{i}": a for i, a in enumerate(inputs) if a is not None}
    del proto.input[:]
    proto.input.extend(f"i{i}" if a is not None else "" for i, a in enumerate(inputs))
    kinds = {name: ir.DataType.from_numpy(array.dtype).value for name, array in feeds.items()}
    graph = onnx.helper.make_graph(
        [proto],
        "node",
        [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [onnx.helper.make_empty_tensor_value_info(name) for name in proto.output if name],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    results = ReferenceEvaluator(model).run(None, feeds)
    return [np.asarray(result) for result in results]
