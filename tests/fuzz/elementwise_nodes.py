"""Random elementwise nodes."""

from __future__ import annotations

import numpy as np
from graph import FLOATS, INTEGERS, Graph, tensor_type

SMOOTH = (
    "Relu",
    "Sigmoid",
    "Tanh",
    "Erf",
    "Softplus",
    "LeakyRelu",
    "Elu",
    "HardSigmoid",
    "HardSwish",
    "Sin",
    "Cos",
)
SMOOTH += (
    "Selu",
    "Celu",
    "Mish",
    "Atan",
    "Softsign",
    "ThresholdedRelu",
    "Abs",
    "Neg",
    "Sign",
    "Floor",
    "Ceil",
    "Round",
)
ANYWHERE = ("Relu", "Abs", "Neg", "Floor", "Ceil", "IsNaN", "IsInf", "Identity", "LeakyRelu", "Sqrt", "Round")
"""Operators that treat NaN and infinities as IEEE 754 does, in ONNX Runtime too."""


def unary(g: Graph) -> None:
    name = g.pick(ANYWHERE if g.special else SMOOTH)
    x = g.any(("float32",))
    g.add(name, [x.name], [("bool" if name.startswith("Is") else x.dtype, x.shape)])


def integer_unary(g: Graph) -> None:
    x = g.any(INTEGERS)
    g.add(g.pick(("Neg", "Abs", "Sign")), [x.name], [(x.dtype, x.shape)])


def logical(g: Graph) -> None:
    x = g.any(("bool",))
    if g.chance(0.3):
        g.add("Not", [x.name], [("bool", x.shape)])
        return
    y = g.partner(x)
    g.add(g.pick(("And", "Or", "Xor")), [x.name, y.name], [("bool", np.broadcast_shapes(x.shape, y.shape))])


def binary(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    names = ["Add", "Sub", "Mul"] + ([] if g.special else ["Min", "Max"])
    if x.dtype in FLOATS and not g.special:
        names.append("Div")
    g.add(g.pick(names), [x.name, y.name], [(x.dtype, np.broadcast_shapes(x.shape, y.shape))])


def division(g: Graph) -> None:
    """Of integers by constants that are not zero."""
    x = g.any(INTEGERS)
    divisor = g.rng.integers(1, 9, x.shape) * g.rng.choice([-1, 1], x.shape)
    y = g.constant(divisor, x.dtype)
    g.add(g.pick(("Div", "Mod")), [x.name, y], [(x.dtype, x.shape)])


def comparison(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    name = g.pick(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"))
    g.add(name, [x.name, y.name], [("bool", np.broadcast_shapes(x.shape, y.shape))])


def where(g: Graph) -> None:
    x = g.any((*FLOATS, *INTEGERS))
    y = g.partner(x)
    shape = np.broadcast_shapes(x.shape, y.shape)
    cond = g.value("bool", tuple(1 if g.chance(0.3) else d for d in shape))
    g.add("Where", [cond.name, x.name, y.name], [(x.dtype, shape)])


def convert(g: Graph) -> None:
    x = g.any((*INTEGERS, "bool") if g.special else (*FLOATS, *INTEGERS, "bool"))
    to = g.pick((*FLOATS, *INTEGERS, "bool"))
    if x.dtype in FLOATS and to in INTEGERS:
        to = "bool"
    g.add("Cast", [x.name], [(to, x.shape)], to=tensor_type(to))


def clip(g: Graph) -> None:
    """With both bounds where there are infinities: those of ONNX Runtime are finite where one is left out."""
    x = g.any((*FLOATS, *INTEGERS))
    share = 1.0 if g.special else 0.7
    bounds = [g.constant(v, x.dtype) if g.chance(share) else "" for v in (-2, 3)]
    g.add("Clip", [x.name, *bounds], [(x.dtype, x.shape)])
