"""Expressions that lowerings share: conversions, positions in row-major order, indices that are data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ingot.ir.index import (
    Ix,
    IxLike,
    ix,
    less,
    maximum,
    minimum,
    nonnegative,
    product,
    substitute,
)
from ingot.ir.nodes import (
    DTYPES,
    Cast,
    Const,
    Index,
    Op,
    Select,
    Value,
    as_index,
    computed,
)


def nothing(dtype: str) -> Const:
    """The element that fills where there is no other: 0, false or an empty string."""
    return Const(b"" if dtype == "str" else False if dtype == "bool" else 0, dtype)


def wrapped(number: int, dtype: str) -> int:
    """What an integer is in an integer dtype, which keeps its low bits."""
    kind = DTYPES[dtype]
    bits = 8 * kind.itemsize
    low = -(1 << (bits - 1)) if kind.kind == "i" else 0
    return (number - low) % (1 << bits) + low


def cast(value: Value, dtype: str) -> Value:
    """The value converted, ONNX-wise: to bool is "not zero", from double to half goes by float.

    To a type of storage: to what that is computed with; the store does the rest.
    """
    dtype = computed(dtype)
    if value.dtype == dtype:
        return value
    if isinstance(value, Const) and not isinstance(value.value, bytes):
        number = value.value
        if dtype == "bool":
            return Const(bool(number), dtype)
        if DTYPES[dtype].kind not in "iu":
            return Const(float(number), dtype)
        if math.isfinite(number):
            return Const(wrapped(int(number), dtype), dtype)
    if dtype == "bool":
        return Op("ne", (value, Const(0, value.dtype)), "bool")
    if value.dtype == "f64" and dtype == "f16":
        value = Cast(value, "f32")
    return Cast(value, dtype)


def ravel(index: Sequence[IxLike], shape: Sequence[Ix]) -> Ix:
    """The row-major position of an index."""
    at = ix(0)
    for i, d in zip(index, shape, strict=True):
        at = at * d + ix(i)
    return at


def unravel(at: Ix, shape: Sequence[Ix]) -> tuple[Ix, ...]:
    """The index at a row-major position."""
    index = []
    for i, d in enumerate(shape):
        inner = product(shape[i + 1 :])
        whole = at // inner
        index.append(whole if i == 0 else ix(0) if d.is_const and d.value == 1 else whole % d)
    return tuple(index)


def unravel_from(index: Sequence[IxLike], shape: Sequence[Ix], to: Sequence[Ix]) -> tuple[Ix, ...]:
    """The index into shape `to` of the element at `index` of shape `shape`, matching groups of dims of equal size."""
    result: list[Ix] = []
    i = j = 0
    while j < len(to) or i < len(shape):
        gi, gj = [i], [j]
        left = shape[i] if i < len(shape) else ix(1)
        right = to[j] if j < len(to) else ix(1)
        i, j = i + 1, j + 1
        while left != right:
            if i >= len(shape) and j >= len(to):
                break
            grow_left = j >= len(to) or (
                i < len(shape)
                and (nonnegative(right - left) if not (right - left).is_const else (right - left).value > 0)
            )
            if grow_left and i < len(shape):
                left, gi = left * shape[i], [*gi, i]
                i += 1
            elif j < len(to):
                right, gj = right * to[j], [*gj, j]
                j += 1
        gi = [g for g in gi if g < len(shape)]
        gj = [g for g in gj if g < len(to)]
        at = ravel([index[g] for g in gi], [shape[g] for g in gi])
        result += unravel(at, [to[g] for g in gj])
    return tuple(result)


def all_of(tests: Sequence[Value]) -> Value:
    """Whether every one of some bools holds."""
    left = [t for t in tests if not (isinstance(t, Const) and t.value)]
    total: Value = left[0] if left else Const(True, "bool")
    for test in left[1:]:
        total = Op("and", (total, test), "bool")
    return total


def is_inside(value: Value, low: Ix, high: Ix) -> Value:
    """Whether low <= value < high, a literal where that is known, be it that symbols are 0."""
    if isinstance(value, Const):
        value = Index(ix(int(value.value)))
    if isinstance(value, Cast) and isinstance(value.value, Index):
        value = value.value
    if isinstance(value, Index):
        from_zero = {v: ix(v) - 1 for v in high.variables() if v.extent is None}
        if nonnegative(value.index - low) and less(value.index, substitute(high, from_zero)):
            return Const(True, "bool")
    wide = cast(value, "i64")
    return Op("and", (Op("ge", (wide, Index(low)), "bool"), Op("lt", (wide, Index(high)), "bool")), "bool")


def wrap_index(value: Value, dim: Ix) -> Ix:
    """A run-time index into a dimension: negative ones count from the end, all are kept inside."""
    if isinstance(value, Const):
        at = int(value.value)
        return ix(at) + dim if at < 0 else ix(at)
    if isinstance(value, Index) and nonnegative(value.index) and less(value.index, dim):
        return value.index
    wide = cast(value, "i64")
    shifted = Select(Op("lt", (wide, Const(0, "i64")), "bool"), Op("add", (wide, Index(dim)), "i64"), wide)
    return maximum(minimum(as_index(shifted), dim - 1), 0)
