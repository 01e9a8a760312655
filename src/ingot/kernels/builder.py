"""What every kernel generator builds with: buffers, loops, and values turned from logical reads into vector loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ingot.ir.index import Ix, IxLike, Var, ix, less, nonnegative, product, substitute, var
from ingot.ir.nodes import (
    DTYPES,
    NAMES,
    STORED,
    Acc,
    Assign,
    Buffer,
    Cast,
    Const,
    Define,
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
    Read,
    Scratch,
    Select,
    Shuffle,
    Splat,
    Stmt,
    Store,
    Text,
    Value,
    as_index,
    data_of,
    reindex,
    stored,
    value_variables,
    walk,
)
from ingot.ir.program import Tensor
from ingot.kernels.choice import Candidate
from ingot.schedule.layout import Layout
from ingot.target import Target

T = TypeVar("T")
SPARE = 64
"""Bytes after a constant that may be read."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A constant in the order that one kernel wants it."""

    name: str
    data: np.ndarray


@dataclass(frozen=True)
class View:
    """A tensor's storage from an element on, where a region of it starts: kernels of equal regions are then equal."""

    root: Tensor
    start: int


Argument = View | Packed


@dataclass
class Built:
    """A kernel and the storage or packed constants that its buffers stand for.

    candidates: what its generator could have built, the default first; empty where it had no choice.
    """

    kernel: Kernel
    arguments: list[Argument]
    candidates: Sequence[Candidate[Any]] = ()


@dataclass
class Lane:
    """The vector axis: `var` takes `lanes` consecutive values; count, where given, says how many are real."""

    var: Var
    lanes: int
    count: Ix | None = None


@dataclass
class Builder:
    """Collects the statements of one kernel. wanted: the name of the candidate to build where there is a choice. ahead: how
    many bytes of weights before their use a kernel asks for them; 0 where it need not."""

    target: Target
    layouts: Mapping[Tensor, Layout]
    wanted: str | None = None
    ahead: int = 0
    candidates: Sequence[Candidate[Any]] = ()
    arguments: list[Argument] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    scratch: list[Scratch] = field(default_factory=list)
    _stack: list[list[Stmt]] = field(default_factory=lambda: [[]])
    _count: int = 0

    def choose(self, candidates: Sequence[Candidate[T]]) -> T:
        """The candidate that is wanted, or else the first, which has to be the default."""
        self.candidates = candidates
        return next((c for c in candidates if c.name == self.wanted), candidates[0]).value

    def fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def buffer(self, argument: Argument, written: bool = False) -> str:
        """The parameter that stands for a tensor's storage or a packed constant."""
        for i, known in enumerate(self.arguments):
            if known == argument:
                if written and not self.buffers[i].written:
                    self.buffers[i] = replace(self.buffers[i], written=True)
                return self.buffers[i].name
        name = f"b{len(self.buffers)}"
        if isinstance(argument, Packed):
            note = f"{argument.name} {list(argument.data.shape)}"
            dtype = NAMES[argument.data.dtype]
        else:
            root = argument.root
            note = f"[{', '.join(map(str, root.shape))}] order {self.layouts[root].describe()}"
            dtype = root.dtype
        self.arguments.append(argument)
        self.buffers.append(Buffer(name, dtype, written, note))
        return name

    def array(self, dtype: str, size: int) -> str:
        """The kernel's own array of a dtype, which holds at least so many elements."""
        for i, made in enumerate(self.scratch):
            if made.dtype == dtype:
                self.scratch[i] = replace(made, size=max(size, made.size))
                return made.name
        self.scratch.append(Scratch(f"t{len(self.scratch)}", dtype, size))
        return self.scratch[-1].name

    def flat(self, tensor: Tensor, index: Sequence[IxLike]) -> tuple[Tensor, Ix]:
        """The storage of a tensor and the offset of an element in it."""
        root, origin = tensor.root()
        at = [ix(i) + o for i, o in zip(index, origin, strict=True)]
        return root, self.layouts[root].offset(at, root.shape)

    def place(self, tensor: Tensor, index: Sequence[Ix], written: bool = False) -> tuple[str, Ix]:
        """The buffer of a tensor and the offset of an element in it."""
        root, origin = tensor.root()
        layout = self.layouts[root]
        start = 0 if root is tensor else layout.linear_offset(origin, root.shape)
        if start is None:
            return self.buffer(View(root, 0), written), self.flat(tensor, index)[1]
        return self.buffer(View(root, start), written), layout.offset(index, root.shape)

    def overruns(self, value: Value, lane: Lane) -> bool:
        """Whether some read of a value would leave its tensor's storage in lanes that only pad the last vector."""
        for node in walk(value):
            if not isinstance(node, Read):
                continue
            if any(data_of(i) for i in node.index):
                return True
            root, flat = self.flat(node.tensor, node.index)
            if lane.var not in flat.variables():
                continue
            split = flat.split(lane.var)
            layout = self.layouts[root]
            padded = layout.blocked is not None and layout.block % lane.lanes == 0
            spare = root.kind == "const" and (lane.lanes - 1) * DTYPES[root.dtype].itemsize <= SPARE
            if split is None or split[0] != 1 or not (padded or spare):
                return True
        return False

    def emit(self, statement: Stmt) -> None:
        self._stack[-1].append(statement)

    @contextmanager
    def block(self) -> Iterator[list[Stmt]]:
        """Statements emitted inside go to the list instead."""
        body: list[Stmt] = []
        self._stack.append(body)
        try:
            yield body
        finally:
            self._stack.pop()

    @contextmanager
    def loop(
        self, extent: IxLike, *, stop: Ix | None = None, start: IxLike = 0, step: int = 1, unroll: int = 0
    ) -> Iterator[Var]:
        """A serial loop over [start, stop); the variable's values are below extent. One iteration makes no loop."""
        extent = ix(extent)
        end = extent if stop is None else stop
        counter = var(self.fresh("i"), extent)
        with self.block() as body:
            yield counter
        if ix(start).is_const and (end - ix(start)).is_const and 0 < (end - ix(start)).value <= step:
            self.emit(Define(counter, ix(start)))
            for statement in body:
                self.emit(statement)
            return
        self.emit(For(counter, end, tuple(body), ix(start), step, unroll))

    @contextmanager
    def when(self, cond: Value) -> Iterator[None]:
        with self.block() as body:
            yield
        self.emit(If(cond, tuple(body)))

    def define(self, index: Ix, extent: IxLike | None = None) -> Var:
        """Name an integer."""
        variable = (
            var(self.fresh("o"), ix(extent)) if extent is not None else Var(self.fresh("o"), ix(1 << 60))
        )
        self.emit(Define(variable, index))
        return variable

    def let(self, value: Value, stem: str = "v") -> Local:
        """Bind a value to a local."""
        local = Local(self.fresh(stem), value.dtype, value.lanes)
        self.emit(Let(local, value))
        return local

    def assign(self, local: Local, value: Value) -> None:
        self.emit(Assign(local, value))

    def value(
        self,
        value: Value,
        mapping: Mapping[Var, Ix],
        lane: Lane | None = None,
        acc: Value | None = None,
        memo: dict[Value, Value] | None = None,
        inline: bool = False,
    ) -> Value:
        """A logical value at the loop variables of `mapping`, with the lane's variable spread over a vector.

        Reads become loads; an Acc becomes `acc`; shared parts are computed once. memo may be kept between calls whose
        code stands in the same block. inline: as one expression, without locals.
        """
        return _Lowering(self, lane, acc, {} if memo is None else memo).visit(
            reindex(value, dict(mapping)), inline
        )

    def splat(self, value: Value, lanes: int) -> Value:
        return value if value.lanes == lanes else Splat(value, lanes)

    def store(
        self,
        tensor: Tensor,
        index: Sequence[IxLike],
        mapping: Mapping[Var, Ix],
        lane: Lane | None,
        value: Value,
    ) -> None:
        """Write a value, which may already be as the tensor keeps it, to a tensor at a logical index."""
        name, offset = self.place(tensor, [substitute(ix(i), mapping) for i in index], written=True)
        if lane is None:
            self.emit(Store(name, offset, stored(value, tensor.dtype)))
            return
        value = stored(self.splat(value, lane.lanes), tensor.dtype)
        split = offset.split(lane.var)
        if split is not None and split[0] >= 1:
            self.emit(Store(name, split[1], value, split[0], lane.count))
            return
        found = pattern(offset, lane) if lane.count is None else None
        if found is not None and found[1] == tuple(range(lane.lanes)):
            self.emit(Store(name, found[0], value))
            return
        local = self.let(value)
        for i in range(lane.lanes):
            one = Store(name, substitute(offset, {lane.var: ix(i)}), Pick(local, i))
            if lane.count is None:
                self.emit(one)
            else:
                self.emit(If(Op("gt", (Index(lane.count), Const(i, "i64")), "bool"), (one,)))

    def turn(self, vectors: Sequence[Value]) -> list[Local]:
        """The transpose of as many vectors as each has lanes, a power of two."""
        n = len(vectors)
        halves = [[i // 2 + (n if i % 2 else 0) + start for i in range(n)] for start in (0, n // 2)]
        rows = [self.let(v) for v in vectors]
        for _ in range(n.bit_length() - 1):
            pairs = [(rows[i], rows[i + n // 2]) for i in range(n // 2)]
            rows = [self.let(Shuffle(a, b, tuple(half))) for a, b in pairs for half in halves]
        return rows

    def finish(self, name: str, task: Var, tasks: Ix, work: float, wave: Ix | None = None) -> Built:
        """The kernel of everything emitted."""
        (body,) = self._stack
        symbols = sorted({v.name for v in _all_variables(body) | tasks.variables() if v.is_symbol})
        buffers, scratch = tuple(self.buffers), tuple(self.scratch)
        kernel = Kernel(name, buffers, tuple(symbols), task, tasks, tuple(body), work, wave, scratch)
        return Built(kernel, self.arguments, self.candidates)

    def tasks(self, loops: Sequence[tuple[Var, Ix]]) -> tuple[Var, Ix]:
        """Spread outer loops over the kernel's tasks: defines their variables from the task number."""
        total = product(extent for _, extent in loops)
        task = var("task", total)
        for i, (variable, extent) in enumerate(loops):
            at = ix(task) // product(e for _, e in loops[i + 1 :]) if total != ix(0) else total
            self.emit(Define(variable, at % extent if i and at != ix(0) else at))
        return task, total

    def fresh_var(self, extent: IxLike) -> Var:
        return var(self.fresh("i"), extent)


@cache
def packed_strings(tensor: Tensor) -> tuple[Packed, Packed]:
    """The bytes of all strings of a constant, and where each begins, the end of the last one behind it."""
    assert tensor.data is not None
    words = tensor.data.reshape(-1)
    ends = np.cumsum([0, *map(len, words)], dtype=np.int64)
    letters = np.frombuffer(b"".join(words) or bytes(1), np.uint8)
    return Packed(f"{tensor.name} letters", letters), Packed(f"{tensor.name} ends", ends)


@dataclass
class _Lowering:
    builder: Builder
    lane: Lane | None
    acc: Value | None
    memo: dict[Value, Value]
    own: dict[Value, Value] = field(default_factory=dict)
    mine: dict[int, bool] = field(default_factory=dict)

    def has_acc(self, node: Value) -> bool:
        key = id(node)
        if key not in self.mine:
            self.mine[key] = any(isinstance(n, Acc) for n in walk(node))
        return self.mine[key]

    def visit(self, node: Value, inline: bool) -> Value:
        """The node over the vector; `inline` forbids statements, because the code may not be reached."""
        if isinstance(node, Const):
            return node
        if isinstance(node, Acc):
            assert self.acc is not None
            return self.acc
        if isinstance(node, Local | Load):
            return node
        memo = self.own if self.has_acc(node) else self.memo
        found = memo.get(node)
        if found is not None:
            return found
        made = self.make(node, inline)
        if inline:
            return made
        if not isinstance(made, Const | Local | Index):
            made = self.builder.let(made)
        memo[node] = made
        return made

    def make(self, node: Value, inline: bool) -> Value:
        if isinstance(node, Read):
            loaded = self.read(node, inline)
            return loaded if loaded.dtype == node.dtype else Cast(loaded, node.dtype)
        if isinstance(node, Index):
            return self.index(self.resolve(node.index, inline))
        if isinstance(node, Op):
            args = [self.visit(a, inline) for a in node.args]
            return Op(node.name, self.even(args), node.dtype)
        if isinstance(node, Cast):
            if (
                node.dtype in STORED
                and isinstance(node.value, Read)
                and node.value.tensor.dtype == node.dtype
            ):
                return self.read(node.value, inline)
            return replace(node, value=self.visit(node.value, inline))
        if isinstance(node, Select):
            return self.select(node, inline)
        if isinstance(node, Text):
            assert isinstance(node.at, Read)
            at = self.read(node.at, inline)
            assert isinstance(at, Load)
            return Text(at, self.visit(node.length, inline))
        raise AssertionError(f"{type(node).__name__} is no logical value")

    def read(self, node: Read, inline: bool) -> Value:
        """The element as its tensor keeps it."""
        if node.tensor.dtype == "str" and node.tensor.kind == "const":
            return self.word(node, inline)
        name, offset = self.builder.place(node.tensor, node.index)
        return self.load(name, self.resolve(offset, inline), node.tensor.dtype)

    def word(self, node: Read, inline: bool) -> Text:
        """A string of a constant, by where its bytes begin and end among those of all."""
        letters, ends = map(self.builder.buffer, packed_strings(node.tensor))
        at = self.resolve(self.builder.flat(node.tensor, node.index)[1], inline)
        start, end = (self.visit(Load(ends, at + i, "i64"), inline) for i in (0, 1))
        return Text(Load(letters, as_index(start), "u8"), Op("sub", (end, start), "i64"))

    def even(self, args: Sequence[Value]) -> tuple[Value, ...]:
        lanes = max(a.lanes for a in args)
        return tuple(self.builder.splat(a, lanes) for a in args)

    def depends(self, node: Value) -> bool:
        return self.lane is not None and self.lane.var in value_variables(node)

    def resolve(self, offset: Ix, inline: bool) -> Ix:
        """Run-time integers inside an index made into locals, where they do not vary over the lane."""

        def data(value: object) -> object:
            if self.depends(value):  # type: ignore[arg-type]
                return value
            scalar = _Lowering(self.builder, None, None, self.memo if self.lane is None else {})
            return scalar.visit(value, inline)  # type: ignore[arg-type]

        return substitute(offset, {}, data)

    def load(self, buffer: str, offset: Ix, dtype: str) -> Value:
        if self.lane is None or self.lane.var not in offset.variables():
            return Load(buffer, offset, dtype)
        lane = self.lane
        split = offset.split(lane.var)
        if split is not None:
            if split[0] == 1:
                return Load(buffer, split[1], dtype, lane.lanes, 1, lane.count)
            if split[0] > 1:
                return Load(buffer, split[1], dtype, lane.lanes, split[0], lane.count)
        found = pattern(offset, lane) if lane.count is None else None
        if found is not None and max(found[1]) < lane.lanes:
            return self.near(buffer, dtype, *found)
        items: list[Value] = []
        for i in range(lane.lanes):
            at = self.scalar_index(offset, {lane.var: ix(i)})
            item: Value = Load(buffer, at, dtype)
            if lane.count is not None:
                real = Op("gt", (Index(lane.count), Const(i, "i64")), "bool")
                item = Select(real, item, Const(0, dtype))
            items.append(item)
        return Pack(tuple(items))

    def near(self, buffer: str, dtype: str, base: Ix, picks: tuple[int, ...]) -> Value:
        """The elements base + picks, of which one vector holds all."""
        span = max(picks) + 1
        if span == 1:
            return Load(buffer, base, dtype)
        width = 4
        while width < span:
            width *= 2
        vector = Load(buffer, base, dtype, width, 1, None if width == span else ix(span))
        if picks == tuple(range(width)):
            return vector
        local = self.builder.let(vector)
        return Shuffle(local, local, picks)

    def scalar_index(self, offset: Ix, at: dict[Var, Ix]) -> Ix:
        """An offset at one lane."""
        scalar = _Lowering(self.builder, None, None, {})
        return substitute(offset, at, lambda v: scalar.visit(reindex(v, at), True))  # type: ignore[arg-type]

    def index(self, at: Ix) -> Value:
        if self.lane is None or self.lane.var not in at.variables():
            return Index(at)
        split = at.split(self.lane.var)
        if split is not None:
            return Iota(split[1], split[0], self.lane.lanes)
        return Pack(tuple(Index(substitute(at, {self.lane.var: ix(i)})) for i in range(self.lane.lanes)))

    def select(self, node: Select, inline: bool) -> Value:
        positional = any(isinstance(n, Index) for n in walk(node.cond))
        safe = not positional or all(
            _inside(r) for s in (node.then, node.otherwise) for r in walk(s) if isinstance(r, Read)
        )
        if not self.depends(node.cond) and positional and not safe:
            cond = self.visit(node.cond, inline)
            sides = self.even([self.visit(node.then, True), self.visit(node.otherwise, True)])
            return Select(cond, sides[0], sides[1])
        if safe or not node.guards:
            parts = [self.visit(p, inline) for p in (node.cond, node.then, node.otherwise)]
            if parts[0].lanes == 1:
                return Select(parts[0], *self.even(parts[1:]))
            return Select(*self.even(parts))
        assert self.lane is not None
        lane, items = self.lane, []
        scalar = _Lowering(self.builder, None, None, {})
        for i in range(lane.lanes):
            item = scalar.visit(reindex(node, {lane.var: ix(i)}), True)
            if lane.count is not None:
                item = Select(
                    Op("gt", (Index(lane.count), Const(i, "i64")), "bool"), item, Const(0, item.dtype)
                )
            items.append(item)
        return Pack(tuple(items))


def pattern(offset: Ix, lane: Lane) -> tuple[Ix, tuple[int, ...]] | None:
    """(base, picks) with the offset at each lane base + its pick, the least of which is 0."""
    if data_of(offset):
        return None
    each = [substitute(offset, {lane.var: ix(i)}) for i in range(lane.lanes)]
    gaps = [e - each[0] for e in each]
    if not all(g.is_const for g in gaps):
        return None
    low = min(g.value for g in gaps)
    return each[0] + low, tuple(g.value - low for g in gaps)


def _inside(read: Read) -> bool:
    """Whether a read is inside its tensor wherever it is evaluated."""
    return all(nonnegative(i) and less(i, d) for i, d in zip(read.index, read.tensor.shape, strict=True))


def _all_variables(body: Sequence[Stmt]) -> set[Var]:
    found: set[Var] = set()
    for s in body:
        if isinstance(s, Define | Prefetch):
            found |= s.index.variables()
        elif isinstance(s, For):
            found |= s.start.variables() | s.stop.variables() | _all_variables(s.body)
        elif isinstance(s, If):
            found |= value_variables(s.cond) | _all_variables(s.body) | _all_variables(s.otherwise)
        elif isinstance(s, Store):
            found |= s.index.variables() | value_variables(s.value)
            if s.count is not None:
                found |= s.count.variables()
        else:
            found |= value_variables(s.value)
    return found
