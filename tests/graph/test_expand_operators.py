from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from graphcase import Outcome, parse
from graphcase import apply as apply_rule

from ingot.graph.pipeline import optimize
from ingot.graph.rules import expand_operators
from ingot.testing import CLOSE

PLAIN = {("", name) for name in ("Abs", "Add", "Mul", "Neg", "Relu", "Sigmoid")}


def expand(text: str, keep: set[tuple[str, str]] = PLAIN, **how: object) -> Outcome:
    rule = SimpleNamespace(apply=lambda model: expand_operators.apply(model, keep))
    return apply_rule(rule, text, **{"opset": 18, "level": CLOSE, **how})  # type: ignore[arg-type]


def test_a_plain_body_with_distinct_names() -> None:
    got = expand("g (float[2, 3] x) => (float[2, 3] y) { a = HardSwish(x) n = Neg(a) y = HardSwish(n) }")
    assert got.fired == 2
    assert got.ops == ["HardSigmoid", "Mul", "Neg", "HardSigmoid", "Mul"]
    names = [out.name for node in got.model.graph for out in node.outputs]
    assert len(set(names)) == len(names)
    assert {name.split(".")[0] for name in names if name} == {"a", "n", "y"}


def test_defaults_of_attributes() -> None:
    got = expand("g (float[2, 3, 2, 2] x) => (float[2, 3, 2, 2] y) { y = MeanVarianceNormalization(x) }")
    assert got.fired == 1
    assert "ReduceMean" in got.ops


@pytest.mark.parametrize("opset", [13, 17, 22])
def test_a_body_that_depends_on_the_inputs_types(opset: int) -> None:
    """The body of operator set 13 serves the sets after it."""
    got = expand(
        'g (float[3, 4] x, int64[3] t) => (float y) { y = NegativeLogLikelihoodLoss<reduction="mean">(x, t) }',
        opset=opset,
        feed={"x": np.ones((3, 4), np.float32), "t": np.array([3, 0, 2])},
    )
    assert got.fired == 1
    assert "GatherElements" in got.ops


def test_outputs_that_are_left_out() -> None:
    text = "g (float[2, 2, 3, 4] x) => (float[2, 2, 3, 4] y) { y, , , = Attention(x, x, x) }"
    assert expand(text, opset=24, run=False).fired == 1


def test_bodies_within_bodies_and_subgraphs() -> None:
    model = parse(
        """g (float[3, 4] x, int64[3] t, bool c) => (float y) { y = If(c) <
        then_branch = a () => (float p) { p = SoftmaxCrossEntropyLoss(x, t) },
        else_branch = b () => (float q) { q = SoftmaxCrossEntropyLoss<reduction="sum">(x, t) }> }"""
    )
    wanted = {("", "SoftmaxCrossEntropyLoss"), ("", "NegativeLogLikelihoodLoss")}
    keep = {("", s.name) for s in onnx.defs.get_all_schemas() if not s.domain} - wanted
    optimize(model, keep=keep)
    ops = {node.op_type for node in model.graph.all_nodes()}
    assert not ops & {name for _, name in wanted}
    names = [out.name for node in model.graph.all_nodes() for out in node.outputs]
    assert len(set(names)) == len(names)


def test_refuses_what_it_cannot_know() -> None:
    text = (
        "g (float[3, 4] x, int64[3] t) => (float y) { a = custom.Odd(x) y = SoftmaxCrossEntropyLoss(a, t) }"
    )
    got = expand(text, run=False)
    assert got.fired == 0
    assert got.refused == ["its body depends on the type of an input, which is not known"]


def test_leaves_what_is_kept_and_what_has_no_body() -> None:
    text = "g (float[2, 3] x) => (float[2, 3] y) { a = Relu(x) b = custom.Odd(a) y = Sigmoid(b) }"
    assert expand(text, run=False).fired == 0
    model = parse(text)
    assert expand_operators.apply(model) == 0
