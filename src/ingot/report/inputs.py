"""Make the arrays that a model is run with: from files, or random ones of the declared shapes and dtypes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from ingot.errors import IngotError
from ingot.runtime.ports import DTYPES

Array = NDArray[Any]
Shapes = Mapping[str, Sequence[int | str]]

_TYPES = {dtype.type_string: dtype for dtype in DTYPES.values()}
STRINGS = ("", "a", "word", "two words", "Straße")
"""What random strings are picked from."""


class Port(Protocol):
    """An input or output as sessions describe it. type: "tensor(float)" and the like."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str]: ...
    @property
    def type(self) -> str: ...


def parse_shapes(options: Iterable[str]) -> dict[str, tuple[int | str, ...]]:
    """`--shape` options as a table: "x:1x3x224x224", "x:1..8x3x224x224" for sizes of 1 to 8, or "x:batch,3,224,224" where
    a symbol's name may have an x in it.

    Raises IngotError option-invalid.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for option in options:
        name, colon, text = option.rpartition(":")
        words = [word.strip() for word in text.split("," if "," in text else "x")] if text else []
        if not colon or not name or not all(map(_is_dimension, words)):
            raise IngotError(
                "option-invalid",
                f"{option!r} is not a shape",
                where="--shape",
                remedy="write it as NAME:1x3x224x224, with commas where a symbol's name has an x in it",
            )
        shapes[name] = tuple(int(word) if word.isdecimal() else word for word in words)
    return shapes


def _is_dimension(word: str) -> bool:
    """Whether `word` is a size, a range of sizes, or the name of a symbol; no number that is not a size."""
    if re.fullmatch(r"\d+\.\.\d+", word):
        return True
    return word.isdecimal() or (word.isidentifier() and word.lower() not in ("nan", "inf", "infinity"))


def parse_inputs(options: Iterable[str], names: Sequence[str]) -> dict[str, str]:
    """`--input` options as a table from input name to file or "random"; a single input needs no name.

    Raises IngotError option-invalid and input-name.
    """
    given: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or (name not in names and Path(option).exists()):
            if len(names) != 1:
                raise IngotError(
                    "option-invalid",
                    f"{option!r} does not say which input it is for",
                    where="--input",
                    remedy=f"write NAME={option}; the inputs are: {', '.join(names)}",
                )
            name, value = names[0], option
        if name not in names:
            raise IngotError(
                "input-name",
                f"the model has no input {name!r}",
                where="--input",
                remedy=f"the inputs are: {', '.join(names)}",
            )
        given[name] = value
    return given


def read_arrays(path: str | Path, options: Iterable[str] = ()) -> dict[str, str | Array]:
    """The arrays by name of a .npz file, or of a folder of ONNX's backend tests (input_0.pb …), which `--input` options
    "name=file" add to. Raises IngotError input-unreadable."""
    if Path(path).is_dir():
        found = _read_data_set(Path(path))
        return found | _named(options)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = dict(file.items())
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise IngotError(
            "input-unreadable",
            f"the arrays cannot be read: {error}",
            where=str(path),
            remedy="write the file with numpy.savez(path, **arrays)",
        ) from error
    return found | _named(options)


def _named(options: Iterable[str]) -> dict[str, str | Array]:
    pairs = (option.partition("=") for option in options)
    return {name: value for name, _, value in pairs}


def _read_data_set(folder: Path) -> dict[str, str | Array]:
    """The inputs in a folder as a reproducer has it."""
    import onnx

    found: dict[str, str | Array] = {}
    for path in sorted(folder.glob("input_*.pb")):
        try:
            tensor = onnx.load_tensor(path)
            found[tensor.name] = onnx.numpy_helper.to_array(tensor)
        except Exception as error:
            raise IngotError(
                "input-unreadable",
                f"this is no tensor of ONNX: {error}",
                where=str(path),
                remedy="name a folder that `ingot compare --reproducer` wrote",
            ) from error
    if not found:
        raise IngotError(
            "input-unreadable",
            "the folder has no input_0.pb",
            where=str(folder),
            remedy="name the folder test_data_set_0 of a reproducer",
        )
    return found


def make_inputs(
    ports: Sequence[Port],
    given: Mapping[str, str | Array] | None = None,
    shapes: Shapes | None = None,
    preprocess: Any = None,
    seed: int = 0,
) -> dict[str, Array]:
    """An array for every input of a session.

    given: input name -> array, file (a picture or .npy), or "random", which is also what the others get: floats from the
    normal distribution, integers and booleans that are 0 or 1, strings some of a few. Symbolic dimensions take their value from the given arrays,
    then from `shapes`; one that only ever comes first in a shape counts as a batch and is 1. preprocess: for pictures, as
    `preprocess_of` takes it. Raises IngotError shape-unknown, input-unreadable and option-invalid.
    """
    given = given or {}
    arrays = {
        port.name: _load(port, value, preprocess)
        for port in ports
        if (value := given.get(port.name, "random")) is not None and not _is_random(value)
    }
    known = {name: array.shape for name, array in arrays.items()}
    symbols = bind_symbols(ports, {**(shapes or {}), **known})
    random = np.random.default_rng(seed)
    return {
        port.name: arrays[port.name]
        if port.name in arrays
        else _random(port, tuple(symbols[d] if isinstance(d, str) else d for d in port.shape), random)
        for port in ports
    }


def typical_shapes(
    ports: Sequence[Port], given: Mapping[str, Any], manifest: Mapping[str, Any]
) -> dict[str, list[int | str]]:
    """The shapes of the inputs that are not given, with symbols that these do not name at the manifest's typical values."""
    bound = {d for port in ports if port.name in given for d in port.shape}
    symbols = manifest["symbols"].items()
    typical = {name: symbol["typical"] for name, symbol in symbols if name not in bound}
    return {
        port.name: [typical.get(d, d) if isinstance(d, str) else d for d in port.shape]
        for port in ports
        if port.name not in given
    }


def bind_symbols(ports: Sequence[Port], shapes: Shapes) -> dict[str, int]:
    """A value for every symbol in the shapes of `ports`. Raises IngotError shape-unknown and option-invalid."""
    symbols: dict[str, int] = {}
    for port in ports:
        shape = shapes.get(port.name, ())
        if port.name in shapes and len(shape) != len(port.shape):
            raise IngotError(
                "input-rank",
                f"it has {len(port.shape)} dimensions, and {len(shape)} were given",
                where=port.name,
                remedy=f"its shape is {_show(port.shape)}",
            )
        for declared, value in zip(port.shape, shape, strict=False):
            if isinstance(declared, str) and isinstance(value, int):
                symbols.setdefault(declared, value)
    places = {(dim, axis) for port in ports for axis, dim in enumerate(port.shape) if isinstance(dim, str)}
    for symbol in sorted({dim for dim, _ in places if isinstance(dim, str)} - set(symbols)):
        if any(axis != 0 for dim, axis in places if dim == symbol):
            port = next(port for port in ports if symbol in port.shape)
            raise IngotError(
                "shape-unknown",
                f"dimension {symbol!r} of shape {_show(port.shape)} has no value",
                where=port.name,
                remedy=f"give one, such as --shape {port.name}:{','.join(_guess(d) for d in port.shape)}",
            )
        symbols[symbol] = 1
    return symbols


def dtype_of(port: Port) -> np.dtype[Any]:
    """The dtype of arrays for a port, of ml_dtypes where NumPy has none. Raises IngotError unsupported where neither has."""
    dtype = _TYPES.get(port.type)
    if dtype is None:
        remedy = "give it as an array, from Python"
        raise IngotError(
            "unsupported", f"no array can be made for {port.type}", where=port.name, remedy=remedy
        )
    return np.dtype(getattr(ml_dtypes, dtype.extension) if dtype.extension else dtype.numpy)


def _is_random(value: str | Array) -> bool:
    return isinstance(value, str) and value == "random"


def _load(port: Port, value: str | Array, preprocess: Any) -> Array:
    if not isinstance(value, str):
        return np.asarray(value)
    if not Path(value).is_file():
        raise IngotError(
            "input-unreadable",
            "there is no such file",
            where=value,
            remedy="give a picture, a .npy file, or the word random",
        )
    if value.endswith(".npy"):
        try:
            array: Array = np.load(value, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise IngotError(
                "input-unreadable",
                f"not a readable .npy file: {error}",
                where=value,
                remedy="write it with numpy.save",
            ) from error
        return array
    from ingot.report.pictures import for_input, load_picture, preprocess_of

    chosen = preprocess_of(preprocess)
    picture = load_picture(value, for_input(chosen, port.shape), port.shape)
    declared = port.shape
    if len(declared) == 3:
        picture = picture[0]
    return picture.astype(dtype_of(port), copy=False)


def _random(port: Port, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if port.type == "tensor(string)":
        return random.choice(np.array(STRINGS, object), shape)
    dtype = dtype_of(port)
    if dtype.kind == "b" or "int" in dtype.name:
        return random.integers(0, 2, shape).astype(dtype)
    values = random.standard_normal(shape, np.float32)
    return (np.abs(values) if dtype == ml_dtypes.float8_e8m0fnu else values).astype(dtype)


def _show(shape: Sequence[int | str]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _guess(dim: int | str) -> str:
    return str(dim) if isinstance(dim, int) else "128"
