"""Frameworks that convert their models themselves, each in a process of its own.

Importing TensorFlow, Paddle or MindSpore takes seconds and brings versions of packages that clash with ingot's, and a
damaged model can bring their C++ down. So `worker.py` is run by an interpreter that has the framework.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from ingot.errors import CODES, IngotError
from ingot.frontends import worker
from ingot.frontends.builder import OPSET

TIMEOUT = 3600.0
"""Most seconds that a conversion takes."""


class Framework(NamedTuple):
    """name: as people write it. remedy: what makes an interpreter able to convert its models."""

    name: str
    remedy: str


FRAMEWORKS: dict[str, Framework] = {
    "mindspore": Framework(
        "MindSpore",
        "install it with `pip install 'ingot[mindspore]'`, or name an interpreter that has it with --python",
    ),
    "paddle": Framework(
        "Paddle",
        "paddle2onnx needs an older onnx than ingot, so give it an environment of its own: `python -m venv paddle && "
        "paddle/bin/pip install 'paddlepaddle>=3.3,<3.4' 'paddle2onnx>=2.1,<2.2' packaging`; "
        "then add --python paddle/bin/python",
    ),
    "tensorflow": Framework(
        "TensorFlow",
        "install it with `pip install 'ingot[tensorflow]'`, or name an interpreter that has it with --python",
    ),
}
"""By the names of `worker.FRAMEWORKS`; `formats.Format.importer` gives those that read files."""


def convert_apart(
    name: str,
    model: Path | str,
    weights: Path | None,
    python: Path | None,
    inputs: Mapping[str, tuple[Sequence[int], str]] | None = None,
) -> onnx.ModelProto:
    """What a framework makes of a model; it is not checked.

    model: a file, or the name "module:factory" of what makes a network, whose inputs have these shapes and dtypes.
    python: an interpreter that has the framework, this one by default. Raises IngotError framework-missing,
    framework-failed, model-*, option-invalid, unsupported, weights-missing.
    """
    framework, where = FRAMEWORKS[name], str(model)
    with tempfile.TemporaryDirectory(prefix="ingot-") as folder:
        output = Path(folder) / "model.onnx"
        request = {
            "framework": name,
            "model": str(model.absolute()) if isinstance(model, Path) else model,
            "weights": None if weights is None else str(weights.absolute()),
            "inputs": dict(inputs or {}),
            "output": str(output),
            "opset": OPSET,
        }
        answer = _run(framework, request, python, where)
        if answer.get("code") == "framework-missing":
            there = "this interpreter" if python is None else str(python)
            raise IngotError(
                "framework-missing",
                f"{framework.name} converts it, which {there} cannot import: {answer['cause']}",
                where=where,
                remedy=framework.remedy,
            )
        if answer:
            raise IngotError(answer["code"], answer["cause"], where=where, remedy=answer["remedy"])
        try:
            proto: onnx.ModelProto = onnx.ModelProto.FromString(output.read_bytes())
        except (OSError, DecodeError) as error:
            raise _failed(framework, f"wrote no ONNX model: {error}", where) from None
        return proto


def _run(framework: Framework, request: dict[str, Any], python: Path | None, where: str) -> dict[str, str]:
    """The worker's answer: nothing, or an error."""
    command = [str(python or sys.executable), os.path.abspath(worker.__file__), json.dumps(request)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(framework, f"took more than {TIMEOUT:g} seconds", where) from None
    except (OSError, ValueError) as error:
        raise IngotError(
            "option-invalid",
            f"it cannot be run: {getattr(error, 'strerror', None) or error}",
            where=f"--python {command[0]}",
            remedy="give the path of a Python interpreter, such as venv/bin/python",
        ) from None
    lines = done.stdout.splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else None
    except ValueError:
        answer = None
    if done.returncode or not isinstance(answer, dict) or (answer and answer.get("code") not in CODES):
        raise _failed(framework, _ending(done), where)
    return {key: str(value) for key, value in answer.items()}


def _ending(done: subprocess.CompletedProcess[str]) -> str:
    """How a worker ended that gave no answer."""
    told = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
    last = told[-1][:300]
    if done.returncode < 0:
        code = -done.returncode
        name = signal.Signals(code).name if code in set(signal.Signals) else f"signal {code}"
        return f"crashed ({name}): {last}"
    return f"ended with {done.returncode} and no answer: {last}"


def _failed(framework: Framework, cause: str, where: str) -> IngotError:
    return IngotError(
        "framework-failed",
        f"the process in which {framework.name} converts it {cause}",
        where=where,
        remedy="copy or save the model again; convert it by hand with the framework's own exporter to see more",
    )
