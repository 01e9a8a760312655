"""How much an operation has to do: multiply-adds, floating-point operations, bytes that must move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ingot.ir.index import Ix, Var, evaluate, ix, product
from ingot.ir.nodes import Const, Op, Read, Select, Value, size_of, walk
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Loop,
    Map,
    MatMul,
    Operation,
    Program,
    Recurrent,
    Reduce,
    Routine,
    Row,
    Tensor,
    WinogradInput,
    WinogradOutput,
)

_ROW = 5
_GATE = 4
_TRANSFORM = 8
"""Estimates: operations for each element of a softmax or normalisation, of a recurrent cell's gate, and of a Winograd
transform, whose sums share terms."""


@dataclass(frozen=True)
class Work:
    """macs: multiply-adds of sums of products. flops: two for each of them, and one for each other operation on an
    element. bytes: each tensor and weight that is read once, and each that is written once.
    """

    macs: int
    flops: int
    bytes: int


def kind(operation: Operation) -> str:
    """What it is, in a word: "copy" where elements only move, be it to another layout, a routine's name, its class otherwise."""
    if isinstance(operation, Fill) or (isinstance(operation, Map) and _moves(operation.finish)):
        return "copy"
    if isinstance(operation, Routine):
        return operation.name
    return type(operation).__name__.lower()


def work(operation: Operation, symbols: Mapping[str, int] = MappingProxyType({})) -> Work | None:
    """What an operation does in a run as it is computed, in all turns of the loops around it, with these values of the
    symbols.

    None where a size, or how many turns there are, is known only while running.
    """
    parts = _parts(operation, symbols)
    moved = _bytes(operation, symbols)
    turns = _turns(operation, symbols)
    if parts is None or moved is None or turns is None:
        return None
    macs, others = parts
    return Work(turns * macs, turns * (2 * macs + others), turns * moved)


def _turns(operation: Operation, symbols: Mapping[str, int]) -> int | None:
    """Of the loops around an operation, as many as they have at most."""
    turns = 1
    for guard in operation.guard:
        if isinstance(guard, Loop):
            trips = None if guard.trips is None else _value(guard.trips, symbols)
            turns *= trips or 0
    return turns or None


def macs(program: Program) -> int | None:
    """Multiply-adds of a run as the program stands, None where a size is known only at run time."""
    counts = [_parts(operation, {}) for operation in program.operations]
    return None if None in counts else sum(parts[0] for parts in counts if parts is not None)


def picoseconds(operation: Operation) -> Ix:
    """A rough time of one run on a core with wide vectors, as an expression of the symbols."""
    macs, others = _sums(operation)
    return macs * 20 + others * 10 + product(operation.output.shape) * 30


def _parts(operation: Operation, symbols: Mapping[str, int]) -> tuple[int, int] | None:
    """(multiply-adds, other operations)."""
    macs, others = _sums(operation)
    whole, rest = _value(macs, symbols), _value(others, symbols)
    return None if whole is None or rest is None else (whole, rest)


def _sums(operation: Operation) -> tuple[Ix, Ix]:
    """(multiply-adds, other operations), as expressions of the symbols."""
    size = product(operation.output.shape)
    macs, others = ix(0), size * _count(operation.finish)
    if isinstance(operation, Dense):
        depth = operation.weight.shape[:-1] if operation.batched is None else operation.weight.shape[1:-1]
        macs = size * product(map(ix, depth))
    elif isinstance(operation, MatMul):
        macs = size * _extents([operation.k])
    elif isinstance(operation, Attention):
        scores = product(operation.scratch.shape)
        macs = scores * _extents([operation.k]) + size * _extents([operation.n])
        others += scores * (_count(operation.score) + _ROW)
    elif isinstance(operation, Recurrent):
        macs = size * operation.gates * operation.hidden
        others = size * operation.gates * _GATE
    elif isinstance(operation, Routine):
        others = _extents(operation.tasks) * operation.work
    elif isinstance(operation, Reduce):
        elements = size * _extents(operation.over)
        if operation.op == "add" and isinstance(operation.value, Op) and operation.value.name == "mul":
            macs = elements
            others += elements * (_count(operation.value) - 1)
        else:
            others += elements * (_count(operation.value) + 1)
    elif isinstance(operation, Row):
        others += size * (_count(operation.value) + _ROW)
    elif isinstance(operation, WinogradInput):
        others = size * _TRANSFORM
    elif isinstance(operation, WinogradOutput):
        others += product(operation.products.shape) * _TRANSFORM
    return macs, others


def _bytes(operation: Operation, symbols: Mapping[str, int]) -> int | None:
    """A tensor of which the loops cannot reach every element counts for as many as they reach."""
    inner = [getattr(operation, name, None) for name in ("k", "n", "channel")]
    over: Iterable[Var] = getattr(operation, "over", ())
    loops = [*operation.axes, *over, *(v for v in inner if isinstance(v, Var))]
    domain = _value(_extents(dict.fromkeys(loops)), symbols)
    total = 0
    for tensor in operation.inputs():
        size = _bytes_of(tensor, symbols)
        if size is None or domain is None:
            return None
        whole = isinstance(operation, Dense | WinogradInput | WinogradOutput | Recurrent | Routine)
        total += size if whole else min(size, domain * size_of(tensor.dtype))
    for tensor in operation.writes():
        size = _bytes_of(tensor, symbols)
        if size is None:
            return None
        total += size
    if isinstance(operation, Fill):
        total -= _bytes_of(operation.inner, symbols) or 0
    if isinstance(operation, Dense | Recurrent) and isinstance(operation.weight, np.ndarray):
        total += operation.weight.nbytes
    return total


def _bytes_of(tensor: Tensor, symbols: Mapping[str, int]) -> int | None:
    size = _value(product(tensor.shape), symbols)
    return None if size is None else size * size_of(tensor.dtype)


def _extents(variables: Iterable[Var]) -> Ix:
    return product(ix(v) if v.extent is None else v.extent for v in variables)


def _moves(value: Value) -> bool:
    if isinstance(value, Select):
        return _moves(value.then) and _moves(value.otherwise)
    return isinstance(value, Read | Const)


def _count(value: Value) -> int:
    return sum(isinstance(node, Op) for node in walk(value))


def _value(size: Ix, symbols: Mapping[str, int]) -> int | None:
    try:
        return evaluate(size, symbols)
    except (AssertionError, KeyError):
        return None
