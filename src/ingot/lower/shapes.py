"""Shape arithmetic: nodes over integers that are known up to symbols are evaluated here, not compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from ingot.ir.index import Ix, ix, less, maximum, minimum, nonnegative
from ingot.lower.context import Context
from ingot.lower.elementwise import dtype_name
from ingot.lower.movement import known, known_axes
from ingot.lower.operand import Node, Operand

_LIMIT = 4096
_INTEGERS = ("i64", "i32", "bool")


def evaluate(ctx: Context, node: Node) -> Operand | None:
    """The node's result where all of it is known integers, else None."""
    handler = _HANDLERS.get(node.operator)
    if handler is None or len(node.outputs) != 1:
        return None
    operands = [x for x in node.inputs if isinstance(x, Operand)]
    if not operands or len(operands) < sum(x is not None for x in node.inputs):
        return None
    if any(x.known is None or x.dtype not in _INTEGERS for x in operands):
        return None
    result = handler(node, [x.known for x in operands])  # type: ignore[misc]
    if result is None or result.size > _LIMIT:
        return None
    dtype = operands[0].dtype
    if node.operator == "Cast":
        dtype = dtype_name(node.get("to"), node, strings=True)
        if dtype not in _INTEGERS:
            return None
    elif node.operator in _COMPARE or node.operator == "Not":
        dtype = "bool"
    elif node.operator == "Where":
        dtype = operands[1].dtype
    return known(ctx, result, dtype)


def _elementwise(function: Callable[..., Ix | None]) -> Callable[[Node, list[np.ndarray]], np.ndarray | None]:
    def run(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
        spread = np.broadcast_arrays(*arrays)
        out = np.empty(spread[0].shape, object)
        for i in np.ndindex(out.shape):
            value = function(*(a[i] for a in spread))
            if value is None:
                return None
            out[i] = value
        return out

    return run


def _divide(a: Ix, b: Ix) -> Ix | None:
    if a.is_const and b.is_const:
        whole = abs(a.value) // abs(b.value) if b.value else None
        return None if whole is None else ix(whole if (a.value < 0) == (b.value < 0) else -whole)
    return a // b if nonnegative(a) and nonnegative(b) else None


def _equal(a: Ix, b: Ix) -> Ix | None:
    if a == b:
        return ix(1)
    gap = a - b
    if gap.is_const or nonnegative(gap - 1) or nonnegative(-gap - 1):
        return ix(0)
    return None


def _less(a: Ix, b: Ix) -> Ix | None:
    return ix(1) if less(a, b) else ix(0) if nonnegative(a - b) else None


def _not(a: Ix | None) -> Ix | None:
    return None if a is None else 1 - a


_COMPARE = {
    "Equal": _equal,
    "Less": _less,
    "Greater": lambda a, b: _less(b, a),
    "LessOrEqual": lambda a, b: _not(_less(b, a)),
    "GreaterOrEqual": lambda a, b: _not(_less(a, b)),
}


def _gather(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    x, at = arrays
    if not all(i.is_const for i in at.reshape(-1)):
        return None
    index = np.array([i.value for i in at.reshape(-1)], np.int64).reshape(at.shape)
    return np.asarray(np.take(x, index, axis=node.get("axis", 0)), object)


def _integers(node: Node, i: int, attribute: str | None = None) -> list[Ix] | None:
    """Integers from an attribute (older opsets) or from input i, which is known up to symbols. None where absent."""
    if attribute is not None and attribute in node.attributes:
        return [ix(v) for v in node.attributes[attribute]]
    operand = node.optional(i)
    if operand is None:
        return None
    assert operand.known is not None
    return [ix(v) for v in operand.known.reshape(-1)]


def _slice(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    starts, ends = _integers(node, 1, "starts"), _integers(node, 2, "ends")
    steps = _integers(node, 4) or [ix(1)] * len(starts or [])
    axes = known_axes(node, 3, arrays[0].ndim)
    if axes is None and node.optional(3) is not None:
        return None
    axes = axes or list(range(len(starts or [])))
    result = arrays[0]
    for axis, a, b, s in zip(axes, starts or [], ends or [], steps, strict=True):
        if not (a.is_const and b.is_const and s.is_const):
            return None
        result = np.take(result, _positions(result.shape[axis], a.value, b.value, s.value), axis)
    return result


def _positions(dim: int, start: int, end: int, step: int) -> list[int]:
    """Which elements of a dimension a Slice takes."""
    low, high = (0, dim) if step > 0 else (-1, dim - 1)
    start, end = (at + dim if at < 0 else at for at in (start, end))
    return list(range(min(max(start, 0), high), min(max(end, low), high), step))


def _concat(node: Node, arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays, axis=node.get("axis", 0))


def _squeeze(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    axes = known_axes(node, 1, arrays[0].ndim)
    if axes is None and node.optional(1) is not None:
        return None
    return np.squeeze(arrays[0], tuple(axes) if axes else None)


def _unsqueeze(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    found = _integers(node, 1, "axes") or []
    if not all(a.is_const for a in found):
        return None
    rank = arrays[0].ndim + len(found)
    return np.expand_dims(arrays[0], tuple(a.value % rank for a in found))


def _reshape(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    shape = _integers(node, 1, "shape") or []
    if not all(d.is_const for d in shape):
        return None
    kept = not node.get("allowzero", 0)
    return arrays[0].reshape(
        [arrays[0].shape[i] if kept and d.value == 0 else d.value for i, d in enumerate(shape)]
    )


def _reduce(function: Callable[[Ix, Ix], Ix]) -> Callable[[Node, list[np.ndarray]], np.ndarray | None]:
    def run(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
        x = arrays[0]
        if node.get("noop_with_empty_axes", 0) and not known_axes(node, 1, x.ndim):
            return x
        if x.ndim != 1 or x.size == 0:
            return None
        total = reduce(function, x)
        out = np.empty((1,) if node.get("keepdims", 1) else (), object)
        out[...] = total
        return out

    return run


def _constant_of_shape(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    value = node.get("value")
    if value is None or value.numpy().dtype != np.int64 or not all(d.is_const for d in arrays[0]):
        return None
    out = np.empty([d.value for d in arrays[0]], object)
    out[...] = ix(int(value.numpy().reshape(-1)[0]))
    return out


def _expand(node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
    if not all(d.is_const for d in arrays[1]):
        return None
    shape = np.broadcast_shapes(arrays[0].shape, tuple(d.value for d in arrays[1]))
    return np.broadcast_to(arrays[0], shape)


_HANDLERS: dict[str, Callable[[Node, list[np.ndarray]], np.ndarray | None]] = {
    "Add": _elementwise(lambda a, b: a + b),
    "Sub": _elementwise(lambda a, b: a - b),
    "Mul": _elementwise(lambda a, b: a * b),
    "Div": _elementwise(_divide),
    "Mod": _elementwise(lambda a, b: a % b if nonnegative(a) and b.lower() not in (None, 0) else None),
    "Min": _elementwise(lambda *args: reduce(minimum, args)),
    "Max": _elementwise(lambda *args: reduce(maximum, args)),
    "Neg": _elementwise(lambda a: -a),
    "Abs": _elementwise(lambda a: a if nonnegative(a) else None),
    "Not": _elementwise(_not),
    "Where": _elementwise(lambda c, a, b: (a if c.value else b) if c.is_const else None),
    **{name: _elementwise(f) for name, f in _COMPARE.items()},
    "And": _elementwise(lambda a, b: a * b),
    "Or": _elementwise(lambda a, b: maximum(a, b)),
    "Cast": _elementwise(lambda a: a),
    "Identity": _elementwise(lambda a: a),
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "ReduceProd": _reduce(lambda a, b: a * b),
    "ReduceSum": _reduce(lambda a, b: a + b),
    "ReduceMax": _reduce(maximum),
    "ReduceMin": _reduce(minimum),
}
