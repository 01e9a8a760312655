"""The slow NumPy interpreter that defines what a kernel means.

Buffers are flat arrays; reading or writing outside one is an error, so running a kernel here also checks its indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ingot.ir.index import Ix, evaluate
from ingot.ir.nodes import (
    DTYPES,
    Assign,
    Cast,
    Const,
    Define,
    Fold,
    For,
    If,
    Index,
    Iota,
    Kernel,
    Let,
    Load,
    Local,
    Op,
    Pack,
    Pick,
    Prefetch,
    Select,
    Shuffle,
    Splat,
    Stmt,
    Store,
    Text,
    Value,
)  # fmt: skip
from ingot.ir.ops import OPS

_FOLDS = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "and": np.logical_and,
    "or": np.logical_or,
}


def interpret(
    kernel: Kernel,
    buffers: Sequence[np.ndarray],
    symbols: Mapping[str, int],
    begin: int = 0,
    end: int | None = None,
) -> None:
    """Run tasks [begin, end) of a kernel on flat arrays, one for each of its buffers."""
    run = _Run(kernel, buffers, symbols)
    stop = evaluate(kernel.tasks, symbols) if end is None else end
    with np.errstate(all="ignore"):
        for task in range(begin, stop):
            run.indices = {kernel.task.name: task}
            run.block(kernel.body)


class _Run:
    def __init__(self, kernel: Kernel, buffers: Sequence[np.ndarray], symbols: Mapping[str, int]) -> None:
        self.buffers = {b.name: a for b, a in zip(kernel.buffers, buffers, strict=True)}
        self.buffers |= {s.name: np.empty(s.size, DTYPES[s.dtype]) for s in kernel.scratch}
        self.written = {b.name for b in kernel.buffers if b.written} | {s.name for s in kernel.scratch}
        self.symbols, self.indices = symbols, dict[str, int]()
        self.locals: dict[str, Any] = {}

    def block(self, body: Sequence[Stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, s: Stmt) -> None:
        if isinstance(s, Let | Assign):
            self.locals[s.local.name] = self.value(s.value)
        elif isinstance(s, Define):
            self.indices[s.var.name] = self.index(s.index)
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, Prefetch):
            self.index(s.index)
        elif isinstance(s, For):
            for i in range(self.index(s.start), self.index(s.stop), s.step):
                self.indices[s.var.name] = i
                self.block(s.body)
        else:
            assert isinstance(s, If)
            self.block(s.body if self.value(s.cond) else s.otherwise)

    def index(self, e: Ix) -> int:
        return evaluate(e, self.symbols, lambda v: int(self.value(v)), self.indices)  # type: ignore[arg-type]

    def places(self, buffer: str, index: Ix, lanes: int, stride: int, count: Ix | None) -> np.ndarray:
        real = lanes if count is None else max(min(self.index(count), lanes), 0)
        at = self.index(index) + stride * np.arange(real)
        size = self.buffers[buffer].size
        if real and (at.min() < 0 or at.max() >= size):
            raise IndexError(f"{buffer}[{at.min()}..{at.max()}] of {size}")
        return at

    def store(self, s: Store) -> None:
        assert s.buffer in self.written, f"{s.buffer} is read-only"
        lanes = s.value.lanes
        at = self.places(s.buffer, s.index, lanes, s.stride, s.count)
        if s.value.dtype == "str":
            self.buffers[s.buffer][at[0]] = self.value(s.value)
            return
        value = np.broadcast_to(np.asarray(self.value(s.value)), (lanes,))
        self.buffers[s.buffer][at] = value[: at.size]

    def text(self, v: Text) -> bytes:
        assert isinstance(v.at, Load)
        start, length, size = (
            self.index(v.at.index),
            int(self.value(v.length)),
            self.buffers[v.at.buffer].size,
        )
        if not 0 <= start <= start + length <= size:
            raise IndexError(f"{v.at.buffer}[{start}..{start + length}] of {size}")
        return bytes(self.buffers[v.at.buffer][start : start + length])

    def value(self, v: Value) -> Any:
        """A NumPy scalar, or an array of the value's lanes."""
        dtype = DTYPES[v.dtype]
        if isinstance(v, Local):
            return self.locals[v.name]
        if isinstance(v, Const):
            return v.value if v.dtype == "str" else dtype.type(v.value)
        if isinstance(v, Index):
            return np.int64(self.index(v.index))
        if isinstance(v, Load):
            at = self.places(v.buffer, v.index, v.lanes, v.stride, v.count)
            if v.lanes == 1:
                return self.buffers[v.buffer][at[0]]
            out = np.zeros(v.lanes, dtype)
            out[: at.size] = self.buffers[v.buffer][at]
            return out
        if isinstance(v, Splat):
            return np.resize(np.asarray(self.value(v.value), dtype), v.lanes)
        if isinstance(v, Op):
            made = OPS[v.name].compute(*(self.value(a) for a in v.args))
            return made if v.dtype == "str" else np.asarray(made).astype(dtype)[()]
        if isinstance(v, Text):
            return self.text(v)
        if isinstance(v, Cast):
            value = np.asarray(self.value(v.value))
            return (value.view(dtype) if v.bits else value.astype(dtype))[()]
        if isinstance(v, Select):
            if v.cond.lanes > 1:
                return np.where(self.value(v.cond), self.value(v.then), self.value(v.otherwise))
            return self.value(v.then) if self.value(v.cond) else self.value(v.otherwise)
        if isinstance(v, Pack):
            return np.array([self.value(i) for i in v.items], dtype)
        if isinstance(v, Iota):
            return self.index(v.base) + v.stride * np.arange(v.lanes)
        if isinstance(v, Fold):
            return _FOLDS[v.name].reduce(self.value(v.value)).astype(dtype)
        if isinstance(v, Shuffle):
            return np.concatenate([self.value(v.first), self.value(v.second)])[list(v.picks)]
        assert isinstance(v, Pick), v
        return self.value(v.value)[v.lane]
