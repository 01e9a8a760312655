"""Kernels of Recurrent."""

from __future__ import annotations

import numpy as np
from kernel import SOME, Kernel, N, around, drawn, loops, tensor

from ingot.ir.index import Var
from ingot.ir.nodes import Acc, Const
from ingot.ir.program import Recurrent
from ingot.lower.elementwise import op
from ingot.schedule.layout import blocked_by, row_major
from ingot.target import Target
from ingot.testing import CLOSE, Array, Feed

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
ACTIVATIONS = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
RELU = op("max", Acc("f32"), Const(0.0, "f32"))
EIGHTHS = tuple(i / 8 for i in range(-8, 9))


def layer(
    name: str, kind: str, hidden: int, *, steps: int | Var = 3, batch: int | Var = 2, reverse: bool = False, linear: bool = False,
    relu: bool = False, lanes: int = 0, sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """linear: the gates of a GRU are reset after the product, which has a bias. lanes: of blocked x and y; 0: row-major."""
    gates = GATES[kind]
    x, y = tensor("x", [batch, steps, gates * hidden]), tensor("y", [batch, steps, hidden])
    states = tuple(tensor(f"state{i}", [batch, hidden]) for i in range(2 if kind == "lstm" else 1))
    scratch = 2 if kind == "gru" and not linear else 0
    last = tuple(tensor(f"last{i}", [batch, hidden]) for i in range(len(states) + scratch))
    last = (*last, tensor("slots", [2, batch, hidden]))
    weight = drawn("weight", [gates, hidden, hidden], values=EIGHTHS) / np.float32(hidden)
    bias = drawn("bias", [hidden], values=EIGHTHS) if linear else None
    activations = (RELU,) if relu else tuple(op(a, Acc("f32")) for a in ACTIVATIONS[kind])
    operation = Recurrent(
        y, loops("a", y.shape), Acc("f32"), kind, x, states, last, weight, bias, reverse, activations, linear
    )
    layouts = {t: row_major(t.rank) for t in (*states, *last)}
    layouts |= {t: blocked_by(3, 2, lanes) if lanes else row_major(3) for t in (x, y)}

    def formula(feed: Feed) -> Array:
        given = feed["x"].astype(np.float64).swapaxes(0, 1)
        h, c = (feed[s.name].astype(np.float64) for s in (states * 2)[:2])
        wanted = np.zeros((*given.shape[:2], hidden))
        for t in reversed(range(len(given))) if reverse else range(len(given)):
            a = np.split(given[t], gates, 1)
            r = [h @ weight[g].astype(np.float64) for g in range(gates)]
            if kind == "lstm":
                c = sigmoid(a[2] + r[2]) * c + sigmoid(a[0] + r[0]) * np.tanh(a[3] + r[3])
                h = sigmoid(a[1] + r[1]) * np.tanh(c)
            elif kind == "gru":
                z, reset = sigmoid(a[0] + r[0]), sigmoid(a[1] + r[1])
                new = np.tanh(a[2] + (reset * (r[2] + bias) if linear else (reset * h) @ weight[2]))
                h = (1 - z) * new + z * h
            else:
                h = np.maximum(a[0] + r[0], 0) if relu else np.tanh(a[0] + r[0])
            wanted[t] = h
        return wanted.swapaxes(0, 1).astype(np.float32)

    return Kernel(
        f"{kind}_{name}", operation, layouts, formula, EIGHTHS, sizes, CLOSE, 8 * hidden, scale=1.0, rows=batch is N
    )  # fmt: skip


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def table(target: Target) -> list[Kernel]:
    lanes = target.lanes
    return [
        *(layer(f"of_{h}", kind, h) for kind in GATES for h in around(lanes, 2 * lanes, 4 * lanes)),
        *(layer(f"linear_{h}", "gru", h, linear=True) for h in around(lanes)),
        *(layer("reversed", kind, 5, reverse=True) for kind in GATES),
        *(layer(f"blocked_{h}", kind, h, lanes=lanes) for kind in GATES for h in (2 * lanes, 2 * lanes + 1)),
        *(layer("steps", kind, lanes + 1, steps=N) for kind in GATES),
        *(layer("batch", kind, lanes + 1, batch=N) for kind in GATES),
        layer("steps_reversed", "lstm", 3, steps=N, reverse=True),
        *(layer(f"relu_{h}", "rnn", h, relu=True) for h in (1, lanes + 1)),
        *(layer("no_step", kind, lanes, steps=0) for kind in GATES),
        *(layer("no_batch", kind, lanes, batch=0) for kind in GATES),
    ]  # fmt: skip
