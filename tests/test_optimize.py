"""`ingot.optimize` and `ingot optimize`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.graph import pipeline
from ingot.graph.pipeline import OPTIMIZE
from ingot.report import optimize as tool
from ingot.testing import CLOSE, assert_close, reference

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 4] y) <float[4] w = {1, 2, 3, 4}>
{ a = Identity(x) s = Sigmoid(a) b = Mul(a, s) c = Mul(b, w) y = Relu(c) }"""


def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(TEXT)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(model(), path)
    return path


def command(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["optimize", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_smaller_model_of_the_same_outputs(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    result = ingot.optimize(file, out)
    assert (result.operators_before, result.operators_after) == (5, 3)
    assert result.after == {"Mul": 1, "Relu": 1, "Swish": 1}
    assert (result.opset_before, result.opset_after) == (17, 24)
    assert result.file == out
    assert sum(one.seconds for one in result.passes) <= result.seconds
    onnx.checker.check_model(str(out), full_check=True)
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
    assert_close(reference(out, {"x": x})[0], reference(file, {"x": x})[0], CLOSE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "out.onnx"]
    assert json.loads(json.dumps(result.to_dict()))["operators_after"] == 3


def test_a_model_in_memory_stays_as_it_is() -> None:
    given = model()
    before = given.SerializeToString(deterministic=True)
    result = ingot.optimize(given)
    assert result.file is None
    assert given.SerializeToString(deterministic=True) == before
    loaded = ir.from_proto(given)
    assert ingot.optimize(loaded).operators_after == 3
    assert len(loaded.graph) == 5


def test_rules_can_be_left_out() -> None:
    result = ingot.optimize(model(), disable=("fuse_swish", "eliminate_identity"))
    assert result.operators_after == 5
    assert {one.name for one in result.passes} == OPTIMIZE.keys() - {"fuse_swish", "eliminate_identity"}
    with pytest.raises(IngotError) as caught:
        ingot.optimize(model(), disable=("fuse_everything",))
    assert caught.value.code == "rule-unknown"


def test_shapes() -> None:
    result = ingot.optimize(model(), shapes={"x": (2, 4)})
    assert [list(value.shape or ()) for value in result.model.graph.outputs] == [[2, 4]]


def test_verify(monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path) -> None:
    result = ingot.optimize(model(), verify=True, inputs={"x": np.ones((3, 4), np.float32)})
    assert [check.name for check in result.checks if check.name != "infer_shapes"] == [
        "eliminate_identity",
        "fuse_swish",
    ]

    def wrong(model: ir.Model) -> int:
        model.graph.node(-1).op_type = "Neg"
        return 1

    monkeypatch.setitem(pipeline.RULES, "merge_reshapes", wrong)
    out = tmp_path / "out.onnx"
    with pytest.raises(IngotError) as caught:
        ingot.optimize(file, out, verify=True)
    assert caught.value.code == "outputs-differ"
    assert "merge_reshapes" in caught.value.cause
    assert "--disable merge_reshapes" in caught.value.remedy
    assert not out.exists()
    code, _, error = command(file, "-o", out, "--verify")
    assert code == 1
    assert "merge_reshapes" in error
    assert command(file, "-o", out, "--verify", "--disable", "merge_reshapes")[0] == 0


def test_verify_needs_inputs_that_run() -> None:
    text = "g (float[A, B] x, float[C, B] z) => (float[D, B] y) { y = Add(x, z) }"
    given = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    with pytest.raises(IngotError) as caught:
        ingot.optimize(given, verify=True)
    assert caught.value.code == "shape-unknown"
    x, z = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(IngotError) as caught:
        ingot.optimize(given, verify=True, inputs={"x": x, "z": z})
    assert caught.value.code == "run-failed"
    assert ingot.optimize(given, verify=True, inputs={"x": x, "z": x}).operators_after == 1


@pytest.mark.parametrize("place", ["", "missing/out.onnx"])
def test_nothing_is_written_where_it_cannot_be(file: Path, tmp_path: Path, place: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.optimize(file, tmp_path / place)
    assert caught.value.code == "output-unwritable"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_weights_past_what_a_file_holds(monkeypatch: pytest.MonkeyPatch, file: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(tool, "MAX_FILE", 8)
    ingot.optimize(file, tmp_path / "out.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "out.onnx", "out.onnx.data"]
    x = np.ones((1, 4), np.float32)
    assert_close(reference(tmp_path / "out.onnx", {"x": x})[0], reference(file, {"x": x})[0], CLOSE)


def test_the_output_may_be_the_input(file: Path) -> None:
    assert ingot.optimize(file, file).operators_before == 5
    assert ingot.optimize(file).operators_before == 3


def test_command(file: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.onnx", tmp_path / "report.json"
    code, text, _ = command(file, "-o", out, "--json", report)
    assert code == 0
    assert "operators: 5 -> 3, operator set 17 -> 24" in text
    assert "fuse_swish" in text
    assert json.loads(report.read_text())["after"] == {"Mul": 1, "Relu": 1, "Swish": 1}
    code, text, _ = command(file, "-o", out, "--json", "-", "--verify")
    assert json.loads(text)["checks"] > 1


def test_for_a_runtime(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 4, 5, 5] x) => (float[N, 8, 5, 5] y)
        { c = Conv(x, k) s = Sigmoid(c) m = Mul(c, s) d = Conv(x, l) a = Add(d, m) y = Relu(a) }"""
    model = onnx.parser.parse_model(text)
    for seed, name in enumerate("kl"):
        weights = np.random.default_rng(seed).standard_normal((8, 4, 1, 1)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.save(model, tmp_path / "in.onnx")
    code, printed, _ = command(tmp_path / "in.onnx", "-o", out, "--for", "onnxruntime", "--verify")
    assert code == 0
    assert "com.microsoft::FusedConv" in printed
    result = ingot.optimize(tmp_path / "in.onnx", runtime="onnxruntime")
    assert {name for name in result.after if "::" in name} == {
        "com.microsoft::FusedConv",
        "com.microsoft::QuickGelu",
    }
    feed = {"x": np.random.default_rng(2).standard_normal((3, 4, 5, 5)).astype(np.float32)}
    assert_close(reference(out, feed)[0], reference(model, feed)[0], CLOSE, reduction=4)
    assert not [name for name in ingot.optimize(out).after if "::" in name]


def test_list(file: Path) -> None:
    code, text, _ = command("--list", "--json", "-", "--disable", "fuse_gelu")
    rules = {rule["name"]: rule for rule in json.loads(text)["rules"]}
    assert code == 0
    assert rules.keys() == pipeline.RULES.keys()
    assert all("->" in rule["what"] for rule in rules.values())
    assert not rules["fuse_gelu"]["optimize"]
    assert rules["eliminate_identity"]["optimize"]
    assert rules["eliminate_identity"]["compile"]
    assert rules["fuse_conv_activation"]["for"] == "onnxruntime"
    assert "fuse_swish" in command("--list")[1]


def test_explain(file: Path, tmp_path: Path) -> None:
    code, text, _ = command(file, "--explain", "fuse_swish")
    assert code == 0
    assert "fuse_swish: fired 1 times, declined 0 times" in text
    assert "fired 1 times" in command(file, "--explain", "replace_swish")[1]
    given = model()
    given.graph.output.append(onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, ["N", 4]))
    onnx.save(given, file)
    events = json.loads(command(file, "--explain", "fuse_swish", "--json", "-")[1])["events"]
    assert [event["reason"] for event in events] == ["a part of it is used elsewhere"]
    assert command(file, "--explain", "split_max_pool")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "no model"),
        (("MODEL",), "no output"),
        (("MODEL", "-o", "OUT", "--disable", "nothing"), "rule-unknown"),
        (("MODEL", "--explain", "nothing"), "rule-unknown"),
        (("MODEL", "-o", "out.onnx", "--for", "nothing"), "option-invalid"),
        (("MODEL", "-o", "OUT", "--input", "q=random"), "input-name"),
        (("missing.onnx", "-o", "OUT"), "model-not-found"),
    ],
)
def test_bad_use(file: Path, tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    given = [str({"MODEL": file, "OUT": tmp_path / "out.onnx"}.get(a, a)) for a in arguments]
    code, _, error = command(*given)
    assert code == 2
    assert word in error
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
