"""Copies that kernels need: a product of two computed tensors reads its second one a row at a time, so one that is not
made of rows of whole vectors is rearranged first."""

from __future__ import annotations

from collections.abc import Sequence

from ingot.ir.index import Var, ix
from ingot.ir.nodes import Read, Value, reindex
from ingot.ir.program import Attention, Map, MatMul, Operation, Program, Tensor
from ingot.kernels.builder import Builder
from ingot.schedule.layout import Layout, row_major
from ingot.target import Target


def rearrange(program: Program, layouts: dict[Tensor, Layout], target: Target) -> None:
    """Insert the copies. Mutates program and layouts."""
    operations: list[Operation] = []
    for operation in program.operations:
        if isinstance(operation, MatMul | Attention):
            batch = operation.axes[:-2]
            if isinstance(operation, MatMul):
                wanted = [("b", operation.k, operation.axes[-1])]
            else:
                wanted = [("b", operation.k, operation.n), ("c", operation.n, operation.axes[-1])]
            for name, row, column in wanted:
                value = getattr(operation, name)
                if not _made_of_rows(value, column, layouts, target):
                    copy = _rows(operation, name, value, [*batch, row, column], layouts, target)
                    operations.append(copy)
        operations.append(operation)
    program.operations = operations


def _made_of_rows(value: Value, column: Var, layouts: dict[Tensor, Layout], target: Target) -> bool:
    """Whether a vector of columns is contiguous, and the last one of a row may be read whole."""
    assert isinstance(value, Read)
    extent = column.extent
    assert extent is not None
    lanes = target.lanes
    while extent.is_const and extent.value <= lanes // 2 and lanes > 4:
        lanes //= 2
    padded = layouts[value.tensor.root()[0]].pitch >= lanes
    if not (padded or (extent.is_const and extent.value % lanes == 0)):
        return False
    builder = Builder(target, layouts)
    block, lane = builder.fresh_var(extent.ceildiv(lanes)), builder.fresh_var(lanes)
    placed = reindex(value, {column: ix(block) * lanes + ix(lane)})
    assert isinstance(placed, Read)
    split = builder.flat(placed.tensor, placed.index)[1].split(lane)
    return split is not None and split[0] == 1


def _rows(
    operation: Operation,
    name: str,
    value: Read,
    axes: Sequence[Var],
    layouts: dict[Tensor, Layout],
    target: Target,
) -> Map:
    """A Map that lays the operand out as (batch…, row, column), rows of whole vectors; the operation then reads that."""
    used = set().union(*(i.variables() for i in value.index))
    kept = [a for a in axes[:-2] if a in used] + list(axes[-2:])
    shape = tuple(ix(a) if a.extent is None else a.extent for a in kept)
    copy = Tensor(f"{operation.output.name}_{name}", "f32", shape)
    layouts[copy] = row_major(len(shape), target.lanes)
    builder = Builder(target, layouts)
    fresh = tuple(builder.fresh_var(e) for e in shape)
    moved = reindex(value, {a: ix(v) for a, v in zip(kept, fresh, strict=True)})
    setattr(operation, name, Read(copy, tuple(map(ix, kept))))
    return Map(copy, fresh, moved, nodes=operation.nodes, guard=operation.guard)
