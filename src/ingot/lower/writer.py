"""Records the statements of a `Routine`: loops, conditions and locals over logical indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ingot.ir.index import Ix, IxLike, Var, ix, minimum, var
from ingot.ir.nodes import Assign, Define, For, If, Let, Local, Read, Stmt, Value, Write
from ingot.ir.program import Tensor


class Writer:
    """What a routine's body is written with. Values are those of index expressions, and the locals made here.

    unique: makes names. points: a variable for each axis of the tasks.
    """

    def __init__(self, unique: Callable[[str], str], points: tuple[Var, ...]) -> None:
        self._unique = unique
        self.points = points
        self._stack: list[list[Stmt]] = [[]]

    @property
    def tasks(self) -> tuple[Ix, ...]:
        """Which task this is, along each axis of the tasks."""
        return tuple(map(ix, self.points))

    def statements(self) -> tuple[Stmt, ...]:
        (body,) = self._stack
        return tuple(body)

    def read(self, tensor: Tensor, index: Sequence[IxLike]) -> Read:
        """An element of a tensor as it is where the value stands: bind it with `let` before it is written again."""
        return Read(tensor, tuple(map(ix, index)))

    def write(self, tensor: Tensor, index: Sequence[IxLike], value: Value) -> None:
        self._stack[-1].append(Write(tensor, tuple(map(ix, index)), value))

    def let(self, value: Value, stem: str = "v") -> Local:
        """A local with its first value; `stem` becomes part of its name in C."""
        local = Local(self._unique(stem), value.dtype)
        self._stack[-1].append(Let(local, value))
        return local

    def assign(self, local: Local, value: Value) -> None:
        self._stack[-1].append(Assign(local, value))

    def define(self, index: Ix, extent: IxLike) -> Ix:
        """A name for an index, which is at least 0 and below `extent`."""
        variable = var(self._unique("o"), extent)
        self._stack[-1].append(Define(variable, index))
        return ix(variable)

    @contextmanager
    def loop(self, extent: IxLike, start: IxLike = 0, stop: Ix | None = None) -> Iterator[Ix]:
        """For each integer from start to below stop, which is `extent` and no more where it is not given."""
        counter = var(self._unique("i"), extent)
        with self._block() as body:
            yield ix(counter)
        end = ix(extent) if stop is None else minimum(stop, extent)
        self._stack[-1].append(For(counter, end, tuple(body), ix(start)))

    @contextmanager
    def loops(self, extents: Sequence[IxLike]) -> Iterator[list[Ix]]:
        """Loops inside one another, the first outermost."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.loop(extent)) for extent in extents]

    @contextmanager
    def when(self, cond: Value) -> Iterator[None]:
        with self._block() as body:
            yield
        self._stack[-1].append(If(cond, tuple(body)))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Where the condition of the `when` just before does not hold."""
        with self._block() as body:
            yield
        last = self._stack[-1].pop()
        assert isinstance(last, If)
        self._stack[-1].append(If(last.cond, last.body, tuple(body)))

    @contextmanager
    def _block(self) -> Iterator[list[Stmt]]:
        body: list[Stmt] = []
        self._stack.append(body)
        try:
            yield body
        finally:
            self._stack.pop()
