"""Where an integer that a run tells comes from: movement and conversions in between are followed back.

So the same element is one symbol, however many nodes have moved it, and a constant among such integers stays one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ingot.ir.index import Ix, Var, ix, substitute
from ingot.ir.nodes import Cast, Const, Index, Op, Read, Select, Value
from ingot.ir.program import Map, Operation, Tensor

NARROW = ("i32", "i16", "i8", "u32", "u16", "u8", "bool")
Element = tuple[Tensor, tuple[int, ...]]
"""A tensor, or a region of one, and where in it."""


def origin(operations: Sequence[Operation], tensor: Tensor, index: Sequence[int]) -> Ix | Element:
    """The element that an element of a tensor of integers is a copy of, or the expression that it is."""
    while True:
        whole, start = tensor.root()
        at = [ix(i) + s for i, s in zip(index, start, strict=True)]
        if whole.data is not None and all(a.is_const for a in at):
            return ix(int(whole.data[tuple(a.value for a in at)]))
        here: Element = tensor, tuple(index)
        writer = _writer(operations, whole, at)
        if writer is None:
            return here
        _, inner = writer.output.root()
        own = {axis: a - s for axis, a, s in zip(writer.axes, at, inner, strict=True)}
        value = _part(writer.finish, own)
        if isinstance(value, Const):
            return ix(int(value.value))
        if isinstance(value, Index):
            found = substitute(value.index, own)
            return found if all(v.is_symbol for v in found.variables()) else here
        if not isinstance(value, Read):
            return here
        moved = [substitute(i, own) for i in value.index]
        if not all(i.is_const for i in moved):
            return here
        tensor, index = value.tensor, [i.value for i in moved]


def _writer(operations: Sequence[Operation], whole: Tensor, at: Sequence[Ix]) -> Map | None:
    """The Map that writes this element, if nothing else may write it."""
    found: Map | None = None
    for operation in operations:
        for target in operation.writes():
            root, start = target.root()
            if root is not whole or _outside(target, start, at):
                continue
            if found is not None or not isinstance(operation, Map) or operation.guard or operation.demand:
                return None
            found = operation
    return found


def _outside(target: Tensor, start: Sequence[Ix], at: Sequence[Ix]) -> bool:
    """Whether a region certainly leaves out an element."""
    gaps = [(a - s, a - s - d) for a, s, d in zip(at, start, target.shape, strict=True)]
    return any((g.is_const and g.value < 0) or (h.is_const and h.value >= 0) for g, h in gaps)


def _part(value: Value, own: Mapping[Var, Ix]) -> Value:
    """What an expression comes to for given axes: conversions that keep every integer, and choices that are made, go."""
    while True:
        if (
            isinstance(value, Cast)
            and not value.bits
            and value.dtype == "i64"
            and value.value.dtype in NARROW
        ):
            value = value.value
            continue
        chosen = _chosen(value, own) if isinstance(value, Select) else None
        if chosen is None:
            return value
        value = chosen


def _chosen(value: Select, own: Mapping[Var, Ix]) -> Value | None:
    test = value.cond
    if isinstance(test, Op) and test.name == "eq" and all(isinstance(a, Index) for a in test.args):
        a, b = (substitute(x.index, own) for x in test.args if isinstance(x, Index))
        if (a - b).is_const:
            return value.then if a == b else value.otherwise
    return None
