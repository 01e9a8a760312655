"""Which ONNX operators can be lowered, and by which function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingot.lower.context import Context
from ingot.lower.operand import Anything, Node

Lowering = Callable[[Context, Node], Anything | Sequence[Anything]]

REGISTRY: dict[tuple[str, str], Lowering] = {}


def lowers(*operators: str, domain: str = "") -> Callable[[Lowering], Lowering]:
    """Register a function as the lowering of operators. It returns a value for each output of the node."""

    def register(function: Lowering) -> Lowering:
        for operator in operators:
            REGISTRY[domain, operator] = function
        return function

    return register
