"""Formulas become one instruction, however they are written; what only resembles one does not."""

from __future__ import annotations

import math

import pytest

from ingot.ir.index import ix, var
from ingot.ir.nodes import Const, Op, Read, Value
from ingot.ir.program import Tensor
from ingot.schedule.recognise import rewrite_formulas

X = Read(Tensor("x", "f32", (ix(8),)), (ix(var("i", 8)),))
Y = Read(Tensor("y", "f32", (ix(8),)), (ix(var("i", 8)),))


def f(name: str, *args: Value | float, dtype: str = "f32") -> Value:
    return Op(name, tuple(a if isinstance(a, Value) else Const(a, dtype) for a in args), dtype)


def distribution(x: Value, scale: float = math.sqrt(0.5)) -> Value:
    return f("add", f("erf", f("mul", x, scale)), 1.0)


SUM = f("add", X, Y)
SAME = {
    "half of x first": f("mul", f("mul", X, 0.5), distribution(X)),
    "half last": f("mul", f("mul", X, distribution(X)), 0.5),
    "half of the sum": f("mul", X, f("mul", 0.5, distribution(X))),
    "divided": f("div", f("mul", X, f("add", 1.0, f("erf", f("div", X, math.sqrt(2))))), 2.0),
}
OTHER = {
    "of another": f("mul", f("mul", Y, 0.5), distribution(X)),
    "not halved": f("mul", X, distribution(X)),
    "twice": f("mul", f("mul", X, X), f("mul", 0.5, distribution(X))),
    "of another width": f("mul", f("mul", X, 0.5), distribution(X, 0.7)),
    "of two more": f("mul", f("mul", X, 0.5), f("add", f("erf", f("mul", X, math.sqrt(0.5))), 2.0)),
    "gated by another": f("mul", X, f("sigmoid", Y)),
    "gated in double": Op("mul", (X, Op("sigmoid", (X,), "f64")), "f64"),
    "in double": Op("mul", (Op("mul", (X, Const(0.5, "f64")), "f64"), distribution(X)), "f64"),
}


@pytest.mark.parametrize("value", SAME.values(), ids=SAME)
def test_gelu_is_found(value: Value) -> None:
    assert rewrite_formulas(value) == f("gelu", X)
    assert rewrite_formulas(f("add", value, Y)) == f("add", f("gelu", X), Y)


def test_gelu_of_gelu_is_found() -> None:
    inner = f("mul", f("mul", SUM, 0.5), distribution(SUM))
    outer = f("mul", f("mul", inner, 0.5), distribution(inner))
    assert rewrite_formulas(outer) == f("gelu", f("gelu", SUM))


def test_silu_is_found() -> None:
    inner = f("mul", f("sigmoid", SUM), SUM)
    assert rewrite_formulas(inner) == f("silu", SUM)
    assert rewrite_formulas(f("mul", inner, f("sigmoid", inner))) == f("silu", f("silu", SUM))


@pytest.mark.parametrize("value", OTHER.values(), ids=OTHER)
def test_what_only_resembles_a_formula_stays(value: Value) -> None:
    assert rewrite_formulas(value) == value
