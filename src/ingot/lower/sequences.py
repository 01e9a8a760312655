"""Sequences and optionals: structure of the program, not data of a run.

A sequence is a list of operands, an optional is its value or `Absent`, so operators on them cost nothing. Where a
position is known only at run time, the elements it may name must have the same shape, and one of them is read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ingot.errors import IngotError
from ingot.ir.index import Ix, ix
from ingot.ir.nodes import Const, Op, Select, Value
from ingot.lower.context import Context
from ingot.lower.elementwise import dtype_name
from ingot.lower.movement import axis_of, integers, joined
from ingot.lower.operand import Absent, Anything, Node, Operand, SequenceOperand
from ingot.lower.registry import lowers
from ingot.lower.slicing import window
from ingot.lower.values import cast


def structure_unknown(node: Node, what: str, remedy: str) -> IngotError:
    """The error of a sequence or an optional that would be another one in another run."""
    return IngotError("structure-unknown", f"{node.operator}: {what}", where=node.name, remedy=remedy)


@lowers("SequenceConstruct")
def construct(ctx: Context, node: Node) -> SequenceOperand:
    elements = tuple(node.operands())
    return SequenceOperand(elements, elements[0].dtype)


@lowers("SequenceEmpty")
def empty(ctx: Context, node: Node) -> SequenceOperand:
    return SequenceOperand((), dtype_name(node.get("dtype", 1), node, strings=True))


@lowers("SequenceLength")
def length(ctx: Context, node: Node) -> Operand:
    return ctx.constant(np.array(len(node.sequence(0).elements)))


@lowers("SequenceAt")
def at(ctx: Context, node: Node) -> Operand:
    elements = node.sequence(0).elements
    where = _position(node, 1, len(elements))
    if where is not None:
        return elements[where]
    _check_alike(node, elements)
    found = _run_time_position(ctx, node, len(elements))

    def element(axes: tuple) -> Value:  # type: ignore[type-arg]
        value = ctx.read(elements[-1], axes)
        for i in range(len(elements) - 2, -1, -1):
            here = Op("eq", (found, Const(i, "i64")), "bool")
            value = Select(here, ctx.read(elements[i], axes), value)
        return value

    return ctx.map(elements[0].shape, elements[0].stored, element)


@lowers("SequenceInsert")
def insert(ctx: Context, node: Node) -> SequenceOperand:
    sequence, new = node.sequence(0), node.input(1)
    before = sequence.elements
    where = len(before) if node.value(2) is None else _position(node, 2, len(before), past=1)
    if where is not None:
        return SequenceOperand((*before[:where], new, *before[where:]), sequence.dtype)
    _check_alike(node, (*before, new))
    found = _run_time_position(ctx, node, len(before), 2, past=1)
    after = tuple(
        _chosen(
            ctx,
            [
                *([(Op("lt", (Const(i, "i64"), found), "bool"), before[i])] if i < len(before) else []),
                *([(Op("gt", (Const(i, "i64"), found), "bool"), before[i - 1])] if i else []),
            ],
            new,
        )
        for i in range(len(before) + 1)
    )
    return SequenceOperand(after, sequence.dtype)


@lowers("SequenceErase")
def erase(ctx: Context, node: Node) -> SequenceOperand:
    sequence = node.sequence(0)
    before = sequence.elements
    where = len(before) - 1 if node.value(1) is None else _position(node, 1, len(before))
    if not before:
        raise node.unsupported("the sequence is empty")
    if where is not None:
        return SequenceOperand((*before[:where], *before[where + 1 :]), sequence.dtype)
    _check_alike(node, before)
    found = _run_time_position(ctx, node, len(before))
    after = tuple(
        _chosen(ctx, [(Op("lt", (Const(i, "i64"), found), "bool"), before[i])], before[i + 1])
        for i in range(len(before) - 1)
    )
    return SequenceOperand(after, sequence.dtype)


@lowers("SplitToSequence")
def split(ctx: Context, node: Node) -> SequenceOperand:
    x = node.input(0)
    axis = axis_of(node, x.rank)
    dim, given = x.shape[axis], node.optional(1)
    if given is not None and given.rank:
        sizes = integers(ctx, node, 1, "the sizes") or []
        ctx.require(dim, sum(sizes, ix(0)))
        sizes = [ctx.size(d, dim, 0, axis) for d in sizes]
    else:
        if given is not None and given.data is None:
            raise structure_unknown(
                node, "the size of its slices is computed at run time", "make it a constant"
            )
        step = 1 if given is None or given.data is None else int(given.data)
        if not dim.is_const:
            raise structure_unknown(
                node, f"it has one element for each of {dim} slices", "give the input shape with --shape"
            )
        if step < 1:
            raise node.unsupported(f"slices of {step}")
        sizes = [ix(min(step, dim.value - start)) for start in range(0, dim.value, step)]
    elements, start = [], ix(0)
    for size in sizes:
        piece = window(ctx, x, {axis: (start, size, 1)})
        if given is None and not node.get("keepdims", 1):
            piece = ctx.reshape(piece, [*x.shape[:axis], *x.shape[axis + 1 :]])
        elements.append(piece)
        start = start + size
    return SequenceOperand(tuple(elements), x.dtype)


@lowers("ConcatFromSequence")
def concat(ctx: Context, node: Node) -> Operand:
    elements = list(node.sequence(0).elements)
    if not elements:
        raise node.unsupported("the sequence is empty, so its elements have no shape")
    if not node.get("new_axis", 0):
        return joined(ctx, elements, axis_of(node, elements[0].rank))
    axis = axis_of(node, elements[0].rank + 1)
    return joined(ctx, [ctx.reshape(e, [*e.shape[:axis], ix(1), *e.shape[axis:]]) for e in elements], axis)


@lowers("SequenceMap")
def sequence_map(ctx: Context, node: Node) -> list[SequenceOperand]:
    """The body once for each element, with the elements of the other sequences at the same place, and other tensors."""
    body, count = node.attributes["body"], len(node.sequence(0).elements)
    rows: list[list[Anything]] = []
    for i in range(count):
        given: list[Anything] = []
        for value in node.inputs:
            assert value is not None
            given.append(value.elements[i] if isinstance(value, SequenceOperand) else value)
        rows.append(ctx.lower_graph(body, given))
    results = []
    for k, output in enumerate(body.outputs):
        elements = tuple(e for row in rows if isinstance(e := row[k], Operand))
        results.append(
            SequenceOperand(
                elements, elements[0].dtype if elements else dtype_name(output.dtype, node, strings=True)
            )
        )
    return results


@lowers("Optional")
def optional(ctx: Context, node: Node) -> Anything:
    return node.value(0) or Absent()


@lowers("OptionalHasElement")
def has_element(ctx: Context, node: Node) -> Operand:
    return ctx.constant(np.array(not isinstance(node.value(0), Absent | None)))


@lowers("OptionalGetElement")
def get_element(ctx: Context, node: Node) -> Anything:
    value = node.value(0)
    if value is None or isinstance(value, Absent):
        raise node.unsupported("the optional has no value", "ask OptionalHasElement first")
    return value


def _position(node: Node, i: int, count: int, past: int = 0) -> int | None:
    """The constant position that input i names, among `count` (+ past) places; None where it is computed at run time."""
    operand = node.input(i)
    if operand.known is None or not (position := operand.known.reshape(-1)[0]).is_const:
        return None
    where: int = position.value
    if not -count <= where < count + past:
        raise node.unsupported(f"position {where} is outside a sequence of {count}")
    return where + count if where < 0 else where


def _run_time_position(ctx: Context, node: Node, count: int, i: int = 1, past: int = 0) -> Value:
    """The position that input i names among `count` (+ past) places, counted from the front."""
    operand = ctx.reshape(node.input(i), ())
    ctx.check_indices(operand, [ix(count + past)], -count)
    value = cast(ctx.read(operand, ()), "i64")
    negative = Op("lt", (value, Const(0, "i64")), "bool")
    return Select(negative, Op("add", (value, Const(count, "i64")), "i64"), value)


def _check_alike(node: Node, elements: tuple[Operand, ...]) -> None:
    """Raises IngotError structure-unknown where elements that a run may pick differ in shape."""
    shapes: list[tuple[Ix, ...]] = list(dict.fromkeys(e.shape for e in elements))
    if len(shapes) != 1:
        raise structure_unknown(
            node,
            "the position is computed at run time and the elements differ in shape",
            "make it a constant",
        )


def _chosen(ctx: Context, cases: list[tuple[Value, Operand]], otherwise: Operand) -> Operand:
    """The operand of the first condition that holds, else the last one."""

    def element(axes: tuple) -> Value:  # type: ignore[type-arg]
        value = ctx.read(otherwise, axes)
        for condition, operand in reversed(cases):
            value = Select(condition, ctx.read(operand, axes), value)
        return value

    return ctx.map(otherwise.shape, otherwise.stored, element)


def tensors_of(value: Anything) -> list[Operand]:
    """The tensors that a value is made of."""
    if isinstance(value, Operand):
        return [value]
    return list(value.elements) if isinstance(value, SequenceOperand) else []


def rebuilt(value: Anything, tensors: Iterator[Operand]) -> Anything:
    """The value with its tensors replaced by the next of an iterator."""
    if isinstance(value, Operand):
        return next(tensors)
    if isinstance(value, SequenceOperand):
        return SequenceOperand(tuple(next(tensors) for _ in value.elements), value.dtype)
    return value


def same_structure(a: Anything, b: Anything) -> bool:
    """Whether two values are made of as many tensors in the same way."""
    return type(a) is type(b) and len(tensors_of(a)) == len(tensors_of(b))
