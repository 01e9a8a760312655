"""What a lowering function works with: operands, the node, and the program under construction."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ingot.errors import IngotError
from ingot.ir.index import (
    Ix,
    IxLike,
    Var,
    ix,
    less,
    maximum,
    minimum,
    nonnegative,
    product,
    substitute,
    var,
)
from ingot.ir.index import most as most_of
from ingot.ir.nodes import (
    DTYPES,
    NAMES,
    Acc,
    Cast,
    Const,
    Index,
    Op,
    Read,
    Select,
    Value,
    as_index,
    computed,
)
from ingot.ir.program import (
    Fill,
    Guard,
    Map,
    Measure,
    Operation,
    Program,
    Recurrent,
    Reduce,
    Routine,
    Tensor,
    identity,
)
from ingot.lower.writer import Writer

MAX_RANK = 16
MAX_ELEMENTS = 2**33
"""Of one tensor: what no machine that this is for could hold."""
INTEGERS = ("i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool")
MAX_MEASURED = 64
"""Elements of one tensor that may each become a symbol."""


@dataclass(eq=False)
class Operand:
    """A value of the ONNX graph while it is lowered.

    dtype: what its elements are computed with. data: the elements where they are constant. known: the integers (`Ix`) where they are known up to symbols, as an
    object array. tensor: where it lies in the program, made on demand for constants. storage: of an operand that lies
    in no tensor yet, the type of storage that it has in ONNX, if any.
    """

    name: str
    dtype: str
    shape: tuple[Ix, ...]
    tensor: Tensor | None = None
    data: np.ndarray | None = None
    known: np.ndarray | None = None
    storage: str = ""

    @property
    def stored(self) -> str:
        """The dtype that it has in ONNX."""
        return self.tensor.dtype if self.tensor is not None else self.storage or self.dtype

    @property
    def rank(self) -> int:
        return len(self.shape)

    def dims(self) -> tuple[int, ...] | None:
        """The shape where it is all integers."""
        return tuple(d.value for d in self.shape) if all(d.is_const for d in self.shape) else None


@dataclass(eq=False)
class SequenceOperand:
    """A sequence while the graph is lowered: its elements, so that its length is known. dtype: of every element."""

    elements: tuple[Operand, ...]
    dtype: str


@dataclass(eq=False)
class Absent:
    """An optional without a value; one with a value is that value."""


Anything = Operand | SequenceOperand | Absent


@dataclass
class Node:
    """An ONNX node with its inputs resolved; absent inputs are None. declared: the shapes that the model states for its
    outputs."""

    operator: str
    domain: str
    name: str
    opset: int
    inputs: list[Anything | None]
    attributes: Mapping[str, Any]
    outputs: Sequence[str]
    declared: Sequence[Sequence[int | str | None] | None] = ()

    def declared_dim(self, output: int, axis: int) -> int | str | None:
        """The size or the symbol's name that the model states for a dimension of an output."""
        shape = self.declared[output] if output < len(self.declared) else None
        return shape[axis] if shape is not None and axis < len(shape) else None

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def input(self, i: int) -> Operand:
        """Input i. Raises IngotError where it is missing."""
        operand = self.optional(i)
        if operand is None:
            raise self.unsupported(f"input {i} is missing")
        return operand

    def optional(self, i: int) -> Operand | None:
        """Input i, a tensor, or None. Raises IngotError unsupported for anything else."""
        value = self.value(i)
        if isinstance(value, SequenceOperand | Absent):
            kind = "a sequence" if isinstance(value, SequenceOperand) else "an optional without a value"
            raise self.unsupported(f"input {i} is {kind} and must be a tensor")
        return value

    def value(self, i: int) -> Anything | None:
        """Input i, whatever it is."""
        return self.inputs[i] if i < len(self.inputs) else None

    def sequence(self, i: int) -> SequenceOperand:
        """Input i, a sequence. Raises IngotError unsupported for anything else."""
        value = self.value(i)
        if not isinstance(value, SequenceOperand):
            raise self.unsupported(f"input {i} is no sequence")
        return value

    def operands(self) -> list[Operand]:
        """The inputs that are there, all of them tensors."""
        return [x for i in range(len(self.inputs)) if (x := self.optional(i)) is not None]

    def constant(self, i: int, what: str) -> np.ndarray:
        """Input i, which must be constant. Raises IngotError unsupported."""
        operand = self.input(i)
        if operand.data is None:
            raise self.unsupported(f"{what} is computed at run time", "make it a constant of the model")
        return operand.data

    def unsupported(
        self, cause: str, remedy: str = "replace or repair the node, or export the model with other options"
    ) -> IngotError:
        return IngotError("unsupported", f"{self.operator}: {cause}", where=self.name, remedy=remedy)


@dataclass
class Context:
    """The program under construction. Its methods make tensors and operations; all return operands.

    lower_graph: lowers a subgraph in the current scope, given the values of its inputs; those of its outputs. names: of the
    symbols. bounds: what each measured symbol is at most, None for one that sizes nothing.
    """

    program: Program
    lower_graph: Callable[[Any, Sequence[Anything]], list[Anything]]
    node: Node = field(init=False)
    guards: Guard = ()
    values: dict[str, Anything] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    bounds: dict[Var, Ix | None] = field(default_factory=dict)
    _count: int = 0
    _padded: dict[tuple[int, tuple[Any, ...]], Operand] = field(default_factory=dict)

    def unique(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def axes(self, shape: Sequence[IxLike]) -> tuple[Var, ...]:
        """Fresh loop variables over a shape."""
        return tuple(var(self.unique("i"), d) for d in shape)

    def tensor(self, dtype: str, shape: Sequence[IxLike], name: str | None = None) -> Tensor:
        dims = tuple(ix(d) for d in shape)
        known = [d.value for d in dims if d.is_const]
        text = f"{self.node.operator} makes a tensor of shape [{', '.join(map(str, dims))}]"
        if any(d < 0 for d in known):
            remedy = "check the model's input shapes (--shape)"
            raise IngotError("shape-mismatch", text, where=self.node.name, remedy=remedy)
        if len(dims) > MAX_RANK:
            raise self.node.unsupported(f"a tensor of rank {len(dims)}", f"use at most {MAX_RANK} dimensions")
        if math.prod(known) > MAX_ELEMENTS:
            raise IngotError("model-too-large", text, where=self.node.name, remedy="use smaller shapes")
        return Tensor(name or self.unique("t"), dtype, dims)

    def add(self, operation: Operation) -> Operand:
        """Append an operation; the operand of its output."""
        operation.nodes = operation.nodes or (self.node.name,)
        operation.guard = self.guards
        self.program.operations.append(operation)
        return self.wrap(operation.output)

    def wrap(self, tensor: Tensor) -> Operand:
        operand = Operand(tensor.name, computed(tensor.dtype), tensor.shape, tensor)
        dims = operand.dims()
        if dims is not None and 0 in dims:
            operand.known = np.empty(dims, object)
        return operand

    def constant(self, data: np.ndarray, name: str | None = None) -> Operand:
        """An operand of known elements."""
        data = np.asarray(data)
        if data.dtype not in NAMES:
            raise IngotError(
                "unsupported",
                f"constants of dtype {data.dtype}",
                where=name or self.node.name,
                remedy="cast it to a supported dtype",
            )
        storage = NAMES[data.dtype]
        dtype = computed(storage)
        data = data.astype(DTYPES[dtype], copy=False)
        known = None
        if data.dtype.kind in "iub" and data.size <= 4096:
            known = np.empty(data.shape, object)
            for i, v in np.ndenumerate(data):
                known[i] = ix(int(v))
        shape = tuple(ix(d) for d in data.shape)
        return Operand(name or self.unique("c"), dtype, shape, None, data, known, storage)

    def store_as(self, operand: Operand, dtype: str, since: int) -> Operand:
        """The operand as one of a type of storage.

        Where only operations from number `since` on make it, and none of them reads it, they write the new type at
        once; otherwise it is copied.
        """
        if operand.stored == dtype:
            return operand
        if operand.tensor is None:
            if operand.data is None:
                return replace(operand, storage=dtype)
            return self.constant(operand.data.astype(DTYPES[dtype]), self.unique(operand.name))
        root = operand.tensor.root()[0]
        made = self.program.operations[since:]
        written = {t for o in made for t in o.writes() if t.root()[0] is root}
        makers = [o for o in self.program.operations if any(t.root()[0] is root for t in o.writes())]
        read = any(t.root()[0] is root for o in made for t in o.inputs())
        fresh = written and all(o in made and not isinstance(o, Recurrent | Routine) for o in makers)
        if root.kind != "temp" or read or not fresh:
            return self.map(operand.shape, dtype, lambda axes: self.read(operand, axes))
        for tensor in (*written, root, operand.tensor):
            tensor.dtype = dtype
        return self.wrap(operand.tensor)

    def place(self, operand: Operand) -> Tensor:
        """The tensor an operand lies in, made now if it is a constant or a vector of known integers."""
        if operand.tensor is None:
            if operand.data is not None:
                data = operand.data.astype(DTYPES[operand.stored], copy=False)
                operand.tensor = Tensor(operand.name, operand.stored, operand.shape, "const", data)
            else:
                assert operand.known is not None
                flat = [Index(v) for v in operand.known.reshape(-1)]

                def element(axes: tuple[Var, ...]) -> Value:
                    at, value = ravel(axes, operand.shape), flat[-1]
                    for i in range(len(flat) - 2, -1, -1):
                        value = Select(Op("eq", (Index(at), Index(ix(i))), "bool"), flat[i], value)  # type: ignore[assignment]
                    return cast(value, operand.dtype)

                placed = self.map(operand.shape, operand.stored, element).tensor
                if self.guards:
                    assert placed is not None
                    return placed
                operand.tensor = placed
        assert operand.tensor is not None
        return operand.tensor

    def read(self, operand: Operand, index: Sequence[IxLike]) -> Value:
        """An element of an operand; a literal where all elements are the same constant."""
        if operand.data is not None and operand.data.size == 1:
            return Const(operand.data.reshape(-1)[0].item(), operand.dtype)
        if operand.known is not None and operand.data is None and operand.known.size == 1:
            return cast(Index(operand.known.reshape(-1)[0]), operand.dtype)
        return Read(self.place(operand), tuple(ix(i) for i in index))

    def read_broadcast(self, operand: Operand, axes: Sequence[IxLike]) -> Value:
        """An element of an operand broadcast to the shape that `axes` run over."""
        index = [
            ix(0) if d.is_const and d.value == 1 else ix(a)
            for d, a in zip(operand.shape, list(axes)[len(axes) - operand.rank :], strict=True)
        ]
        return self.read(operand, index)

    def map(
        self,
        shape: Sequence[IxLike],
        dtype: str,
        element: Callable[[tuple[Var, ...]], Value],
        name: str | None = None,
    ) -> Operand:
        """output[axes] = element(axes)."""
        output = self.tensor(dtype, shape, name)
        axes = self.axes(shape)
        return self.add(Map(output, axes, element(axes)))

    def view(
        self, operand: Operand, shape: Sequence[IxLike], index: Callable[..., Sequence[IxLike]]
    ) -> Operand:
        """Data movement: output[axes] = operand[index(*axes)]."""
        return self.map(shape, operand.dtype, lambda axes: self.read(operand, index(*map(ix, axes))))

    def reshape(self, operand: Operand, shape: Sequence[IxLike]) -> Operand:
        """The elements in row-major order under another shape."""
        dims = tuple(ix(d) for d in shape)
        if dims == operand.shape:
            return operand
        self.require(product(operand.shape), product(dims))
        if operand.data is not None:
            return self.constant(operand.data.reshape([d.value for d in dims]), self.unique(operand.name))
        if any(d == ix(0) for d in dims):
            return self.view(operand, dims, lambda *axes: [0] * operand.rank)
        return self.view(operand, dims, lambda *axes: unravel_from(axes, dims, operand.shape))

    def pad(self, operand: Operand, pads: Sequence[tuple[IxLike, IxLike]], fill: float) -> Operand:
        """The operand inside a border of `fill`; the result shares storage with it where that can be."""
        before_after = tuple((ix(a), ix(b)) for a, b in pads)
        if all(a.is_const and b.is_const and a.value == b.value == 0 for a, b in before_after):
            return operand
        source = self.place(operand)
        key = (id(source), (before_after, fill, self.guards))
        if key not in self._padded:
            shape = [d + a + b for d, (a, b) in zip(operand.shape, before_after, strict=True)]
            whole = self.tensor(source.dtype, shape)
            inner = Tensor(
                self.unique("t"),
                source.dtype,
                operand.shape,
                region=(whole, tuple(a for a, _ in before_after)),
            )
            self.add(Fill(whole, self.axes(shape), Const(fill, operand.dtype), inner))
            axes = self.axes(operand.shape)
            self.add(Map(inner, axes, Read(source, tuple(map(ix, axes)))))
            self._padded[key] = self.wrap(whole)
        return self._padded[key]

    def demand(self, shape: Sequence[IxLike], test: Callable[[tuple[Var, ...]], Value], text: str) -> None:
        """End the run with error index-range unless the test holds at every index of a shape. text: what is wrong."""
        over = self.axes(shape)
        flag, value = self.tensor("bool", ()), test(over)
        if isinstance(value, Const) and value.value:
            return
        made = Reduce(flag, (), Acc("bool"), "and", over, value) if over else Map(flag, (), value)
        made.demand = f"{self.node.operator} {self.node.name}: {text}"
        self.add(made)

    def check_indices(self, indices: Operand, dims: Sequence[Ix], low: int | None = None) -> None:
        """End the run, or here the compilation, with an error where an index is outside [low, dim), from -dim without low.

        dims: of one dimension, or of several, which the last axis of `indices` then counts.
        """
        if not dims:
            return
        if indices.data is not None and all(d.is_const for d in dims):
            tops = np.array([d.value for d in dims])
            wrong = (indices.data >= tops) | (indices.data < (-tops if low is None else low))
            if wrong.any():
                at = np.unravel_index(int(wrong.argmax()), wrong.shape)
                dim = tops[at[-1]] if len(dims) > 1 else tops[0]
                raise IngotError(
                    "model-invalid",
                    f"{self.node.operator}: the index {indices.data[at]} is outside a dimension of {dim}",
                    where=self.node.name,
                    remedy="repair the model",
                )
            return
        several = len(dims) > 1

        def inside(axes: tuple[Var, ...]) -> Value:
            tests = []
            for k, dim in enumerate(dims):
                at = self.read(indices, [*axes, k] if several else axes)
                tests.append(_inside(at, ix(low) if low is not None else -dim, dim))
            return all_of(tests)

        sizes = f"dimensions of {', '.join(map(str, dims))}" if several else f"a dimension of {dims[0]}"
        self.demand(indices.shape[:-1] if several else indices.shape, inside, f"an index is outside {sizes}")

    def concat(self, operands: Sequence[Operand], axis: int) -> Operand:
        """Operands one after the other along an axis, each written into a region of the whole."""
        total = sum((o.shape[axis] for o in operands), ix(0))
        shape = [total if i == axis else d for i, d in enumerate(operands[0].shape)]
        whole = self.tensor(operands[0].dtype, shape)
        at = ix(0)
        for operand in operands:
            for i in (i for i in range(operand.rank) if i != axis):
                self.require(operand.shape[i], shape[i])
            origin = tuple(at if i == axis else ix(0) for i in range(operand.rank))
            part = Tensor(self.unique("t"), operand.dtype, operand.shape, region=(whole, origin))
            axes = self.axes(operand.shape)
            self.add(Map(part, axes, self.read(operand, axes)))
            at = at + operand.shape[axis]
        return self.wrap(whole)

    def measure(self, source: Operand | Ix, position: int = 0, most: Ix | None = None, label: str = "") -> Ix:
        """An integer that is known from here on in a run: an element of an operand of integers, or the value of an
        expression. most: what it is at most, where it is a size."""
        name = label = re.sub(r"\W", "_", label) or self.unique("k")
        while name in self.names:
            name = self.unique(f"{label}_")
        self.names.add(name)
        symbol = Var(name, None, None if most is None else 0)
        self.bounds[symbol] = None if most is None else most_of(most, self.bounds)
        output = Tensor(name, "i64", ())
        origin = source if isinstance(source, Ix) else self.place(source)
        self.add(Measure(output, (), Acc("i64"), symbol, origin, position, most))
        return ix(symbol)

    def counter(self, limit: Ix | None) -> Var:
        """A symbol for the turns of a loop, 0 from here on; limit: how many turns there are at most."""
        name = self.unique("turn")
        while name in self.names:
            name = self.unique("turn")
        self.names.add(name)
        symbol = Var(name, limit, 0, counts=True)
        self.bounds[symbol] = None if limit is None else most_of(limit, self.bounds)
        self.add(Measure(Tensor(name, "i64", ()), (), Acc("i64"), symbol, ix(0), 0, limit))
        return symbol

    def checkpoint(self) -> Callable[[], None]:
        """Call the result to drop all that was lowered since."""
        operations, requires = len(self.program.operations), len(self.program.requires)
        tables: list[dict[Any, Any]] = [self.values, self.bounds, self._padded]
        kept = [dict(table) for table in tables]
        names, node, guards = set(self.names), self.node, self.guards

        def restore() -> None:
            del self.program.operations[operations:], self.program.requires[requires:]
            for table, before in zip(tables, kept, strict=True):
                table.clear()
                table.update(before)
            self.names.clear()
            self.names.update(names)
            self.node, self.guards = node, guards

        return restore

    def integers(self, operand: Operand, what: str) -> np.ndarray:
        """The elements of a short operand as `Ix`, measured in the run where they are not known before."""
        if operand.known is not None:
            return operand.known
        dims = operand.dims()
        if dims is None or math.prod(dims) > MAX_MEASURED:
            raise self.node.unsupported(
                f"{what} is computed at run time, and it is no short vector of known length",
                "make it a constant, or a function of input shapes",
            )
        if operand.dtype not in INTEGERS:
            operand = self.map(dims, "i64", lambda axes: cast(self.read(operand, axes), "i64"))
        found = np.empty(dims, object)
        for position, at in enumerate(np.ndindex(*dims)):
            found[at] = self.measure(operand, position)
        if not self.guards:
            operand.known = found
        return found

    def is_loose(self, e: Ix) -> bool:
        """Whether an integer is measured in the run and has no bound."""
        return any(v in self.bounds and self.bounds[v] is None for v in e.variables())

    def scalar(self, value: Value) -> Operand:
        """A tensor of one i64, to be measured."""
        return self.map((), "i64", lambda _: cast(value, "i64"))

    def size(self, value: Ix | Value, most: IxLike | None, output: int, axis: int) -> Ix:
        """A dimension of an output of the node that may depend on data.

        An integer that the model declares is taken, and checked in the run; otherwise it is measured, and must not
        exceed `most`. Raises IngotError unsupported where there is neither.
        """
        if isinstance(value, Ix):
            known = value.variables().isdisjoint(self.bounds)
            if known or (nonnegative(value) and not self.is_loose(value)):
                return value
        declared = self.node.declared_dim(output, axis)
        operand = None if isinstance(value, Ix) else self.scalar(value)
        if isinstance(declared, int):
            found = value if isinstance(value, Ix) else self.measure(operand)  # type: ignore[arg-type]
            self.require(found, ix(declared))
            return ix(declared)
        if most is None:
            raise self.node.unsupported(
                f"axis {axis} of its output has a size that is known only at run time, and no bound",
                "declare the shape of the output in the model",
            )
        return self.measure(operand or value, most=ix(most), label=declared or "")  # type: ignore[arg-type]

    def copy(self, operand: Operand) -> Tensor:
        """A tensor of its own that holds an operand's elements, for a routine to update; without a copy where only
        this reads them."""
        whole = self.tensor(operand.dtype, operand.shape)
        part = Tensor(self.unique("t"), whole.dtype, whole.shape, region=(whole, (ix(0),) * whole.rank))
        axes = self.axes(whole.shape)
        self.add(Map(part, axes, identity(self.place(operand), axes)))
        return whole

    def routine(
        self,
        name: str,
        results: Sequence[Tensor],
        body: Callable[[Writer], None],
        *,
        tasks: Sequence[IxLike] = (),
        updates: Sequence[Tensor] = (),
        work: IxLike = 1,
    ) -> list[Operand]:
        """A kernel of statements that `body` writes; the operands of all that it writes, scratch tensors too.

        tasks: extents of the independent tasks, which `Writer.tasks` number. updates: results that `copy` made. work:
        rough operations of a task. What is read need not be told.
        """
        writer = Writer(self.unique, tuple(var(self.unique("i"), d) for d in tasks))
        body(writer)
        first = results[0]
        self.add(
            Routine(
                first,
                self.axes(first.shape),
                Acc(first.dtype),
                name,
                tuple(results),
                tuple(updates),
                writer.points,
                writer.statements(),
                ix(work),
            )
        )
        return [self.wrap(tensor) for tensor in results]

    def broadcast(self, *shapes: tuple[Ix, ...]) -> tuple[Ix, ...]:
        """The multidirectional broadcast of shapes; a symbol stands for no 1 that is stretched to something else.

        Raises IngotError shape-mismatch.
        """
        rank = max(map(len, shapes))
        result = []
        for i in range(rank):
            dims = {s[i - rank + len(s)] for s in shapes if i - rank + len(s) >= 0}
            dims = {d for d in dims if not (d.is_const and d.value == 1)}
            if len(dims) > 1:
                integers = {d for d in dims if d.is_const}
                if len(integers) > 1:
                    text = " and ".join(f"[{', '.join(map(str, s))}]" for s in shapes)
                    raise IngotError(
                        "shape-mismatch",
                        f"{self.node.operator} cannot broadcast {text}",
                        where=self.node.name,
                        remedy="check the model's input shapes (--shape)",
                    )
                chosen = min(integers or dims, key=str)
                for d in sorted(dims, key=str):
                    self.require(d, chosen)
                dims = {chosen}
            result.append(dims.pop() if dims else ix(1))
        return tuple(result)

    def require(self, a: Ix, b: Ix) -> None:
        """Take two sizes to be equal: checked now where they are known, else before each run.

        Raises IngotError shape-mismatch where they never are.
        """
        if a == b or (a, b) in self.program.requires:
            return
        if (a - b).is_const:
            raise IngotError(
                "shape-mismatch",
                f"{self.node.operator} has sizes {a} and {b} that must be equal",
                where=self.node.name,
                remedy="check the model's input shapes (--shape)",
            )
        self.program.requires.append((a, b))


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
    if isinstance(value, Const):
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


def _inside(value: Value, low: Ix, high: Ix) -> Value:
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
