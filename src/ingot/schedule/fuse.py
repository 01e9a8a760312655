"""Fusion: producers inlined into their consumers, elementwise consumers made epilogues, copies made regions (`copies.py`).

Works on logical indices, before any layout is chosen, so a transpose between two operations costs nothing here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ingot.ir.index import Ix, Var, ix, nonnegative, product, substitute, weighted_sum
from ingot.ir.nodes import (
    STORED,
    Acc,
    Cast,
    Const,
    Index,
    Op,
    Read,
    Select,
    Value,
    data_of,
    has_text,
    kept,
    reindex,
    rewrite,
    walk,
)
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Map,
    MatMul,
    Measure,
    Operation,
    Program,
    Recurrent,
    Reduce,
    Routine,
    Row,
    Tensor,
)
from ingot.schedule.copies import interleave, place_copies, split_copies

MAX_NODES, MAX_DEPTH = 4096, 100
"""Of an expression that fusion makes. What is larger stays in several operations: code and time would grow with the tree,
which a value that is used twice in each of many steps doubles as often."""
BLOCK = 16
"""Channels that stay together in every layout; index expressions must be affine inside such a run."""


def fuse(program: Program) -> Program:
    """Apply the rewrites until nothing changes. Mutates and returns the program."""
    eliminate_dead(program)
    while fuse_epilogues(program) + inline_maps(program) + split_copies(program):
        eliminate_dead(program)
    fuse_attention(program)
    place_copies(program)
    interleave(program)
    fuse_reshapes(program)
    eliminate_dead(program)
    return program


def eliminate_dead(program: Program) -> int:
    """Drop operations whose output nothing reads; what is measured stays, as sizes may depend on it."""
    live: set[Tensor] = {t.root()[0] for t in program.outputs}
    kept: list[Operation] = []
    known = -1
    while known < len(live):
        known = len(live)
        kept = []
        for operation in reversed(program.operations):
            wanted = isinstance(operation, Measure) or operation.demand
            if wanted or any(t.root()[0] in live for t in operation.writes()):
                kept.append(operation)
                live |= {t.root()[0] for t in operation.inputs()}
    dropped = len(program.operations) - len(kept)
    program.operations = kept[::-1]
    return dropped


def _is_movement(producer: Map) -> bool:
    """Whether an element is a literal or an element of another tensor, unchanged."""
    return isinstance(_value(producer), Read | Const | Index)


def _value(producer: Operation) -> Value:
    """What a read of the output gives."""
    return kept(producer.finish, producer.output.dtype)


def _domain(operation: Operation) -> Ix:
    over = operation.over if isinstance(operation, Reduce) else ()
    return product(v.extent for v in (*operation.axes, *over))


def inline_maps(program: Program) -> int:
    """Replace reads of a Map's output by its expression, where that repeats no work."""
    uses = program.uses()
    outputs = set(program.outputs)
    regions = {o.output.root()[0] for o in program.operations if o.output.region is not None}
    gone: set[Operation] = set()
    for producer in program.operations:
        tensor = producer.output
        if type(producer) is not Map or tensor.kind != "temp" or tensor.region is not None:
            continue
        consumers = uses.get(tensor, [])
        if tensor in outputs or tensor in regions or not consumers or any(c in gone for c in consumers):
            continue
        if all(_can_inline(producer, c) for c in consumers) and (
            len(consumers) == 1 or _is_movement(producer)
        ):
            for consumer in consumers:
                _inline(producer, consumer)
                for read in producer.inputs():
                    users = uses.setdefault(read, [])
                    if consumer not in users:
                        users.append(consumer)
                    if producer in users:
                        users.remove(producer)
            gone.add(producer)
    program.operations = [o for o in program.operations if o not in gone]
    return len(gone)


def _can_inline(producer: Map, consumer: Operation) -> bool:
    tensor = producer.output
    if tensor in consumer.flags() or isinstance(consumer, Recurrent | Routine | Fill | Measure):
        return False
    if has_text(producer.finish) and type(consumer) not in (Map, Reduce):
        return False
    if consumer.output.is_state or producer.loops() != consumer.loops():
        return False
    if producer.guard != consumer.guard[: len(producer.guard)]:
        return False
    movement = _is_movement(producer)
    if isinstance(consumer, Dense) and consumer.x is tensor:
        return isinstance(_value(producer), Read) and _stays_affine(producer, consumer)
    if isinstance(consumer, MatMul):
        in_operands = any(
            isinstance(n, Read) and n.tensor is tensor for v in (consumer.a, consumer.b) for n in walk(v)
        )
        if in_operands:
            return isinstance(_value(producer), Read)
    if isinstance(consumer, Dense) and not movement:
        return False
    if movement:
        return True
    if len(_indices(consumer, tensor)) != 1 or not _small(consumer, producer):
        return False
    return nonnegative(product(tensor.shape) - _domain(consumer))


def _small(consumer: Operation, producer: Operation) -> bool:
    """Whether the consumer's expressions stay small with the producer's in place of its reads, each time they are used."""
    inner = _tree(producer.finish, {}, producer.output, (1, 1))
    whole = [_tree(value, {}, producer.output, inner) for value in consumer.values().values()]
    return all(size <= MAX_NODES and depth <= MAX_DEPTH for size, depth in whole)


def _tree(
    value: Value, known: dict[int, tuple[int, int]], tensor: Tensor, inner: tuple[int, int]
) -> tuple[int, int]:
    """The number of nodes of an expression, shared ones counted each time, and its depth, where a read of the tensor
    counts for `inner`."""
    if id(value) not in known:
        if isinstance(value, Read) and value.tensor is tensor:
            return inner
        parts: tuple[Value, ...] = ()
        if isinstance(value, Op):
            parts = value.args
        elif isinstance(value, Select):
            parts = value.cond, value.then, value.otherwise
        elif isinstance(value, Cast):
            parts = (value.value,)
        elif isinstance(value, Read):
            parts = tuple(v for i in value.index for v in data_of(i))
        elif isinstance(value, Index):
            parts = tuple(data_of(value.index))
        sizes = [_tree(part, known, tensor, inner) for part in parts]
        known[id(value)] = 1 + sum(s for s, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    return known[id(value)]


def _indices(operation: Operation, tensor: Tensor) -> set[tuple[Ix, ...]]:
    return {r.index for r in operation.reads() if r.tensor is tensor}


def _places_something(operation: Operation, tensor: Tensor) -> bool:
    """Whether an element of a tensor is part of an index, where no accumulator can take its place."""
    nodes = [n for v in operation.values().values() for n in walk(v)]
    indices = [
        i
        for n in nodes
        for i in (n.index if isinstance(n, Read) else [n.index] if isinstance(n, Index) else [])
    ]
    data = [v for i in indices for v in data_of(i)]
    return any(isinstance(n, Read) and n.tensor is tensor for v in data for n in walk(v))


def _stays_affine(producer: Map, consumer: Dense) -> bool:
    """Whether the inlined read keeps runs of BLOCK channels and rows of positions affine."""
    assert isinstance(producer.finish, Read)
    new = _composed(producer, consumer.x_index)
    outer, inner = Var("outer", None), Var("inner", ix(BLOCK))
    channel = consumer.channel
    extent = channel.extent
    assert extent is not None
    whole = extent.is_const and extent.value <= BLOCK
    split = {channel: ix(inner) if whole else ix(outer) * BLOCK + ix(inner)}
    last = [a for i, a in enumerate(consumer.axes) if i != consumer.feature][-1:]
    for component in new:
        run = substitute(component, split).split(inner)
        if run is None:
            return False
        if any(component.split(axis) is None for axis in last):
            return False
    return True


def _composed(producer: Map, index: tuple[Ix, ...]) -> tuple[Ix, ...]:
    assert isinstance(producer.finish, Read)
    mapping = dict(zip(producer.axes, index, strict=True))
    moved = reindex(producer.finish, mapping)
    assert isinstance(moved, Read)
    return moved.index


def _inline(producer: Map, consumer: Operation) -> None:
    tensor = producer.output
    consumer.nodes = tuple(dict.fromkeys((*producer.nodes, *consumer.nodes)))
    if isinstance(consumer, Dense) and consumer.x is tensor:
        assert isinstance(producer.finish, Read)
        consumer.x_index = _composed(producer, consumer.x_index)
        consumer.x = producer.finish.tensor
    consumer.transform(lambda v: _replace(v, producer))


def _replace(value: Value, producer: Map) -> Value:
    made: dict[tuple[Ix, ...], Value] = {}

    def index(e: Ix) -> Ix:
        return substitute(e, {}, lambda v: _replace(v, producer))  # type: ignore[arg-type]

    def leaf(node: Value) -> Value | None:
        if isinstance(node, Read):
            at = tuple(index(i) for i in node.index)
            if node.tensor is not producer.output:
                return replace(node, index=at)
            if at not in made:
                made[at] = reindex(_value(producer), dict(zip(producer.axes, at, strict=True)))
            return made[at]
        if isinstance(node, Index):
            return replace(node, index=index(node.index))
        return None

    return rewrite(value, leaf)


def fuse_epilogues(program: Program) -> int:
    """Let the operation that computes a tensor also do the one Map that consumes it."""
    uses = program.uses()
    producers = {o.output: o for o in program.operations}
    position = {o: i for i, o in enumerate(program.operations)}
    outputs, count = set(program.outputs), 0
    gone: set[Operation] = set()
    for i, consumer in enumerate(program.operations):
        if type(consumer) is not Map or consumer.output.is_state:
            continue
        best: tuple[Operation, dict[Var, Ix]] | None = None
        for tensor in consumer.inputs():
            producer = producers.get(tensor)
            if producer is None or producer in gone or tensor in outputs or tensor.region is not None:
                continue
            if not isinstance(producer, Dense | Reduce | Row | MatMul) or producer.guard != consumer.guard:
                continue
            if uses[tensor] != [consumer] or tensor in consumer.flags():
                continue
            if _places_something(consumer, tensor):
                continue
            mapping = _matching_axes(producer, consumer)
            if mapping is not None and not _small(consumer, producer):
                continue
            if mapping is not None and (best is None or position[producer] > position[best[0]]):
                best = producer, mapping
        if best is None:
            continue
        producer, mapping = best
        program.operations[i] = _absorb(producer, consumer, mapping)
        producers[consumer.output] = program.operations[i]
        position[program.operations[i]] = i
        for users in uses.values():
            users[:] = [program.operations[i] if u is consumer or u is producer else u for u in users]
        gone.add(producer)
        count += 1
    program.operations = [o for o in program.operations if o not in gone]
    return count


def _matching_axes(producer: Operation, consumer: Map) -> dict[Var, Ix] | None:
    """How the producer's axes are the consumer's, if both run over the same elements in the same order."""
    indices = _indices(consumer, producer.output)
    if len(indices) != 1:
        return None
    (index,) = indices
    one = ix(1)
    used = [i for i, d in zip(index, producer.output.shape, strict=True) if d != one]
    axes = [ix(a) for a in consumer.axes if a.extent != one]
    if used != axes:
        return None
    if isinstance(producer, Dense | MatMul | Row) and producer.output.shape != consumer.output.shape:
        return None
    if isinstance(producer, Row) and producer.output.dtype != consumer.output.dtype:
        return None
    if has_text(consumer.finish) and not isinstance(producer, Reduce):
        return None
    if len(index) == len(consumer.axes) and producer.output.shape == consumer.output.shape:
        index = tuple(map(ix, consumer.axes))
    return dict(zip(producer.axes, index, strict=True))


def _absorb(producer: Operation, consumer: Map, mapping: dict[Var, Ix]) -> Operation:
    finished = reindex(_value(producer), mapping)
    tensor = producer.output

    def leaf(node: Value) -> Value | None:
        return finished if isinstance(node, Read) and node.tensor is tensor else None

    finish = rewrite(consumer.finish, leaf)
    changes: dict[str, Any] = {
        name: reindex(value, mapping) for name, value in producer.values().items() if name != "finish"
    }
    if isinstance(producer, Dense):
        changes["x_index"] = tuple(substitute(i, mapping) for i in producer.x_index)
        feature = mapping[producer.axes[producer.feature]]
        changes["feature"] = [ix(a) for a in consumer.axes].index(feature)
    if isinstance(producer, Row):
        renamed = {old: new for old, new in zip(producer.axes, consumer.axes, strict=True)}
        changes["over"] = tuple(renamed[v] for v in producer.over)
    nodes = tuple(dict.fromkeys((*producer.nodes, *consumer.nodes)))
    return replace(
        producer, output=consumer.output, axes=consumer.axes, finish=finish, nodes=nodes, **changes
    )


def fuse_reshapes(program: Program) -> int:
    """Let a Dense write what a Map makes of its result alone, where that lists the same positions in the same order
    with the features last."""
    uses = program.uses()
    producers = {o.output: o for o in program.operations}
    gone: set[Operation] = set()
    for i, consumer in enumerate(program.operations):
        if type(consumer) is not Map or consumer.output.is_state:
            continue
        for tensor in consumer.inputs():
            producer = producers.get(tensor)
            if not isinstance(producer, Dense) or tensor.region is not None or tensor.kind != "temp":
                continue
            if uses[tensor] != [consumer] or producer.guard != consumer.guard or producer in gone:
                continue
            if _places_something(consumer, tensor):
                continue
            mapping = _same_positions(producer, consumer)
            if mapping is not None:
                program.operations[i] = _absorb(producer, consumer, mapping)
                gone.add(producer)
                break
    program.operations = [o for o in program.operations if o not in gone]
    return len(gone)


def _same_positions(producer: Dense, consumer: Map) -> dict[Var, Ix] | None:
    """The producer's axes by the consumer's, where the two shapes hold the same rows of features."""
    indices = _indices(consumer, producer.output)
    if len(indices) != 1 or producer.output in consumer.flags():
        return None
    if producer.x.region is not None or len(consumer.axes) < 2 or producer.batched is not None:
        return None
    (index,) = indices
    *rest, last = consumer.axes
    feature = producer.feature
    others = [a for a in range(producer.output.rank) if a != feature]
    if index[feature] != ix(last) or last.extent != producer.output.shape[feature]:
        return None
    if any(t.extent != ix(1) for t in producer.taps) and len(rest) < len(others):
        return None
    one = _flat([index[a] for a in others], [producer.output.shape[a] for a in others])
    if one != _flat(list(map(ix, rest)), list(consumer.output.shape[:-1])):
        return None
    if product(producer.output.shape) != product(consumer.output.shape):
        return None
    return dict(zip(producer.axes, index, strict=True))


def _flat(index: list[Ix], shape: list[Ix]) -> Ix:
    """The row-major number of an element."""
    strides = [product(shape[i + 1 :]) for i in range(len(shape))]
    return weighted_sum(zip(index, strides, strict=True))


def fuse_attention(program: Program) -> int:
    """product -> softmax over its last axis -> product: one operation, where nothing else reads what lies between."""
    uses = program.uses()
    producers = {o.output: o for o in program.operations}
    gone: set[Operation] = set()
    for i, last in enumerate(program.operations):
        if not isinstance(last, MatMul) or not isinstance(last.a, Read):
            continue
        softmax = producers.get(last.a.tensor)
        if not isinstance(softmax, Row) or softmax.output.dtype in STORED:
            continue
        if softmax.op != "softmax" or softmax.over != softmax.axes[-1:]:
            continue
        if not _all_of(last.a.index, (*last.axes[:-1], last.k)) or not isinstance(softmax.finish, Acc):
            continue
        first = next((p for t in softmax.inputs() if isinstance(p := producers.get(t), MatMul)), None)
        if first is None or not all(_all_of(i, softmax.axes) for i in _indices(softmax, first.output)):
            continue
        between = (first.output, softmax.output)
        if any(t.region is not None or t in program.outputs or len(uses[t]) != 1 for t in between):
            continue
        if not first.guard == softmax.guard == last.guard or first.output.shape != softmax.output.shape:
            continue
        program.operations[i] = _attention(first, softmax, last)
        gone |= {first, softmax}
    program.operations = [o for o in program.operations if o not in gone]
    return len(gone) // 2


def _all_of(index: tuple[Ix, ...], axes: tuple[Var, ...]) -> bool:
    """Whether an index is that of the axes; one of a single step may be left out."""
    return len(index) == len(axes) and all(
        i == ix(a) or (a.extent == ix(1) and i == ix(0)) for i, a in zip(index, axes, strict=True)
    )


def _attention(first: MatMul, softmax: Row, last: MatMul) -> Attention:
    into = {a: ix(v) for a, v in zip(first.axes, (*last.axes[:-1], last.k), strict=True)}
    row = {a: ix(v) for a, v in zip(softmax.axes, (*last.axes[:-1], last.k), strict=True)}
    scored = reindex(_value(first), into)

    def leaf(node: Value) -> Value | None:
        return scored if isinstance(node, Read) and node.tensor is first.output else None

    score = rewrite(reindex(softmax.value, row), leaf)
    return Attention(
        last.output,
        last.axes,
        last.finish,
        first.k,
        last.k,
        reindex(first.a, into),
        reindex(first.b, into),
        score,
        last.b,
        Tensor(f"{first.output.name}_scores", "f32", first.output.shape),
        nodes=tuple(dict.fromkeys((*first.nodes, *softmax.nodes, *last.nodes))),
        guard=last.guard,
    )
