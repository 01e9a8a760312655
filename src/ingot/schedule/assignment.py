"""The layout of every tensor, chosen to cost least over the whole program; copies where a second layout pays.

`layout.assign` gives each tensor a layout by rules. From there a search looks at the other layouts that the operations
around a tensor can handle, and at a copy of it in a second one. What an operation takes with its tensors in given layouts is
an estimate that the caller gives; of assignments that cost the same, that of the rules stays.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ingot.ir.index import Var, var
from ingot.ir.nodes import Read, Value, rewrite
from ingot.ir.program import Dense, Map, Operation, Program, Tensor, WinogradInput, identity
from ingot.schedule.layout import FAMILIES, Layout, alternatives, assign
from ingot.schedule.minimise import Factor, Table, minimise, total

Cost = Callable[[Operation, Mapping[Tensor, Layout]], int]
"""Estimated cycles of an operation with the tensors that it reads and writes in these layouts."""

COMBINATIONS = 729
"""Of layouts of an operation's tensors that are looked at; where it has more, its smaller ones are taken to lie as the rules say."""


CAUTION = 20
"""What leaves the rules has to gain more than this part of the time of the operations concerned, a twentieth: estimates are
not more exact than that."""


SEARCHED, RULES = "searched", "rules"


@dataclass(frozen=True)
class Label:
    """Where a tensor lies, and a second layout that it is copied to once, for those of its readers that take less so."""

    home: Layout
    copy: Layout | None = None

    def layout(self, copied: bool) -> Layout:
        """Of the copy, or of the tensor itself."""
        return self.copy if copied and self.copy is not None else self.home


@dataclass(frozen=True)
class Conversion:
    """What an operation costs more than it would with its tensors in the layouts that suit it best. inserted: whether it
    is a copy that the search added."""

    operation: Operation
    cycles: int
    inserted: bool


@dataclass
class Assignment:
    """layouts: of every tensor. cycles: estimated, by operation. conversions: those that cost something, in order.

    single: cycles of a run with each tensor, as far as its operations allow, in one and the same kind of layout; rules: in
    those of the rules. kinds: of the tensors that had a choice. exact: whether the search proved that nothing costs less.
    """

    layouts: dict[Tensor, Layout]
    cycles: dict[Operation, int] = field(default_factory=dict)
    conversions: list[Conversion] = field(default_factory=list)
    single: dict[str, int] = field(default_factory=dict)
    rules: int = 0
    kinds: dict[Tensor, str] = field(default_factory=dict)
    exact: bool = True

    @property
    def total(self) -> int:
        """Cycles of a run."""
        return sum(self.cycles.values())

    def summary(self) -> dict[str, Any]:
        """For people and JSON: "cycles" of a run, "conversion_cycles" in it, "single" by kind, the "best_single" kind and the
        share of its cycles that is "saved"; "copies" that were inserted; "tensors" of each kind, of those that had a choice."""
        best = min(self.single, key=lambda kind: self.single[kind])
        return {
            "cycles": self.total,
            "conversion_cycles": sum(c.cycles for c in self.conversions),
            "copies": sum(c.inserted for c in self.conversions),
            "single": self.single,
            "best_single": best,
            "saved": 1 - self.total / self.single[best] if self.single[best] else 0.0,
            "tensors": dict(sorted(Counter(self.kinds.values()).items())),
        }

    def to_dict(self) -> dict[str, Any]:
        """The summary, and one by one "layouts" of the tensors that had a choice and the "conversions"."""
        return {
            **self.summary(),
            "layouts": [
                {"tensor": t.name, "kind": kind, "order": self.layouts[t].describe()}
                for t, kind in self.kinds.items()
            ],
            "conversions": [
                {
                    "output": c.operation.output.name,
                    "nodes": list(c.operation.nodes),
                    "cycles": c.cycles,
                    "inserted": c.inserted,
                }
                for c in self.conversions
            ],
        }


Pick = Callable[[Mapping[str, int]], str]
"""Which assignment to take, of several by name with their cycles, that of the search first."""


def choose(program: Program, lanes: int, cost: Cost, pick: Pick = lambda cycles: SEARCHED) -> Assignment:
    """Assign layouts: those of the search, unless `pick` wants those of the rules or of one kind.

    Mutates the program: copies are operations of their own.
    """
    layouts = assign(program, lanes)
    options = alternatives(program, layouts, lanes)
    return _Search(program, layouts, options, cost).run(pick)


class _Search:
    def __init__(
        self,
        program: Program,
        layouts: dict[Tensor, Layout],
        options: Mapping[Tensor, Mapping[str, Layout]],
        cost: Cost,
    ) -> None:
        self.program, self.layouts, self.options, self.cost = program, layouts, options, cost
        self.homes: dict[Tensor, list[Layout]] = {
            t: list(dict.fromkeys((layouts[t], *by_kind.values()))) for t, by_kind in options.items()
        }
        self.labels: dict[Tensor, list[Label]] = {}
        self.made: dict[Tensor, Map] = {}

    def run(self, pick: Pick) -> Assignment:
        tables = {o: self._table(o, self._free(o)) for o in self.program.operations}
        movable, readers = self._copied(), self._readers(tables)
        for tensor, homes in self.homes.items():
            fixed = tensor.kind != "temp"
            kept = [Label(home) for home in (homes[:1] if fixed else homes)]
            if tensor in movable:
                kept += self._copies(tensor, len(kept), readers.get(tensor, ()))
            self.labels[tensor] = kept
        number = {tensor: i for i, tensor in enumerate(self.labels)}
        sizes = [len(labels) for labels in self.labels.values()]
        factors = [self._factor(o, free, table, number) for o, (free, table) in tables.items()]
        factors += [
            Factor((number[t],), np.array([self._copy_cost(t, label) for label in labels], np.int64))
            for t, labels in self.labels.items()
        ]
        found = minimise(sizes, [_cautious(f) for f in factors])
        result = Assignment(self.layouts, exact=found.exact)
        picks = {SEARCHED: found.picks, RULES: [0] * len(sizes)}
        for kind in FAMILIES:
            picks[kind] = [
                self.homes[t].index(self.options[t][kind])
                if kind in self.options[t] and t.kind == "temp"
                else 0
                for t in self.labels
            ]
        cycles = {name: total(factors, one) for name, one in picks.items()}
        result.rules, result.single = cycles[RULES], {kind: cycles[kind] for kind in FAMILIES}
        different = {
            name: cycles[name] for i, name in enumerate(picks) if picks[name] not in [*picks.values()][:i]
        }
        taken = picks[pick(different) if len(different) > 1 else SEARCHED]
        chosen = {t: self.labels[t][number] for t, number in zip(self.labels, taken, strict=True)}
        self._apply(chosen, tables, result)
        return result

    # Costs

    def _free(self, operation: Operation) -> list[Tensor]:
        """The tensors of an operation whose layout is looked for, the largest first where there are too many."""
        roots = dict.fromkeys(t.root()[0] for t in (*operation.writes(), *operation.inputs()))
        free = [t for t in roots if t in self.homes]
        while np.prod([len(self.homes[t]) for t in free], dtype=float) > COMBINATIONS:
            free.pop()
        return free

    def _table(self, operation: Operation, free: list[Tensor]) -> tuple[list[Tensor], Table]:
        """The estimate for each combination of layouts."""
        table = np.zeros([len(self.homes[t]) for t in free], np.int64)
        layouts = dict(self.layouts)
        for at in np.ndindex(*table.shape):
            layouts |= {t: self.homes[t][i] for t, i in zip(free, at, strict=True)}
            table[at] = self.cost(operation, layouts)
        return free, table

    def _factor(
        self, operation: Operation, free: list[Tensor], table: Table, number: Mapping[Tensor, int]
    ) -> Factor:
        """The estimate for each combination of labels: what is read is read where that takes less."""
        written = {t.root()[0] for t in operation.writes()}
        for axis, tensor in enumerate(free):
            homes = self.homes[tensor]
            columns = []
            for label in self.labels[tensor]:
                column = table.take(homes.index(label.home), axis)
                if label.copy is not None and tensor not in written:
                    column = np.minimum(column, table.take(homes.index(label.copy), axis))
                columns.append(column)
            table = np.stack(columns, axis)
        order = sorted(range(len(free)), key=lambda i: number[free[i]])
        return Factor(tuple(number[free[i]] for i in order), table.transpose(order))

    def _copied(self) -> set[Tensor]:
        """Tensors that may be copied: written whole before they are read, and always."""
        written: dict[Tensor, int] = {}
        read: dict[Tensor, int] = {}
        guarded: set[Tensor] = set()
        for i, operation in enumerate(self.program.operations):
            inputs = {t.root()[0] for t in operation.inputs()}
            outputs = {t.root()[0] for t in operation.writes()}
            for tensor in inputs:
                read.setdefault(tensor, i)
            written |= dict.fromkeys(outputs, i)
            if operation.guard:
                guarded |= inputs | outputs
        return {t for t in self.homes if t in read and written.get(t, -1) < read[t] and t not in guarded}

    def _readers(
        self, tables: Mapping[Operation, tuple[list[Tensor], Table]]
    ) -> dict[Tensor, list[tuple[Table, int]]]:
        """The tables of the operations that read a tensor and do not write it, each with the tensor's axis."""
        found: dict[Tensor, list[tuple[Table, int]]] = {}
        for operation, (free, table) in tables.items():
            written = {t.root()[0] for t in operation.writes()}
            for axis, tensor in enumerate(free):
                if tensor not in written:
                    found.setdefault(tensor, []).append((table, axis))
        return found

    def _copies(self, tensor: Tensor, homes: int, readers: Sequence[tuple[Table, int]]) -> list[Label]:
        """The copies from one of its first `homes` layouts that could save more in its readers than they cost."""
        found = []
        for home, copy in itertools.permutations(range(len(self.homes[tensor])), 2):
            if home >= homes:
                continue
            saved = sum(
                int((table.take(home, axis) - table.take(copy, axis)).max()) for table, axis in readers
            )
            label = Label(self.homes[tensor][home], self.homes[tensor][copy])
            if saved > 0 and saved > self._copy_cost(tensor, label):
                found.append(label)
        return found

    def _copy_cost(self, tensor: Tensor, label: Label) -> int:
        if label.copy is None:
            return 0
        if tensor not in self.made:
            self.made[tensor] = _copy_of(tensor)
        made = self.made[tensor]
        return self.cost(made, {tensor: label.home, made.output: label.copy})

    # The result

    def _apply(
        self,
        chosen: Mapping[Tensor, Label],
        tables: Mapping[Operation, tuple[list[Tensor], Table]],
        result: Assignment,
    ) -> None:
        layouts = self.layouts
        layouts |= {tensor: label.home for tensor, label in chosen.items()}
        copies: dict[Tensor, Map] = {}
        operations: list[Operation] = []
        for operation in self.program.operations:
            free, table = tables[operation]
            swapped = self._swapped(operation, free, table, chosen)
            for tensor in swapped:
                if tensor not in copies:
                    made = copies[tensor] = _copy_of(tensor, operation.nodes)
                    layouts[made.output] = chosen[tensor].layout(True)
                    result.cycles[made] = self.cost(made, layouts)
                    result.conversions.append(Conversion(made, result.cycles[made], True))
                    operations.append(made)
            if swapped:
                _redirect(operation, {tensor: copies[tensor].output for tensor in swapped})
            operations.append(operation)
            cycles = int(table[tuple(self.homes[t].index(chosen[t].layout(t in swapped)) for t in free)])
            result.cycles[operation] = cycles
            if cycles > table.min():
                result.conversions.append(Conversion(operation, cycles - int(table.min()), False))
        self.program.operations = operations
        for tensor, by_kind in self.options.items():
            if tensor.kind == "temp":
                result.kinds[tensor] = _kind(layouts[tensor], by_kind)
        for tensor, made in copies.items():
            result.kinds[made.output] = _kind(layouts[made.output], self.options[tensor])

    def _swapped(
        self, operation: Operation, free: list[Tensor], table: Table, chosen: Mapping[Tensor, Label]
    ) -> list[Tensor]:
        """Of which tensors an operation reads the copy: as few as take the least."""
        written = {t.root()[0] for t in operation.writes()}
        could = [t for t in free if chosen[t].copy is not None and t not in written]
        sets = [set(s) for n in range(len(could) + 1) for s in itertools.combinations(could, n)]

        def cycles(swapped: set[Tensor]) -> int:
            return int(table[tuple(self.homes[t].index(chosen[t].layout(t in swapped)) for t in free)])

        best = min(sets, key=cycles)
        return [t for t in could if t in best]


def _cautious(factor: Factor) -> Factor:
    """The same for the first picks, and a little more for all others."""
    first = (0,) * factor.table.ndim
    table = np.array(factor.table + factor.table // CAUTION)
    table[first] = factor.table[first]
    return Factor(factor.choices, table)


def _kind(layout: Layout, by_kind: Mapping[str, Layout]) -> str:
    """What a layout is called."""
    return next((kind for kind, one in by_kind.items() if one == layout), "other")


def _copy_of(tensor: Tensor, nodes: tuple[str, ...] = ()) -> Map:
    axes: tuple[Var, ...] = tuple(var(f"{tensor.name}_copy{a}", d) for a, d in enumerate(tensor.shape))
    return Map(
        Tensor(f"{tensor.name}_copy", tensor.dtype, tensor.shape), axes, identity(tensor, axes), nodes=nodes
    )


def _redirect(operation: Operation, copies: Mapping[Tensor, Tensor]) -> None:
    """Let an operation read copies, or the same parts of them."""

    def other(tensor: Tensor) -> Tensor:
        root, origin = tensor.root()
        if root not in copies:
            return tensor
        if root is tensor:
            return copies[root]
        return Tensor(tensor.name, tensor.dtype, tensor.shape, region=(copies[root], origin))

    def leaf(node: Value) -> Value | None:
        return Read(other(node.tensor), node.index) if isinstance(node, Read) else None

    operation.transform(lambda value: rewrite(value, leaf))
    if isinstance(operation, Dense | WinogradInput):
        operation.x = other(operation.x)
