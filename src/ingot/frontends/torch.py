"""PyTorch networks -> ONNX: exported programs, modules, and factories with a checkpoint, through torch.onnx.

A file never runs code: checkpoints are loaded with weights_only, and an exported program is looked through before
PyTorch reads it, as PyTorch would resolve any attribute of torch in it and evaluate its expressions.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import logging
import math
import os
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from ingot.errors import IngotError
from ingot.frontends.check import MAX_ELEMENTS

Shapes = Mapping[str, Sequence[int | str]]

_AGAIN = "copy or download the file again, or save it again with the PyTorch that is installed here"
_TARGET = re.compile(
    r"torch\.ops\.(?:aten|prims?|higher_order|quantized_decomposed|torchvision)\.\w+(?:\.\w+)?"
    r"|_operator\.(?:add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem|index)"
    r"|math\.(?:ceil|floor|trunc|sqrt)|torch\.sym_\w+"
)
_EXPRESSION = re.compile(
    r"(?:\s|[-+*/%(),<>=&|~!]|\d+(?:\.\d+)?|\b(?:[a-z]{1,2}\d+|Max|Min|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Mod|True|False"
    r"|FloorDiv|ModularIndexing|Where|PythonMod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|PowByNatural|FloatPow|IntTrueDiv"
    r"|FloatTrueDiv|TruncToFloat|TruncToInt|ToFloat|Identity|ceiling|floor|oo|int_oo)\b"
    r"|Symbol\('[a-z]{1,2}\d+'(?:, (?:positive|nonnegative|integer|real)=True)*\))*"
)
_MAX_JSON = 1 << 28
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")
"""Where checkpoints of training scripts keep the weights."""


def read(path: Path, weights: Path | None = None) -> ir.Model:
    """A file of torch.export.save. Raises IngotError model-*, unsupported."""
    where = str(path)
    _check_program(path, where)
    with _quiet(), _weights_only():
        try:
            program = torch.export.load(path)
        except Exception as error:
            raise IngotError(
                "model-invalid",
                f"PyTorch cannot read the program: {_line(error)}",
                where=where,
                remedy=_AGAIN,
            ) from None
    return _export(program, where)


def read_module(module: torch.nn.Module, inputs: Mapping[str, Any], shapes: Shapes, where: str) -> ir.Model:
    """A module as it computes in evaluation, traced with example inputs.

    inputs: arrays or tensors by the names of forward's parameters. shapes: of inputs; those without an example are
    float32, and symbols are dimensions that may vary. Raises IngotError option-invalid, input-name, input-shape,
    unsupported.
    """
    names = _parameters(module, where)
    unknown = [name for name in (*inputs, *shapes) if name not in names]
    if unknown:
        raise IngotError(
            "input-name",
            f"forward has no parameter {unknown[0]!r}",
            where=where,
            remedy=f"its parameters are {', '.join(names)}",
        )
    examples = {
        name: _example(name, inputs.get(name), shapes.get(name))
        for name in names
        if name in inputs or name in shapes
    }
    missing = [name for name, required in names.items() if required and name not in examples]
    if missing or not examples:
        raise IngotError(
            "option-invalid",
            f"the shapes of its inputs are not known: {', '.join(missing or names)}",
            where=where,
            remedy=f"give them as {(missing or list(names))[0]}:1x3x224x224 with --shape, or examples with inputs=",
        )
    symbols = {
        dim: torch.export.Dim(dim) for shape in shapes.values() for dim in shape if isinstance(dim, str)
    }
    dynamic = {
        name: {axis: symbols[dim] for axis, dim in enumerate(shapes.get(name, ())) if isinstance(dim, str)}
        for name in examples
    }
    training = module.training
    module.eval()
    try:
        with _quiet():
            program = torch.export.export(module, (), examples, dynamic_shapes=dynamic if symbols else None)
    except Exception as error:
        raise IngotError(
            "unsupported",
            f"torch.export cannot trace the network: {_line(error)}",
            where=where,
            remedy="torch.export.export(module, ...) shows the whole reason; change the network's forward",
        ) from None
    finally:
        module.train(training)
    return _export(program, where)


def read_factory(spec: str, weights: Path | None, inputs: Mapping[str, Any], shapes: Shapes) -> ir.Model:
    """The module that `package.module:factory` makes, with a checkpoint's weights.

    The factory is called without arguments; it, and the module that holds it, are programs that run. Raises IngotError
    model-not-found, option-invalid, weights-*, and as `read_module` does.
    """
    name, _, attribute = spec.partition(":")
    with _here():
        try:
            factory: Any = importlib.import_module(name)
            for part in attribute.split("."):
                factory = getattr(factory, part)
        except (ImportError, AttributeError) as error:
            raise IngotError(
                "model-not-found",
                f"there is no such factory: {error}",
                where=spec,
                remedy="give MODULE:FACTORY as Python imports it",
            ) from None
    made = factory if isinstance(factory, torch.nn.Module) else factory()
    if not isinstance(made, torch.nn.Module):
        raise IngotError(
            "option-invalid",
            f"it made a {type(made).__name__}",
            where=spec,
            remedy="name a function that returns a torch.nn.Module",
        )
    if weights is not None:
        load_weights(made, weights)
    return read_module(made, inputs, shapes, spec)


def load_weights(module: torch.nn.Module, path: Path) -> None:
    """Load a checkpoint, of the legacy or the zip format, into a module; "module." before all keys is taken off.

    Raises IngotError weights-missing, weights-differ, and model-invalid for a file that holds more than weights.
    """
    where = str(path)
    try:
        with _quiet():
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise IngotError(
            "weights-missing",
            error.strerror or str(error),
            where=where,
            remedy="give the path of a checkpoint",
        ) from None
    except Exception as error:
        raise IngotError(
            "model-invalid",
            f"the checkpoint is damaged, or holds more than weights: {_line(error)}",
            where=where,
            remedy="save the state_dict alone with torch.save; ingot runs no code from a checkpoint",
        ) from None
    state = next(
        (loaded[k] for k in _NESTED if isinstance(loaded, dict) and isinstance(loaded.get(k), dict)), loaded
    )
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise IngotError(
            "model-invalid",
            "the checkpoint holds no table of weights",
            where=where,
            remedy="save the state_dict with torch.save",
        )
    if state and all(str(key).startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _differ("; ".join(str(error).splitlines()[1:4]).strip() or str(error), where) from None
    if result.missing_keys:
        raise _differ(f"it has no {', '.join(result.missing_keys[:5])}", where)
    if result.unexpected_keys:
        raise _differ(f"the network has no {', '.join(result.unexpected_keys[:5])}", where)


def _differ(cause: str, where: str) -> IngotError:
    return IngotError(
        "weights-differ", cause, where=where, remedy="give the checkpoint that belongs to the network"
    )


def _parameters(module: torch.nn.Module, where: str) -> dict[str, bool]:
    """The parameters of forward, and whether each is needed."""
    found = inspect.signature(module.forward).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found):
        found = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]  # type: ignore[assignment]
    return {p.name: p.default is p.empty for p in found}


def _example(name: str, value: Any, shape: Sequence[int | str] | None) -> torch.Tensor:
    """What the network is traced with; a symbol stands for 2, which nothing takes for a constant."""
    if value is not None:
        return value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    assert shape is not None
    sizes = [2 if isinstance(dim, str) else int(dim) for dim in shape]
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise IngotError(
            "input-shape",
            f"{tuple(shape)} is no shape",
            where=f"input {name}",
            remedy="give sizes such as 1x3x224x224",
        )
    return torch.zeros(sizes)


def _export(program: Any, where: str) -> ir.Model:
    try:
        with _quiet():
            exported = torch.onnx.export(program, dynamo=True, verbose=False)
    except Exception as error:
        raise IngotError(
            "unsupported",
            f"torch.onnx cannot convert it: {_line(error)}",
            where=where,
            remedy="torch.onnx.export(program, dynamo=True, report=True) lists what it cannot convert",
        ) from None
    assert exported is not None
    model = exported.model
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        value.const_value = ir.Tensor(array, dtype=value.const_value.dtype, name=value.name)
    model.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    return model


def _line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


# What a file may make PyTorch do


def _check_program(path: Path, where: str) -> None:
    """Raise IngotError unless every JSON of the archive names operators and expressions that compute only."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.filename.endswith(".json"):
                    continue
                if info.file_size > _MAX_JSON:
                    raise IngotError(
                        "model-too-large",
                        f"{info.filename} has {info.file_size:,} bytes",
                        where=where,
                        remedy=_AGAIN,
                    )
                for key, value in _strings(json.loads(archive.read(info))):
                    allowed = {"target": _TARGET, "expr_str": _EXPRESSION}.get(key)
                    if allowed is not None and not allowed.fullmatch(value):
                        raise IngotError(
                            "unsupported",
                            f"its {'operator' if key == 'target' else 'expression'} {value[:80]!r} is not one that computes on tensors",
                            where=where,
                            remedy="export the network with operators of PyTorch's own",
                        )
    except OSError as error:
        raise IngotError(
            "model-not-found",
            error.strerror or str(error),
            where=where,
            remedy="give the path of a .pt2 file",
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, RecursionError, EOFError, KeyError) as error:
        raise IngotError(
            "model-invalid", f"the archive is damaged: {_line(error)}", where=where, remedy=_AGAIN
        ) from None


def _strings(tree: Any) -> Iterator[tuple[str, str]]:
    """Every string in a JSON value, with the key that it stands under."""
    todo: list[tuple[str, Any]] = [("", tree)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            todo += value.items()
        elif isinstance(value, list):
            todo += [(key, item) for item in value]


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """While this lasts torch.load never unpickles anything but weights, whatever its caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _here() -> Iterator[None]:
    """Modules of the current folder can be imported."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path.remove(os.getcwd())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings and logs of PyTorch's exporter."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
