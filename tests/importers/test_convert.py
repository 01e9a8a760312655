"""`ingot convert`, and models of other formats in the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from caffe_file import caffemodel, normal, write
from typer.testing import CliRunner

import ingot
from ingot.cli import app
from ingot.errors import IngotError
from ingot.frontends import formats, importers
from ingot.testing import CLOSE, assert_close

NET = """
input: "x" input_shape { dim: 1 dim: 3 dim: 6 dim: 6 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "y" }
"""
WEIGHTS = {"c": [normal(4, 3, 3, 3), normal(4)]}


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


def test_the_command_writes_what_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, NET, WEIGHTS)
    code, text = invoke("convert", "net.prototxt", "--json")
    assert code == 0
    report = json.loads(text)
    assert report["file"] == "net.onnx"
    assert report["operators"] == {"Conv": 1, "Relu": 1}
    assert report["inputs"] == [{"name": "x", "dtype": "float", "shape": [1, 3, 6, 6]}]
    assert report["parameters"] == 112
    onnx.checker.check_model(onnx.load("net.onnx"), full_check=True)
    code, text = invoke("convert", "net.prototxt", "-o", "other.onnx", "--shape", "x:N,3,6,6")
    assert code == 0
    assert "float Nx3x6x6" in text
    assert "Conv 1, Relu 1" in text


def test_weights_are_named_or_stand_beside(tmp_path: Path) -> None:
    path = write(tmp_path, NET)
    assert invoke("convert", path, "-o", tmp_path / "net.onnx")[0] == 2
    weights = tmp_path / "else" / "where.caffemodel"
    weights.parent.mkdir()
    weights.write_bytes(caffemodel(WEIGHTS))
    assert invoke("convert", path, "-o", tmp_path / "net.onnx", "--weights", weights)[0] == 0
    (tmp_path / "epoch_9.caffemodel").write_bytes(caffemodel(WEIGHTS))
    assert ingot.convert(tmp_path / "epoch_9.caffemodel").model.graph.outputs[0].name == "y"


def test_every_command_takes_it(tmp_path: Path) -> None:
    path = write(tmp_path, NET, WEIGHTS)
    for command in (
        ["check"],
        ["inspect"],
        ["compile", "-o", tmp_path / "net.ingot"],
        ["run", "--input", "x=random"],
    ):
        code, text = invoke(command[0], path, *command[1:])
        assert code == 0, text
    x = normal(1, 3, 6, 6)
    (found,) = ingot.load(ingot.Package.open(tmp_path / "net.ingot")).run(None, {"x": x})
    (same,) = ingot.load(ingot.compile(ingot.convert(path).model)).run(None, {"x": x})
    assert_close(found, same, CLOSE, reduction=27)


def test_an_onnx_model_is_converted_to_itself(tmp_path: Path) -> None:
    first = ingot.convert(write(tmp_path, NET, WEIGHTS), tmp_path / "a.onnx")
    again = ingot.convert(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert first.to_dict() | {"file": None} == again.to_dict() | {"file": None}


def test_weights_beyond_a_protobuf_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingot.frontends.convert.MAX_PROTOBUF", 100)
    ingot.convert(write(tmp_path, NET, WEIGHTS), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.data").is_file()
    weights = ingot.convert(tmp_path / "a.onnx").model.graph.initializers["c/weights"].const_value
    assert weights is not None
    assert np.array_equal(weights.numpy(), WEIGHTS["c"][0])


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.convert(write(tmp_path, NET, WEIGHTS), tmp_path / "no" / "such" / "folder.onnx")
    assert caught.value.code == "output-unwritable"


def test_every_format_has_its_importer() -> None:
    named = {known.importer for known in vars(formats).values() if isinstance(known, formats.Format)}
    assert named == importers.IMPORTERS.keys() | importers.FRAMEWORKS.keys() - {"mindspore"}
    for name in importers.IMPORTERS:
        assert callable(importers.importer(name, "").read)
