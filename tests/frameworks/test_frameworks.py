"""Models of other frameworks, built by them: what becomes of each computes what its framework computes.

`make test-frameworks` makes the interpreters.
"""

from __future__ import annotations

import inspect
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch_networks import networks

import ingot
from ingot.errors import IngotError
from ingot.testing import CLOSE, Array, Feed, assert_close, reference

pytestmark = pytest.mark.frameworks

HERE = Path(__file__).parent
Made = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A framework's name -> its interpreter and the folder of the networks that it made."""
    folders: dict[str, Path] = {}

    def make(name: str) -> tuple[Path, Path]:
        python = HERE.parents[1] / ".venv-frameworks" / name / "bin" / "python"
        if not python.exists():
            pytest.skip(f"there is no {python}; run `make test-frameworks`")
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            subprocess.run([python, HERE / f"make_{name}.py", folder], check=True, capture_output=True)
            folders[name] = folder
        return python, folders[name]

    return make


def arrays(path: Path) -> tuple[Feed, list[Array]]:
    """The inputs by name, and the outputs that the framework gave for them."""
    with np.load(path) as held:
        inputs = {key.removeprefix("in:"): held[key] for key in held if key.startswith("in:")}
        return inputs, [held[f"out:{place}"] for place in range(len(held) - len(inputs))]


def check(
    python: Path | None, model: Path | str, expected: Path, reduction: int, weights: Path | None = None
) -> None:
    """Convert a model, compile and run it, and compare. weights: of a model that is a factory's name."""
    inputs, outputs = arrays(expected)
    given = {} if weights is None else {"weights": weights, "inputs": inputs}
    converted = ingot.convert(model, python=python, **given).model
    names = [str(value.name) for value in converted.graph.inputs]
    feed = inputs if set(inputs) == set(names) else dict(zip(names, inputs.values(), strict=True))
    found = ingot.load(ingot.compile(converted)).run(None, feed)
    for one, other in zip(found, outputs, strict=True):
        assert_close(one, other, CLOSE, reduction=reduction, scale=1)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("cnn.keras", "cnn"),
        ("cnn.h5", "cnn"),
        ("cnn", "cnn"),
        ("cnn.pb", "cnn"),
        ("lstm.keras", "lstm"),
        ("lstm.h5", "lstm"),
        ("lstm", "lstm"),
        ("gru.keras", "gru"),
        ("attention.keras", "attention"),
        ("attention", "attention"),
        ("control", "control_then"),
        ("control", "control_else"),
    ],
)
def test_tensorflow(model: str, expected: str, made: Made) -> None:
    python, folder = made("tensorflow")
    check(python, folder / model, folder / f"{expected}.npz", reduction=300)


@pytest.mark.parametrize("name", ["attention", "cnn", "control", "lstm"])
def test_torch(name: str) -> None:
    net, feeds = networks()[name]
    net.eval()
    names = list(inspect.signature(net.forward).parameters)
    inputs = {key: value.numpy() for key, value in zip(names, feeds[0], strict=True)}
    session = ingot.load(ingot.compile(ingot.convert(net, inputs=inputs).model))
    for feed in feeds:
        with torch.no_grad():
            expected = net(*feed)
        found = session.run(None, {key: value.numpy() for key, value in zip(names, feed, strict=True)})
        for one, other in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
            assert_close(one, other.numpy(), CLOSE, reduction=300, scale=1)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("cnn.json", "cnn"),
        ("old/cnn.pdmodel", "old/cnn"),
        ("lstm.json", "lstm"),
        ("attention.json", "attention"),
        ("control.json", "control_then"),
        ("control.json", "control_else"),
    ],
)
def test_paddle(model: str, expected: str, made: Made) -> None:
    python, folder = made("paddle")
    check(python, folder / model, folder / f"{expected}.npz", reduction=300)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Attention", "Attention"),
        ("Cnn", "Cnn"),
        ("Control", "Control"),
        ("Control", "Control_else"),
        ("Lstm", "Lstm"),
        ("Nested", "Nested"),
        ("open", "open"),
    ],
)
def test_mindir(model: str, expected: str, made: Made) -> None:
    """MindIR files need no MindSpore."""
    _, folder = made("mindspore")
    check(None, folder / f"{model}.mindir", folder / f"{expected}.npz", reduction=300)


def test_all_mindir_files(made: Made) -> None:
    """In ONNX Runtime. An underscore in the name is before the name of other inputs."""
    _, folder = made("mindspore")
    expected = sorted(folder.glob("*.npz"))
    assert len(expected) >= 26
    for file in expected:
        inputs, outputs = arrays(file)
        proto = ir.to_proto(ingot.convert(folder / f"{file.stem.split('_')[0]}.mindir").model)
        feed = dict(zip([port.name for port in proto.graph.input], inputs.values(), strict=True))
        for one, other in zip(reference(proto, feed), outputs, strict=True):
            assert one.dtype == other.dtype
            assert_close(one, other, CLOSE, reduction=300, scale=1)


@pytest.mark.parametrize("name", ["Cnn", "Lstm", "Attention"])
def test_mindspore(name: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    python, folder = made("mindspore")
    monkeypatch.chdir(HERE)
    spec, expected = f"mindspore_networks:{name}", folder / f"{name}.npz"
    check(python, spec, expected, reduction=300, weights=folder / f"{name}.ckpt")


@pytest.mark.parametrize(
    ("spec", "checkpoint", "shapes", "code"),
    [
        ("mindspore_networks:Nothing", "Cnn", {}, "model-not-found"),
        ("mindspore_networks:Cnn", "Lstm", {}, "weights-differ"),
        ("mindspore_networks:Cnn", "Cnn", {"x": (2, 3)}, "option-invalid"),
        ("mindspore_networks:Cnn", "Cnn", {"image": ("N", 3, 16, 16)}, "input-shape"),
        ("os:getcwd", "Cnn", {}, "option-invalid"),
    ],
)
def test_a_mindspore_network_that_does_not_fit(
    spec: str, checkpoint: str, shapes: dict[str, Any], code: str, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, folder = made("mindspore")
    monkeypatch.chdir(HERE)
    with pytest.raises(IngotError) as caught:
        ingot.convert(spec, weights=folder / f"{checkpoint}.ckpt", shapes=shapes, python=python)
    assert caught.value.code == code


def test_weights_of_paddle_that_lie_elsewhere(made: Made, tmp_path: Path) -> None:
    python, folder = made("paddle")
    weights = shutil.copy(folder / "cnn.pdiparams", tmp_path / "w")
    for model in ("cnn.json", "old/cnn.pdmodel"):
        alone = Path(shutil.copy(folder / model, tmp_path))
        with pytest.raises(IngotError) as caught:
            ingot.convert(alone, python=python)
        assert caught.value.code == "weights-missing"
        assert ingot.convert(alone, python=python, weights=weights).to_dict()["operators"]["Conv"] == 2


def test_weights_of_paddle_that_are_cut_short(made: Made, tmp_path: Path) -> None:
    python, folder = made("paddle")
    weights = (folder / "cnn.pdiparams").read_bytes()
    model = Path(shutil.copy(folder / "cnn.json", tmp_path))
    for length in (0, 3, 20, 50, len(weights) - 1):
        model.with_suffix(".pdiparams").write_bytes(weights[:length])
        with pytest.raises(IngotError) as caught:
            ingot.convert(model, python=python)
        assert caught.value.code == "model-invalid"


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_a_keras_file_runs_no_code(name: str, made: Made) -> None:
    python, folder = made("tensorflow")
    with pytest.raises(IngotError, match="Lambda") as caught:
        ingot.convert(folder / name, python=python)
    assert caught.value.code == "model-invalid"


def test_names_and_orders_are_the_models(made: Made) -> None:
    python, folder = made("tensorflow")
    graph = ingot.convert(folder / "attention.keras", python=python).model.graph
    assert [value.name for value in graph.inputs] == ["tokens", "gain"]
    assert [value.name for value in graph.outputs] == ["hidden", "alpha"]


@pytest.mark.parametrize(
    ("framework", "name"),
    [
        ("paddle", "cnn.json"),
        ("paddle", "old/cnn.pdmodel"),
        ("tensorflow", "cnn.keras"),
        ("tensorflow", "cnn.h5"),
        ("tensorflow", "cnn.pb"),
        ("tensorflow", "cnn/saved_model.pb"),
    ],
)
def test_damaged_files(framework: str, name: str, made: Made, tmp_path: Path) -> None:
    python, folder = made(framework)
    data = (folder / name).read_bytes()
    for place, damaged in enumerate([data[: len(data) // 2], data[:100] + bytes(200) + data[300:]]):
        path = tmp_path / str(place) / Path(name).name
        path.parent.mkdir()
        path.write_bytes(damaged)
        path.with_suffix(".pdiparams").write_bytes(b"")
        with pytest.raises(IngotError) as caught:
            ingot.convert(path, python=python)
        assert caught.value.code in ("model-invalid", "model-not-onnx", "unsupported", "framework-failed"), (
            caught.value
        )


def test_an_operator_without_onnx(made: Made) -> None:
    python, folder = made("tensorflow")
    with pytest.raises(IngotError, match="Betainc") as caught:
        ingot.convert(folder / "betainc", python=python)
    assert caught.value.code == "unsupported"
