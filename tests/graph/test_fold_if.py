from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fold_if

TEXT = """g (float[2] x{inputs}) => (float[2] y) <{initializers}> {{
  r = If(c) <then_branch = t () => (float[2] a) <float[2] k = {{1.0, 2.0}}> {{ m = Mul(x, k) a = Neg(m) }},
             else_branch = e () => (float[2] b) {{ m = Abs(x) b = Sqrt(m) }}>
  m = Exp(r)
  y = If(c) <then_branch = t () => (float[2] a) <float[2] k = {{3.0, 4.0}}> {{ m2 = Mul(m, k) a = Neg(m2) }},
             else_branch = e () => (float[2] b) {{ b = Sqrt(m) }}>
}}"""


@pytest.mark.parametrize("taken", [0, 1])
def test_constant_condition(taken: int) -> None:
    got = apply(fold_if, TEXT.format(inputs="", initializers=f"bool c = {{{taken}}}"))
    assert got.fired == 2
    assert got.ops == (["Mul", "Neg", "Exp", "Mul", "Neg"] if taken else ["Abs", "Sqrt", "Exp", "Sqrt"])
    names = [out.name for node in got.model.graph for out in node.outputs]
    assert len(set(names)) == len(names)


def test_refuses_a_condition_from_outside() -> None:
    got = apply(
        fold_if,
        TEXT.format(inputs=", bool c", initializers=""),
        feed={"x": np.ones(2, np.float32), "c": np.array(True)},
    )
    assert got.fired == 0
    assert got.refused == ["its condition is not constant"] * 2


def test_refuses_an_output_that_would_be_a_constant() -> None:
    got = apply(
        fold_if,
        """g (float[1] x) => (float[1] y) <bool c = {1}> {
          y = If(c) <then_branch = t () => (float[1] k) <float[1] k = {2.0}> { u = Neg(x) },
                     else_branch = e () => (float[1] b) { b = Neg(x) }>
        }""",
        run=False,
    )
    assert got.refused == ["an output of the graph would be a constant or another output"]


def test_nested() -> None:
    got = apply(
        fold_if,
        """g (float[1] x) => (float[1] y) <bool c = {1}> {
          r = If(c) <then_branch = t () => (float[1] a) {
              a = If(c) <then_branch = tt () => (float[1] aa) { aa = Neg(x) },
                         else_branch = ee () => (float[1] bb) { bb = Abs(x) }> },
            else_branch = e () => (float[1] b) { b = Abs(x) }>
          y = Exp(r)
        }""",
    )
    assert got.fired + fold_if.apply(got.model) == 2
    assert got.ops == ["Neg", "Exp"]
