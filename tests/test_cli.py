"""The command line: what it prints, its JSON and its exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from typer.testing import CliRunner, Result

from ingot import debug
from ingot.cli import app
from ingot.errors import IngotError
from ingot.report import doctor

COMMANDS = ["compile", "run", "bench", "inspect", "check", "doctor", "targets"]
ROOT = Path(__file__).resolve().parents[1]


def ingot(*args: str | Path) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "160", "TERM": "dumb"})


def classifier(path: Path, batch: int | str = 1) -> Path:
    """[batch,3,8,8] -> means of the channels, as [batch,3] scores."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Add", ["flat", "bias"], ["scores"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3])],
        [helper.make_tensor("bias", TensorProto.FLOAT, [3], [0.0, 0.0, 0.25])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def perceptron(path: Path) -> Path:
    """[4,64] -> [4,64] through a hidden layer, which needs working memory."""
    weights = np.eye(64, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["hidden"]),
            helper.make_node("Relu", ["hidden"], ["active"]),
            helper.make_node("MatMul", ["active", "w2"], ["y"]),
        ],
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 64])],
        [onnx.numpy_helper.from_array(weights, name) for name in ("w1", "w2")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def unknown(path: Path) -> Path:
    """A model with an operator that nobody knows."""
    graph = helper.make_graph(
        [helper.make_node("Frobnicate", ["x"], ["y"], name="odd", domain="com.example")],
        "unknown",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


@pytest.fixture
def package(model: Path, tmp_path: Path) -> Path:
    result = ingot("compile", model, "-o", tmp_path / "net.ingot")
    assert result.exit_code == 0, result.output
    return tmp_path / "net.ingot"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """8x8 pixels of pure green."""
    path = tmp_path / "green.png"
    Image.new("RGB", (8, 8), (0, 255, 0)).save(path)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = ingot(command, "--help")
    assert result.exit_code == 0
    assert "--json" in result.output


def test_help_names_every_command_and_stays_light() -> None:
    """`ingot --help` must not wait for the compiler's libraries."""
    program = "import sys; sys.argv = ['ingot', '--help']\nimport atexit\n"
    program += (
        "atexit.register(lambda: print([m for m in ('onnx', 'onnx_ir', 'numpy') if m in sys.modules]))\n"
    )
    program += "import ingot.cli; ingot.cli.main()\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)
    assert done.stdout.rstrip().endswith("[]")


def test_version() -> None:
    assert ingot("--version").stdout == f"ingot {version('ingot')}\n"


def test_targets() -> None:
    rows = json.loads(ingot("targets", "--json").stdout)
    assert {row["name"] for row in rows} >= {"generic", "avx2", "avx512"}
    assert [row["native"] for row in rows].count(True) == 1
    assert all(row["runs_here"] for row in rows if row["native"])
    assert all(row["name"] in ingot("targets").output for row in rows)


def test_doctor_finds_this_machine_fit() -> None:
    result = ingot("doctor", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0
    assert report["ok"]
    topics = {line["topic"] for line in report["lines"]}
    assert topics >= {"python", "cpu", "target", "cores", "compiler", "build", "cache", "onnxruntime"}
    assert "compiled, linked and ran" in ingot("doctor").output


def test_doctor_fails_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    result = ingot("doctor", "--json")
    assert result.exit_code == 1
    (line,) = [line for line in json.loads(result.stdout)["lines"] if line["level"] == "fail"]
    assert line["topic"] == "compiler"
    assert line["remedy"]


def test_doctor_fails_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "file" / "cache"))
    result = ingot("doctor", "--json")
    assert result.exit_code == 1
    assert any(
        line["topic"] == "cache" and line["level"] == "fail" for line in json.loads(result.stdout)["lines"]
    )


def test_doctor_reports_a_look_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def _memory() -> list[doctor.Line]:
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "_memory", _memory)
    assert doctor.Line("warn", "memory", "cannot be looked at: no such thing") in doctor.examine().lines


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("frobnicate",),
        ("compile",),
        ("compile", "x.onnx", "--nonsense"),
        ("compile", "x.onnx", "--precision", "f8"),
        ("run", "x.onnx", "--threads", "0"),
    ],
)
def test_bad_use_is_2(args: tuple[str, ...]) -> None:
    assert ingot(*args).exit_code == 2


@pytest.mark.parametrize("command", ["compile", "run", "bench", "inspect", "check"])
def test_a_missing_model_is_2_and_says_why(command: str, tmp_path: Path) -> None:
    result = ingot(command, tmp_path / "no.onnx")
    assert result.exit_code == 2
    assert "[model-not-found]" in result.stderr
    assert "no.onnx" in result.stderr
    assert "remedy" in result.stderr


def test_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    result = ingot("inspect", tmp_path / "no.onnx", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "model-not-found"
    assert set(error) == {"code", "where", "cause", "remedy"}


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", interrupt)
    assert ingot("doctor").exit_code == 130


def test_inspect_a_model(model: Path) -> None:
    report = json.loads(ingot("inspect", model, "--json").stdout)
    assert report["kind"] == "model"
    assert report["inputs"] == [{"name": "x", "dtype": "float", "shape": [1, 3, 8, 8]}]
    assert report["operators"] == {"Add": 1, "Flatten": 1, "GlobalAveragePool": 1}
    assert report["parameters"] == 3
    assert report["parameter_bytes"] == 12
    assert report["opsets"] == {"": 17}
    assert "GlobalAveragePool" in ingot("inspect", model).output


def test_check_a_good_model(model: Path) -> None:
    result = ingot("check", model, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"ok": True, "nodes": 3, "gaps": []}
    assert "3 nodes" in ingot("check", model).output


def test_check_a_model_with_gaps(tmp_path: Path) -> None:
    path = unknown(tmp_path / "odd.onnx")
    result = ingot("check", path, "--json")
    assert result.exit_code == 1
    (gap,) = json.loads(result.stdout)["gaps"]
    assert gap["operator"] == "Frobnicate"
    assert gap["domain"] == "com.example"
    assert gap["node"]
    assert gap["reason"]
    assert gap["remedy"]
    table = ingot("check", path)
    assert table.exit_code == 1
    assert "com.example::Frobnicate" in table.output


def test_compile_prints_what_it_made(model: Path, tmp_path: Path) -> None:
    result = ingot("compile", model, "-o", tmp_path / "net.ingot")
    assert result.exit_code == 0, result.output
    for word in (
        "nodes",
        "kernels",
        "arena",
        "lower bound",
        "library",
        "weights",
        "precision",
        "f32",
        "compiled in",
    ):
        assert word in result.output
    assert (tmp_path / "net.ingot" / "manifest.json").is_file()


def test_compile_names_the_package_after_the_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = json.loads(ingot("compile", model, "--json").stdout)
    assert [Path(one["folder"]).name for one in report["packages"]] == ["net.ingot"]
    assert report["packages"][0]["precision"] == "f32"
    assert (tmp_path / "net.ingot").is_dir()


def test_compile_for_two_targets(model: Path, tmp_path: Path) -> None:
    result = ingot("compile", model, "-o", tmp_path / "net.ingot", "--target", "generic,avx2", "--json")
    assert result.exit_code == 0, result.output
    folders = [Path(one["folder"]) for one in json.loads(result.stdout)["packages"]]
    assert [folder.name for folder in folders] == ["net.generic.ingot", "net.avx2.ingot"]
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    assert [manifest["target"]["name"] for manifest in manifests] == ["generic", "avx2"]


@pytest.mark.parametrize(
    ("options", "code", "exit_code"),
    [
        (("--max-memory", "lots"), "option-invalid", 2),
        (("--target", "z80"), "target-unknown", 2),
        (("--target", "avx2,avx2"), "option-invalid", 2),
        (("--shape", "x"), "option-invalid", 2),
        (("--shape", "y:1x3x8x8"), "input-name", 2),
        (("--cc", "/nonexistent/cc"), "compiler-not-found", 2),
    ],
)
def test_compile_that_cannot_be(
    options: tuple[str, ...], code: str, exit_code: int, model: Path, tmp_path: Path
) -> None:
    result = ingot("compile", model, "-o", tmp_path / "out", "--json", *options)
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (exit_code, code)
    assert not (tmp_path / "out").exists()


def test_compile_within_a_budget_of_memory(tmp_path: Path) -> None:
    path = perceptron(tmp_path / "mlp.onnx")
    assert ingot("compile", path, "-o", tmp_path / "big", "--max-memory", "64K").exit_code == 0
    result = ingot("compile", path, "-o", tmp_path / "small", "--max-memory", "64", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (1, "memory-exceeded")
    assert not (tmp_path / "small").exists()


def test_compile_into_a_folder_that_cannot_be_written(model: Path) -> None:
    result = ingot("compile", model, "-o", "/proc/net.ingot", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "output-unwritable"


def test_compile_does_not_replace_a_folder_of_other_things(model: Path, tmp_path: Path) -> None:
    result = ingot("compile", model, "-o", tmp_path)
    assert result.exit_code == 2
    assert "[output-exists]" in result.stderr
    assert model.exists()


def test_run_a_package_on_a_picture(package: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("red\ngreen\nblue\n")
    result = ingot(
        "run", package, "--input", f"x={picture}", "--labels", tmp_path / "labels", "--top", "2", "--json"
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["outputs"]["scores"]["classes"]
    assert [one["label"] for one in row] == ["green", "blue"]
    assert row[0]["score"] == 1.0
    assert row[1]["score"] == 0.25


def test_run_a_model_and_write_its_outputs(model: Path, tmp_path: Path) -> None:
    array = np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8)
    np.save(tmp_path / "x.npy", array)
    result = ingot(
        "run", model, "--input", tmp_path / "x.npy", "--output-dir", tmp_path / "out", "--threads", "2"
    )
    assert result.exit_code == 0, result.output
    assert "probability" in result.output
    expected = array.mean((2, 3)) + np.array([0.0, 0.0, 0.25], np.float32)
    np.testing.assert_array_max_ulp(np.load(tmp_path / "out" / "scores.npy"), expected, 4)


def test_run_with_a_symbolic_batch(tmp_path: Path) -> None:
    path = classifier(tmp_path / "dynamic.onnx", batch="batch")
    result = ingot("run", path, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outputs"]["scores"]["shape"] == [1, 3]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--input", "y=random"), "input-name"),
        (("--input", "x=/nonexistent.png"), "input-unreadable"),
        (("--preprocess", "nonsense", "--input", "x=PICTURE"), "option-invalid"),
        (("--labels", "/nonexistent"), "input-unreadable"),
    ],
)
def test_run_with_bad_options(options: tuple[str, ...], code: str, package: Path, picture: Path) -> None:
    result = ingot("run", package, "--json", *(option.replace("PICTURE", str(picture)) for option in options))
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, code)


def test_inspect_a_package(package: Path) -> None:
    report = json.loads(ingot("inspect", package, "--json").stdout)
    assert report["kind"] == "package"
    assert report["damaged"] == []
    assert report["sizes"]["libnet.so"] == (package / "libnet.so").stat().st_size
    output = ingot("inspect", package).output
    assert "libnet.so" in output
    assert "1x3x8x8" in output


def test_bench_compares_with_onnxruntime(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    result = ingot("bench", model, "--runs", "20", "--json", file)
    assert result.exit_code == 0, result.output
    assert "onnxruntime" in result.output
    report = json.loads(file.read_text())
    assert report["ingot"]["runs"] >= 20
    assert report["ingot"]["p10"] <= report["ingot"]["median"] <= report["ingot"]["p90"]
    assert report["peers"]["onnxruntime"]["ratio"] > 0
    assert report["peers"]["onnxruntime"]["difference"] < 1e-5
    assert report["peak_gflops"] > 0


def test_bench_a_package_beside_its_model(package: Path, model: Path) -> None:
    alone = json.loads(ingot("bench", package, "--runs", "5", "--json", "-").stdout)
    assert alone["peers"] == {}
    beside = json.loads(ingot("bench", package, "--model", model, "--runs", "5", "--json", "-").stdout)
    assert list(beside["peers"]) == ["onnxruntime"]


def test_bench_finds_different_outputs(package: Path, tmp_path: Path) -> None:
    other = onnx.load(classifier(tmp_path / "other.onnx"))
    other.graph.initializer[0].CopyFrom(helper.make_tensor("bias", TensorProto.FLOAT, [3], [0.0, 9.0, 0.0]))
    onnx.save(other, tmp_path / "other.onnx")
    result = ingot("bench", package, "--model", tmp_path / "other.onnx", "--json", "-")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (1, "outputs-differ")


@pytest.mark.parametrize("options", [("--against", "abacus"), ("--against", "onnxruntime,abacus")])
def test_bench_against_what_is_not_there(options: tuple[str, ...], model: Path) -> None:
    result = ingot("bench", model, *options)
    assert result.exit_code == 2
    assert "[peer-missing]" in result.stderr


def test_every_environment_variable_is_in_the_table() -> None:
    known = {variable.name for variable in debug.VARIABLES}
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "bench").rglob("*.py"), ROOT / "tests" / "conftest.py"]
    names = {
        n
        for file in files
        if file.exists()
        for n in re.findall(r"environ\W+(?:get\W+)?(INGOT_\w+)", file.read_text())
    }
    assert "INGOT_CACHE" in names
    assert names <= known


@pytest.mark.parametrize(("text", "level"), [("", 0), ("0", 0), ("3", 3), ("99", 5), ("-1", 0), ("loud", 0)])
def test_the_debug_level_is_a_number(text: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INGOT_DEBUG", text)
    assert debug.level() == level


@pytest.mark.parametrize(
    "program", [[str(Path(sys.executable).parent / "ingot")], [sys.executable, "-m", "ingot"]]
)
def test_errors_of_the_entry_point_are_exit_codes(program: list[str]) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}

    def run(*args: str) -> subprocess.CompletedProcess[Any]:
        return subprocess.run([*program, *args], capture_output=True, text=True, env=environment)

    assert run("targets").returncode == 0
    bad = run("inspect", "/nonexistent.onnx")
    assert bad.returncode == 2
    assert bad.stdout == ""
    assert "model-not-found" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_an_error_names_a_known_code() -> None:
    with pytest.raises(AssertionError):
        IngotError("no-such-code", "cause")
