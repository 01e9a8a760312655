"""The program under construction, as lowering functions see it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ingot.errors import IngotError
from ingot.ir.bounds import most as most_of
from ingot.ir.index import (
    Ix,
    IxLike,
    Var,
    ix,
    minimum,
    nonnegative,
    product,
    var,
)
from ingot.ir.nodes import (
    DTYPES,
    NAMES,
    Acc,
    Const,
    Index,
    Op,
    Read,
    Select,
    Value,
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
from ingot.lower.operand import Anything, Node, Operand, object_array
from ingot.lower.origin import Element, origin
from ingot.lower.ties import Ties
from ingot.lower.values import all_of, cast, is_inside, ravel, unravel_from
from ingot.lower.writer import Writer

MAX_RANK = 16
MAX_ELEMENTS = 2**33
"""Of one tensor: what no machine that this is for could hold."""
INTEGERS = ("i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool")
MAX_MEASURED = 64
"""Elements of one tensor that may each become a symbol."""


@dataclass
class Context:
    """The program under construction. Its methods make tensors and operations; all return operands.

    lower_graph: lowers a subgraph in the current scope, given the values of its inputs; those of its outputs. names: of the
    symbols. bounds: what each measured symbol is at most, None for one that sizes nothing. ties: what is
    known of sizes that nothing bounds where they arise.
    """

    program: Program
    lower_graph: Callable[[Any, Sequence[Anything]], list[Anything]]
    node: Node = field(init=False)
    guards: Guard = ()
    values: dict[str, Anything] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    bounds: dict[Var, Ix | None] = field(default_factory=dict)
    ties: Ties = field(default_factory=Ties)
    _sizes: dict[Ix, Ix] = field(default_factory=dict)
    _elements: dict[Element, Ix] = field(default_factory=dict)
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
        if data.dtype.kind in "SU":
            data = data.astype(object)
        if data.dtype.kind == "O":
            words = [w.encode() if isinstance(w, str) else bytes(w) for w in data.reshape(-1)]
            data = object_array(words).reshape(data.shape)
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
            return Const(operand.data.item(), operand.dtype)
        if operand.known is not None and operand.data is None and operand.known.size == 1:
            return cast(Index(operand.known.reshape(-1)[0]), operand.dtype)
        return Read(self.place(operand), tuple(ix(i) for i in index))

    def read_broadcast(self, operand: Operand, axes: Sequence[IxLike]) -> Value:
        """An element of an operand broadcast to the shape that `axes` run over.

        Raises IngotError shape-mismatch where the operand has another dimension than 1 or that of its axis.
        """
        index = []
        for d, a in zip(operand.shape, list(axes)[len(axes) - operand.rank :], strict=True):
            stretched = d.is_const and d.value == 1
            if isinstance(a, Var) and a.extent is not None and not stretched:
                self.require(d, a.extent)
            index.append(ix(0) if stretched else ix(a))
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

    def pad(self, operand: Operand, pads: Sequence[tuple[IxLike, IxLike]], fill: float | bytes) -> Operand:
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
                tests.append(is_inside(at, ix(low) if low is not None else -dim, dim))
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
        tables: list[dict[Any, Any]] = [
            self.values,
            self.bounds,
            self._padded,
            self._sizes,
            self._elements,
            self.ties.open,
        ]
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
            found[at] = self._integer(operand, position, at)
        if not self.guards:
            operand.known = found
        return found

    def _integer(self, operand: Operand, position: int, at: Sequence[int]) -> Ix:
        """An element that is measured, unless it is a copy of one that is known."""
        source = origin(self.program.operations, self.place(operand), at)
        if isinstance(source, Ix):
            return source
        if source in self._elements:
            return self._elements[source]
        symbol = self.measure(operand, position)
        if not self.guards:
            self._elements[source] = symbol
        return symbol

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
            if value in self._sizes:
                return self._sizes[value]
        size = self._new_size(value, most, output, axis)
        if isinstance(value, Ix) and not self.guards:
            self._sizes[value] = size
        return size

    def sized(self, value: Ix) -> Ix:
        """An integer, as the size that it has become before, if it has."""
        return self._sizes.get(value, value)

    def _new_size(self, value: Ix | Value, most: IxLike | None, output: int, axis: int) -> Ix:
        declared = self.node.declared_dim(output, axis)
        place = (self.node.outputs[output], axis)
        operand = None if isinstance(value, Ix) else self.scalar(value)
        exact = ix(declared) if isinstance(declared, int) else self.ties.known.get(place)
        if exact is not None:
            found = value if isinstance(value, Ix) else self.measure(operand)  # type: ignore[arg-type]
            self.require(found, exact)
            return exact
        label = declared if isinstance(declared, str) else ""
        most = self.ties.limits.get(label, self.ties.most.get(place)) if most is None else most
        hole = self.ties.hole(self.unique) if most is None else None
        if most is None and hole is None:
            raise self.unbounded(f"axis {axis} of its output", output)
        size = self.measure(operand or value, most=ix(most if hole is None else hole), label=label)  # type: ignore[arg-type]
        if hole is not None:
            self.ties.note(place, size)
        return size

    def unbounded(self, what: str, output: int) -> IngotError:
        """The refusal of a size that nothing bounds."""
        name, declared = self.node.outputs[output], self.node.declared[output] or [None]
        dims = "x".join(str(d) if isinstance(d, int) else "1..512" for d in declared)
        return self.node.unsupported(
            f"{what} has a size that is known only at run time, and no bound",
            f"state the shape of {name!r} in the model, or with --shape, such as --shape {name}:{dims}",
        )

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
        if not self.guards:
            self.ties.equal(a, b)
        if (a - b).is_const:
            raise IngotError(
                "shape-mismatch",
                f"{self.node.operator} has sizes {a} and {b} that must be equal",
                where=self.node.name,
                remedy="check the model's input shapes (--shape)",
            )
        self.program.requires.append((a, b))

    def require_all(self, shape: Sequence[IxLike], wanted: Sequence[IxLike]) -> None:
        """Take each dimension of two shapes of one rank to be equal, as `require` does."""
        for a, b in zip(shape, wanted, strict=True):
            self.require(ix(a), ix(b))

    def require_inside(self, shape: Sequence[IxLike], whole: Sequence[IxLike]) -> None:
        """Take each dimension to be at most the other one, as `require` does."""
        for a, b in zip(shape, whole, strict=True):
            self.require(minimum(ix(a), b), ix(a))
