"""Frameworks in a process of their own: whatever becomes of the process, the user gets an IngotError."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path

import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.frontends import process, worker


def keras_file(folder: Path) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
    path = folder / "net.keras"
    path.write_bytes(data.getvalue())
    return path


def interpreter(folder: Path, *lines: str) -> Path:
    """An interpreter that runs lines of shell."""
    path = folder / "python"
    path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    path.chmod(0o755)
    return path


def bare(folder: Path) -> Path:
    """An interpreter without any package."""
    return interpreter(folder, f'exec {sys.executable} -I -S "$@"')


def fails(model: Path, python: Path | str | None) -> IngotError:
    with pytest.raises(IngotError) as caught:
        ingot.convert(model, python=python)
    assert caught.value.cause
    assert caught.value.remedy
    return caught.value


def test_every_framework_has_its_worker() -> None:
    assert process.FRAMEWORKS.keys() == worker.FRAMEWORKS.keys()


@pytest.mark.parametrize(
    ("name", "data", "install"),
    [
        ("net.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), "ingot[tensorflow]"),
        ("net.pb", b"\n\x05\n\x01x\x12\x00", "ingot[tensorflow]"),
        ("net.json", b'{"base_code":{"magic":"pir","version":4}}', "paddlepaddle"),
        ("net.pdmodel", b"\n\x05", "paddlepaddle"),
        ("net/saved_model.pb", b"\x08\x01\x12\x00", "ingot[tensorflow]"),
    ],
)
def test_a_missing_framework_is_named(name: str, data: bytes, install: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    for model in {path, path.parent if path.parent != tmp_path else path}:
        error = fails(model, bare(tmp_path))
        assert error.code == "framework-missing"
        assert install in str(error)
        assert "--python" in error.remedy


def test_paddle_is_installed_by_one_line() -> None:
    """The line of the error is that of the documentation, with the packages of `make test-frameworks`."""
    root = Path(__file__).parents[2]
    (line,) = re.findall(r"`(.+?)`", process.FRAMEWORKS["paddle"].remedy)
    assert line in (root / "docs/how-to/convert-a-model.md").read_text()
    packages = (root / "tests/frameworks/paddle.txt").read_text().split()
    assert [word.strip("'") for word in line.partition("install ")[2].split()] == packages


def test_a_checkpoint_of_mindspore_asks_for_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "net.ckpt"
    checkpoint.write_bytes(b"\n\x04\n\x02w\x12")
    with pytest.raises(IngotError) as caught:
        ingot.convert("nets:make", weights=checkpoint, shapes={"x": (1, 2)}, python=bare(tmp_path))
    assert caught.value.code == "framework-missing"
    assert "ingot[mindspore]" in caught.value.remedy


def test_the_command_names_the_interpreter(tmp_path: Path) -> None:
    arguments = ["convert", str(keras_file(tmp_path)), "--python", str(bare(tmp_path)), "-o", "x.onnx"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "framework-missing" in result.output


def test_no_interpreter_there(tmp_path: Path) -> None:
    for python in (tmp_path / "no" / "python", tmp_path, "a\0b"):
        error = fails(keras_file(tmp_path), python)
        assert error.code == "option-invalid"
        assert "--python" in error.where


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["echo this is bad >&2", "kill -SEGV $$"], r"crashed \(SIGSEGV\): this is bad"),
        (["echo no memory >&2", "exit 3"], "ended with 3 and no answer: no memory"),
        (["exit 0"], "no answer: it says nothing"),
        (["echo hello"], "no answer"),
        (["echo '[]'"], "no answer"),
        (["""echo '{"code": "nonsense"}'"""], "no answer"),
        (["echo '{}'"], "no ONNX model"),
        (["exec sleep 60"], "more than 0.5 seconds"),
    ],
)
def test_a_process_that_fails(
    lines: list[str], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TIMEOUT", 0.5 if "sleep" in lines[-1] else 60.0)
    error = fails(keras_file(tmp_path), interpreter(tmp_path, *lines))
    assert error.code == "framework-failed"
    assert re.search(word, error.cause), error.cause


def pretend(folder: Path, model: onnx.ModelProto) -> Path:
    """An interpreter in which TensorFlow makes `model` of everything."""
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    program = folder / "pretend.py"
    program.write_text(
        "import json, shutil, sys\n"
        f"shutil.copy({str(folder / 'model.onnx')!r}, json.loads(sys.argv[2])['output'])\n"
        "print('a line of the framework')\nprint('{}')\n"
    )
    return interpreter(folder, f'exec {sys.executable} {program} "$@"')


def test_what_comes_back_is_checked(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N] x) => (float[N] y) { y = Neg(x) }'
    )
    python = pretend(tmp_path, model)
    assert [node.op_type for node in ingot.convert(keras_file(tmp_path), python=python).model.graph] == [
        "Neg"
    ]
    model.graph.node[0].input[0] = "ghost"
    pretend(tmp_path, model)
    assert fails(keras_file(tmp_path), python).code == "model-invalid"


def test_the_worker_sees_no_module_of_ours(tmp_path: Path) -> None:
    """`import onnx` in the worker is never ingot.frontends.onnx, beside which it lies."""
    (tmp_path / "tensorflow.py").write_text("import onnx, sys\nraise ImportError(onnx.__file__)\n")
    python = interpreter(tmp_path, f'PYTHONPATH={tmp_path} exec {sys.executable} "$@"')
    error = fails(keras_file(tmp_path), python)
    assert error.code == "framework-missing"
    assert onnx.__file__ in error.cause
