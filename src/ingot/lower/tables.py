"""Tensors that follow from their indices: constants where nothing else matters, computed by the run otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ingot.ir.index import IxLike, Var, evaluate, ix, var
from ingot.ir.nodes import DTYPES, Cast, Const, Index, Op, Read, Select, Value, value_variables, walk
from ingot.ir.ops import OPS
from ingot.lower.context import Context
from ingot.lower.operand import Operand
from ingot.lower.values import cast

MAX_TABLE = 2**20
"""Elements of a table that is made when the model is compiled."""


def table(
    ctx: Context, shape: Sequence[IxLike], dtype: str, element: Callable[[tuple[Var, ...]], Value]
) -> Operand:
    """A tensor of what follows from its indices: a constant where nothing else matters and it is short."""
    axes = tuple(var(ctx.unique("i"), d) for d in shape)
    value = cast(element(axes), dtype)
    dims = [ix(d) for d in shape]
    known = all(d.is_const for d in dims) and math.prod(d.value for d in dims) <= MAX_TABLE
    if known and not needs_a_run(value):
        return ctx.constant(_evaluated(value, axes, [d.value for d in dims]).astype(DTYPES[dtype]))
    return ctx.map(shape, dtype, lambda out: cast(element(out), dtype))


def needs_a_run(value: Value) -> bool:
    symbols = any(v.extent is None for v in value_variables(value))
    return symbols or any(isinstance(n, Read) for n in walk(value))


def _evaluated(value: Value, axes: Sequence[Var], shape: Sequence[int]) -> np.ndarray:
    """A value without reads and symbols for all indices of a shape."""
    seen: dict[int, np.ndarray] = {}

    def visit(node: Value) -> np.ndarray:
        key = id(node)
        if key not in seen:
            seen[key] = np.broadcast_to(compute(node), shape)
        return seen[key]

    def compute(node: Value) -> np.ndarray:
        if isinstance(node, Const):
            return np.asarray(node.value, DTYPES[node.dtype])
        if isinstance(node, Index):
            found = np.empty(shape, np.int64)
            for at in np.ndindex(*shape):
                loops = {v.name: i for v, i in zip(axes, at, strict=True)}
                found[at] = evaluate(node.index, {}, None, loops)
            return found
        if isinstance(node, Cast):
            return visit(node.value).astype(DTYPES[node.dtype])
        if isinstance(node, Select):
            return np.where(visit(node.cond), visit(node.then), visit(node.otherwise))
        assert isinstance(node, Op), node
        with np.errstate(all="ignore"):
            return np.asarray(OPS[node.name].compute(*map(visit, node.args)), DTYPES[node.dtype])

    return visit(value)


def folded(value: Value) -> Value:
    """A constant in place of a value that needs no run."""
    return value if needs_a_run(value) else Const(_evaluated(value, (), ()).item(), value.dtype)
