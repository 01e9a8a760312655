"""bf16: what lies between operations is stored in it and products with constant weights multiply in it.

Sums, epilogues, normalisations and everything elementwise stay f32, and so do the model's inputs and outputs.
"""

from __future__ import annotations

import math

import ml_dtypes

from ingot.ir.index import Var, ix, var
from ingot.ir.nodes import Const, Op, Read, Value, rewrite, walk
from ingot.ir.program import (
    Attention,
    Dense,
    Map,
    MatMul,
    Operation,
    Program,
    Recurrent,
    Routine,
    Tensor,
    WinogradOutput,
)

ERF = (
    1.12826843,
    -0.375314873,
    0.111079332,
    -0.0251028592,
    0.00423542675,
    -0.000511036749,
    4.10605128e-05,
    -1.94482216e-06,
    4.07420953e-08,
)
ERF_END = 3.0
"""erf(x) is x times this polynomial of x^2 up to ERF_END, within 3e-5: half a step of bf16 below 1 is 2e-3."""


def use_bf16(program: Program) -> None:
    """Mutates the program. A product of an odd number of channels, or of few of an input, stays f32."""
    kept = _kept(program)
    for operation in program.operations:
        operation.transform(_shorten)
        for tensor in (*operation.writes(), *operation.inputs()):
            root = tensor.root()[0]
            if root.kind == "temp" and tensor.dtype == "f32" and root not in kept:
                _store_as_bf16(tensor)
    operations: list[Operation] = []
    copies: dict[Tensor, Tensor] = {}
    for operation in program.operations:
        if isinstance(operation, Dense) and _multiplies_pairs(operation):
            if operation.x.dtype == "f32":
                if operation.x not in copies or operation.guard:
                    operations.append(_copy(operation))
                    copies[operation.x] = operations[-1].output
                operation.x = copies[operation.x]
            operation.weight = operation.weight.astype(ml_dtypes.bfloat16)
        if isinstance(operation, Attention) and isinstance(operation.c, Read):
            dtype, scores = operation.c.tensor.dtype, operation.scratch
            if dtype == "bf16":
                operation.weights = Tensor(f"{scores.name}_weights", dtype, scores.shape)
        operations.append(operation)
    program.operations = operations


def _shorten(value: Value) -> Value:
    """The value with a polynomial for each erf and in each GELU."""

    def leaf(node: Value) -> Value | None:
        if not isinstance(node, Op) or node.dtype != "f32" or node.name not in ("erf", "gelu"):
            return None
        x = _shorten(node.args[0])
        if node.name == "erf":
            return _short_erf(x)
        half = Op("mul", (x, Const(0.5, "f32")), "f32")
        scaled = Op("mul", (x, Const(math.sqrt(0.5), "f32")), "f32")
        return Op("fma", (half, _short_erf(scaled), half), "f32")

    return rewrite(value, leaf)


def _short_erf(x: Value) -> Value:
    inside = Op("max", (Op("min", (x, Const(ERF_END, "f32")), "f32"), Const(-ERF_END, "f32")), "f32")
    square = Op("mul", (inside, inside), "f32")
    total: Value = Const(ERF[-1], "f32")
    for coefficient in ERF[-2::-1]:
        total = Op("fma", (total, square, Const(coefficient, "f32")), "f32")
    return Op("mul", (inside, total), "f32")


FEW = 4
"""Channels of a tensor that stays f32, which are not worth a copy of it."""


def _multiplies_pairs(operation: Dense) -> bool:
    channels: int = operation.weight.shape[-2]
    return channels % 2 == 0 and (channels > FEW or operation.x.dtype == "bf16")


def _kept(program: Program) -> set[Tensor]:
    """What stays f32: the operands of products of two tensors, unless attention takes pairs of them, what a recurrent layer
    or a routine touches, Winograd's sums."""
    found: set[Tensor] = set()
    for operation in program.operations:
        if isinstance(operation, Recurrent | Routine):
            found.update((*operation.writes(), *operation.inputs()))
        if isinstance(operation, MatMul | Attention):
            pairs = _in_pairs(operation) if isinstance(operation, Attention) else set()
            for name, value in operation.values().items():
                if name in {"a", "b", "c"} - pairs:
                    found.update(n.tensor for n in walk(value) if isinstance(n, Read))
        if isinstance(operation, WinogradOutput):
            found.add(operation.products)
        if isinstance(operation, Attention):
            found.add(operation.scratch)
    return {tensor.root()[0] for tensor in found}


def _in_pairs(operation: Attention) -> set[str]:
    """Which operands multiply in bf16, two products at once."""
    inside = {
        name
        for name, value in operation.values().items()
        if isinstance(value, Read) and value.tensor.root()[0].kind == "temp"
    }
    together = ({"a", "b"}, operation.k), ({"c"}, operation.n)
    return {name for names, over in together if names <= inside and _even(over) for name in names}


def _even(over: Var) -> bool:
    return over.extent is not None and over.extent.is_const and over.extent.value % 2 == 0


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
