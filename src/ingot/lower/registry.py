"""Which ONNX operators can be lowered, and by which function."""

from __future__ import annotations

from collections.abc import Callable

from ingot.lower.context import Context, Node, Operand

Lowering = Callable[[Context, Node], "Operand | list[Operand]"]

REGISTRY: dict[tuple[str, str], Lowering] = {}


def lowers(*operators: str, domain: str = "") -> Callable[[Lowering], Lowering]:
    """Register a function as the lowering of operators. It returns an operand for each output of the node."""

    def register(function: Lowering) -> Lowering:
        for operator in operators:
            REGISTRY[domain, operator] = function
        return function

    return register
