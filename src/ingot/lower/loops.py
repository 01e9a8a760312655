"""Loop and Scan: the body's operations once, in a loop around the calls of their kernels.

What goes from turn to turn lies in state tensors, written before the loop and copied at the end of each turn. Two things
are no state: a value that stays what it was, and integers that grow by the same amount each turn, which are an
expression of the turn's number; so is a dimension that grows. To find them the body is lowered again and again, first
as if nothing changed, until what comes out fits what went in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ingot.ir.bounds import most
from ingot.ir.index import Ix, Var, ix, maximum, minimum, nonnegative
from ingot.ir.nodes import Acc, Const, Index, Op, Value
from ingot.ir.program import Loop, Map, Measure, Tensor
from ingot.lower.context import Context
from ingot.lower.elementwise import dtype_name
from ingot.lower.movement import known
from ingot.lower.operand import Anything, Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.sequences import structure_unknown
from ingot.lower.ties import TURNS, Place
from ingot.lower.values import cast

MAX_UNROLLED = 4096
"""Turns of a loop over sequences, each of which is lowered."""
MAX_TURNS = 2**31
"""A trip count beyond this bounds nothing."""
MAX_INTEGERS = 64


@dataclass
class Turn:
    """What the body gives: whether there is another turn (None: yes), the carried values, and rows of outputs."""

    goes_on: Operand | None
    carried: list[Operand]
    rows: list[Operand]


Body = Callable[[Var, list[Operand]], Turn]


@dataclass(frozen=True)
class Rows:
    """How the rows of one output are stacked. output: of the node, which has `outer` more axes in front."""

    output: int
    axis: int = 0
    reverse: bool = False
    outer: int = 0

    def declared(self, node: Node) -> int | None:
        """How many rows the model states that there are."""
        size = node.declared_dim(self.output, self.axis + self.outer) if self.axis >= 0 else None
        return size if isinstance(size, int) else None


@lowers("Loop")
def loop(ctx: Context, node: Node) -> list[Anything]:
    count, condition = node.optional(0), node.optional(1)
    body, initial = node.attributes["body"], [_present(node, i) for i in range(2, len(node.inputs))]
    if condition is not None and condition.data is not None and condition.data.all():
        condition = None
    if count is None and condition is None and not _may_end(body):
        raise node.unsupported("it has neither a trip count nor a condition, so it never ends")
    number = len(initial)
    if not all(isinstance(v, Operand) for v in initial):
        return _unrolled(ctx, node, count, condition, initial)

    def turn(counter: Var, carried: list[Operand]) -> Turn:
        number_of_turn = known(ctx, np.array(ix(counter), object))
        results = ctx.lower_graph(body, [number_of_turn, ctx.constant(np.array(True)), *carried])
        tensors = [_tensor(node, r) for r in results]
        goes_on: Operand | None = tensors[0]
        if goes_on is not None and goes_on.data is not None and goes_on.data.all():
            goes_on = None
        return Turn(goes_on, tensors[1 : 1 + number], tensors[1 + number :])

    trips = None if count is None else ctx.integers(count, "the trip count").reshape(-1)[0]
    stacked = [Rows(number + i) for i in range(len(body.outputs) - 1 - number)]
    return [
        *repeat(ctx, node, trips, condition, [v for v in initial if isinstance(v, Operand)], turn, stacked)
    ]


def _turns(node: Node) -> Place:
    """Where the number of its turns is kept."""
    return next(filter(None, node.outputs), ""), TURNS


def _present(node: Node, i: int) -> Anything:
    value = node.value(i)
    if value is None:
        raise node.unsupported(f"input {i} is missing")
    return value


def _tensor(node: Node, value: Anything) -> Operand:
    if not isinstance(value, Operand):
        raise structure_unknown(
            node, "a tensor becomes a sequence or an optional", "carry a sequence from the start"
        )
    return value


def _may_end(body: Any) -> bool:
    """Whether the condition that a body gives is another value than the one it is given."""
    return str(body.outputs[0].name) != str(body.inputs[1].name)


def _unrolled(
    ctx: Context, node: Node, count: Operand | None, condition: Operand | None, initial: list[Anything]
) -> list[Anything]:
    """A loop over sequences or optionals: as many copies of the body as there are turns, which must be known."""
    body, carried, rows = node.attributes["body"], initial, list[list[Operand]]()
    remedy = "make the trip count and the condition constants"
    if condition is not None and condition.data is None:
        raise structure_unknown(
            node, "it changes a sequence, and its condition is computed at run time", remedy
        )
    if count is not None and count.data is None:
        raise structure_unknown(
            node, "it changes a sequence, and its trip count is computed at run time", remedy
        )
    trips = None if count is None or count.data is None else int(count.data.reshape(-1)[0])
    going = condition is None
    number = 0
    while going and (trips is None or number < trips):
        if number == MAX_UNROLLED:
            raise node.unsupported(f"it changes a sequence in more than {MAX_UNROLLED} turns")
        given = [ctx.constant(np.array(number)), ctx.constant(np.array(True)), *carried]
        results = ctx.lower_graph(body, given)
        goes_on = _tensor(node, results[0])
        if goes_on.data is None:
            raise structure_unknown(
                node, "it changes a sequence, and its condition is computed at run time", remedy
            )
        going = bool(goes_on.data.all())
        carried = results[1 : 1 + len(initial)]
        rows.append([_tensor(node, r) for r in results[1 + len(initial) :]])
        number += 1
    stacked: list[Anything] = []
    for i, output in enumerate(body.outputs[1 + len(initial) :]):
        parts = [ctx.reshape(row[i], [ix(1), *row[i].shape]) for row in rows]
        if parts:
            stacked.append(ctx.concat(parts, 0) if len(parts) > 1 else parts[0])
        else:
            shape = [0, *(d if isinstance(d, int) else 1 for d in output.shape or ())]
            stacked.append(ctx.map(shape, dtype_name(output.dtype, node), lambda _: Const(0, "i64")))
    return [*carried, *stacked]


@lowers("Scan")
def scan(ctx: Context, node: Node) -> list[Operand]:
    if node.opset < 9:
        return _batched_scan(ctx, node)
    total = len(node.inputs)
    width = int(node.attributes["num_scan_inputs"])
    initial = [node.input(i) for i in range(total - width)]
    read = [node.input(i) for i in range(total - width, total)]
    axes = [int(a) for a in node.get("scan_input_axes", [0] * width)]
    outputs = len(node.attributes["body"].outputs) - len(initial)
    stack_axes = [int(a) for a in node.get("scan_output_axes", [0] * outputs)]
    backward = list(node.get("scan_output_directions", [0] * outputs))
    rows = [
        Rows(len(initial) + i, a, bool(b)) for i, (a, b) in enumerate(zip(stack_axes, backward, strict=True))
    ]
    inputs = [
        (x, a % x.rank, bool(b))
        for x, a, b in zip(read, axes, node.get("scan_input_directions", [0] * width), strict=True)
    ]
    return _scan(ctx, node, initial, inputs, rows)


def _scan(
    ctx: Context,
    node: Node,
    initial: list[Operand],
    inputs: Sequence[tuple[Operand, int, bool]],
    rows: Sequence[Rows],
) -> list[Operand]:
    """inputs: each with the axis that is walked, and whether from its end."""
    body = node.attributes["body"]
    first, axis, _ = inputs[0]
    trips = first.shape[axis]
    for x, a, _ in inputs[1:]:
        ctx.require(trips, x.shape[a])

    def turn(counter: Var, carried: list[Operand]) -> Turn:
        elements = [
            _slice(ctx, x, a, trips - 1 - ix(counter) if back else ix(counter)) for x, a, back in inputs
        ]
        results = [_tensor(node, r) for r in ctx.lower_graph(body, [*carried, *elements])]
        return Turn(None, results[: len(initial)], results[len(initial) :])

    return repeat(ctx, node, trips, None, initial, turn, rows)


def _slice(ctx: Context, x: Operand, axis: int, at: Ix) -> Operand:
    """x at one place along an axis, which goes."""
    shape = [*x.shape[:axis], *x.shape[axis + 1 :]]
    return ctx.view(x, shape, lambda *axes: [*axes[:axis], at, *axes[axis:]])


def _batched_scan(ctx: Context, node: Node) -> list[Operand]:
    """Operator set 8: all values have a batch in front, and each of its members is scanned alone."""
    if node.value(0) is not None:
        raise node.unsupported("sequences shorter than the others", "leave out sequence_lens")
    width = int(node.attributes["num_scan_inputs"])
    operands = [node.input(i) for i in range(1, len(node.inputs))]
    initial, read = operands[: len(operands) - width], operands[len(operands) - width :]
    backward = node.get("directions", [0] * width)
    outputs = len(node.attributes["body"].outputs)
    rows = [Rows(i, outer=1) for i in range(len(initial), outputs)]
    for x in operands:
        ctx.require(x.shape[0], read[0].shape[0])

    def member(counter: Var, _: list[Operand]) -> Turn:
        own = [_slice(ctx, x, 0, ix(counter)) for x in operands]
        inputs = [(x, 0, bool(b)) for x, b in zip(own[len(initial) :], backward, strict=True)]
        return Turn(None, [], _scan(ctx, node, own[: len(initial)], inputs, rows))

    return repeat(ctx, node, read[0].shape[0], None, [], member, [Rows(i) for i in range(outputs)])


@dataclass
class _Carried:
    """A value that goes from turn to turn, as it is thought to be.

    kind: "fixed" stays `initial`; "integers" are those of `initial` plus `step` a turn; "state" lies in memory, its
    dimensions growing by `growth` a turn, or known in the turn alone along the axes in `varying`.
    """

    initial: Operand
    kind: str = "state"
    step: np.ndarray | None = None
    growth: dict[int, Ix] = field(default_factory=dict)
    varying: dict[int, Ix] = field(default_factory=dict)
    whole: Tensor | None = None
    symbols: dict[int, Ix] = field(default_factory=dict)

    def shape(self, turns: Ix) -> tuple[Ix, ...]:
        """The dimensions after so many turns."""
        return tuple(
            self.symbols.get(a, d + self.growth.get(a, ix(0)) * turns)
            for a, d in enumerate(self.initial.shape)
        )

    def part(self, ctx: Context, shape: tuple[Ix, ...]) -> Tensor:
        """The region of the state that a value of this shape fills."""
        assert self.whole is not None
        if shape == self.whole.shape:
            return self.whole
        origin = tuple(ix(0) for _ in shape)
        return Tensor(ctx.unique("t"), self.whole.dtype, shape, "state", region=(self.whole, origin))

    def after(self, ctx: Context, turns: Ix) -> Operand:
        """The value after so many turns."""
        if self.kind == "fixed":
            return self.initial
        if self.kind == "integers":
            assert self.initial.known is not None
            assert self.step is not None
            return known(ctx, _plus(self.initial.known, self.step, turns), self.initial.dtype)
        return ctx.wrap(self.part(ctx, self.shape(turns)))


def repeat(
    ctx: Context,
    node: Node,
    trips: Ix | None,
    condition: Operand | None,
    initial: list[Operand],
    body: Body,
    stacked: Sequence[Rows],
) -> list[Operand]:
    """The carried values after the last turn, and the stacked rows of all turns.

    trips: the most turns, None where only the condition ends the loop. Raises IngotError unsupported where something
    grows without a bound.
    """
    plan = [_Carried(v, "integers" if _countable(v) else "state") for v in initial]
    for value in plan:
        if value.kind == "integers":
            value.step = np.full([d.value for d in value.initial.shape], ix(0), object)
    conditional = condition is not None
    restore = ctx.checkpoint()
    while True:
        attempt = _Attempt(ctx, node, trips, condition, conditional, plan, stacked)
        turn = attempt.lower(body)
        conditional, again = (
            conditional or turn.goes_on is not None,
            not conditional and turn.goes_on is not None,
        )
        for i, (value, result) in enumerate(zip(plan, turn.carried, strict=True)):
            again = (
                _revise(ctx, node, value, attempt.given[i], result, attempt.counter, attempt.limit, i)
                or again
            )
        if not again:
            return attempt.finish(turn)
        restore()


def _countable(value: Operand) -> bool:
    return value.known is not None and value.dtype in ("i64", "i32") and 0 < value.known.size <= MAX_INTEGERS


class _Attempt:
    """One lowering of a loop: what comes before it, its body, and what comes after.

    limit: how many turns there may be. checked: whether the loop would go on where it is stopped there.
    """

    def __init__(
        self,
        ctx: Context,
        node: Node,
        trips: Ix | None,
        condition: Operand | None,
        conditional: bool,
        plan: list[_Carried],
        stacked: Sequence[Rows],
    ) -> None:
        self.ctx, self.node, self.plan, self.stacked = ctx, node, plan, stacked
        self.trips, self.conditional = trips, conditional
        self.limit = None if trips is None else most(maximum(trips, 0), ctx.bounds)
        if self.limit is not None and self.limit.is_const and self.limit.value > MAX_TURNS:
            self.limit = None
        declared = [ix(d) for r in stacked if (d := r.declared(node)) is not None]
        tied = ctx.ties.known.get(_turns(node))
        if tied is not None:
            declared.append(tied)
        self.checked = self.limit is None and bool(declared)
        if self.checked:
            self.limit = declared[0]
        self.counter = ctx.counter(self.limit)
        self.flag: Tensor | None = None
        if conditional:
            self.flag = Tensor(ctx.unique("t"), "bool", (), "state")
            start = Const(True, "bool") if condition is None else ctx.read(ctx.reshape(condition, ()), ())
            ctx.add(Map(self.flag, (), start))
        for i, value in enumerate(plan):
            if value.kind == "state":
                self.prepare(i, value)
        allowed = trips
        if self.checked:
            assert self.limit is not None
            allowed = self.limit if trips is None else minimum(trips, self.limit)
        self.loop = Loop(self.counter, allowed, self.flag)
        self.given: list[Operand] = []
        self.wholes: list[Tensor] = []

    def prepare(self, i: int, value: _Carried) -> None:
        """The state tensor, as large as it may become, and its first contents."""
        ctx, first = self.ctx, value.initial
        for axis, top in value.varying.items():
            value.symbols[axis] = ctx.measure(first.shape[axis], most=top)
        tops: list[Ix] = []
        for axis, d in enumerate(first.shape):
            top = value.varying.get(axis, d)
            if axis in value.growth:
                limit = self.most_turns()
                if limit is None:
                    raise self.node.unsupported(
                        f"carried value {i} grows along axis {axis}, and the number of turns has no bound",
                        "give the loop a constant trip count",
                    )
                top = d + value.growth[axis] * limit
            bound = most(top, ctx.bounds)
            if bound is None:
                raise self.node.unsupported(f"carried value {i} has a size without a bound along axis {axis}")
            tops.append(bound)
        value.whole = ctx.tensor(first.stored, tops)
        value.whole.kind = "state"
        start = value.part(ctx, first.shape)
        axes = ctx.axes(first.shape)
        ctx.add(Map(start, axes, ctx.read(first, axes)))

    def most_turns(self) -> Ix | None:
        """The limit, for what needs one."""
        if self.limit is None:
            self.limit = self.ctx.ties.hole(self.ctx.unique)
            self.checked = self.limit is not None
        return self.limit

    def lower(self, body: Body) -> Turn:
        ctx = self.ctx
        self.outer = ctx.guards
        ctx.guards = (*self.outer, self.loop)
        self.given = [value.after(ctx, ix(self.counter)) for value in self.plan]
        turn = body(self.counter, self.given)
        ctx.node = self.node
        return turn

    def finish(self, turn: Turn) -> list[Operand]:
        """Write the rows, then the states, and leave the loop."""
        ctx = self.ctx
        for row, how in zip(turn.rows, self.stacked, strict=True):
            self.write_row(row, how)
        self.update(turn)
        ctx.guards = self.outer
        turns = self.turns()
        finals = [value.after(ctx, turns) for value in self.plan]
        return [
            *finals,
            *(self.stack(w, how, turns) for w, how in zip(self.wholes, self.stacked, strict=True)),
        ]

    def write_row(self, row: Operand, how: Rows) -> None:
        ctx, axis = self.ctx, how.axis % (row.rank + 1)
        limit = self.most_turns()
        if limit is None:
            raise self.node.unsupported(
                f"output {how.output} has a row for each turn, and the number of turns has no bound",
                "give the loop a constant trip count, or state the shape of the output, in the model or with --shape",
            )
        if any(
            self.counter in d.variables() or not d.variables().isdisjoint(self.inner()) for d in row.shape
        ):
            raise self.node.unsupported(f"the rows of output {how.output} differ in shape from turn to turn")
        whole = ctx.tensor(row.stored, [*row.shape[:axis], limit, *row.shape[axis:]])
        self.wholes.append(whole)
        assert self.trips is not None or not how.reverse
        at = (self.trips or ix(0)) - 1 - ix(self.counter) if how.reverse else ix(self.counter)
        origin = tuple(at if i == axis else ix(0) for i in range(whole.rank))
        shape = tuple(ix(1) if i == axis else d for i, d in enumerate(whole.shape))
        place = Tensor(ctx.unique("t"), row.stored, shape, region=(whole, origin))
        axes = ctx.axes(shape)
        ctx.add(Map(place, axes, ctx.read(row, [a for i, a in enumerate(axes) if i != axis])))

    def inner(self) -> set[Var]:
        """The symbols that get their value anew in each turn."""
        return {
            o.symbol for o in self.ctx.program.operations if isinstance(o, Measure) and self.loop in o.guard
        }

    def update(self, turn: Turn) -> None:
        """Copy what the next turn reads into the states; what lies in a state itself is first put aside."""
        ctx = self.ctx
        copies: list[tuple[Tensor, Operand]] = []
        for value, result in zip(self.plan, turn.carried, strict=True):
            if value.kind == "state":
                shape = tuple(
                    result.shape[a] if a in value.symbols else d
                    for a, d in enumerate(value.shape(ix(self.counter) + 1))
                )
                copies.append((value.part(ctx, shape), result))
        if self.flag is not None:
            goes_on = turn.goes_on or ctx.constant(np.array(True))
            copies.append((self.flag, ctx.reshape(goes_on, ())))
        aside = []
        for target, result in copies:
            if result.tensor is not None and result.tensor.is_state:
                result = _copied(ctx, result)
            else:
                ctx.read(result, [ix(0)] * result.rank)
            aside.append((target, result))
        for target, result in aside:
            axes = ctx.axes(target.shape)
            ctx.add(Map(target, axes, ctx.read(result, axes)))
        for value, result in zip(self.plan, turn.carried, strict=True):
            for axis, symbol in value.symbols.items():
                (variable,) = symbol.variables()
                output = Tensor(ctx.unique("k"), "i64", ())
                top = value.varying[axis]
                ctx.add(Measure(output, (), Acc("i64"), variable, result.shape[axis], 0, top))

    def turns(self) -> Ix:
        """How many turns there were."""
        ctx, count = self.ctx, ix(self.counter)
        if self.checked:
            going: list[Value] = [] if self.flag is None else [ctx.read(ctx.wrap(self.flag), ())]
            if self.trips is not None:
                going.append(Op("lt", (Index(count), Index(self.trips)), "bool"))
            still = going[0] if len(going) == 1 else Op("and", (going[0], going[1]), "bool")
            ctx.measure(ctx.scalar(cast(still, "i64")), most=ix(0))
        if self.trips is not None and self.flag is None and not self.checked:
            return self.trips if nonnegative(self.trips) else maximum(self.trips, 0)
        turns = ctx.measure(count, most=self.limit)
        if self.limit != self.counter.extent:
            ctx.ties.note(_turns(self.node), turns)
        return turns

    def stack(self, whole: Tensor, how: Rows, turns: Ix) -> Operand:
        axis = how.axis % whole.rank
        declared = how.declared(self.node)
        size = turns
        tied = self.ctx.ties.known.get(_turns(self.node))
        exact = tied if declared is None else ix(declared)
        if exact is not None and turns != exact:
            self.ctx.require(turns, exact)
            size = exact
        shape = tuple(size if i == axis else d for i, d in enumerate(whole.shape))
        if shape == whole.shape:
            return self.ctx.wrap(whole)
        origin = tuple(ix(0) for _ in shape)
        return self.ctx.wrap(Tensor(self.ctx.unique("t"), whole.dtype, shape, region=(whole, origin)))


def _copied(ctx: Context, x: Operand) -> Operand:
    return ctx.map(x.shape, x.stored, lambda axes: ctx.read(x, axes))


def _revise(
    ctx: Context,
    node: Node,
    value: _Carried,
    given: Operand,
    result: Operand,
    counter: Var,
    limit: Ix | None,
    number: int,
) -> bool:
    """Compare what a turn was given with what it gives; whether the plan had to change."""
    if value.kind == "fixed":
        return False
    if value.kind == "integers":
        return _revise_integers(value, result, counter)
    if result is given or (result.tensor is not None and result.tensor is given.tensor):
        value.kind = "fixed"
        return True
    if result.dtype != given.dtype or result.rank != given.rank:
        raise node.unsupported(
            f"carried value {number} goes in as {given.dtype} of rank {given.rank} and comes out as "
            f"{result.dtype} of rank {result.rank}"
        )
    wanted = value.shape(ix(counter) + 1)
    changed = False
    for axis, (there, now) in enumerate(zip(result.shape, wanted, strict=True)):
        if axis in value.symbols or there == now:
            continue
        changed = True
        growth = there - given.shape[axis]
        if axis not in value.growth and _steady(growth, counter, ctx):
            value.growth[axis] = growth
            continue
        top = node.declared_dim(number, axis)
        if not isinstance(top, int):
            raise node.unsupported(
                f"carried value {number} has another size along axis {axis} after each turn, and no bound",
                "declare the shape of the output in the model",
            )
        value.growth.pop(axis, None)
        value.varying[axis] = ix(top)
    return changed


def _revise_integers(value: _Carried, result: Operand, counter: Var) -> bool:
    assert value.initial.known is not None
    assert value.step is not None
    if result.known is not None and result.known.shape == value.initial.known.shape:
        before = _plus(value.initial.known, value.step, ix(counter))
        step = _plus(result.known, before, ix(-1))
        if step.tolist() == value.step.tolist():
            return False
        if not any(s.terms for s in value.step.reshape(-1)) and all(
            counter not in s.variables() and s.is_const for s in step.reshape(-1)
        ):
            value.step = step
            return True
    value.kind = "state"
    return True


def _plus(a: np.ndarray, b: np.ndarray, times: Ix) -> np.ndarray:
    """a + b * times, of integers known up to symbols."""
    total = np.empty(a.shape, object)
    for i in np.ndindex(a.shape):
        total[i] = a[i] + b[i] * times
    return total


def _steady(growth: Ix, counter: Var, ctx: Context) -> bool:
    """Whether a size grows by the same amount in each turn."""
    variables = growth.variables()
    return nonnegative(growth) and counter not in variables and variables.isdisjoint(ctx.bounds)
