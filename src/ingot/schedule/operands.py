"""Copies that kernels need: a MatMul reads rows of n, so a b that is not made of rows is rearranged first."""

from __future__ import annotations

from ingot.ir.index import ix
from ingot.ir.nodes import Read, reindex
from ingot.ir.program import Map, MatMul, Operation, Program, Tensor
from ingot.kernels.builder import Builder
from ingot.kernels.matmul import reads_rows
from ingot.schedule.layout import Layout, row_major
from ingot.target import Target


def rearrange(program: Program, layouts: dict[Tensor, Layout], target: Target) -> None:
    """Insert the copies. Mutates program and layouts."""
    operations: list[Operation] = []
    for operation in program.operations:
        if isinstance(operation, MatMul):
            assert isinstance(operation.b, Read)
            n = operation.axes[-1]
            whole = n.extent is not None and n.extent.is_const and n.extent.value % target.lanes == 0
            padded = layouts[operation.b.tensor.root()[0]].pitch >= target.lanes
            if not (reads_rows(Builder(target, layouts), operation) and (whole or padded)):
                operations.append(_rows(operation, layouts, target))
        operations.append(operation)
    program.operations = operations


def _rows(operation: MatMul, layouts: dict[Tensor, Layout], target: Target) -> Map:
    """A Map that lays b out as (batch…, k, n), rows of whole vectors; operation.b then reads it."""
    assert isinstance(operation.b, Read)
    used = set().union(*(i.variables() for i in operation.b.index))
    axes = [a for a in operation.axes[:-2] if a in used] + [operation.k, operation.axes[-1]]
    extents = tuple(a.extent for a in axes)
    shape = tuple(ix(e) for e in extents)  # type: ignore[arg-type]
    copy = Tensor(f"{operation.output.name}_b", "f32", shape)
    layouts[copy] = row_major(len(shape), target.lanes)
    builder = Builder(target, layouts)
    fresh = tuple(builder.fresh_var(e) for e in shape)
    value = reindex(operation.b, {a: ix(v) for a, v in zip(axes, fresh, strict=True)})
    operation.b = Read(copy, tuple(map(ix, axes)))
    return Map(copy, fresh, value, nodes=operation.nodes, guard=operation.guard)
