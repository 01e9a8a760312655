from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from graphcase import parse

import ingot.graph.rules
from ingot.errors import IngotError
from ingot.graph.explain import explain
from ingot.graph.pipeline import COMPILE, RULES, PassReport, optimize
from ingot.testing import CLOSE, assert_close, lengths, reference

RULE_FILES = sorted(p.stem for p in Path(ingot.graph.rules.__path__[0]).glob("*.py") if p.stem != "__init__")

BLOCK = """g (float[1, 2, 4, 4] x, float[2, 2, 3, 3] w, float[2] s, float[2] t, float[2] m, float[2] v) => (float[A, B, C, D] y)
<int64[2] zero = {0, 0}> {
  p0 = Constant<value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}>()
  p = Pad(x, p0) c = Conv(p, w) d = Dropout(c) n = BatchNormalization(d, s, t, m, v) k = Constant<value_float = 2.0>() q = Mul(n, k)
  sh = Shape(q) r = Reshape(q, sh) u = Identity(r) y = Relu(u)
}"""
CONSTANTS = {"w": np.ones((2, 2, 3, 3), np.float32)} | {name: np.array([1, 2], np.float32) for name in "stmv"}


def test_each_rule_has_one_file_one_line_and_one_test() -> None:
    assert sorted(RULES) == RULE_FILES
    for name, rule in RULES.items():
        assert rule.__module__ == f"ingot.graph.rules.{name}"
        text = importlib.import_module(rule.__module__).__doc__ or ""
        assert "->" in text.split("\n\n")[0], name
        assert (Path(__file__).parent / f"test_{name}.py").exists()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", name)


def test_everything_together() -> None:
    model = parse(BLOCK, CONSTANTS)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    before = reference(ir.to_proto(model), {"x": x})[0]
    reports = optimize(model)
    assert [node.op_type for node in model.graph] == ["Conv", "Relu"]
    assert [report.name for report in reports] == list(COMPILE)
    assert all(report.fired == 0 for report in optimize(model))
    after = ir.to_proto(model)
    assert_close(reference(after, {"x": x})[0], before, CLOSE, reduction=lengths(after)["reduction"])
    assert set(model.graph.initializers) == {"w", "c.bias"}


@pytest.mark.parametrize("name", COMPILE)
def test_each_rule_can_be_disabled(name: str) -> None:
    model = parse(BLOCK, CONSTANTS)
    reports = optimize(model, disable=(name,))
    assert name not in [report.name for report in reports]
    x = np.ones((1, 2, 4, 4), np.float32)
    before = reference(ir.to_proto(parse(BLOCK, CONSTANTS)), {"x": x})[0]
    after = ir.to_proto(model)
    assert_close(reference(after, {"x": x})[0], before, CLOSE, reduction=lengths(after)["reduction"])


def test_without_any_rule_nothing_changes() -> None:
    model = parse(BLOCK, CONSTANTS)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert optimize(model, disable=tuple(RULES)) == []
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_optimising_is_deterministic() -> None:
    texts = set()
    for _ in range(2):
        model = parse(BLOCK, CONSTANTS)
        optimize(model)
        texts.add(ir.to_proto(model).SerializeToString(deterministic=True))
    assert len(texts) == 1


def test_unknown_rules() -> None:
    for call in (
        lambda m: optimize(m, disable=("fuse_everything",)),
        lambda m: explain(m, "fuse_everything"),
    ):
        with pytest.raises(IngotError) as caught:
            call(parse(BLOCK, CONSTANTS))
        assert caught.value.code == "rule-unknown"
        assert "fold_constants" in caught.value.remedy


def test_on_pass_sees_every_application() -> None:
    seen: list[PassReport] = []
    reports = optimize(parse(BLOCK, CONSTANTS), on_pass=seen.append)
    assert {report.name for report in seen} == set(COMPILE)
    assert sum(report.fired for report in seen) == sum(report.fired for report in reports)
    assert [report.name for report in seen].count("infer_shapes") <= 2


def test_large_weights_are_not_read() -> None:
    def read() -> ir.TensorProtocol:
        raise AssertionError("a rule read a weight that it has no use for")

    model = parse(
        "g (float[N, 64] x) => (float[N, 64] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, v) }".replace(
            "x)", "x, float[64, 64] w, float[64, 64] v)", 1
        ),
        {"w": np.zeros((64, 64), np.float32), "v": np.zeros((64, 64), np.float32)},
    )
    for name, columns in (("w", 20_000_000), ("v", 30_000_000)):
        tensor = ir.LazyTensor(read, ir.DataType.FLOAT, ir.Shape([64, columns]), name=name)
        model.graph.initializers[name].const_value, model.graph.initializers[name].shape = (
            tensor,
            tensor.shape,
        )
    optimize(model)
    assert len(model.graph) == 3


def test_explain_names_nodes_and_reasons() -> None:
    model = parse(BLOCK, CONSTANTS)
    events = explain(model, "fuse_conv_batch_norm")
    assert [event.reason for event in events] == [""]
    assert "n" in events[0].node
    assert len(model.graph) == 11
    text = "g (float[1, 2, 4, 4] x, float[2, 2, 3, 3] w) => (float[1, 2, 2, 2] y) <float[2] s = {1, 2}> { a = Relu(x) b = BatchNormalization(a, s, s, s, s) y = Conv(b, w) }"
    events = explain(parse(text, {"w": CONSTANTS["w"]}), "fuse_conv_batch_norm")
    assert [event.reason for event in events] == ["there is no convolution before it"]


LOOP = """g (float[2, 3] x, int64 n) => (float[2, 3] y, float[K, 2, 3] all) <bool go = {1}> {
  s = Shape(x) z = ConstantOfShape(s)
  y, all = Loop(n, go, z) <body = b (int64 i, bool c, float[2, 3] acc) => (bool c2, float[2, 3] acc2, float[2, 3] out) {
    c2 = Identity(c) two = Constant<value_float = 2.0>() four = Mul(two, two)
    p = Add(x, four) q = Add(x, four) dead = Exp(q) r = Add(p, q)
    t = Transpose<perm = [1, 0]>(r) u = Transpose<perm = [1, 0]>(t) acc2 = Add(acc, u) out = Mul(acc2, two)
  }>
}"""


def test_loops() -> None:
    model = parse(LOOP)
    feed = {"x": np.ones((2, 3), np.float32), "n": np.array(3)}
    before = reference(ir.to_proto(model), feed)
    optimize(model)
    for got, expected in zip(reference(ir.to_proto(model), feed), before, strict=True):
        assert_close(got, expected, CLOSE)
    assert [node.op_type for node in model.graph.all_nodes()] == [
        "Loop",
        "Identity",
        "Add",
        "Add",
        "Add",
        "Mul",
    ]


def test_a_rule_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: ir.Model) -> int:
        raise KeyError("oops")

    monkeypatch.setitem(RULES, "fold_if", fail)
    with pytest.raises(IngotError) as caught:
        optimize(parse(LOOP))
    assert caught.value.code == "internal"
    assert "fold_if" in caught.value.cause
    assert "fold_if" in caught.value.remedy
