"""Formulas that one instruction computes: x / 2 (1 + erf(x / sqrt 2))  ->  gelu(x), x sigmoid(x)  ->  silu(x)

Runs on fused expressions, so it does not matter over how many operators the model spreads the formula, nor in which order
it multiplies. Refuses other dtypes than f32, and constants that differ from the formula's by more than their rounding.
"""

from __future__ import annotations

import math

from ingot.ir.nodes import Const, Op, Value, rewrite
from ingot.ir.program import Program

ROUNDING = 1e-6


def recognise(program: Program) -> None:
    """Mutates the program."""
    for operation in program.operations:
        operation.transform(rewrite_formulas)


def rewrite_formulas(value: Value) -> Value:
    def leaf(node: Value) -> Value | None:
        for name, argument_of in (("gelu", _gelu_of), ("silu", _silu_of)):
            argument = argument_of(node)
            if argument is not None:
                return Op(name, (rewrite_formulas(argument),), "f32")
        return None

    return rewrite(value, leaf)


def _silu_of(node: Value) -> Value | None:
    """x where the node computes x sigmoid(x)."""
    if isinstance(node, Op) and node.dtype == "f32" and node.name == "mul":
        for x, other in (node.args, node.args[::-1]):
            if isinstance(other, Op) and other.name == "sigmoid" and other.args[0] == x:
                return x
    return None


def _gelu_of(node: Value) -> Value | None:
    """x where the node computes its GELU."""
    scale, factors = _factors(node)
    for i, factor in enumerate(factors):
        x = _argument_of_one_plus_erf(factor)
        if x is not None:
            own, parts = _factors(x)
            if factors[:i] + factors[i + 1 :] == parts and _is(scale, 0.5 * own):
                return x
    return None


def _factors(node: Value) -> tuple[float, list[Value]]:
    """A product as its constant and its other factors."""
    if isinstance(node, Const) and node.dtype == "f32":
        return float(node.value), []
    if isinstance(node, Op) and node.dtype == "f32":
        if node.name == "mul":
            (a, left), (b, right) = map(_factors, node.args)
            return a * b, left + right
        if node.name == "div" and isinstance(node.args[1], Const) and node.args[1].value:
            a, left = _factors(node.args[0])
            return a / float(node.args[1].value), left
    return 1.0, [node]


def _argument_of_one_plus_erf(node: Value) -> Value | None:
    """x of 1 + erf(x / sqrt 2)."""
    if not (isinstance(node, Op) and node.name == "add"):
        return None
    for one, other in (node.args, node.args[::-1]):
        if isinstance(one, Const) and one.value == 1 and isinstance(other, Op) and other.name == "erf":
            return _argument_over_root_two(other.args[0])
    return None


def _argument_over_root_two(node: Value) -> Value | None:
    if isinstance(node, Op) and node.name in ("mul", "div"):
        wanted = math.sqrt(0.5) if node.name == "mul" else math.sqrt(2)
        pairs = [node.args, node.args[::-1]] if node.name == "mul" else [node.args]
        for x, constant in pairs:
            if isinstance(constant, Const) and constant.dtype == "f32" and _is(float(constant.value), wanted):
                return x
    return None


def _is(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= ROUNDING * abs(wanted)
