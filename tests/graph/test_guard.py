from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from graphcase import parse

from ingot.graph import guard, pipeline
from ingot.graph.guard import random_inputs, verify
from ingot.graph.rules import fuse_conv_scale

TEXT = """g (float[N, 2] x) => (float[N, 2] y) <float[2] w = {2, 3}>
{ a = Identity(x) b = Mul(a, w) c = Mul(a, w) d = Add(b, c) y = Relu(d) }"""


def test_every_rule_that_fired_gets_a_verdict() -> None:
    model = parse(TEXT)
    verdicts = verify(model)
    assert [(v.name, v.fired, v.problem) for v in verdicts if v.name != "infer_shapes"] == [
        ("eliminate_identity", 1, ""),
        ("eliminate_common_subexpressions", 1, ""),
    ]
    assert [node.op_type for node in model.graph] == ["Mul", "Add", "Relu"]


def _wrong_weights(model: ir.Model) -> int:
    value = model.graph.initializers["w"]
    assert value.const_value is not None
    value.const_value = ir.Tensor(value.const_value.numpy() + np.float32(0.01), name="w")
    return 1


def _wrong_graph(model: ir.Model) -> int:
    model.graph.node(0).op_type = "Mystery"
    return 1


@pytest.mark.parametrize(("rule", "word"), [(_wrong_weights, "output y"), (_wrong_graph, "Mystery")])
def test_the_rule_that_breaks_the_model_is_named(
    monkeypatch: pytest.MonkeyPatch, rule: pipeline.Rule, word: str
) -> None:
    monkeypatch.setitem(pipeline.RULES, "merge_reshapes", rule)
    verdicts = verify(parse(TEXT), {"x": np.ones((3, 2), np.float32)})
    assert verdicts[-1].name == "merge_reshapes"
    assert word in verdicts[-1].problem
    assert [v for v in verdicts if v.problem] == verdicts[-1:]
    assert verify(parse(TEXT), disable=("merge_reshapes",))[-1].problem == ""


def test_onnx_reference_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Any, inputs: Mapping[str, Any]) -> list[Any]:
        raise ImportError("no onnxruntime")

    monkeypatch.setattr(guard, "reference", broken)
    assert {v.problem for v in verify(parse(TEXT))} == {""}


def test_random_inputs_fit_the_model() -> None:
    model = parse("g (float[N, 2] x, int64[N, T] i, bool c) => (float[N, 2] y) { y = Neg(x) }")
    feed = random_inputs(model, {"T": 5})
    assert {name: (array.shape, array.dtype.name) for name, array in feed.items()} == {
        "x": ((2, 2), "float32"),
        "i": ((2, 5), "int64"),
        "c": ((), "bool"),
    }
    assert all(
        np.array_equal(a, b)
        for a, b in zip(feed.values(), random_inputs(model, {"T": 5}).values(), strict=True)
    )
    assert fuse_conv_scale.apply(model) == 0


def test_small_probabilities_are_measured_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nudge(model: ir.Model) -> int:
        value = model.graph.initializers["b"]
        assert value.const_value is not None
        value.const_value = ir.Tensor(value.const_value.numpy() + np.float32(1e-4), name="b")
        return 1

    monkeypatch.setitem(pipeline.RULES, "merge_reshapes", nudge)
    feed = {"x": np.zeros((1, 2), np.float32)}
    text = "g (float[1, 2] x) => (float[2] y) <float[2] b = {-12, -12}, int64[1] s = {2}> { a = Add(x, b) p = Sigmoid(a) y = Reshape(p, s) }"
    assert [v.problem for v in verify(parse(text), feed) if v.problem] == []
    assert verify(parse(text.replace("Sigmoid", "Exp")), feed)[-1].name == "merge_reshapes"
