"""bf16: what lies between operations is stored in it and products with constant weights multiply in it.

Sums, epilogues, normalisations and everything elementwise stay f32, and so do the model's inputs and outputs.
"""

from __future__ import annotations

import ml_dtypes

from ingot.ir.index import ix, var
from ingot.ir.nodes import Read, walk
from ingot.ir.program import (
    Attention,
    Dense,
    Map,
    MatMul,
    Operation,
    Program,
    Recurrent,
    Tensor,
    WinogradOutput,
)


def use_bf16(program: Program) -> None:
    """Mutates the program. A product of an odd number of channels stays f32."""
    kept = _kept(program)
    for operation in program.operations:
        for tensor in (*operation.writes(), *operation.inputs()):
            root = tensor.root()[0]
            if root.kind == "temp" and tensor.dtype == "f32" and root not in kept:
                _store_as_bf16(tensor)
    operations: list[Operation] = []
    copies: dict[Tensor, Tensor] = {}
    for operation in program.operations:
        if isinstance(operation, Dense) and operation.weight.shape[-2] % 2 == 0:
            if operation.x.dtype == "f32":
                if operation.x not in copies or operation.guard:
                    operations.append(_copy(operation))
                    copies[operation.x] = operations[-1].output
                operation.x = copies[operation.x]
            operation.weight = operation.weight.astype(ml_dtypes.bfloat16)
        operations.append(operation)
    program.operations = operations


def _kept(program: Program) -> set[Tensor]:
    """What stays f32: the operands of products of two tensors, what a recurrent layer touches, Winograd's sums."""
    found: set[Tensor] = set()
    for operation in program.operations:
        if isinstance(operation, Recurrent):
            found.update((*operation.writes(), *operation.inputs()))
        if isinstance(operation, MatMul | Attention):
            for name, value in operation.values().items():
                if name in ("a", "b", "c"):
                    found.update(n.tensor for n in walk(value) if isinstance(n, Read))
        if isinstance(operation, WinogradOutput):
            found.add(operation.products)
        if isinstance(operation, Attention):
            found.add(operation.scratch)
    return {tensor.root()[0] for tensor in found}


def _store_as_bf16(tensor: Tensor) -> None:
    """The tensor and all that it is a region of."""
    tensor.dtype = "bf16"
    if tensor.region is not None:
        _store_as_bf16(tensor.region[0])


def _copy(operation: Dense) -> Map:
    """The operation's x in bf16."""
    x = operation.x
    copy = Tensor(f"{operation.output.name}_x", "bf16", x.shape)
    axes = tuple(var(f"{copy.name}_{i}", d) for i, d in enumerate(x.shape))
    return Map(copy, axes, Read(x, tuple(map(ix, axes))), nodes=operation.nodes, guard=operation.guard)
