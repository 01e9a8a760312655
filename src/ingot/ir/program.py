"""A lowered model before its loops exist: tensors and the operations that compute them, each defined by index expressions.

The operations, from general to special; every one finishes an element with `finish`, an expression over `Acc`:

    Map      output[axes] = finish(value(axes))
    Reduce   output[axes] = finish(op over `over` of value(axes, over))
    Row      output[axes] = finish(softmax or normalisation of value along one axis)
    Dense    output[axes] = finish(sum over taps and channel of x[x_index] * weight[taps, channel, feature])
    WinogradInput, WinogradOutput  the transforms around the Dense that replaces a convolution
    MatMul   output[axes] = finish(sum over k of a(axes, k) * b(axes, k))
    Attention  output[axes] = finish(sum over n of softmax over n of score(a . b) times c)
    Recurrent  an LSTM, GRU or RNN layer over all its steps
    Routine  statements of its own, for what depends on data in ways that no index expression says
    Fill     the border of a padded tensor around the region that another operation writes
    Measure  a symbol that has its value only from here on: a size or a position that depends on data
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ingot.ir.bounds import most
from ingot.ir.index import Ix, Var, ix
from ingot.ir.nodes import Acc, Read, Stmt, Value, data_of, operands, statements, walk


@dataclass(eq=False)
class Tensor:
    """A value of the program.

    kind: "input", "output", "const", "temp", or "state": written before a loop and again at the end of each turn. data: a
    constant's elements. region: (whole, origin) where the tensor is a box inside another one, starting at origin: the two
    share storage.
    """

    name: str
    dtype: str
    shape: tuple[Ix, ...]
    kind: str = "temp"
    data: np.ndarray | None = None
    region: tuple[Tensor, tuple[Ix, ...]] | None = None

    def root(self) -> tuple[Tensor, tuple[Ix, ...]]:
        """The tensor that owns the storage, and this one's origin in it."""
        tensor, origin = self, tuple(ix(0) for _ in self.shape)
        while tensor.region is not None:
            tensor, inner = tensor.region
            origin = tuple(a + b for a, b in zip(origin, inner, strict=True))
        return tensor, origin

    @property
    def is_state(self) -> bool:
        """Whether the turns of a loop hand it on: what it held before may be read until the copy at the end of the turn."""
        return self.root()[0].kind == "state"

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False)
class Loop:
    """Repetition of the operations that have it in their guard, while `counter`, a symbol that is 0 before, is less than
    `trips` and the one element of `condition` holds. None: no such limit. The counter is the number of turns afterwards."""

    counter: Var
    trips: Ix | None
    condition: Tensor | None


Guard = tuple["tuple[Tensor, bool] | Loop", ...]


@dataclass(eq=False)
class Operation:
    """What all operations share. nodes: names of the ONNX nodes it came from. guard: from outside in, the loops it is in
    and bool tensors whose one element must have a value for it to run. demand: where given, the output is one bool that must come out true; where it is false,
    an index read at run time is out of range, and the run ends with this text as its error."""

    output: Tensor
    axes: tuple[Var, ...]
    finish: Value
    nodes: tuple[str, ...] = field(default=(), kw_only=True)
    guard: Guard = field(default=(), kw_only=True)
    demand: str = field(default="", kw_only=True)

    def values(self) -> dict[str, Value]:
        """The expressions in it, by field name."""
        return {"finish": self.finish}

    def expressions(self) -> list[Value]:
        """All that it evaluates."""
        return list(self.values().values())

    def tensors(self) -> Iterator[Tensor]:
        """Tensors read other than through `values`."""
        yield from ()

    def writes(self) -> list[Tensor]:
        """Every tensor it writes, the output first."""
        return [self.output]

    def reads(self) -> list[Read]:
        """Every read in its expressions."""
        return [n for v in self.expressions() for n in walk(v) if isinstance(n, Read)]

    def inputs(self) -> list[Tensor]:
        """Every tensor it reads, once, guards included."""
        found = dict.fromkeys(r.tensor for r in self.reads())
        found |= dict.fromkeys(self.tensors())
        found |= dict.fromkeys(self.flags())
        return list(found)

    def flags(self) -> list[Tensor]:
        """The tensors that say whether, and how often, it runs."""
        conditions = [g.condition if isinstance(g, Loop) else g[0] for g in self.guard]
        return [t for t in conditions if t is not None]

    def loops(self) -> list[Guard]:
        """The loops it is in, from outside in, each as the guard up to it."""
        return [self.guard[: i + 1] for i, g in enumerate(self.guard) if isinstance(g, Loop)]

    def tests(self) -> list[tuple[Tensor, bool]]:
        """The guard inside all loops."""
        return tests(self.guard[len(loops[-1]) if (loops := self.loops()) else 0 :])

    def transform(self, change: Callable[[Value], Value]) -> None:
        """Rewrite every expression."""
        for name, value in self.values().items():
            setattr(self, name, change(value))


@dataclass(eq=False)
class Map(Operation):
    """An elementwise computation or data movement: all of it stands in `finish`, without an Acc."""


@dataclass(eq=False)
class Reduce(Operation):
    """op: "add", "mul", "max", "min", "maximum", "minimum" (NaN where one is), "and", "or", "argmax", "argmin" ("first" or
    "last" index by last)."""

    op: str
    over: tuple[Var, ...]
    value: Value
    last: bool = False

    def values(self) -> dict[str, Value]:
        return {"value": self.value, "finish": self.finish}


@dataclass(eq=False)
class Row(Operation):
    """A softmax or normalisation. over: loop variables of the normalised axes, which are axes of the output too.

    op: "softmax", "log_softmax", "layer_norm" ((x - mean) / sqrt(variance + epsilon)) or "rms_norm".
    """

    op: str
    over: tuple[Var, ...]
    value: Value
    epsilon: float = 0.0

    def values(self) -> dict[str, Value]:
        return {"value": self.value, "finish": self.finish}


@dataclass(eq=False)
class Dense(Operation):
    """A convolution or a product with constant weights.

    weight: array of shape (taps…, channels, features). feature: position in `axes` of the output feature.
    x_index: where x is read, of axes, taps and channel. batched: position in `axes` of an axis that has weights of its
    own; the weight then has that axis first.
    """

    feature: int
    taps: tuple[Var, ...]
    channel: Var
    x: Tensor
    x_index: tuple[Ix, ...]
    weight: np.ndarray
    batched: int | None = None

    def tensors(self) -> Iterator[Tensor]:
        yield self.x


@dataclass(eq=False)
class WinogradInput(Operation):
    """The transformed tiles of x for F(m, r): output (n^2, channels, images, tiles), where n = m + r - 1."""

    x: Tensor
    m: int
    r: int
    tiles: tuple[Ix, Ix]

    def tensors(self) -> Iterator[Tensor]:
        yield self.x


@dataclass(eq=False)
class WinogradOutput(Operation):
    """The convolution's result from products (n^2, features, images, tiles), where n = m + r - 1."""

    products: Tensor
    m: int
    r: int
    tiles: tuple[Ix, Ix]

    def tensors(self) -> Iterator[Tensor]:
        yield self.products


@dataclass(eq=False)
class MatMul(Operation):
    """A product of two computed tensors; the last two axes are m and n."""

    k: Var
    a: Value
    b: Value

    def values(self) -> dict[str, Value]:
        return {"a": self.a, "b": self.b, "finish": self.finish}


@dataclass(eq=False)
class Attention(Operation):
    """Scaled dot-product attention, masks and scales in `score`; the axes are (batch…, m, d).

    score: of an Acc, the sum over k of a(batch, m, k) * b(batch, k, n). c: (batch, n, d). scratch: (batch…, m, n), takes the
    scores, and the weights of c unless `weights`, of its shape, does.
    """

    k: Var
    n: Var
    a: Value
    b: Value
    score: Value
    c: Value
    scratch: Tensor
    weights: Tensor | None = None

    def values(self) -> dict[str, Value]:
        return {"a": self.a, "b": self.b, "score": self.score, "c": self.c, "finish": self.finish}

    def writes(self) -> list[Tensor]:
        return [self.output, self.scratch, *([] if self.weights is None else [self.weights])]


@dataclass(eq=False)
class Recurrent(Operation):
    """One direction of an LSTM, GRU or RNN layer, all steps in order.

    output: (batch, steps, hidden). x: (batch, steps, gates * hidden), the input's products with the biases added.
    state: (batch, hidden) tensors at the start, h then (LSTM) c; last: tensors that take the final ones, then
    scratch tensors (batch, hidden) that some ops need, then one (2, batch, hidden): h before and after a step.
    weight: (gates, hidden, hidden) as [gate, from, to]. op: "lstm", "gru" or "rnn". activations: ONNX's f, g and h, each
    an expression of an Acc. lengths: (batch,), how many steps each sequence has; later outputs are 0. peepholes:
    (3, hidden), what the cell adds to an LSTM's gates i, o and f. coupled: f is 1 - i.
    """

    op: str
    x: Tensor
    state: tuple[Tensor, ...]
    last: tuple[Tensor, ...]
    weight: np.ndarray | Tensor
    recurrent_bias: np.ndarray | Tensor | None
    reverse: bool
    activations: tuple[Value, ...]
    linear_before_reset: bool = False
    lengths: Tensor | None = None
    peepholes: Tensor | None = None
    coupled: bool = False

    @property
    def hidden(self) -> int:
        return self.output.shape[2].value

    @property
    def gates(self) -> int:
        return self.x.shape[2].value // self.hidden

    def writes(self) -> list[Tensor]:
        return [self.output, *self.last]

    def tensors(self) -> Iterator[Tensor]:
        yield self.x
        yield from self.state
        for operand in (self.weight, self.recurrent_bias, self.lengths, self.peepholes):
            if isinstance(operand, Tensor):
                yield operand


@dataclass(eq=False)
class Routine(Operation):
    """Statements over logical indices, run once for each point of `tasks`, in any order and at the same time.

    results: all that it writes, scratch too, the output first; it may read them. updates: those of them that hold
    something before. body: Let, Assign, Define, For, If and Write. work: rough operations of a task.
    """

    name: str
    results: tuple[Tensor, ...]
    updates: tuple[Tensor, ...]
    tasks: tuple[Var, ...]
    body: tuple[Stmt, ...]
    work: Ix

    def values(self) -> dict[str, Value]:
        return {}

    def expressions(self) -> list[Value]:
        found: list[Value] = []
        for statement in statements(self.body):
            values, indices = operands(statement)
            found += [*values, *(v for i in indices for v in data_of(i))]
        return found

    def inputs(self) -> list[Tensor]:
        return [t for t in super().inputs() if t not in self.results or t in self.updates]

    def tensors(self) -> Iterator[Tensor]:
        yield from self.updates

    def writes(self) -> list[Tensor]:
        return list(self.results)


@dataclass(eq=False)
class Fill(Operation):
    """Set every element of `output` outside the box [low, low + shape of inner) to a constant (in `finish`)."""

    inner: Tensor


@dataclass(frozen=True)
class Group:
    """An input or output of the model as tensors of the program. kind: "tensor", "sequence" of `count` elements, or
    "absent", an optional without a value, which is no tensor at all."""

    name: str
    kind: str = "tensor"
    count: int = 1


@dataclass(eq=False)
class Measure(Operation):
    """Give `symbol` its value for the rest of the run: the element of `source` at a row-major position, or the value
    of an expression of earlier symbols.

    most: what it is at most, where it sizes something (then it is at least 0, and a run in which it is not ends).
    output: a scalar that nothing writes.
    """

    symbol: Var
    source: Tensor | Ix
    position: int = 0
    most: Ix | None = None

    def tensors(self) -> Iterator[Tensor]:
        if isinstance(self.source, Tensor):
            yield self.source

    def writes(self) -> list[Tensor]:
        return []


@dataclass(eq=False)
class Program:
    """operations in execution order; symbols are the integers known at run time, in the order of the library's arguments.

    requires: pairs of sizes that the operations take to be equal; a run in which some pair is not ends when that is known.
    macs: multiply-adds of a run with every convolution summed directly over its padded input, None where a size is known
    only at run time. winograd_error: the most that Winograd's transforms add to a convolution, relative to its largest output.
    input_groups, output_groups: what the model's own inputs and outputs are. shapes: of the tensors of the ONNX graph that it
    was lowered from, by name.
    """

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    symbols: list[Var]
    operations: list[Operation]
    requires: list[tuple[Ix, Ix]] = field(default_factory=list)
    macs: int | None = None
    winograd_error: float = 0.0
    input_groups: list[Group] = field(default_factory=list)
    output_groups: list[Group] = field(default_factory=list)
    shapes: dict[str, tuple[Ix, ...]] = field(default_factory=dict)

    def bounds(self) -> dict[Var, Ix | None]:
        """What each symbol that is measured is at most, by the symbols of the inputs; None for one that sizes nothing."""
        found: dict[Var, Ix | None] = {}
        for operation in self.operations:
            if isinstance(operation, Measure):
                found[operation.symbol] = None if operation.most is None else most(operation.most, found)
        return found

    def uses(self) -> dict[Tensor, list[Operation]]:
        """Which operations read each tensor."""
        table: dict[Tensor, list[Operation]] = {}
        for operation in self.operations:
            for tensor in operation.inputs():
                table.setdefault(tensor, []).append(operation)
        return table


def tests(guard: Guard) -> list[tuple[Tensor, bool]]:
    """What is tested right before the last loop of a guard, or where there is none, in all of it."""
    found: list[tuple[Tensor, bool]] = []
    for i, g in enumerate(guard):
        if not isinstance(g, Loop):
            found.append(g)
        elif i < len(guard) - 1:
            found.clear()
    return found


def loop_locals(operations: Sequence[Operation]) -> dict[Loop, tuple[int, int, set[Tensor]]]:
    """For each loop its first and its last operation, and the temporaries that only operations in it touch."""
    places: dict[Tensor, list[int]] = {}
    spans: dict[Loop, list[int]] = {}
    for i, operation in enumerate(operations):
        for root in {t.root()[0]: None for t in [*operation.writes(), *operation.inputs()]}:
            places.setdefault(root, []).append(i)
        for g in operation.guard:
            if isinstance(g, Loop):
                spans.setdefault(g, [i, i])[1] = i
    return {
        loop: (
            first,
            last,
            {t for t, at in places.items() if t.kind == "temp" and first <= at[0] and at[-1] <= last},
        )
        for loop, (first, last) in spans.items()
    }


def identity(tensor: Tensor, axes: tuple[Var, ...]) -> Read:
    """A read of a tensor at its own axes."""
    return Read(tensor, tuple(ix(a) for a in axes))


def passthrough(dtype: str) -> Acc:
    """The epilogue that does nothing."""
    return Acc(dtype)
