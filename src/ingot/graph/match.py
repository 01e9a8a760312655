"""Patterns of operators, which rules that fuse look for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_COMMUTATIVE = frozenset({"Add", "Max", "Min", "Mul"})


@dataclass(frozen=True)
class Var:
    """Any value; the same one wherever the name stands."""

    name: str


@dataclass(frozen=True)
class Const:
    """A floating-point constant of one element: `value` to within a rounding, or any where that is None."""

    value: float | None = None
    name: str = ""


@dataclass(frozen=True)
class Fixed:
    """A constant of any shape and dtype."""

    name: str


@dataclass(frozen=True)
class Op:
    """An output of a node of one of `kinds`, separated by "|". name: what to call the node. output: which one."""

    kinds: str
    inputs: tuple[Pattern, ...]
    name: str = ""
    output: int = 0


@dataclass(frozen=True)
class Either:
    """The first of several patterns that matches."""

    options: tuple[Pattern, ...]


Pattern = Var | Const | Fixed | Op | Either


def op(kinds: str, *inputs: Pattern, name: str = "", output: int = 0) -> Op:
    """A node by its operator and what its first inputs are; further inputs are not looked at."""
    return Op(kinds, inputs, name, output)


def either(*options: Pattern) -> Either:
    return Either(options)


@dataclass(frozen=True)
class Match:
    """values: by the names of variables and constants. named: nodes by name. nodes: all of them, the root last.

    misses: what keeps a near miss from being a match, constant by constant.
    """

    values: dict[str, ir.Value]
    named: dict[str, ir.Node]
    nodes: tuple[ir.Node, ...]
    misses: tuple[str, ...] = ()

    def number(self, name: str) -> float:
        """A constant that was matched."""
        array = edit.constant(self.values[name])
        assert array is not None
        return float(array.item())

    @property
    def root(self) -> ir.Node:
        return self.nodes[-1]

    def leak(self, *known: str) -> str | None:
        """Why the nodes cannot all go away with the root, None when they can. known: names of nodes that others may use."""
        inside, free = set(self.nodes), {self.named[name] for name in known}
        for node in self.nodes[:-1]:
            if node.graph is not self.root.graph:
                return "its parts lie in different graphs"
            if node in free:
                continue
            for out in node.outputs:
                if out.is_graph_output() or any(use.node not in inside for use in out.uses()):
                    return "a part of it is used elsewhere"
        return None


def find(pattern: Op, node: ir.Node) -> Match | None:
    """`pattern` with its root at `node`, or None."""
    for found in _node(pattern, node, Match({}, {}, ())):
        return found
    return None


def each(model: ir.Model, *patterns: Op) -> Iterator[Match]:
    """At each node the first of `patterns` that has its root there. Nodes may be removed meanwhile.

    While someone listens, a node where constants alone keep all of them from matching is noted as refused.
    """
    kinds = {kind for pattern in patterns for kind in pattern.kinds.split("|")}
    for node in edit.nodes(model, *sorted(kinds)):
        found = next(filter(None, (find(pattern, node) for pattern in patterns)), None)
        if found is not None:
            yield found
        elif trace.listening():
            near = _nearest(patterns, node)
            if near is not None:
                trace.refused(node, " and ".join(near.misses))


def _nearest(patterns: Sequence[Op], node: ir.Node) -> Match | None:
    """The match of the fewest constants that differ."""
    with _any_constant():
        near = [found for pattern in patterns for found in _node(pattern, node, Match({}, {}, ()))]
    return min(near, key=lambda found: len(found.misses), default=None)


_loose: ContextVar[bool] = ContextVar("loose", default=False)


@contextmanager
def _any_constant() -> Iterator[None]:
    """Inside the `with` a constant of another value is a miss that is noted, instead of no match."""
    token = _loose.set(True)
    try:
        yield
    finally:
        _loose.reset(token)


def _node(pattern: Op, node: ir.Node, known: Match) -> Iterator[Match]:
    if node.domain or node.op_type not in pattern.kinds.split("|") or len(node.inputs) < len(pattern.inputs):
        return
    given: Sequence[ir.Value | None] = node.inputs[: len(pattern.inputs)]
    orders = [given, given[::-1]] if node.op_type in _COMMUTATIVE else [given]
    for order in orders:
        for found in _inputs(pattern.inputs, order, known):
            named = found.named | {pattern.name: node} if pattern.name else found.named
            nodes = found.nodes if node in found.nodes else (*found.nodes, node)
            yield Match(found.values, named, nodes, found.misses)


def _inputs(patterns: Sequence[Pattern], values: Sequence[ir.Value | None], known: Match) -> Iterator[Match]:
    if not patterns:
        yield known
        return
    for found in _value(patterns[0], values[0], known):
        yield from _inputs(patterns[1:], values[1:], found)


def _value(pattern: Pattern, value: ir.Value | None, known: Match) -> Iterator[Match]:
    if value is None:
        return
    if isinstance(pattern, Either):
        for option in pattern.options:
            yield from _value(option, value, known)
    elif isinstance(pattern, Op):
        producer = value.producer()
        if producer is not None and producer.outputs.index(value) == pattern.output:
            yield from _node(pattern, producer, known)
    elif isinstance(pattern, Const):
        number = _number(value)
        if number is None:
            return
        bound = _bound(known, pattern.name, value) if pattern.name else known
        if pattern.value is None or _near(number, pattern.value, value):
            yield bound
        elif _loose.get():
            miss = f"a constant is {number:g} where {pattern.value:g} is asked for"
            yield replace(bound, misses=(*bound.misses, miss))
    elif isinstance(pattern, Fixed) and not edit.is_constant(value):
        return
    elif known.values.get(pattern.name, value) is value:
        yield _bound(known, pattern.name, value)


def _bound(known: Match, name: str, value: ir.Value) -> Match:
    return replace(known, values=known.values | {name: value})


def _number(value: ir.Value) -> float | None:
    """A floating-point constant of one element, None for anything else."""
    if not edit.is_constant(value) or value.const_value is None or value.const_value.size != 1:
        return None
    if value.dtype is None or not value.dtype.is_floating_point():
        return None
    array = edit.constant(value)
    assert array is not None
    return float(array.item())


def _near(number: float, wanted: float, value: ir.Value) -> bool:
    """Whether a constant is `wanted` to within a rounding of its dtype."""
    array = edit.constant(value)
    assert array is not None
    eps = 2.0**-8 if value.dtype == ir.DataType.BFLOAT16 else float(np.finfo(array.dtype).eps)
    return abs(number - wanted) <= 4 * eps * max(abs(wanted), eps)


def double(value: ir.Value) -> str | None:
    """Why operators that keep or compute something in float32 may not take `value`, None where they may."""
    wide = value.dtype is None or value.dtype == ir.DataType.DOUBLE
    return "it is, or may be, of doubles, which would be rounded" if wide else None


def widens(constant: ir.Value, value: ir.Value) -> str | None:
    """Why an operator of `value` may not go on without `constant`, None where that adds no axes to the result."""
    wide = len(edit.dims(constant) or ()) > len(edit.dims(value) or ())
    return "its constant may add axes" if wide else None


def fuse(
    match: Match,
    op_type: str,
    inputs: Sequence[ir.Value | None] | str,
    attributes: Sequence[ir.Attr],
    names: edit.Names,
    domain: str = "",
) -> str | None:
    """Put one node in place of all that matched. inputs: values, or their names in the match.

    Returns why its output cannot stand for the root's, None when it is done.
    """
    if domain:
        names.use_domain(domain)
    root = match.root
    out = root.outputs[0]
    given = [match.values[name] for name in inputs.split()] if isinstance(inputs, str) else inputs
    new = ir.Node(domain, op_type, given, attributes, name=root.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.fused")
    new.outputs[0].type = out.type
    assert root.graph is not None
    root.graph.insert_before(root, new)
    if not edit.bypass(root, new.outputs[0]):
        root.graph.remove(new, safe=True)
        return "it is an output of its graph"
    edit.remove_unused(match.nodes[:-1])
    return None
