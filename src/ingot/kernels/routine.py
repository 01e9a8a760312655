"""Routines: the statements that a lowering wrote, with logical indices made addresses."""

from __future__ import annotations

from collections.abc import Sequence

from ingot.ir.index import Ix, Var, ix, substitute
from ingot.ir.nodes import (
    Assign,
    Define,
    For,
    If,
    Index,
    Let,
    Local,
    Read,
    Stmt,
    Store,
    Value,
    Write,
    rewrite,
    stored,
)
from ingot.ir.program import Routine
from ingot.kernels.builder import Builder, Built

NANOSECONDS = 0.5
"""Of one operation of a routine."""
UNKNOWN = 1000.0
"""Operations of a task where the number depends on symbols."""


def build_routine(builder: Builder, operation: Routine) -> Built:
    points = {v: builder.fresh_var(v.extent) for v in operation.tasks if v.extent is not None}
    task, tasks = builder.tasks([(new, old.extent) for old, new in points.items() if old.extent is not None])
    _Body(builder, {old: ix(new) for old, new in points.items()}).block(operation.body)
    work = float(operation.work.value) if operation.work.is_const else UNKNOWN
    return builder.finish(operation.name, task, tasks, work * NANOSECONDS)


class _Body:
    """variables, locals: what the routine's names have become in the kernel."""

    def __init__(self, builder: Builder, variables: dict[Var, Ix]) -> None:
        self.builder, self.variables = builder, variables
        self.locals: dict[str, Local] = {}

    def block(self, body: Sequence[Stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def statement(self, s: Stmt) -> None:
        builder = self.builder
        if isinstance(s, Let):
            self.locals[s.local.name] = builder.let(self.value(s.value), s.local.name.rstrip("0123456789"))
        elif isinstance(s, Assign):
            builder.assign(self.locals[s.local.name], self.value(s.value))
        elif isinstance(s, Define):
            self.variables[s.var] = ix(builder.define(self.index(s.index), s.var.extent))
        elif isinstance(s, Write):
            name, offset = builder.place(s.tensor, s.index, written=True)
            builder.emit(Store(name, self.index(offset), stored(self.value(s.value), s.tensor.dtype)))
        elif isinstance(s, For):
            assert s.var.extent is not None
            with builder.loop(s.var.extent, start=self.index(s.start), stop=self.index(s.stop)) as i:
                self.variables[s.var] = ix(i)
                self.block(s.body)
        else:
            assert isinstance(s, If)
            with builder.block() as body:
                self.block(s.body)
            with builder.block() as otherwise:
                self.block(s.otherwise)
            builder.emit(If(self.value(s.cond), tuple(body), tuple(otherwise)))

    def value(self, value: Value) -> Value:
        return self.builder.value(self.renamed(value), {}, inline=True)

    def index(self, index: Ix) -> Ix:
        return substitute(index, self.variables, lambda v: self.value(v))  # type: ignore[arg-type]

    def renamed(self, value: Value) -> Value:
        def index(e: Ix) -> Ix:
            return substitute(e, self.variables, lambda v: self.renamed(v))  # type: ignore[arg-type]

        def leaf(node: Value) -> Value | None:
            if isinstance(node, Local):
                return self.locals[node.name]
            if isinstance(node, Read):
                return Read(node.tensor, tuple(map(index, node.index)))
            if isinstance(node, Index):
                return Index(index(node.index))
            return None

        return rewrite(value, leaf)
