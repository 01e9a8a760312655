"""LSTM, GRU and RNN layers: the inputs' products for all steps at once, then the steps in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ingot.ir.index import Ix, Var, ix, var
from ingot.ir.nodes import DTYPES, Acc, Const, Index, Op, Select, Value
from ingot.ir.program import Dense, Recurrent, Tensor
from ingot.lower.context import Context
from ingot.lower.contraction import product_of
from ingot.lower.elementwise import FLOATS, UNARY, clip, const, op
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULT = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_SCALES: dict[str, dict[str, float]] = {
    "Relu": {},
    "Tanh": {},
    "Sigmoid": {},
    "Softsign": {},
    "Softplus": {},
    "Affine": {"alpha": 1.0, "beta": 0.0},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
    "ScaledTanh": {"alpha": 1.0, "beta": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Elu": {"alpha": 1.0},
}
"""The activations and what their attributes are where the node does not say."""


@dataclass
class _Shape:
    """Sizes of a layer, and the dtype it computes in."""

    steps: Ix
    batch: Ix
    width: Ix
    hidden: int
    gates: int
    dtype: str


@lowers("LSTM", "GRU", "RNN")
def recurrent(ctx: Context, node: Node) -> list[Operand]:
    """Any operand may be computed. Halves are computed in float. A sequence that ends early gives zeros after its end,
    and its last state is that of its end; a reversed one starts at its end."""
    kind = node.operator
    if node.input(0).dtype not in FLOATS:
        raise node.unsupported(f"dtype {node.input(0).dtype}", "cast to float32")
    given = node.input(0).dtype
    dtype = "f32" if given == "f16" else given
    x, w, r = (_as(ctx, node.input(i), dtype) for i in range(3))
    bias = _as(ctx, node.input(3), dtype) if node.optional(3) is not None else None
    lengths = node.optional(4)
    if lengths is not None:
        ctx.require(lengths.shape[0], node.input(0).shape[0 if node.get("layout", 0) else 1])
    batch_first = bool(node.get("layout", 0))
    hidden, gates = int(node.attributes["hidden_size"]), _GATES[kind]
    if batch_first:
        x = ctx.view(x, [x.shape[1], x.shape[0], x.shape[2]], lambda t, b, i: [b, t, i])
    steps, batch, width = x.shape
    if lengths is not None and lengths.data is not None and steps.is_const:
        lengths = None if (lengths.data == steps.value).all() else lengths
    count = 2 if node.get("direction", "forward") == "bidirectional" else 1
    ctx.require(x.shape[2], w.shape[2])
    for operand, wanted in ((w, (count, gates * hidden)), (r, (count, gates * hidden, hidden))):
        for dim, number in zip(operand.shape, wanted, strict=False):
            ctx.require(dim, ix(number))
    if bias is not None:
        ctx.require_all(bias.shape, (count, 2 * gates * hidden))
    size = _Shape(steps, batch, width, hidden, gates, dtype)
    activations = _activations(node, count, dtype)
    per_direction: list[list[Operand]] = []
    for d in range(count):
        linear = bool(node.get("linear_before_reset", 0)) and kind == "GRU"
        total, recurrent_bias = _biases(ctx, bias, d, size, linear)
        products = _products(ctx, x, w, d, total, size)
        states = [_initial(ctx, node, i, d, size, batch_first) for i in ((5, 6) if kind == "LSTM" else (5,))]
        scratch = 2 if kind == "GRU" and not linear else 0
        last = [ctx.tensor(dtype, (batch, hidden)) for _ in range(len(states) + scratch)]
        last.append(ctx.tensor(dtype, (2, batch, hidden)))
        y = ctx.tensor(dtype, (batch, steps, hidden))
        each = len(_DEFAULT[kind])
        ctx.add(
            Recurrent(
                y, ctx.axes(y.shape), Acc(dtype), kind.lower(), ctx.place(products), tuple(map(ctx.place, states)),
                tuple(last), _weight(ctx, r, d, size), recurrent_bias, node.get("direction", "forward") == "reverse" or d == 1,
                activations[d * each :][:each], linear, None if lengths is None else ctx.place(lengths),
                _peepholes(ctx, node, d, size), bool(node.get("input_forget", 0)),
            )
        )  # fmt: skip
        in_steps = ctx.view(ctx.wrap(y), [steps, batch, ix(hidden)], lambda t, b, h: [b, t, h])
        per_direction.append([in_steps, *map(ctx.wrap, last[: len(states)])])
    results = []
    for i, tensors in enumerate(zip(*per_direction, strict=True)):
        axis = 1 if i == 0 else 0
        expanded = [ctx.reshape(t, [*t.shape[:axis], 1, *t.shape[axis:]]) for t in tensors]
        whole = expanded[0] if count == 1 else ctx.concat(expanded, axis)
        if batch_first and i == 0:
            whole = ctx.view(
                whole, [batch, steps, *whole.shape[1:2], hidden], lambda b, t, d, h: [t, d, b, h]
            )
        elif batch_first:
            whole = ctx.view(whole, [batch, whole.shape[0], hidden], lambda b, d, h: [d, b, h])
        results.append(_as(ctx, whole, given))
    return results


def _as(ctx: Context, operand: Operand, dtype: str) -> Operand:
    """The operand in another dtype."""
    if operand.dtype == dtype:
        return operand
    if operand.data is not None:
        return ctx.constant(operand.data.astype(DTYPES[dtype]))
    return ctx.map(operand.shape, dtype, lambda axes: cast(ctx.read(operand, axes), dtype))


def _activations(node: Node, count: int, dtype: str) -> tuple[Value, ...]:
    """The expression of each activation of an Acc; alpha and beta are given in order to those that have them."""
    wanted = node.get("activations") or _DEFAULT[node.operator] * count
    left = {name: list(node.get(f"activation_{name}") or ()) for name in ("alpha", "beta")}
    bound = node.get("clip")
    known = {name.lower(): name for name in _SCALES}
    result = []
    for text in wanted:
        name = known.get(text.lower())
        if name is None:
            raise node.unsupported(f"activation {text}", f"use one of {', '.join(_SCALES)}")
        scales = {k: left[k].pop(0) if left[k] else default for k, default in _SCALES[name].items()}
        x: Value = Acc(dtype)
        if bound is not None:
            x = clip(x, const(-bound, x), const(bound, x))
        if name == "Affine":
            x = op("add", op("mul", x, const(scales["alpha"], x)), const(scales["beta"], x))
        elif name == "ScaledTanh":
            x = op("mul", op("tanh", op("mul", x, const(scales["beta"], x))), const(scales["alpha"], x))
        else:
            x = UNARY[name](x, replace(node, attributes=scales))
        result.append(x)
    return tuple(result)


def _biases(
    ctx: Context, bias: Operand | None, d: int, size: _Shape, linear: bool
) -> tuple[Operand | None, np.ndarray | Tensor | None]:
    """(what is added to the inputs' products, what a GRU with linear_before_reset adds to the recurrent ones)."""
    whole, apart = size.gates * size.hidden, 2 * size.hidden
    if bias is None:
        return None, None
    if bias.data is not None:
        wb, rb = np.split(bias.data[d].astype(np.float64), 2)
        total = wb.copy()
        total[: apart if linear else whole] += rb[: apart if linear else whole]
        dtype = DTYPES[size.dtype]
        return ctx.constant(total.astype(dtype)), rb[apart:].astype(dtype) if linear else None

    def value(axes: tuple[Var, ...]) -> Value:
        first = ctx.read(bias, [d, axes[0]])
        both = op("add", first, ctx.read(bias, [d, ix(axes[0]) + whole]))
        if not linear:
            return both
        return Select(Op("lt", (Index(ix(axes[0])), Const(apart, "i64")), "bool"), both, first)

    rest = ctx.view(bias, [size.hidden], lambda j: [d, j + whole + apart]) if linear else None
    return ctx.map([whole], size.dtype, value), None if rest is None else ctx.place(rest)


def _products(ctx: Context, x: Operand, w: Operand, d: int, total: Operand | None, size: _Shape) -> Operand:
    """The input of every step times W, and the biases: (batch, steps, gates * hidden)."""
    shape = (size.batch, size.steps, ix(size.gates * size.hidden))

    def finish(axes: tuple[Var, ...]) -> Value:
        done = Acc(size.dtype)
        return done if total is None else op("add", done, ctx.read(total, [axes[2]]))

    if w.data is None or size.dtype != "f32":
        rows = ctx.view(x, [size.batch, size.steps, size.width], lambda b, t, i: [t, b, i])
        columns = ctx.view(w, [size.width, shape[2]], lambda i, g: [d, g, i])
        return product_of(ctx, rows, columns, shape, finish)
    out, channel = ctx.axes(shape), var(ctx.unique("r"), size.width)
    index = (ix(out[1]), ix(out[0]), ix(channel))
    table = np.ascontiguousarray(w.data[d].T)
    output = ctx.tensor("f32", shape)
    return ctx.add(Dense(output, out, finish(out), 2, (), channel, ctx.place(x), index, table))


def _weight(ctx: Context, r: Operand, d: int, size: _Shape) -> np.ndarray | Tensor:
    """R as [gate, from, to]."""
    shape = (size.gates, size.hidden, size.hidden)
    if r.data is not None:
        return np.ascontiguousarray(r.data[d].reshape(shape).transpose(0, 2, 1))
    return ctx.place(ctx.view(r, shape, lambda g, k, j: [d, g * size.hidden + j, k]))


def _peepholes(ctx: Context, node: Node, d: int, size: _Shape) -> Tensor | None:
    """P as (3, hidden)."""
    if node.operator != "LSTM" or node.optional(7) is None:
        return None
    given = _as(ctx, node.input(7), size.dtype)
    ctx.require(given.shape[1], ix(3 * size.hidden))
    return ctx.place(ctx.view(given, [3, size.hidden], lambda g, j: [d, g * size.hidden + j]))


def _initial(ctx: Context, node: Node, i: int, d: int, size: _Shape, batch_first: bool) -> Operand:
    given, shape = node.optional(i), [size.batch, ix(size.hidden)]
    if given is None:
        return ctx.map(shape, size.dtype, lambda axes: Const(0.0, size.dtype))
    given = _as(ctx, given, size.dtype)
    ctx.require(given.shape[0 if batch_first else 1], size.batch)
    ctx.require(given.shape[2], ix(size.hidden))
    return ctx.view(given, shape, lambda b, h: [b, d, h] if batch_first else [d, b, h])
