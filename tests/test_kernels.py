"""Every kernel generator, over a table of shapes and layouts: what its kernel computes, interpreted and compiled to C.

Operations are made here, with the layouts that matter to their generator, and most compute with small integers: then
the interpreter, C and the plain NumPy formula must agree to the bit.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingot import toolchain
from ingot.compiler import FLAGS
from ingot.emit.c import Printer, source
from ingot.ir.index import Ix, Var, evaluate, ix, symbol, var
from ingot.ir.interpret import interpret
from ingot.ir.nodes import DTYPES, Acc, Const, Op, Read, Value
from ingot.ir.program import Dense, Fill, Map, MatMul, Operation, Recurrent, Reduce, Row, Tensor, identity
from ingot.ir.verify import verify_kernel
from ingot.kernels.builder import Packed
from ingot.kernels.select import GENERATORS, build
from ingot.kernels.tiles import choose, cut, most_rows
from ingot.kernels.winograd import matrices, transform_weight
from ingot.schedule.layout import Layout, blocked_by, row_major
from ingot.target import TARGETS, Target, cpu_features
from ingot.testing import CLOSE, Array, Level, assert_close, ulp

N = symbol("n")
Layouts = dict[Tensor, Layout]


@dataclass
class Kernel:
    """An operation to build a kernel for. inputs: the elements of each tensor it reads; wanted: those of its output."""

    name: str
    operation: Operation
    layouts: Layouts
    inputs: dict[Tensor, Array]
    wanted: Array
    symbols: dict[str, int] = field(default_factory=dict)
    level: Level = ulp(0)  # noqa: RUF009
    reduction: int = 1


def numbers(name: str, *shape: int, dtype: str = "f32") -> Array:
    rng = np.random.default_rng([len(name), *map(ord, name)])
    return rng.integers(-4, 5, shape).astype(DTYPES[dtype])


def tensor(name: str, shape: Sequence[int | Ix | Var], kind: str = "temp", dtype: str = "f32") -> Tensor:
    return Tensor(name, dtype, tuple(ix(d) for d in shape), kind)


def loops(stem: str, shape: Sequence[int | Ix | Var]) -> tuple[Var, ...]:
    return tuple(var(f"{stem}{i}", d) for i, d in enumerate(shape))


def physical(array: Array, layout: Layout, fill: float) -> Array:
    """The elements as a layout stores them; what only pads is `fill`."""
    order = [a for a in layout.order]
    moved = array.transpose(order)
    if layout.blocked is not None:
        at = order.index(layout.blocked)
        moved = _padded(moved, at, layout.block, fill)
        shape = [*moved.shape[:at], moved.shape[at] // layout.block, layout.block, *moved.shape[at + 1 :]]
        moved = np.moveaxis(moved.reshape(shape), at + 1, -1)
    elif layout.pitch > 1 and array.ndim:
        moved = _padded(moved, array.ndim - 1, layout.pitch, fill)
    return np.ascontiguousarray(moved).reshape(-1)


def logical(stored: Array, layout: Layout, shape: Sequence[int]) -> Array:
    """The elements back from where a layout stores them."""
    places = physical(np.arange(1, int(np.prod(shape)) + 1).reshape(shape), layout, 0)
    out = np.zeros(int(np.prod(shape)), stored.dtype)
    out[places[places > 0] - 1] = stored[: places.size][places > 0]
    return out.reshape(shape)


def _padded(array: Array, axis: int, multiple: int, fill: float) -> Array:
    width = [(0, -array.shape[axis] % multiple if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, width, constant_values=np.array(fill).astype(array.dtype))


PLANAR, NHWC = row_major(4), Layout((0, 2, 3, 1))


def by_channel(block: int) -> Layout:
    return blocked_by(4, 1, block)


def epilogue(kind: str, axes: tuple[Var, ...], k: int, layouts: Layouts, inputs: dict[Tensor, Array], y: Tensor,
             like: Layout) -> tuple[Value, Callable[[Array], Array]]:  # fmt: skip
    """(finish, the same in NumPy)"""
    acc: Value = Acc("f32")
    if kind == "plain":
        return acc, lambda v: v
    bias = tensor("bias", [k], "const")
    bias.data = inputs[bias] = numbers("bias", k)
    layouts[bias] = row_major(1)
    shape = [1, k, 1, 1] if len(axes) == 4 else [k]
    biased: Value = Op("add", (acc, Read(bias, (ix(axes[1] if len(axes) == 4 else axes[-1]),))), "f32")
    if kind == "bias":
        return biased, lambda v: v + inputs[bias].reshape(shape)
    other = replace(y, name="other", kind="temp")
    inputs[other] = numbers("other", *(evaluate(d, SIZES) for d in y.shape))
    layouts[other] = like
    added = Op("add", (biased, identity(other, axes)), "f32")
    return Op("max", (added, Const(0.0, "f32")), "f32"), lambda v: np.maximum(
        v + inputs[bias].reshape(shape) + inputs[other], 0
    )


SIZES = {"n": 3}
"""What the symbol is in every kernel that has it."""


def conv(
    name: str, *, n: int | Var = 1, c: int = 3, h: int = 4, w: int = 5, k: int = 8, taps: tuple[int, int] = (1, 1), stride: int = 1,
    x: Layout = PLANAR, y: Layout = PLANAR, finish: str = "plain", groups: int = 1, offset: int = 0,
) -> Kernel:  # fmt: skip
    """offset: channels of x before those that are read."""
    down, across = (h - taps[0]) // stride + 1, (w - taps[1]) // stride + 1
    source_tensor, made = tensor("x", [n, c + offset, h, w]), tensor("y", [n, k, down, across])
    axes, taps_vars, channel = loops("a", made.shape), loops("t", taps), var("c", c // groups)
    weight = numbers("weight", *taps, c // groups, k)
    layouts: Layouts = {source_tensor: x, made: y}
    data = numbers("x", evaluate(ix(n), SIZES), c + offset, h, w)
    inputs = {source_tensor: data}
    group = ix(axes[1]) // (k // groups) * (c // groups) if groups > 1 else ix(0)
    index = (
        ix(axes[0]),
        ix(channel) + group + offset,
        ix(axes[2]) * stride + ix(taps_vars[0]),
        ix(axes[3]) * stride + ix(taps_vars[1]),
    )
    done, plainly = epilogue(finish, axes, k, layouts, inputs, made, y)
    total = np.zeros((data.shape[0], k, down, across), np.float32)
    for g in range(groups):
        part = data[:, offset + g * (c // groups) : offset + (g + 1) * (c // groups)]
        features = slice(g * (k // groups), (g + 1) * (k // groups))
        for i in range(taps[0]):
            for j in range(taps[1]):
                window = part[:, :, i : i + down * stride : stride, j : j + across * stride : stride][
                    :, :, :down, :across
                ]
                total[:, features] += np.einsum("nchw,ck->nkhw", window, weight[i, j][:, features])
    operation = Dense(made, axes, done, 1, taps_vars, channel, source_tensor, index, weight)
    return Kernel(f"conv_{name}", operation, layouts, inputs, plainly(total))


def gemm(
    name: str, m: int | Var, k: int, n: int, *, y: Layout | None = None, finish: str = "plain"
) -> Kernel:
    x, made = tensor("x", [m, k]), tensor("y", [m, n])
    axes, channel = loops("a", made.shape), var("c", k)
    weight, data = numbers("weight", k, n), numbers("x", evaluate(ix(m), SIZES), k)
    layouts: Layouts = {x: row_major(2), made: y or row_major(2)}
    inputs = {x: data}
    done, plainly = epilogue(finish, axes, n, layouts, inputs, made, layouts[made])
    operation = Dense(made, axes, done, 1, (), channel, x, (ix(axes[0]), ix(channel)), weight)
    return Kernel(f"gemm_{name}", operation, layouts, inputs, plainly(data @ weight))


def matmul(
    name: str, m: int | Var, k: int, n: int, target: Target, *, batch: int = 1, transposed: bool = False
) -> Kernel:
    """transposed: a is stored as (k, m). b lies in rows of whole vectors, as the kernel wants it."""
    a = tensor("a", [batch, k, m] if transposed else [batch, m, k])
    b, made = tensor("b", [batch, k, n]), tensor("y", [batch, m, n])
    axes, over = loops("a", made.shape), var("k", k)
    layouts: Layouts = {a: row_major(3), b: row_major(3, target.lanes), made: row_major(3)}
    left, right = numbers("a", batch, evaluate(ix(m), SIZES), k), numbers("b", batch, k, n)
    at = (ix(axes[0]), ix(over), ix(axes[1])) if transposed else (ix(axes[0]), ix(axes[1]), ix(over))
    operation = MatMul(
        made, axes, Acc("f32"), over, Read(a, at), Read(b, (ix(axes[0]), ix(over), ix(axes[2])))
    )
    inputs = {a: left.swapaxes(1, 2).copy() if transposed else left, b: right}
    return Kernel(f"matmul_{name}", operation, layouts, inputs, left @ right)


def reduce(
    name: str, shape: Sequence[int | Var], over: Sequence[int], *, op: str = "add", x: Layout | None = None, y: Layout | None = None,
    dtype: str = "f32", last: bool = False,
) -> Kernel:  # fmt: skip
    """The reduced axes stay, of size 1."""
    given = tensor("x", shape, dtype=dtype)
    argument = op.startswith("arg")
    made = tensor(
        "y", [1 if i in over else d for i, d in enumerate(shape)], dtype="i64" if argument else dtype
    )
    axes = loops("a", made.shape)
    inner = {i: var(f"r{i}", shape[i]) for i in over}
    data = numbers("x", *(evaluate(ix(d), SIZES) for d in shape), dtype=dtype)
    if op in ("and", "or"):
        data = data > (-4 if op == "and" else 3)
    value = Read(given, tuple(ix(inner[i]) if i in over else ix(axes[i]) for i in range(len(shape))))
    plain: dict[str, Callable[..., Array]] = {
        "add": np.sum, "mul": np.prod, "max": np.max, "min": np.min, "and": np.all, "or": np.any, "argmax": np.argmax, "argmin": np.argmin,
    }  # fmt: skip
    axis: Any = over[0] if argument else tuple(over)
    if last:
        wanted = data.shape[axis] - 1 - plain[op](np.flip(data, axis), axis=axis, keepdims=True)
    else:
        wanted = plain[op](data, axis=axis, keepdims=True)
    operation = Reduce(made, axes, Acc(made.dtype), op, tuple(inner.values()), value, last)
    layouts: Layouts = {given: x or row_major(len(shape)), made: y or row_major(len(shape))}
    return Kernel(f"reduce_{name}", operation, layouts, {given: data}, wanted.astype(DTYPES[made.dtype]))


def window(
    name: str,
    c: int,
    h: int,
    w: int,
    taps: int,
    stride: int,
    *,
    x: Layout = PLANAR,
    y: Layout = PLANAR,
    op: str = "max",
) -> Kernel:
    """Pooling, or with "add" a depthwise convolution by weights of the layout of x."""
    down, across = (h - taps) // stride + 1, (w - taps) // stride + 1
    given, made = tensor("x", [1, c, h, w]), tensor("y", [1, c, down, across])
    axes, inner = loops("a", made.shape), loops("t", [taps, taps])
    data = numbers("x", 1, c, h, w)
    at = (ix(axes[0]), ix(axes[1]), ix(axes[2]) * stride + ix(inner[0]), ix(axes[3]) * stride + ix(inner[1]))
    value: Value = Read(given, at)
    layouts, inputs = {given: x, made: y}, {given: data}
    windows = np.lib.stride_tricks.sliding_window_view(data, (taps, taps), (2, 3))[:, :, ::stride, ::stride]
    if op == "add":
        factors = tensor("factors", [taps, taps, c], "const")
        factors.data = inputs[factors] = numbers("factors", taps, taps, c)
        layouts[factors] = row_major(3)
        value = Op("mul", (value, Read(factors, (ix(inner[0]), ix(inner[1]), ix(axes[1])))), "f32")
        wanted = np.einsum("nchwij,ijc->nchw", windows, inputs[factors])
    else:
        wanted = windows.max((-1, -2))
    return Kernel(f"window_{name}", Reduce(made, axes, Acc("f32"), op, inner, value), layouts, inputs, wanted)


def row(
    name: str,
    op: str,
    shape: Sequence[int | Var],
    over: Sequence[int],
    *,
    layout: Layout | None = None,
    scaled: bool = False,
) -> Kernel:
    """scaled: the value is computed, not only read, so that the kernel has to keep it."""
    given, made = tensor("x", shape), tensor("y", shape)
    axes = loops("a", shape)
    data = numbers("x", *(evaluate(ix(d), SIZES) for d in shape))
    value: Value = identity(given, axes)
    scale = 0.5 if scaled else 1.0
    if scaled:
        value = Op("mul", (value, Const(scale, "f32")), "f32")
    x = data.astype(np.float64) * scale
    axis = tuple(over)
    shifted = x - x.max(axis, keepdims=True)
    total = np.exp(shifted).sum(axis, keepdims=True)
    plain = {
        "softmax": lambda: np.exp(shifted) / total,
        "log_softmax": lambda: shifted - np.log(total),
        "layer_norm": lambda: (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 0.125),
        "rms_norm": lambda: x / np.sqrt((x * x).mean(axis, keepdims=True) + 0.125),
    }
    length = int(np.prod([data.shape[i] for i in over]))
    operation = Row(made, axes, Acc("f32"), op, tuple(axes[i] for i in over), value, 0.125)
    layouts: Layouts = {given: layout or row_major(len(shape)), made: layout or row_major(len(shape))}
    return Kernel(
        f"row_{op}_{name}",
        operation,
        layouts,
        {given: data},
        plain[op]().astype(np.float32),
        level=CLOSE,
        reduction=4 * length,
    )


def elementwise(name: str, shape: Sequence[int | Var], *, x: Layout | None = None, y: Layout | None = None, dtype: str = "f32",
                perm: Sequence[int] | None = None) -> Kernel:  # fmt: skip
    """y = x + x at the transposed place, row-major unless layouts are given."""
    order = list(perm or range(len(shape)))
    given, made = tensor("x", shape, dtype=dtype), tensor("y", [shape[p] for p in order], dtype=dtype)
    axes = loops("a", made.shape)
    data = numbers("x", *(evaluate(ix(d), SIZES) for d in shape), dtype=dtype)
    read = Read(given, tuple(ix(axes[order.index(i)]) for i in range(len(shape))))
    layouts: Layouts = {given: x or row_major(len(shape)), made: y or row_major(len(shape))}
    operation = Map(made, axes, Op("add", (read, read), dtype))
    return Kernel(f"map_{name}", operation, layouts, {given: data}, (data + data).transpose(order))


def fill(name: str, shape: Sequence[int | Var], pads: Sequence[tuple[int, int]], layout: Layout) -> Kernel:
    """The border of a padded tensor; what lies inside keeps what it held."""
    whole = tensor("whole", [ix(d) + a + b for d, (a, b) in zip(shape, pads, strict=True)])
    inner = Tensor("inner", "f32", tuple(ix(d) for d in shape), region=(whole, tuple(ix(a) for a, _ in pads)))
    sizes = [evaluate(ix(d), SIZES) for d in shape]
    wanted = np.pad(np.full(sizes, UNTOUCHED, np.float32), pads, constant_values=7)
    operation = Fill(whole, loops("a", whole.shape), Const(7.0, "f32"), inner)
    return Kernel(f"fill_{name}", operation, {whole: layout}, {}, wanted)


UNTOUCHED = -77.0
"""What every output holds before the kernel runs."""


def recurrent(
    name: str,
    kind: str,
    hidden: int,
    *,
    steps: int = 3,
    batch: int = 2,
    reverse: bool = False,
    linear: bool = False,
) -> Kernel:
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    x, y = tensor("x", [steps, batch, gates * hidden]), tensor("y", [steps, batch, hidden])
    states = tuple(tensor(f"s{i}", [batch, hidden]) for i in range(2 if kind == "lstm" else 1))
    scratch = 2 if kind == "gru" and not linear else 0
    last = tuple(tensor(f"l{i}", [batch, hidden]) for i in range(len(states) + scratch))
    inputs = {x: numbers("x", steps, batch, gates * hidden) / np.float32(4)}
    inputs |= {s: numbers(s.name, batch, hidden) / np.float32(8) for s in states}
    weight = numbers("weight", gates, hidden, hidden) / np.float32(4 * hidden)
    bias = numbers("bias", hidden) / np.float32(4) if linear else None
    activations = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}[kind]
    operation = Recurrent(
        y, loops("a", y.shape), Acc("f32"), kind, x, states, last, weight, bias, reverse, activations, linear
    )
    layouts = {t: row_major(t.rank) for t in (x, y, *states, *last)}
    h = inputs[states[0]].astype(np.float64)
    c = inputs[states[1]].astype(np.float64) if kind == "lstm" else h
    wanted = np.zeros((steps, batch, hidden))

    def sigmoid(v: Array) -> Array:
        return 1 / (1 + np.exp(-v))

    for t in reversed(range(steps)) if reverse else range(steps):
        given = inputs[x][t].astype(np.float64).reshape(batch, gates, hidden)
        held = np.einsum("bf,gft->bgt", h, weight.astype(np.float64))
        if kind == "lstm":
            i, o, f, g = (given[:, j] + held[:, j] for j in range(4))
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "gru":
            z, r = (sigmoid(given[:, j] + held[:, j]) for j in range(2))
            if linear:
                new = np.tanh(given[:, 2] + r * (held[:, 2] + bias))
            else:
                new = np.tanh(given[:, 2] + (r * h) @ weight[2].astype(np.float64))
            h = (1 - z) * new + z * h
        else:
            h = np.tanh(given[:, 0] + held[:, 0])
        wanted[t] = h
    return Kernel(
        f"{kind}_{name}",
        operation,
        layouts,
        inputs,
        wanted.astype(np.float32),
        level=CLOSE,
        reduction=8 * hidden,
    )


def table(target: Target) -> list[Kernel]:
    """Every generator around its widths: lanes - 1, lanes, lanes + 1 and the tiles' edges. Some coincide for few lanes."""
    lanes = target.lanes
    block = by_channel(lanes)
    around = sorted({1, 2, 3, 5, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 33})
    half = by_channel(max(lanes // 2, 4))
    found = [conv(f"features_{k}", k=k) for k in around]
    found += [conv(f"features_{k}_blocked", k=k, y=block) for k in around]
    found += [
        conv(f"channels_{c}_{label}", c=c, x=x, y=block)
        for c in around
        for label, x in (("planar", PLANAR), ("blocked", block), ("nhwc", NHWC))
    ]
    found += [conv(f"width_{w}", w=w, h=2, k=2 * lanes + 1, y=block) for w in (*range(1, 19), 27, 35)]
    found += [conv(f"3x3_{label}_stride_{s}", taps=(3, 3), h=7, w=8, c=5, k=lanes + 1, stride=s, x=x, y=y)
              for s in (1, 2) for label, x, y in (("planar", PLANAR, PLANAR), ("mixed", PLANAR, block), ("blocked", block, block), ("half", block, half),
                                                  ("nhwc", NHWC, block))]  # fmt: skip
    found += [
        conv(f"{finish}_{label}", k=lanes + 3, y=y, finish=finish)
        for finish in ("bias", "residual")
        for label, y in (("planar", PLANAR), ("blocked", block))
    ]
    found += [conv(f"groups_{g}_of_{k // g}", c=4 * g, k=k, groups=g, taps=(3, 1), y=y, x=block)
              for g, k, y in ((2, 2 * lanes, block), (2, 4 * lanes, block), (2, 8, block), (4, 16, block), (3, 24, PLANAR), (2, 8 * lanes, block))]  # fmt: skip
    found += [
        conv(f"channels_from_{o}", c=lanes, offset=o, x=block, y=block) for o in (1, 4, lanes - 1, lanes)
    ]
    found += [
        conv("batch", n=N, k=lanes + 1, y=block),
        conv("batch_3x3", n=N, taps=(3, 3), c=5, h=5, x=block, y=block),
    ]
    found += [gemm(f"rows_{m}", m, 5, lanes + 3) for m in (1, 2, 3, 5, 6, 7, 13, 14, 15, 25, 29, 31)]
    found += [gemm(f"features_{n}_{f}", 3, 5, n, finish=f) for n in around for f in ("plain", "residual")]
    found += [gemm(f"steps_{k}", 2, k, 9) for k in (1, 2, 3, 4, 5, 17, 64)]
    found += [
        gemm("features_blocked", 7, 5, 2 * lanes + 1, y=blocked_by(2, 1, lanes)),
        gemm("many_rows", N, 5, lanes + 1),
    ]
    found += [matmul(f"columns_{n}", 3, 5, n, target) for n in around]
    found += [matmul(f"rows_{m}", m, 5, 2 * lanes + 1, target) for m in (1, 2, 5, 6, 7, 13, 14, 15, 29)]
    found += [matmul(f"steps_{k}", 3, k, lanes, target) for k in (1, 2, 3, 16)]
    found += [
        matmul("transposed", 5, 7, lanes + 1, target, batch=2, transposed=True),
        matmul("some_rows", N, 5, lanes + 1, target),
    ]
    found += [reduce(f"rows_of_{n}", [3, n], [1]) for n in (*around, 4 * lanes + 3)]
    found += [reduce(f"columns_{n}", [9, n], [0]) for n in around]
    found += [
        reduce(f"space_{label}", [2, lanes + 1, 3, 5], [2, 3], x=x, y=x)
        for label, x in (("planar", PLANAR), ("blocked", block))
    ]
    found += [
        reduce(f"channels_{label}", [1, lanes + 1, 3, 5], [1], x=x)
        for label, x in (("planar", PLANAR), ("blocked", block))
    ]
    found += [
        reduce(f"long_{label}", [2, 3, 9, 11], [2, 3], x=x, y=x)
        for label, x in (("planar", PLANAR), ("blocked", block))
    ]
    found += [
        reduce(f"{op}_{axis}", [4, lanes + 3], [axis], op=op)
        for op in ("max", "min", "mul")
        for axis in (0, 1)
    ]
    found += [
        reduce(f"{op}_{axis}", [4, 2 * lanes + 3], [axis], op=op, dtype="bool")
        for op in ("and", "or")
        for axis in (0, 1)
    ]
    found += [
        reduce(f"{op}_{dtype}", [3, 2 * lanes + 3], [1], op=op, dtype=dtype)
        for op in ("add", "max")
        for dtype in ("i64", "i32", "f64")
    ]
    found += [reduce(f"{op}_{axis}_{'last' if last else 'first'}", [5, lanes + 3], [axis], op=op, last=last)
              for op in ("argmax", "argmin") for axis in (0, 1) for last in (False, True)]  # fmt: skip
    found += [reduce("argmax_blocked", [1, lanes + 1, 3, 3], [1], op="argmax", x=block)]
    found += [reduce("over_batch", [N, lanes + 1], [0]), reduce("of_batch", [N, lanes + 1], [1])]
    found += [window(f"{op}_{c}_{label}_{taps}x{taps}_stride_{s}", c, 9, 9, taps, s, x=x, y=x, op=op)
              for op in ("max", "add") for c in (1, lanes, lanes + 1) for label, x in (("planar", PLANAR), ("blocked", block))
              for taps, s in ((2, 2), (3, 1), (3, 2), (9, 1))]  # fmt: skip
    found += [row(f"of_{n}{'_kept' if scaled else ''}", op, [3, n], [1], scaled=scaled)
              for op in ("softmax", "log_softmax", "layer_norm", "rms_norm") for n in (1, 3, lanes - 1, lanes, lanes + 1, 2 * lanes + 1)
              for scaled in (False, True)]  # fmt: skip
    found += [row(f"columns_{n}", "softmax", [5, n], [0]) for n in around]
    found += [row(f"channels_{label}", op, [2, lanes + 1, 2, 3], [1], layout=x, scaled=scaled) for op in ("softmax", "layer_norm")
              for label, x, scaled in (("planar", PLANAR, False), ("blocked", block, False), ("blocked_kept", block, True))]  # fmt: skip
    found += [
        row(f"space_{label}", "layer_norm", [2, lanes + 1, 2, 3], [2, 3], layout=x)
        for label, x in (("planar", PLANAR), ("blocked", block))
    ]
    found += [row("batch", "softmax", [N, lanes + 1], [1]), row("length", "layer_norm", [2, N], [1])]
    found += [elementwise(f"of_{n}", [n]) for n in (*around, 100)]
    found += [
        elementwise(f"rows_of_{n}_{dtype}", [3, n], dtype=dtype)
        for n in (lanes - 1, lanes, lanes + 1)
        for dtype in ("f64", "i64", "i32", "u8", "f16")
    ]
    found += [elementwise(f"transposed_{n}", [n, lanes + 1], perm=[1, 0]) for n in (1, 3, lanes, lanes + 1)]
    found += [elementwise("batch", [N, 7]), elementwise("long", [N, 5000])]
    found += [elementwise(f"from_{a}_to_{b}", [2, lanes + 1, 3, 4], x=x, y=y)
              for a, x in (("planar", PLANAR), ("blocked", block), ("half", half), ("nhwc", NHWC))
              for b, y in (("planar", PLANAR), ("blocked", block), ("half", half), ("nhwc", NHWC))]  # fmt: skip
    found += [elementwise("nhwc_of_blocked", [1, lanes + 1, 3, 4], x=block, perm=[0, 2, 3, 1])]
    for label, layout in (("planar", PLANAR), ("blocked", block)):
        found += [fill(f"around_{label}", [2, lanes + 1, 3, 4], [(0, 0), (0, 0), (1, 1), (1, 1)], layout),
                  fill(f"uneven_{label}", [1, 3, 3, 4], [(0, 0), (0, 0), (0, 2), (3, 0)], layout),
                  fill(f"one_side_{label}", [1, lanes, 3, 4], [(0, 0), (0, 0), (0, 1), (0, 0)], layout),
                  fill(f"batch_{label}", [N, 3, 3, 4], [(0, 0), (0, 0), (1, 1), (0, 0)], layout)]  # fmt: skip
    found += [
        fill("channels", [1, 3, 2, 2], [(0, 0), (1, 2), (0, 0), (0, 0)], PLANAR),
        fill("all_axes", [2, 3], [(1, 1), (2, 1)], row_major(2)),
    ]
    found += [
        recurrent(f"{h}", kind, h)
        for kind in ("lstm", "gru", "rnn")
        for h in (1, 4, lanes - 1, lanes, lanes + 1, 2 * lanes)
    ]
    found += [recurrent(f"linear_{h}", "gru", h, linear=True) for h in (3, lanes, lanes + 1)]
    found += [recurrent("reversed", kind, 5, reverse=True) for kind in ("lstm", "gru", "rnn")]
    return list({case.name: case for case in found}.values())


@cache
def kernels(target: str) -> list[Kernel]:
    return table(TARGETS[target])


def storage(case: Kernel, given: Tensor) -> Array:
    """The buffer of a tensor before the kernel runs; padding holds NaN where nobody may look at it."""
    layout = case.layouts[given]
    if given in case.inputs:
        stored = physical(case.inputs[given], layout, float("nan") if DTYPES[given.dtype].kind == "f" else 85)
        return (
            np.concatenate([stored, np.full(64 // stored.itemsize, stored[-1])])
            if given.kind == "const"
            else stored
        )
    size = evaluate(layout.size(given.shape), SIZES)
    return np.full(size, UNTOUCHED if DTYPES[given.dtype].kind == "f" else 85, DTYPES[given.dtype])


@dataclass
class Ran:
    """The output of a kernel, as its layout stores it and as a tensor."""

    stored: Array
    output: Array


def run(case: Kernel, target: Target, execute: Callable[[Any, list[Array]], None]) -> Ran:
    built = build(case.operation, case.layouts, target)
    buffers: dict[Tensor, Array] = {}
    arguments = []
    for argument in built.arguments:
        if isinstance(argument, Packed):
            arguments.append(np.ascontiguousarray(argument.data).reshape(-1))
        else:
            if argument.root not in buffers:
                buffers[argument.root] = storage(case, argument.root)
            arguments.append(buffers[argument.root][argument.start :])
    execute(built.kernel, arguments)
    made = case.operation.output
    return Ran(buffers[made], logical(buffers[made], case.layouts[made], case.wanted.shape))


@cache
def interpreted(target: str) -> list[Ran | str]:
    """Every kernel of the table interpreted, or why that failed."""
    results: list[Ran | str] = []
    for case in kernels(target):

        def execute(kernel: Any, arguments: list[Array]) -> None:
            verify_kernel(kernel)
            interpret(kernel, arguments, SIZES)

        try:
            results.append(run(case, TARGETS[target], execute))
        except Exception as error:
            results.append(f"{type(error).__name__}: {error}")
    return results


@cache
def compiled(target: str) -> ctypes.CDLL:
    """All kernels of the table in one library, under their names."""
    chosen = TARGETS[target]
    sources = {}
    cases = kernels(target)
    for at in range(0, len(cases), 40):
        texts, used = [], dict[str, None]()
        for case in cases[at : at + 40]:
            printer = Printer(build(case.operation, case.layouts, chosen).kernel, list(SIZES))
            texts.append(f'__attribute__((visibility("default"))) {printer.function(case.name)}')
            used |= printer.used
        sources[f"kernels_{at}.c"] = source(chosen.isa, texts, used)
    compiler = toolchain.find_compiler()
    flags = [*FLAGS, *chosen.flags]
    output = Path(tempfile.mkdtemp(prefix="ingot-kernels-")) / f"libkernels_{target}.so"
    toolchain.link_shared(compiler, toolchain.compile_objects(compiler, sources, flags), output, flags)
    return ctypes.CDLL(str(output))


def failures(target: str, check: Callable[[Kernel, Ran], None]) -> list[str]:
    wrong = []
    for case, ran in zip(kernels(target), interpreted(target), strict=True):
        try:
            assert isinstance(ran, Ran), ran
            check(case, ran)
        except AssertionError as error:
            wrong.append(f"{case.name}: {str(error).splitlines()[0]}")
    return wrong


@pytest.mark.parametrize("target", TARGETS)
def test_the_interpreter_computes_what_the_operation_says(target: str) -> None:
    def check(case: Kernel, ran: Ran) -> None:
        assert_close(ran.output, case.wanted, case.level, reduction=case.reduction)

    wrong = failures(target, check)
    assert not wrong, f"{len(wrong)} of {len(kernels(target))}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("target", TARGETS)
def test_c_computes_what_the_interpreter_does(target: str) -> None:
    if not TARGETS[target].cpu_flags <= cpu_features():
        pytest.skip(f"this machine cannot run {target}")
    library = compiled(target)
    sizes = np.array(list(SIZES.values()), np.int64)

    def check(case: Kernel, ran: Ran) -> None:
        def execute(kernel: Any, arguments: list[Array]) -> None:
            pointers = (ctypes.c_void_p * len(arguments))(*(a.ctypes.data for a in arguments))
            tasks = evaluate(kernel.tasks, SIZES)
            for first, last in ((0, tasks // 2), (tasks // 2, tasks)):
                getattr(library, case.name)(
                    pointers, ctypes.c_void_p(sizes.ctypes.data), ctypes.c_int64(first), ctypes.c_int64(last)
                )

        got = run(case, TARGETS[target], execute)
        assert_close(got.output, case.wanted, case.level, reduction=case.reduction)
        assert_close(got.stored, ran.stored, case.level, reduction=case.reduction)

    wrong = failures(target, check)
    assert not wrong, f"{len(wrong)} of {len(kernels(target))}:\n" + "\n".join(wrong)


def test_every_generator_is_in_the_table() -> None:
    here = {type(case.operation) for case in kernels("generic")}
    elsewhere = {"WinogradInput", "WinogradOutput", "Attention"}
    assert {g.__name__ for g in GENERATORS} == {t.__name__ for t in here} | elsewhere


@pytest.mark.parametrize("extent", [0, 1, 2, 5, 6, 7, 13, 14, 15, 27, 28, 100])
@pytest.mark.parametrize("most", [1, 3, 6, 14])
def test_tiles_cover_an_extent_once(extent: int, most: int) -> None:
    n = symbol("n")
    for runs in (cut(ix(extent), most), cut(ix(n), most)):
        covered = []
        for part in runs:
            start, count = evaluate(part.start, {"n": extent}), evaluate(part.count, {"n": extent})
            assert part.size <= most
            covered += range(start, start + count * part.size)
        assert covered == list(range(extent))


@pytest.mark.parametrize("target", TARGETS)
def test_tiles_fit_the_registers(target: str) -> None:
    chosen = TARGETS[target]
    for vectors in range(1, 9):
        for rows, columns in ((1, 1), (7, 7), (56, 56), (1, 200), (14, 1)):
            tile = choose(chosen, ix(rows), ix(columns), vectors, False)
            assert tile.vectors <= vectors
            assert tile.rows * tile.columns <= most_rows(chosen, tile.vectors)


@pytest.mark.parametrize("m", [2, 4, 6])
def test_winograd_is_a_convolution(m: int) -> None:
    at, g, bt = (np.array(matrix, np.float64) for matrix in matrices(m))
    data, taps = np.arange(m + 2.0) * 3 % 7 - 3, np.array([2.0, -3.0, 5.0])
    assert_close(at @ ((g @ taps) * (bt @ data)), np.convolve(data, taps[::-1], "valid"), CLOSE, reduction=64)
    weight = numbers("w", 3, 3, 2, 5)
    moved = transform_weight(weight, m)
    assert moved.shape == ((m + 2) ** 2, 2, 5)
    wanted = np.einsum("ai,bj,ijcf->abcf", g, g, weight).reshape(moved.shape)
    assert_close(moved, wanted.astype(np.float32), ulp(1))
