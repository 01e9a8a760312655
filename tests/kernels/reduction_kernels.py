"""Kernels of Reduce and Row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from elementwise_kernels import NUMBERS
from kernel import (
    CHANNELS_LAST,
    DIGITS,
    PLANAR,
    SOME,
    Kernel,
    Layouts,
    N,
    around,
    by_channel,
    constant,
    loops,
    tensor,
    within,
)

from ingot.ir.index import Var, ix, maximum, minimum, var
from ingot.ir.nodes import DTYPES, Acc, Const, Op, Read, Value
from ingot.ir.ops import neutral
from ingot.ir.program import Reduce, Row, identity
from ingot.schedule.layout import Layout, row_major
from ingot.target import Target
from ingot.testing import CLOSE, Array, Feed

PLAIN: dict[str, Callable[..., Array]] = {
    "add": np.sum, "mul": np.prod, "max": np.max, "min": np.min, "and": np.all, "or": np.any, "argmax": np.argmax, "argmin": np.argmin,
}  # fmt: skip
VALUES = {"mul": (-2, -1, 1, 2), "and": (*[1] * 19, 0), "or": (*[0] * 19, 1)}
"""What the elements are drawn from where digits would nearly always give the same result, or overflow."""


def reduce(
    name: str, shape: Sequence[int | Var], over: Sequence[int], *, op: str = "add", dtype: str = "f32", last: bool = False, keep: bool = True,
    x: Layout | None = None, y: Layout | None = None, sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """keep: the reduced axes stay, of size 1."""
    argument = op.startswith("arg")
    given = tensor("x", shape, dtype)
    kept = [1 if i in over else d for i, d in enumerate(shape) if keep or i not in over]
    made = tensor("y", kept, "i64" if argument else dtype)
    axes, inner = loops("a", made.shape), {i: var(f"r{i}", ix(shape[i])) for i in over}
    left = iter(a for a, d in zip(axes, kept, strict=True) if not keep) if not keep else None
    at = [
        ix(inner[i]) if i in over else ix(next(left) if left is not None else axes[i])
        for i in range(len(shape))
    ]
    axis: Any = over[0] if argument else tuple(over)

    def formula(feed: Feed) -> Array:
        data = feed["x"]
        if argument and not data.shape[axis]:
            found = np.zeros_like(feed["y"])
        elif argument and last:
            found = data.shape[axis] - 1 - PLAIN[op](np.flip(data, axis), axis=axis, keepdims=keep)
        elif op in ("max", "min"):
            start = DTYPES[dtype].type(neutral(op, dtype))
            found = PLAIN[op](data, axis=axis, keepdims=keep, initial=start)
        else:
            found = PLAIN[op](data, axis=axis, keepdims=keep)
        return found.astype(DTYPES[made.dtype])

    operation = Reduce(made, axes, Acc(made.dtype), op, tuple(inner.values()), Read(given, tuple(at)), last)
    layouts: Layouts = {given: x or row_major(len(shape)), made: y or row_major(len(kept))}
    rows = shape[0] is N and 0 not in over
    return Kernel(f"reduce_{name}", operation, layouts, formula, VALUES.get(op, DIGITS), sizes, rows=rows)


def window(
    name: str, c: int, h: int | Var, w: int | Var, taps: int, stride: int, *, n: int | Var = 1, x: Layout = PLANAR, y: Layout | None = None,
    op: str = "max", sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """Pooling over windows that may hang over the edges of x by one ("max" and "min", by clamped indices), or a depthwise
    convolution inside x ("add"); a symbolic size stays."""
    hangs = 0 if op == "add" else 1
    down, across = ((d + 2 * hangs - taps) // stride + 1 if isinstance(d, int) else d for d in (h, w))
    given, made = tensor("x", [n, c, h, w]), tensor("y", [n, c, down, across])
    axes, inner = loops("a", made.shape), loops("t", [taps, taps])
    at = [ix(axes[2 + i]) * stride + ix(inner[i]) - hangs for i in (0, 1)]
    if hangs:
        at = [maximum(minimum(i, ix(d) - 1), 0) for i, d in zip(at, (h, w), strict=True)]
    value: Value = Read(given, (ix(axes[0]), ix(axes[1]), *at))
    layouts = {given: x, made: y or x}
    if op == "add":
        factors = constant("factors", taps, taps, c)
        layouts[factors] = row_major(3)
        value = Op("mul", (value, Read(factors, (ix(inner[0]), ix(inner[1]), ix(axes[1])))), "f32")

    def formula(feed: Feed) -> Array:
        if not feed["x"].size:
            return feed["y"]
        data = np.pad(feed["x"], [(0, 0), (0, 0), (hangs, hangs), (hangs, hangs)], mode="edge")
        seen = np.lib.stride_tricks.sliding_window_view(data, (taps, taps), (2, 3))[:, :, ::stride, ::stride]
        return (
            np.einsum("nchwij,ijc->nchw", seen, feed["factors"]) if op == "add" else PLAIN[op](seen, (-1, -2))
        )

    operation = Reduce(made, axes, Acc("f32"), op, inner, value)
    return Kernel(f"window_{name}", operation, layouts, formula, sizes=sizes, rows=n is N)


def row(
    name: str, op: str, shape: Sequence[int | Var], over: Sequence[int], *, layout: Layout | None = None, kept: bool = False,
    dtype: str = "f32", sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """kept: the value is computed, not only read, so that the kernel has to keep it."""
    given, made = tensor("x", shape, dtype), tensor("y", shape, dtype)
    axes = loops("a", shape)
    value: Value = identity(given, axes)
    if kept:
        value = Op("mul", (value, Const(0.5, dtype)), dtype)

    def formula(feed: Feed) -> Array:
        x, axis = feed["x"].astype(np.float64) * (0.5 if kept else 1), tuple(over)
        if not x.size:
            return feed["x"]
        shifted = x - x.max(axis, keepdims=True)
        total = np.exp(shifted).sum(axis, keepdims=True)
        result = {
            "softmax": lambda: np.exp(shifted) / total,
            "log_softmax": lambda: shifted - np.log(total),
            "layer_norm": lambda: (
                (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 0.125)
            ),
            "rms_norm": lambda: x / np.sqrt((x * x).mean(axis, keepdims=True) + 0.125),
        }[op]()
        return result.astype(DTYPES[dtype])

    operation = Row(made, axes, Acc(dtype), op, tuple(axes[i] for i in over), value, 0.125)
    layouts: Layouts = {given: layout or row_major(len(shape)), made: layout or row_major(len(shape))}
    rows = shape[0] is N and 0 not in over
    return Kernel(
        f"{op}_{name}", operation, layouts, formula, sizes=sizes, level=CLOSE, reduction=64, rows=rows
    )


def table(target: Target) -> list[Kernel]:
    lanes = target.lanes
    block, half = by_channel(lanes), by_channel(max(lanes // 2, 4))
    layouts = {"planar": PLANAR, "blocked": block, "half": half, "last": CHANNELS_LAST}
    wide = around(lanes, 2 * lanes)
    kinds = ("softmax", "log_softmax", "layer_norm", "rms_norm")
    return [
        *(reduce(f"rows_of_{n}", [3, n], [1]) for n in (0, *wide, 4 * lanes + 3)),
        *(reduce(f"columns_{n}_of_{m}", [m, n], [0]) for n in around(lanes) for m in (0, 1, 9, 100)),
        *(reduce(f"drop_{axis}_of_{n}", [2, 3, n], [axis], keep=False) for n in around(lanes) for axis in (1, 2)),
        *(reduce(f"{op}_{dtype}_{axis}", [5, 2 * lanes + 3], [axis], op=op, dtype=dtype)
          for op in ("add", "max") for dtype in NUMBERS for axis in (0, 1)),
        *(reduce(f"{op}_{dtype}_{axis}", [5, 2 * lanes + 3], [axis], op=op, dtype=dtype)
          for op in ("mul", "min") for dtype in ("f32", "i64", "u8") for axis in (0, 1)),
        *(reduce(f"{op}_bool_{axis}", [5, 2 * lanes + 3], [axis], op=op, dtype="bool")
          for op in ("and", "or", "max", "min") for axis in (0, 1)),
        *(reduce(f"{op}_of_nothing_{axis}", [3, 0][:: 1 if axis else -1], [axis], op=op)
          for op in ("mul", "max", "min") for axis in (0, 1)),
        *(reduce(f"{axes}_{x}", [2, lanes + 1, 3, 5], over, x=layouts[x], y=layouts[x])
          for x in layouts for axes, over in (("across", [3]), ("all", [0, 1, 2, 3]))),
        *(reduce(f"space_{x}_{c}", [2, c, 3, 5], [2, 3], x=layouts[x], y=layouts[x]) for x in layouts for c in (1, lanes, lanes + 1)),
        *(reduce(f"channels_{x}_{c}", [2, c, 3, 5], [1], x=layouts[x]) for x in layouts for c in (1, lanes, 2 * lanes + 1)),
        *(reduce(f"long_space_{x}", [2, lanes + 1, 9, 11], [2, 3], x=layouts[x], y=layouts[x]) for x in layouts),
        *(reduce(f"space_{x}_to_{y}", [2, lanes + 1, 3, 3], [2, 3], x=layouts[x], y=layouts[y])
          for x in layouts for y in layouts if x != y),
        *(reduce(f"{op}_{dtype}", [5, lanes + 3], [1], op=op, dtype=dtype) for op in ("argmax", "argmin") for dtype in NUMBERS),
        *(reduce(f"{op}_last_{axis}", [5, lanes + 3], [axis], op=op, last=True) for op in ("argmax", "argmin") for axis in (0, 1)),
        *(reduce(f"argmax_of_{n}", [3, n], [1], op="argmax") for n in wide),
        *(reduce(f"argmax_columns_{n}", [5, n], [0], op="argmax") for n in around(lanes)),
        *(reduce(f"argmax_{x}", [1, lanes + 1, 3, 3], [1], op="argmax", x=layouts[x]) for x in layouts),
        *(reduce(f"argmax_space_{x}", [2, lanes + 1, 1, 7], [3], op="argmax", x=layouts[x], y=layouts[x]) for x in layouts),
        *(reduce(f"{op}_over_n", [N, lanes + 1], [0], op=op) for op in ("add", "max", "argmax")),
        *(reduce(f"{op}_along_n", [2, N], [1], op=op, sizes=(1, 0, lanes, 2 * lanes, 4 * lanes + 1)) for op in ("add", "max", "argmin")),
        *(reduce(f"of_n_{x}", [N, lanes + 1, 2, 3], [2, 3], x=layouts[x], y=layouts[x]) for x in layouts),
        reduce("of_n_rows", [N, 2 * lanes + 3], [1]),
        *(window(f"{op}_{x}_{taps}x{taps}_stride_{s}", lanes + 1, 9, 9, taps, s, x=layouts[x], op=op)
          for op in ("max", "add") for x in layouts for taps, s in ((2, 2), (3, 1), (3, 2), (9, 1))),
        *(window(f"{op}_{c}_{x}", c, 5, 6, 3, 1, x=layouts[x], op=op) for op in ("max", "add") for c in (1, lanes) for x in layouts),
        *(window(f"add_width_{w}", lanes, 3, w, 3, 1, x=block, op="add") for w in (*range(3, 14), 19, 20, 21, 22)),
        *(window(f"{op}_{x}_to_{y}", lanes + 1, 5, 6, 3, 1, x=layouts[x], y=layouts[y], op=op)
          for op in ("max", "add") for x, y in (("planar", "blocked"), ("blocked", "planar"), ("half", "blocked"), ("blocked", "last"))),
        *(window(f"{op}_batch_{x}", lanes + 1, 5, 6, 3, 1, n=N, x=layouts[x], op=op) for op in ("max", "add") for x in layouts),
        *(window(f"max_n_wide_{x}", lanes + 1, 5, N, 3, 1, x=layouts[x]) for x in layouts),
        *(row(f"of_{n}", op, [3, n], [1]) for op in kinds for n in wide),
        *(row(f"of_{n}_kept", op, [3, n], [1], kept=True) for op in kinds for n in (1, lanes, 2 * lanes + 1)),
        *(row(f"columns_{n}", op, [5, n], [0]) for op in kinds for n in (1, lanes, lanes + 1)),
        *(row(f"channels_{x}{'_kept' if kept else ''}", op, [2, lanes + 1, 2, 3], [1], layout=layouts[x], kept=kept)
          for op in kinds for x in layouts for kept in (False, True)),
        *(row(f"{axes}_{x}", op, [2, lanes + 1, 2, 3], over, layout=layouts[x])
          for op in ("softmax", "layer_norm") for x in layouts for axes, over in (("space", [2, 3]), ("all", [1, 2, 3]), ("ends", [1, 3]))),
        *(row(f"f64_{n}", op, [3, n], [1], dtype="f64") for op in kinds for n in (1, lanes + 1)),
        *(within(one, [0, lanes, 1, 2]) for x in layouts for one in (
            reduce(f"across_{x}", [2, lanes, 3, 5], [3], x=layouts[x], y=layouts[x]),
            reduce(f"argmax_{x}_to_same", [2, lanes, 3, 5], [3], op="argmax", x=layouts[x], y=layouts[x]),
            window(f"max_{x}", lanes, 5, 6, 3, 1, x=layouts[x]),
            window(f"add_{x}", lanes, 5, 6, 3, 1, x=layouts[x], op="add"),
            *(row(f"channels_{x}_kept", op, [2, lanes, 2, 3], [1], layout=layouts[x], kept=True) for op in ("softmax", "layer_norm")),
            row(f"space_{x}_kept", "softmax", [2, lanes, 2, 3], [2, 3], layout=layouts[x], kept=True),
        )),
        *(within(row(f"of_{n}_kept_too", "softmax", [3, n], [1], kept=True), [1, 3]) for n in around(lanes)),
        *(within(reduce(f"columns_{n}", [9, n], [0]), [1, 3]) for n in around(lanes)),
        *(row("batch", op, [N, lanes + 1], [1]) for op in kinds),
        *(row("along_n", op, [2, N], [1], sizes=(1, 0, lanes - 1, lanes, 2 * lanes + 1)) for op in kinds),
        *(row("pitched", op, [3, lanes + 1], [1], layout=row_major(2, lanes)) for op in kinds),
    ]  # fmt: skip
