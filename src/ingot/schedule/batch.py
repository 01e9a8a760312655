"""A batch one sample at a time, where its tensors overflow the second cache and those of one sample do not.

What an operation writes for a whole batch has left the cache when the next one reads it. So a run of operations that
treat every sample alike becomes a loop over the samples, with temporaries of one sample. The loop reads the weights anew
for each of them, which counts where few results take them: the run that saves most of bytes moved is taken, if any does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingot.ir.index import Ix, Var, ix, product, var
from ingot.ir.nodes import DTYPES, Acc, Read, Value, data_of, rewrite, value_variables
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Loop,
    Map,
    MatMul,
    Measure,
    Operation,
    Program,
    Reduce,
    Row,
    Tensor,
)

USUAL = 8
"""How many samples a batch counts as that is known only in a run."""
MANY = 32
"""Multiply-adds with a weight that take as long as its way from memory."""


def split_batch(program: Program, cache: int) -> int:
    """Put runs of operations into loops over the first dimension of the inputs; how many. Mutates the program.

    cache: bytes of the second cache.
    """
    batches = dict.fromkeys(t.shape[0] for t in program.inputs if t.rank > 1)
    return sum(_split(program, batch, cache) for batch in batches if batch != ix(1))


def _split(program: Program, batch: Ix, cache: int) -> int:
    runs = list(_runs(program.operations, batch, cache))
    for first, end in reversed(runs):
        _Sample(program, batch, first, end).split()
    return len(runs)


def _runs(operations: Sequence[Operation], batch: Ix, cache: int) -> Iterable[tuple[int, int]]:
    """From where to where loops pay: of each row of operations that can be in one, the part that gains most, with its
    neighbours that cost nothing."""
    samples = batch.value if batch.is_const else USUAL
    alike = [_treats_samples_alike(operation, batch) for operation in operations]
    end = 0
    for start, first in enumerate(alike):
        if not first or start < end:
            continue
        end = next((i for i in range(start, len(alike)) if not alike[i]), len(alike))
        costs = [_cost(operation, samples) for operation in operations[start:end]]
        saved = [_saved(operation, samples, cache) for operation in operations[start:end]]
        low, high = _best([s - c for s, c in zip(saved, costs, strict=True)])
        if low == high or _gain(operations[start + low : start + high], samples, cache) <= 0:
            continue
        while low > 0 and costs[low - 1] == 0:
            low -= 1
        while high < len(costs) and costs[high] == 0:
            high += 1
        yield start + low, start + high


def _best(gains: Sequence[int]) -> tuple[int, int]:
    """Where the slice with the largest positive sum begins and ends."""
    best, total, start, place = 0, 0, 0, (0, 0)
    for i, gain in enumerate(gains):
        total += gain
        if total <= 0:
            total, start = 0, i + 1
        elif total > best:
            best, place = total, (start, i + 1)
    return place


def _gain(body: Sequence[Operation], samples: int, cache: int) -> int:
    """How many bytes fewer a loop around these operations moves: what passes from one of them to another stays near."""
    read = {t.root()[0] for o in body for t in o.inputs()}
    saved = sum(_saved(o, samples, cache) for o in body if o.output.root()[0] in read)
    return saved - sum(_cost(o, samples) for o in body)


def _saved(operation: Operation, samples: int, cache: int) -> int:
    """Bytes of the output that stay in the second cache; a quarter of them where one sample overflows it too, and is only
    more likely to stay in the third."""
    tensors = [t for t in {operation.output, *operation.inputs()} if t.kind != "const"]
    sizes = [product(t.shape[1:]) * DTYPES[t.dtype].itemsize for t in tensors]
    one = sum(size.value for size in sizes if size.is_const)
    own = product(operation.output.shape[1:]) * DTYPES[operation.output.dtype].itemsize
    if samples * one <= cache or not own.is_const:
        return 0
    return samples * own.value // (1 if one <= cache else 4)


def _cost(operation: Operation, samples: int) -> int:
    """Bytes of weights that are read again for each sample but the first; none where so many results take each weight that
    reading it ahead is free."""
    if not isinstance(operation, Dense):
        return 0
    results = product(d for a, d in enumerate(operation.output.shape) if a not in (0, operation.feature))
    return 0 if results.is_const and results.value >= MANY else (samples - 1) * operation.weight.nbytes


def _batched(tensor: Tensor, batch: Ix) -> bool:
    root, origin = tensor.root()
    return tensor.rank > 0 and root.shape[0] == tensor.shape[0] == batch and origin[0] == ix(0)


def _treats_samples_alike(operation: Operation, batch: Ix) -> bool:
    """Whether sample i of what it writes depends on sample i of what it reads, the same way for all i."""
    if (
        type(operation) not in (Map, Reduce, Row, Dense, MatMul, Attention, Fill)
        or operation.guard
        or operation.demand
    ):
        return False
    if not _batched(operation.output, batch) or operation.output.is_state:
        return False
    sample = operation.axes[0]
    if isinstance(operation, Row) and sample in operation.over:
        return False
    if isinstance(operation, Dense):
        at, *rest = operation.x_index
        if not operation.feature or operation.batched is not None or not _batched(operation.x, batch):
            return False
        if at != ix(sample) or any(sample in i.variables() for i in rest):
            return False
    alike = True

    def leaf(node: Value) -> Value | None:
        nonlocal alike
        if not isinstance(node, Read):
            return None
        rest: tuple[Ix, ...] = node.index
        if node.tensor.kind != "const" and _batched(node.tensor, batch):
            alike = alike and node.index[0] == ix(sample)
            rest = node.index[1:]
        alike = alike and not any(sample in i.variables() or data_of(i) for i in rest)
        return None if rest is node.index else Read(node.tensor, (ix(0), *rest))

    values = [rewrite(value, leaf) for value in operation.values().values()]
    return alike and not any(sample in value_variables(value) for value in values)


class _Sample:
    """The operations of a program from `first` to before `end` as the body of a loop over the batch."""

    def __init__(self, program: Program, batch: Ix, first: int, end: int) -> None:
        self.program, self.batch, self.first = program, batch, first
        self.body = program.operations[first:end]
        outside = [*program.operations[:first], *program.operations[end:]]
        crossing = {t.root()[0] for o in outside for t in [*o.writes(), *o.inputs()]}
        self.whole = {*crossing, *program.inputs, *(t.root()[0] for t in program.outputs)}
        name, taken = "sample", {s.name for s in program.symbols}
        while name in taken:
            name += "_"
        self.counter = Var(name, batch, 0, counts=True)
        self.parts: dict[Tensor, Tensor] = {}

    def split(self) -> None:
        start = Measure(
            Tensor(self.counter.name, "i64", ()), (), Acc("i64"), self.counter, ix(0), 0, self.batch
        )
        loop = Loop(self.counter, self.batch, None)
        for operation in self.body:
            self.narrow(operation)
            operation.guard = (loop,)
        self.program.symbols.append(self.counter)
        self.program.operations.insert(self.first, start)

    def narrow(self, operation: Operation) -> None:
        """Have an operation do one sample."""
        sample = var(operation.axes[0].name, 1)

        def read(tensor: Tensor, index: tuple[Ix, ...]) -> tuple[Tensor, tuple[Ix, ...]]:
            """Where the sample's elements lie."""
            if tensor.root()[0] in self.whole:
                return tensor, (ix(self.counter), *index[1:])
            return self.part(tensor), (ix(sample), *index[1:])

        def leaf(node: Value) -> Value | None:
            if isinstance(node, Read) and node.tensor.kind != "const" and _batched(node.tensor, self.batch):
                return Read(*read(node.tensor, node.index))
            return None

        operation.transform(lambda value: rewrite(value, leaf))
        if isinstance(operation, Dense):
            operation.x, operation.x_index = read(operation.x, operation.x_index)
        if isinstance(operation, Fill):
            operation.inner = self.part(operation.inner)
        if isinstance(operation, Attention):
            operation.scratch = self.part(operation.scratch)
        operation.output = self.part(operation.output)
        operation.axes = (sample, *operation.axes[1:])

    def part(self, tensor: Tensor) -> Tensor:
        """One sample of a tensor: a tensor of its own, or a region of one that lives outside of the loop."""
        found = self.parts.get(tensor)
        if found is None:
            root, origin = tensor.root()
            shape = (ix(1), *tensor.shape[1:])
            if root in self.whole:
                region = (root, (ix(self.counter), *origin[1:]))
                found = Tensor(f"{tensor.name}_sample", tensor.dtype, shape, region=region)
            else:
                above = None if tensor.region is None else (self.part(tensor.region[0]), tensor.region[1])
                found = Tensor(tensor.name, tensor.dtype, shape, tensor.kind, region=above)
            self.parts[tensor] = found
        return found
