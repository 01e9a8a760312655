"""Elementwise operators: a table from the operator to the expression of one element."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ingot.ir.nodes import NAMES, Const, Op, Select, Value
from ingot.ir.ops import OPS
from ingot.lower.context import Context
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.values import cast

FLOATS = ("f16", "f32", "f64")


def single(value: float) -> float:
    """The default of an attribute, which is a 32-bit float."""
    return float(np.float32(value))


EPSILON = single(1e-5)
"""The default of every normalisation."""

MOMENTUM = single(0.9)


def op(name: str, *args: Value) -> Value:
    """An operation on values of one dtype; literals take the dtype of the first value."""
    dtype = (
        next(a.dtype for a in args if not isinstance(a, Const) or len(args) == 1)
        if not all(isinstance(a, Const) for a in args)
        else args[0].dtype
    )
    return Op(
        name,
        tuple(cast(a, dtype) if isinstance(a, Const) else a for a in args),
        "bool" if OPS[name].boolean else dtype,
    )


def const(value: float, like: Value) -> Const:
    """A literal of the dtype of a value."""
    return Const(value if like.dtype in FLOATS else int(value), like.dtype)


def clip(x: Value, low: Value | None, high: Value | None) -> Value:
    if low is not None:
        x = op("max", x, low)
    return x if high is None else op("min", x, high)


Unary = Callable[[Value, Node], Value]


def _sigmoid(x: Value) -> Value:
    return op("sigmoid", x)


def _softplus(x: Value) -> Value:
    return op(
        "add",
        op("max", x, const(0, x)),
        op("log", op("add", const(1, x), op("exp", op("neg", op("abs", x))))),
    )


def _gelu(x: Value, node: Node) -> Value:
    if node.get("approximate", "none") == "tanh":
        half = op("mul", x, const(0.5, x))
        cube = op("mul", op("mul", x, x), x)
        inner = op("mul", op("add", x, op("mul", cube, const(0.044715, x))), const(math.sqrt(2 / math.pi), x))
        return op("mul", half, op("add", op("tanh", inner), const(1, x)))
    return op("gelu", x)


def _elu(x: Value, alpha: float, gamma: float = 1.0) -> Value:
    negative = op(
        "mul", op("sub", op("exp", op("min", x, const(0, x))), const(1, x)), const(alpha * gamma, x)
    )
    positive = x if gamma == 1.0 else op("mul", x, const(gamma, x))
    return Select(op("lt", x, const(0, x)), negative, positive)


def _hard_sigmoid(x: Value, alpha: float, beta: float) -> Value:
    return clip(op("add", op("mul", x, const(alpha, x)), const(beta, x)), const(0, x), const(1, x))


def _leaky(x: Value, alpha: Value) -> Value:
    return Select(op("lt", x, const(0, x)), op("mul", x, alpha), x)


def _plain(name: str) -> Callable[..., Value]:
    """The lowering to one operation of the same arguments; the node, which comes last, says nothing more."""
    return lambda *args: op(name, *args[:-1])


UNARY: dict[str, Unary] = {
    **{
        name: _plain(ir)
        for name, ir in {
            "Abs": "abs",
            "Neg": "neg",
            "Sqrt": "sqrt",
            "Exp": "exp",
            "Log": "log",
            "Tanh": "tanh",
            "Sigmoid": "sigmoid",
            "Erf": "erf",
            "Floor": "floor",
            "Ceil": "ceil",
            "Round": "round",
            "Sign": "sign",
            "Sin": "sin",
            "Cos": "cos",
            "Tan": "tan",
            "Asin": "asin",
            "Acos": "acos",
            "Atan": "atan",
            "Sinh": "sinh",
            "Cosh": "cosh",
            "Asinh": "asinh",
            "Acosh": "acosh",
            "Atanh": "atanh",
            "Not": "not",
            "IsNaN": "isnan",
            "BitwiseNot": "bitnot",
        }.items()
    },
    "Relu": lambda x, node: op("max", x, const(0, x)),
    "LeakyRelu": lambda x, node: _leaky(x, const(node.get("alpha", single(0.01)), x)),
    "Elu": lambda x, node: _elu(x, node.get("alpha", 1.0)),
    "Selu": lambda x, node: _elu(
        x, node.get("alpha", single(1.6732632423543772)), node.get("gamma", single(1.0507009873554805))
    ),
    "Celu": lambda x, node: op(
        "add",
        op("max", x, const(0, x)),
        op(
            "min",
            op(
                "mul",
                op("sub", op("exp", op("mul", x, const(1 / node.get("alpha", 1.0), x))), const(1, x)),
                const(node.get("alpha", 1.0), x),
            ),
            const(0, x),
        ),
    ),
    "ThresholdedRelu": lambda x, node: Select(op("gt", x, const(node.get("alpha", 1.0), x)), x, const(0, x)),
    "HardSigmoid": lambda x, node: _hard_sigmoid(x, node.get("alpha", single(0.2)), node.get("beta", 0.5)),
    "HardSwish": lambda x, node: op("mul", x, _hard_sigmoid(x, 1 / 6, 0.5)),
    "Swish": lambda x, node: op("mul", x, _sigmoid(op("mul", x, const(node.get("alpha", 1.0), x)))),
    "Mish": lambda x, node: op("mul", x, op("tanh", _softplus(x))),
    "Softplus": lambda x, node: _softplus(x),
    "Softsign": lambda x, node: op("div", x, op("add", const(1, x), op("abs", x))),
    "Gelu": _gelu,
    "Reciprocal": lambda x, node: op("div", const(1, x), x),
    "IsInf": lambda x, node: _is_inf(x, node),
    "Shrink": lambda x, node: Select(
        op("lt", x, const(-node.get("lambd", 0.5), x)),
        op("add", x, const(node.get("bias", 0.0), x)),
        Select(
            op("gt", x, const(node.get("lambd", 0.5), x)),
            op("sub", x, const(node.get("bias", 0.0), x)),
            const(0, x),
        ),
    ),
}


def _is_inf(x: Value, node: Node) -> Value:
    sides = [
        op("eq", x, const(s * math.inf, x))
        for s, a in ((1, "detect_positive"), (-1, "detect_negative"))
        if node.get(a, 1)
    ]
    return (
        Const(False, "bool")
        if not sides
        else sides[0]
        if len(sides) == 1
        else Op("or", (sides[0], sides[1]), "bool")
    )


@lowers(*UNARY)
def unary(ctx: Context, node: Node) -> Operand:
    x = node.input(0)
    element = UNARY[node.operator]
    sample = element(ctx.read(x, [0] * x.rank), node)
    return ctx.map(x.shape, sample.dtype, lambda axes: element(ctx.read(x, axes), node))


def _div(a: Value, b: Value) -> Value:
    if (
        isinstance(b, Const)
        and isinstance(b.value, float)
        and b.value
        and math.frexp(b.value)[0] in (0.5, -0.5)
    ):
        return op("mul", a, const(1 / b.value, a))
    return op("div", a, b)


def _pow(a: Value, b: Value) -> Value:
    if isinstance(b, Const) and a.dtype in FLOATS:
        exponent = float(b.value)
        if exponent in (1.0, 2.0, 3.0):
            result = a
            for _ in range(int(exponent) - 1):
                result = op("mul", result, a)
            return result
        if exponent == 0.5:
            return op("sqrt", a)
        if exponent in (-1.0, -0.5):
            return op("div", const(1, a), a if exponent == -1.0 else op("sqrt", a))
    if a.dtype not in FLOATS and b.dtype in FLOATS:
        return cast(Op("pow", (cast(a, "f64"), cast(b, "f64")), "f64"), a.dtype)
    return op("pow", a, cast(b, a.dtype))


def extreme(name: str, a: Value, b: Value) -> Value:
    """The "max" or "min" of two, NaN where one is: those operations keep only a NaN of their first argument."""
    if isinstance(a, Const) and a.value == a.value:
        a, b = b, a
    if a.dtype not in FLOATS or (isinstance(b, Const) and b.value == b.value):
        return op(name, a, b)
    return op(f"{name}imum", a, b)


def _mod(a: Value, b: Value, node: Node) -> Value:
    return op("fmod" if node.get("fmod", 0) else "mod", a, b)


BINARY: dict[str, Callable[[Value, Value, Node], Value]] = {
    **{
        name: _plain(ir)
        for name, ir in {
            "Add": "add", "Sub": "sub", "Mul": "mul", "Equal": "eq", "Less": "lt",
            "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "And": "and", "Or": "or", "Xor": "xor",
            "BitwiseAnd": "bitand", "BitwiseOr": "bitor", "BitwiseXor": "bitxor",
        }.items()
    },
    "Min": lambda a, b, node: extreme("min", a, b),
    "Max": lambda a, b, node: extreme("max", a, b),
    "Div": lambda a, b, node: _div(a, b),
    "Pow": lambda a, b, node: _pow(a, b),
    "Mod": _mod,
    "PRelu": lambda a, b, node: _leaky(a, b),
    "BitShift": lambda a, b, node: op("shl" if node.get("direction") == "LEFT" else "shr", a, b),
}  # fmt: skip


@lowers(*BINARY)
def binary(ctx: Context, node: Node) -> Operand:
    """Elementwise over two or (Min, Max) more operands with multidirectional broadcasting."""
    operands = node.operands()
    shape = ctx.broadcast(*(x.shape for x in operands))
    element = BINARY[node.operator]

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        values = [ctx.read_broadcast(x, axes) for x in operands]
        total = values[0]
        for v in values[1:]:
            total = element(total, v, node)
        return total

    dtype = value(ctx.axes(shape)).dtype
    return ctx.map(shape, dtype, value)


@lowers("Sum", "Mean")
def variadic(ctx: Context, node: Node) -> Operand:
    operands = node.operands()
    shape = ctx.broadcast(*(x.shape for x in operands))

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        total = ctx.read_broadcast(operands[0], axes)
        for x in operands[1:]:
            total = op("add", total, ctx.read_broadcast(x, axes))
        return op("mul", total, const(1 / len(operands), total)) if node.operator == "Mean" else total

    return ctx.map(shape, operands[0].dtype, value)


@lowers("Clip")
def clip_node(ctx: Context, node: Node) -> Operand:
    x = node.input(0)

    def bound(i: int, attribute: str, like: Value) -> Value | None:
        if node.opset < 11:
            largest = float(np.finfo(np.float32).max)
            return const(node.get(attribute, -largest if attribute == "min" else largest), like)
        operand = node.optional(i)
        return None if operand is None else ctx.read(operand, [0] * operand.rank)

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        v = ctx.read(x, axes)
        return clip(v, bound(1, "min", v), bound(2, "max", v))

    return ctx.map(x.shape, x.dtype, value)


@lowers("Where")
def where(ctx: Context, node: Node) -> Operand:
    cond, a, b = (node.input(i) for i in range(3))
    shape = ctx.broadcast(cond.shape, a.shape, b.shape)

    def value(axes: tuple) -> Value:  # type: ignore[type-arg]
        return Select(*(ctx.read_broadcast(x, axes) for x in (cond, a, b)))

    return ctx.map(shape, a.dtype, value)


def dtype_name(number: int, node: Node, *, strings: bool = False) -> str:
    """The IR dtype of an ONNX dtype number, which may be a type of storage. Raises IngotError unsupported.

    strings: whether that of strings is taken too.
    """
    import onnx_ir

    try:
        name = NAMES[onnx_ir.DataType(number).numpy()]
    except (KeyError, TypeError):
        name = ""
    if not name or (name == "str" and not strings):
        raise node.unsupported(f"dtype {onnx_ir.DataType(number).name}")
    return name
