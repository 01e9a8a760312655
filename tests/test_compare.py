"""`ingot compare` finds what somebody broke: a kernel, a fusion, a graph rule, a precision."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from small import normal, parse
from typer.testing import CliRunner

import ingot
import ingot.compiler
from ingot.cli import app
from ingot.errors import IngotError
from ingot.graph import pipeline
from ingot.graph.part import before, part, uses
from ingot.ir.nodes import Acc, Const, Op
from ingot.ir.program import Dense, Program
from ingot.lower import elementwise
from ingot.report.inputs import read_arrays
from ingot.testing import CLOSE, Array, assert_close, reference

pytest.importorskip("onnxruntime")


def net() -> onnx.ModelProto:
    text = """net (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y, float[N] z) {
        [first] a = Conv <pads = [1, 1, 1, 1]> (x, w0)
        [norm] b = BatchNormalization (a, scale, shift, mean, variance)
        [relu] c = Relu(b)
        [second] d = Conv <pads = [1, 1, 1, 1]> (c, w1)
        [tanh] e = Tanh(d)
        [skip] y = Add(e, c)
        [mean] z = ReduceMean <keepdims = 0> (y, axes)
    }"""
    weights = {
        "w0": normal(4, 3, 3, 3),
        "w1": normal(4, 4, 3, 3),
        "scale": normal(4),
        "shift": normal(4, seed=1),
    }
    weights |= {"mean": normal(4, seed=2), "variance": np.abs(normal(4, seed=3)) + 0.5}
    return parse(text, weights | {"axes": np.array([1, 2, 3])})


def replay(folder: Path) -> tuple[onnx.ModelProto, dict[str, Array], Array]:
    """A reproducer: its model, inputs and right output."""
    model = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    arrays = [onnx.load_tensor(data / f"input_{i}.pb") for i in range(len(model.graph.input))]
    feed = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in arrays}
    return model, feed, onnx.numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb"))


def test_an_equal_model() -> None:
    result = ingot.compare(net(), {"x": normal(2, 3, 8, 8)})
    assert result.equal
    assert result.reference == "onnxruntime"
    assert [output.name for output in result.outputs] == ["y", "z"]
    assert all(output.relative < 1e-5 for output in result.outputs)
    assert result.suspects == ()
    assert result.departure is None


def test_a_broken_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    off = lambda x, node: Op("mul", (x, Const(0.99, "f32")), "f32")  # noqa: E731
    monkeypatch.setitem(elementwise.UNARY, "Tanh", off)
    result = ingot.compare(net(), reproducer=tmp_path / "small")
    assert not result.equal
    assert result.suspects == ()
    first = result.departure
    assert first is not None
    assert (first.node, first.operator, first.value, first.nodes) == ("tanh", "Tanh", "e", 1)
    model, feed, expected = replay(tmp_path / "small")
    assert [node.op_type for node in model.graph.node] == ["Tanh"]
    assert_close(reference(model, feed)[0], expected, CLOSE, scale=1.0)
    assert not np.allclose(ingot.load(ingot.compile(model)).run(None, feed)[0], expected)
    again = ingot.compare(
        tmp_path / "small" / "model.onnx", read_arrays(tmp_path / "small" / "test_data_set_0")
    )
    assert again.departure is not None
    assert again.departure.node == "tanh"
    with pytest.raises(IngotError) as caught:
        read_arrays(tmp_path)
    assert caught.value.code == "input-unreadable"


def test_a_broken_fusion_needs_more_than_one_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only a convolution that something was fused into is wrong, so no node alone is."""
    right: Callable[[Program], Program] = ingot.compiler.fuse

    def wrong(program: Program) -> Program:
        right(program)
        for operation in program.operations:
            if isinstance(operation, Dense) and not isinstance(operation.finish, Acc):
                operation.finish = Op("mul", (operation.finish, Const(1.5, "f32")), "f32")
        return program

    text = (
        "net (float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y) { a = Exp(x) b = Conv(a, w) [last] y = Relu(b) }"
    )
    monkeypatch.setattr(ingot.compiler, "fuse", wrong)
    result = ingot.compare(parse(text, {"w": normal(4, 3, 3, 3)}), reproducer=tmp_path)
    first = result.departure
    assert first is not None
    assert (first.node, first.nodes) == ("last", 2)
    assert [node.op_type for node in replay(tmp_path)[0].graph.node] == ["Conv", "Relu"]


def test_a_broken_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pipeline.RULES["fuse_conv_batch_norm"]

    def wrong(model: ir.Model) -> int:
        fired = right(model)
        if fired:
            weight = next(node for node in model.graph if node.op_type == "Conv").inputs[1]
            assert weight is not None
            assert weight.const_value is not None
            weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.1))
        return fired

    monkeypatch.setitem(pipeline.RULES, "fuse_conv_batch_norm", wrong)
    result = ingot.compare(net())
    assert not result.equal
    assert result.suspects == ("rule fuse_conv_batch_norm",)
    assert result.departure is not None
    assert result.departure.node in ("norm", "relu")


def test_a_value_that_is_infinite_on_one_side(monkeypatch: pytest.MonkeyPatch) -> None:
    off = lambda x, node: Op("mul", (x, Const(float("inf"), "f32")), "f32")  # noqa: E731
    monkeypatch.setitem(elementwise.UNARY, "Tanh", off)
    result = ingot.compare(net())
    assert [output.relative for output in result.outputs] == [np.inf, np.inf]


def test_an_error_in_small_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """net (float[N, 16] x) => (float[N, 8] c, float[N, 2, 4] y) {
        a = MatMul(x, w)
        b = Sub(a, shift)
        [small] c = Sigmoid(b)
        y = Reshape(c, shape)
    }"""
    model = parse(text, {"w": normal(16, 8), "shift": np.float32(25), "shape": np.array([-1, 2, 4])})
    feed = {"x": normal(9, 16)}
    assert ingot.compare(model, feed).equal
    right = elementwise.UNARY["Sigmoid"]
    off = lambda x, node: Op("mul", (right(x, node), Const(1.008, "f32")), "f32")  # noqa: E731
    monkeypatch.setitem(elementwise.UNARY, "Sigmoid", off)
    result = ingot.compare(model, feed)
    assert result.departure is not None
    assert result.departure.node == "small"


def test_a_model_that_makes_much_of_a_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "net (float[N, 300] x) => (float[N, 8] y) { a = MatMul(x, w)  b = Mul(a, c)  [sin] y = Sin(b) }"
    model = parse(text, {"w": normal(300, 8), "c": np.float32(1e4)})
    assert ingot.compare(model, {"x": normal(40, 300)}).equal
    right = elementwise.UNARY["Sin"]
    half = lambda x, node: Op("mul", (right(x, node), Const(0.5, "f32")), "f32")  # noqa: E731
    monkeypatch.setitem(elementwise.UNARY, "Sin", half)
    result = ingot.compare(model, {"x": normal(40, 300)})
    assert result.departure is not None
    assert result.departure.node == "sin"


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(net(), path)
    np.save(tmp_path / "x.npy", normal(2, 3, 8, 8))

    def run(*words: Any) -> Any:
        return CliRunner().invoke(app, ["compare", str(path), *map(str, words)], env={"COLUMNS": "200"})

    result = run("--input", tmp_path / "x.npy")
    assert result.exit_code == 0, result.output
    assert "equal" in result.stdout
    np.savez(tmp_path / "all.npz", x=normal(2, 3, 8, 8))
    assert run("--inputs", tmp_path / "all.npz").exit_code == 0
    assert run("--inputs", path).exit_code == 2
    np.savez(tmp_path / "other.npz", z=normal(2))
    assert run("--inputs", tmp_path / "other.npz").exit_code == 2
    report = json.loads(run("--json", "-").stdout)
    assert report["equal"]
    assert run("--input", "nothing=1").exit_code == 2
    monkeypatch.setitem(elementwise.UNARY, "Relu", lambda x, node: x)
    result = run("--json", tmp_path / "report.json", "--reproducer", tmp_path / "small")
    assert result.exit_code == 1, result.output
    assert "first departure: Relu relu" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["departure"]["node"] == "relu"
    assert (tmp_path / "small" / "model.onnx").exists()


def test_a_model_that_cannot_be_compiled_is_an_error() -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compare(parse("net (uint8[9] x) => (uint8[a, b, c] y) { y = ImageDecoder(x) }"))
    assert caught.value.code == "unsupported"


def test_parts_take_what_subgraphs_use_as_inputs() -> None:
    text = """net (float[2] x, bool c) => (float[2] y) {
        a = Exp(x)
        b = Neg(a)
        y = If (c) <then_branch = t () => (r) { r = Add(a, b) }, else_branch = e () => (s) { s = Mul(x, w) }>
    }"""
    model = parse(text, {"w": normal(2)})
    assert uses(model.graph.node[2]) == ["c", "a", "b", "x", "w"]
    assert before(model, [2]) == {0, 1, 2}
    assert before(model, [1], 1) == {0, 1}
    small = part(model, {2}, ["y"], {"a": normal(2), "b": normal(2)})
    onnx.checker.check_model(small)
    assert [value.name for value in small.graph.input] == ["c", "a", "b", "x"]
    assert [tensor.name for tensor in small.graph.initializer] == ["w"]
