"""LSTM, GRU and RNN layers: the inputs' products for all steps at once, then the steps in order."""

from __future__ import annotations

import numpy as np

from ingot.ir.index import ix, var
from ingot.ir.nodes import Acc, Const
from ingot.ir.program import Dense, Recurrent
from ingot.lower.context import Context, Node, Operand
from ingot.lower.elementwise import op
from ingot.lower.registry import lowers

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULT = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


@lowers("LSTM", "GRU", "RNN")
def recurrent(ctx: Context, node: Node) -> list[Operand]:
    kind = node.operator
    x = node.input(0)
    w, r = node.constant(1, "W"), node.constant(2, "R")
    bias = node.constant(3, "B") if node.optional(3) is not None else None
    if x.dtype != "f32":
        raise node.unsupported(f"dtype {x.dtype}", "cast to float32")
    if node.optional(4) is not None:
        lengths = node.constant(4, "sequence_lens")
        if not x.shape[0].is_const or (lengths != x.shape[0].value).any():
            raise node.unsupported(
                "sequences shorter than the others", "run sequences of one length together"
            )
    if kind == "LSTM" and node.optional(7) is not None:
        raise node.unsupported("peephole weights")
    if node.get("clip") is not None or node.get("layout", 0) or node.get("input_forget", 0):
        raise node.unsupported("clip, layout=1 or input_forget")
    direction = node.get("direction", "forward")
    count, gates, hidden = w.shape[0], _GATES[kind], int(node.attributes["hidden_size"])
    wanted = tuple(node.get("activations", _DEFAULT[kind] * count))
    if wanted != _DEFAULT[kind] * count and not (kind == "RNN" and set(wanted) <= {"Tanh", "Relu"}):
        raise node.unsupported(f"activations {', '.join(wanted)}")
    steps, batch, width = x.shape
    linear = bool(node.get("linear_before_reset", 0))
    per_direction: list[list[Operand]] = []
    for d in range(count):
        total = np.zeros(gates * hidden, np.float64)
        recurrent_bias = None
        if bias is not None:
            wb, rb = np.split(bias[d].astype(np.float64), 2)
            total += wb
            if kind == "GRU" and linear:
                total[: 2 * hidden] += rb[: 2 * hidden]
                recurrent_bias = rb[2 * hidden :].astype(np.float32)
            else:
                total += rb
        shape = (batch, steps, ix(gates * hidden))
        out = ctx.axes(shape)
        channel = var(ctx.unique("r"), width)
        table = ctx.constant(total.astype(np.float32))
        products = ctx.add(
            Dense(
                ctx.tensor("f32", shape), out, op("add", Acc("f32"), ctx.read(table, [out[2]])), 2, (), channel,
                ctx.place(x), (ix(out[1]), ix(out[0]), ix(channel)), np.ascontiguousarray(w[d].T),
            )
        )  # fmt: skip
        states = [_initial(ctx, node, i, d, batch, hidden) for i in ((5, 6) if kind == "LSTM" else (5,))]
        scratch = 2 if kind == "GRU" and not linear else 0
        last = [ctx.tensor("f32", (batch, hidden)) for _ in range(len(states) + scratch)]
        last.append(ctx.tensor("f32", (2, batch, hidden)))
        y = ctx.tensor("f32", (batch, steps, hidden))
        weight = np.ascontiguousarray(r[d].reshape(gates, hidden, hidden).transpose(0, 2, 1))
        axes = ctx.axes(y.shape)
        ctx.add(
            Recurrent(
                y, axes, Acc("f32"), kind.lower(), ctx.place(products), tuple(map(ctx.place, states)), tuple(last), weight,
                recurrent_bias, direction == "reverse" or d == 1, wanted[d * len(_DEFAULT[kind]) :][: len(_DEFAULT[kind])],
                linear,
            )
        )  # fmt: skip
        in_steps = ctx.view(ctx.wrap(y), [steps, batch, ix(hidden)], lambda t, b, h: [b, t, h])
        per_direction.append([in_steps, *map(ctx.wrap, last[: len(states)])])
    stacked = []
    for i, tensors in enumerate(zip(*per_direction, strict=True)):
        axis = 1 if i == 0 else 0
        expanded = [ctx.reshape(t, [*t.shape[:axis], 1, *t.shape[axis:]]) for t in tensors]
        stacked.append(expanded[0] if count == 1 else ctx.concat(expanded, axis))
    return stacked


def _initial(ctx: Context, node: Node, i: int, direction: int, batch: object, hidden: int) -> Operand:
    given = node.optional(i)
    shape = [ix(batch), ix(hidden)]  # type: ignore[arg-type]
    if given is None:
        zero = ctx.map(shape, "f32", lambda axes: Const(0.0, "f32"))
        ctx.place(zero)
        return zero
    return ctx.view(given, shape, lambda b, h: [ix(direction), b, h])
