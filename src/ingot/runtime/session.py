"""Run a compiled package from Python."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ingot.errors import IngotError
from ingot.runtime import library as c
from ingot.runtime.bindings import Binding, IoBinding
from ingot.runtime.library import address_of, from_buffer
from ingot.runtime.manifest import damaged, read_manifest
from ingot.runtime.modelmeta import ModelMeta, model_meta
from ingot.runtime.ports import DTYPES, Port
from ingot.runtime.strings import ELEMENT, packed, unpacked

WEIGHTS_HEADER = 4096


class HasFolder(Protocol):
    """A package in memory, which can say in which folder its files are."""

    def folder(self) -> Path: ...


def load(package: str | os.PathLike[str] | HasFolder, threads: int = 1) -> Session:
    """Loads a package. threads: the most that a run may use, 0 for all that the process may use.

    Raises IngotError package-not-found, package-format, package-damaged, target-mismatch, unsupported.
    """
    return Session(package, threads)


class _State:
    """A context with the shapes bound to it; used by one thread at a time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.context = ctypes.c_void_p()
        self.bounds: tuple[int, ...] | None = None
        self.ready = False
        self.inputs = (ctypes.c_void_p * inputs)()
        self.outputs = (ctypes.c_void_p * outputs)()
        self.input_table = address_of(self.inputs)
        self.output_table = address_of(self.outputs)
        self.expected: list[tuple[int, str, np.dtype[Any], tuple[int, ...], int]] = []
        self.made: list[tuple[int, tuple[int, ...], np.dtype[Any]]] = []


class Session:
    """A loaded model. Threads may share it: each run under way has a context of its own, kept for later runs.

    The working memory grows with the largest sizes met. Sessions of one package share the weights.
    """

    def __init__(self, package: str | os.PathLike[str] | HasFolder, threads: int = 1) -> None:
        if threads < 0:
            raise IngotError("option-invalid", f"threads is {threads}", remedy="give 0 or more")
        folder = Path(package) if isinstance(package, str | os.PathLike) else package.folder()
        manifest = read_manifest(folder)
        path = folder / f"lib{manifest['name']}.so"
        digest = _check_files(folder, manifest, path)
        self._where = str(folder)
        self._meta = model_meta(manifest)
        self._threads = threads
        self._inputs = _ports(manifest, "inputs", folder)
        self._outputs = _ports(manifest, "outputs", folder)
        self._library = c.open_library(path, manifest["name"], digest)
        self._model = ctypes.c_void_p()
        weights = folder / f"{manifest['name']}.weights"
        weights_path = os.fsencode(weights) if weights.exists() else None
        self._library.check(self._library.open(weights_path, ctypes.byref(self._model)), self._where)
        self._idle: list[_State] = []
        weakref.finalize(self, _release, self._library, self._model, self._idle)
        self._input_dims = self._check_ports(self._inputs, "input")
        self._check_ports(self._outputs, "output")
        count = self._library.symbol_count(self._model)
        self._symbols = tuple(self._library.symbol_name(self._model, i).decode() for i in range(count))
        named = {-1 - size for dims in self._input_dims for size in dims if size < 0}
        self._sizes_vary = len(named) < count
        self._growing = threading.Lock()
        self._bounds: tuple[int, ...] | None = None
        self._input_index = {port.name: i for i, port in enumerate(self._inputs)}
        self._output_index = {port.name: i for i, port in enumerate(self._outputs)}
        self._input_dtypes = [_raw_dtype(port) for port in self._inputs]
        self._output_dtypes = [_raw_dtype(port) for port in self._outputs]
        self._extended = {i: convert for i, port in enumerate(self._outputs) if (convert := _extension(port))}
        self._input_groups = _groups(manifest, "inputs", self._inputs, folder)
        self._output_groups = _groups(manifest, "outputs", self._outputs, folder)

    def get_inputs(self) -> list[Port]:
        return list(self._inputs)

    def get_outputs(self) -> list[Port]:
        return list(self._outputs)

    def get_modelmeta(self) -> ModelMeta:
        """What the model says of itself, as ONNX Runtime names it."""
        return self._meta

    def get_providers(self) -> list[str]:
        """What ONNX Runtime calls the processor that runs the model."""
        return ["CPUExecutionProvider"]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of the sizes that may differ from run to run."""
        return self._symbols

    @property
    def threads(self) -> int:
        """As given to `load`."""
        return self._threads

    def run(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        """One inference: the outputs named, or all in order where none is, as new arrays.

        feeds: an array for each input name, of exactly the input's dtype. An element type that NumPy lacks is passed as
        that of the package ml_dtypes, or as unsigned integers of its bits; an output of it is an array of ml_dtypes where
        that can be imported, else such integers. Strings are passed as `str` or as UTF-8 in `bytes`, and come as an array of
        objects, each a `str`. A sequence is a list of arrays, an optional without a value None.
        run_options: those of ONNX Runtime have no meaning here. Raises IngotError
        input-name, input-dtype, input-rank, input-shape, output-name, memory-exhausted, index-range, run-failed.
        """
        if self._input_groups is not None:
            feeds = self._spread(feeds)
        state = self._free_state()
        try:
            keep = self._match(state, feeds)
            if keep is None:
                keep = self._take(state, feeds)
            results = []
            table = state.outputs
            for i, shape, dtype in state.made:
                array = np.empty(shape, dtype)
                results.append(array)
                table[i] = address_of(from_buffer(array))
            status = self._library.run_fast(state.context, state.input_table, state.output_table)
            if status:
                self._library.check(status, self._where)
            if self._sizes_vary:
                results = [self._cut(state, i, array) for i, array in enumerate(results)]
            if self._extended:
                results = self._extend(results)
            del keep
        except MemoryError as error:
            cause = f"there is no memory for the arrays: {error}"
            raise self._input_error("memory-exhausted", cause, "use smaller inputs") from error
        finally:
            self._idle.append(state)
        if self._output_groups is not None:
            results = _gathered(results, self._output_groups)
        return self._select(results, output_names) if output_names else results

    def bind(
        self, feeds: Mapping[str, Any], outputs: Mapping[str, np.ndarray[Any, Any]] | None = None
    ) -> Binding:
        """A run of these arrays, to be repeated without the cost of passing them.

        outputs: arrays that the outputs named are written to. Raises as `run` does, and IngotError output-array.
        """
        return Binding(self, feeds if self._input_groups is None else self._spread(feeds), outputs or {})

    def io_binding(self) -> IoBinding:
        """An empty binding, with the calls of ONNX Runtime's that concern the processor."""
        return IoBinding(self)

    def run_with_iobinding(self, iobinding: IoBinding, run_options: Any = None) -> None:
        """One inference of what is bound. Raises as `bind` and `run` do."""
        iobinding._run()

    def _free_state(self) -> _State:
        """A context that no run uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return _State(len(self._inputs), len(self._outputs))

    def _match(self, state: _State, feeds: Mapping[str, Any]) -> list[Any] | None:
        """The arrays, if they are as those of the last run and can be read where they are; None otherwise."""
        arrays = []
        table = state.inputs
        if not state.ready or len(feeds) != len(table):
            return None
        try:
            for i, name, dtype, shape, misaligned in state.expected:
                array = feeds[name]
                if array.dtype is not dtype or array.shape != shape:
                    return None
                try:
                    address = address_of(from_buffer(array))
                except (BufferError, TypeError):
                    address = _read_only_address(array)
                if address & misaligned:
                    return None
                table[i] = address
                arrays.append(array)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return arrays

    def _take(self, state: _State, feeds: Mapping[str, Any]) -> list[np.ndarray[Any, Any]]:
        """Checks, copies where need be, and binds any inputs; the arrays that must live until the run is over."""
        arrays = self._check_inputs(feeds)
        shapes = [shape for _, _, _, shape, _ in state.expected]
        if not state.ready or [array.shape for array in arrays] != shapes:
            self._bind(state, arrays)
        for i, array in enumerate(arrays):
            state.inputs[i] = array.__array_interface__["data"][0]
        return arrays

    def _check_inputs(self, feeds: Mapping[str, Any]) -> list[np.ndarray[Any, Any]]:
        known = self._input_index
        if missing := [name for name in known if name not in feeds]:
            raise self._input_error("input-name", f"no array for input {missing[0]!r}")
        if unknown := [name for name in feeds if name not in known]:
            names = ", ".join(known) or "none"
            raise self._input_error(
                "input-name", f"there is no input {unknown[0]!r}", f"the inputs are: {names}"
            )
        return [
            self._check_dtype(port, dtype, np.asarray(feeds[port.name]))
            for port, dtype in zip(self._inputs, self._input_dtypes, strict=True)
        ]

    def _check_dtype(
        self, port: Port, dtype: np.dtype[Any], array: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """`array`, dense and aligned, if its dtype is the port's."""
        if dtype == ELEMENT:
            return self._check_strings(port, array)
        raw = _raw(port, dtype, array)
        if raw is None:
            cause = f"input {port.name!r} is {array.dtype} instead of {_wanted(port, dtype)}"
            extension = DTYPES[port.dtype].extension
            remedy = f"convert it with astype({f'ml_dtypes.{extension}' if extension else repr(dtype.name)})"
            raise self._input_error("input-dtype", cause, remedy)
        return np.require(raw, requirements=["C", "A"])

    def _check_strings(self, port: Port, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        try:
            return packed(array)
        except (TypeError, UnicodeError) as error:
            cause = f"input {port.name!r} is {array.dtype}, and not every element is a string: {error}"
            raise self._input_error("input-dtype", cause, "give str, or bytes of UTF-8") from error

    def _bind(self, state: _State, arrays: list[np.ndarray[Any, Any]]) -> None:
        sizes = self._symbol_sizes(arrays)
        total = sum(array.ndim for array in arrays)
        dims = (ctypes.c_int64 * total)(*(size for array in arrays for size in array.shape))
        bounds = state.bounds
        state.ready = False
        if bounds is None or any(size > bound for size, bound in zip(sizes, bounds, strict=True)):
            self._create(state, sizes)
        self._library.check(self._library.bind(state.context, dims), self._where)
        state.expected = [
            (i, port.name, dtype, array.shape, min(dtype.alignment, 16) - 1)
            for i, (port, dtype, array) in enumerate(
                zip(self._inputs, self._input_dtypes, arrays, strict=True)
            )
        ]
        state.made = [(i, self._bound_shape(state, i), dtype) for i, dtype in enumerate(self._output_dtypes)]
        state.ready = True

    def _symbol_sizes(self, arrays: list[np.ndarray[Any, Any]]) -> tuple[int, ...]:
        """The size of each symbol; 0 for those that no input names."""
        sizes: dict[int, tuple[int, str]] = {}
        for port, dims, array in zip(self._inputs, self._input_dims, arrays, strict=True):
            if array.ndim != len(dims):
                cause = f"input {port.name!r} has {array.ndim} dimensions instead of {len(dims)}"
                raise self._input_error("input-rank", cause, f"its shape is {_show(port.shape)}")
            for axis, (size, wanted) in enumerate(zip(array.shape, dims, strict=True)):
                if wanted < 0:
                    known, by = sizes.setdefault(-1 - wanted, (size, port.name))
                    if known != size:
                        cause = f"{self._symbols[-1 - wanted]!r} is {known} in input {by!r} and {size} in {port.name!r}"
                        raise self._input_error("input-shape", cause)
                elif size != wanted:
                    cause = f"input {port.name!r} has the shape {_show(array.shape)}; axis {axis} must be {wanted}"
                    raise self._input_error("input-shape", cause, f"its shape is {_show(port.shape)}")
        return tuple(sizes.get(k, (0, ""))[0] for k in range(len(self._symbols)))

    def _create(self, state: _State, sizes: tuple[int, ...]) -> None:
        """Gives `state` a new context with room for `sizes` and for the sizes of all runs before.

        A size that outgrows its bound again gets half as much room on top, so that a size growing step by step does not
        make a context at each step; where that is too much memory, it gets what it needs.
        """
        with self._growing:
            before = self._bounds
            exact = sizes if before is None else tuple(map(max, sizes, before))
            ample = exact
            if before is not None:
                pairs = zip(sizes, before, strict=True)
                ample = tuple(max(size, bound * 3 // 2) if size > bound else bound for size, bound in pairs)
            self._discard(state)
            made = ctypes.c_void_p()
            for bounds in (ample, exact, sizes):
                table = (ctypes.c_int64 * len(bounds))(*bounds)
                status = self._library.context_create(self._model, table, ctypes.byref(made))
                if status == c.OK:
                    break
            self._library.check(status, self._where)
            state.context, state.bounds = made, bounds
            self._bounds = bounds
        if self._threads != 1:
            self._library.check(self._library.context_set_threads(made, self._threads), self._where)

    def _discard(self, state: _State) -> None:
        self._library.check(self._library.context_destroy(state.context), self._where)
        state.context, state.bounds = ctypes.c_void_p(), None

    def _bound_shape(self, state: _State, index: int) -> tuple[int, ...]:
        info = c.TensorInfo(struct_size=ctypes.sizeof(c.TensorInfo))
        status = self._library.bound_output_info(state.context, index, ctypes.byref(info))
        self._library.check(status, self._where)
        return tuple(info.dims[: info.rank])

    def _cut(self, state: _State, index: int, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The part of an output that the last run filled."""
        shape = self._bound_shape(state, index)
        return array if shape == array.shape else array.reshape(-1)[: _elements(shape)].reshape(shape).copy()

    def _extend(self, results: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """The results as arrays of their own dtypes, where ml_dtypes has these, and of strings."""
        own = self._extended
        return [own[i](array) if i in own else array for i, array in enumerate(results)]

    def _spread(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The feeds of the library's inputs: sequences become their elements, absent optionals go."""
        groups = self._input_groups or []
        if unknown := feeds.keys() - {name for name, _, _ in groups}:
            known = ", ".join(name for name, _, _ in groups) or "none"
            cause = f"there is no input {min(unknown)!r}"
            raise self._input_error("input-name", cause, f"the inputs are: {known}")
        ports = iter(self._inputs)
        spread: dict[str, Any] = {}
        for name, kind, count in groups:
            value, names = feeds.get(name), [next(ports).name for _ in range(count)]
            if kind == "absent":
                if value is not None:
                    raise self._input_error(
                        "input-shape", f"the optional {name!r} was compiled without a value"
                    )
                continue
            if kind == "sequence" and (not isinstance(value, list | tuple) or len(value) != count):
                given = f"{len(value)} elements" if isinstance(value, list | tuple) else "no list"
                cause = f"the sequence {name!r} was compiled for {count} elements and is {given}"
                raise self._input_error(
                    "input-shape", cause, "give a list of as many arrays, or compile it again"
                )
            if value is not None:
                spread |= dict(zip(names, value if kind == "sequence" else [value], strict=True))
        return spread

    def _select(self, results: list[Any], names: Sequence[str]) -> list[Any]:
        index = self._output_index
        if self._output_groups is not None:
            index = {name: i for i, (name, _, _) in enumerate(self._output_groups)}
        self._check_output_names(names, index)
        return [results[index[name]] for name in names]

    def _check_output_names(self, names: Iterable[str], index: Collection[str]) -> None:
        if unknown := [name for name in names if name not in index]:
            raise IngotError(
                "output-name",
                f"there is no output {unknown[0]!r}",
                where=self._where,
                remedy=f"the outputs are: {', '.join(index)}",
            )

    def _check_output(
        self, port: Port, array: np.ndarray[Any, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> np.ndarray[Any, Any]:
        """`array`, if the output can be written to it."""
        cause = ""
        raw = _raw(port, dtype, array) if isinstance(array, np.ndarray) else None
        if raw is None:
            given = getattr(array, "dtype", type(array).__name__)
            cause = f"is {given} instead of {_wanted(port, dtype)}"
        elif array.shape != shape:
            cause = f"has the shape {_show(array.shape)} instead of {_show(shape)}"
        elif not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
            cause = "is not dense, aligned and writable"
        if cause:
            remedy = f"give np.empty({shape}, {dtype.name!r})"
            raise IngotError(
                "output-array", f"output {port.name!r} {cause}", where=self._where, remedy=remedy
            )
        assert raw is not None
        return raw

    def _check_ports(self, ports: list[Port], kind: str) -> list[tuple[int, ...]]:
        """The dimensions of the library's inputs or outputs, which must be the manifest's."""
        count = getattr(self._library, f"{kind}_count")(self._model)
        ask = getattr(self._library, f"{kind}_info")
        dims = []
        for i in range(count):
            info = c.TensorInfo(struct_size=ctypes.sizeof(c.TensorInfo))
            self._library.check(ask(self._model, i, ctypes.byref(info)), self._where)
            dims.append(tuple(info.dims[: info.rank]))
            port = ports[i] if count == len(ports) else None
            if not port or DTYPES[port.dtype].number != info.dtype or len(port.shape) != info.rank:
                raise damaged(self._where, f"the manifest and the library disagree on {kind} {i}")
        return dims

    def _input_error(self, code: str, cause: str, remedy: str = "") -> IngotError:
        return IngotError(code, cause, where=self._where, remedy=remedy)


def _release(library: c.Library, model: ctypes.c_void_p, idle: list[_State]) -> None:
    for state in idle:
        library.context_destroy(state.context)
    library.close(model)


def _read_only_address(array: Any) -> int:
    """Where the data of a dense array is; ValueError for anything else."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        raise ValueError
    return int(array.__array_interface__["data"][0])


def _show(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _check_files(folder: Path, manifest: dict[str, Any], library: Path) -> str:
    """Checks the library's hash and the size of the weights; gives the hash."""
    files = manifest["files"]
    if library.name not in files:
        raise IngotError(
            "package-format",
            f"the package holds no {library.name}, so it cannot be run from here",
            where=str(folder),
            remedy="compile the model with --emit library",
        )
    try:
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
    except OSError as error:
        raise damaged(library, f"the library cannot be read: {error.strerror}") from error
    if digest != files[library.name]:
        raise damaged(library, "the library differs from the one that was compiled")
    weights = folder / f"{manifest['name']}.weights"
    if weights.name in files:
        memory = manifest.get("memory")
        wanted = memory.get("weights_bytes") if isinstance(memory, dict) else None
        size = weights.stat().st_size if weights.exists() else None
        if size is None or (isinstance(wanted, int) and size != wanted + WEIGHTS_HEADER):
            cause = "the weights are missing" if size is None else f"the weights have {size} bytes"
            raise damaged(weights, cause)
    return digest


def _groups(
    manifest: dict[str, Any], key: str, ports: list[Port], folder: Path
) -> list[tuple[str, str, int]] | None:
    """The model's own inputs or outputs as (name, kind, count of ports) where some is no tensor."""
    if "groups" not in manifest:
        return None
    try:
        groups = [(str(name), str(kind), int(count)) for name, kind, count in manifest["groups"][key]]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder, f"the manifest's groups make no sense: {error}") from error
    if sum(count for _, _, count in groups) != len(ports):
        raise damaged(folder, f"the manifest's groups are not of its {key}")
    return groups


def _gathered(results: list[Any], groups: list[tuple[str, str, int]]) -> list[Any]:
    """The model's own outputs: an array, a list of arrays, or None."""
    arrays = iter(results)
    gathered: list[Any] = []
    for _, kind, count in groups:
        elements = [next(arrays) for _ in range(count)]
        gathered.append(elements if kind == "sequence" else elements[0] if kind == "tensor" else None)
    return gathered


def _ports(manifest: dict[str, Any], key: str, folder: Path) -> list[Port]:
    try:
        return [
            Port(port["name"], DTYPES[port["dtype"]].name, tuple(port["shape"])) for port in manifest[key]
        ]
    except (KeyError, TypeError) as error:
        raise damaged(folder, f"the manifest's {key} make no sense: {error}") from error


def _raw(port: Port, dtype: np.dtype[Any], array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """`array`, one of ml_dtypes as the integers of its bits; None where it is of another dtype than the port."""
    if array.dtype == dtype:
        return array
    return array.view(dtype) if array.dtype.name == DTYPES[port.dtype].extension else None


def _wanted(port: Port, dtype: np.dtype[Any]) -> str:
    extension = DTYPES[port.dtype].extension
    return f"{extension} of ml_dtypes or {dtype.name} of its bits" if extension else port.dtype


def _raw_dtype(port: Port) -> np.dtype[Any]:
    """Of the arrays that the library reads and writes."""
    return ELEMENT if port.dtype == "string" else np.dtype(DTYPES[port.dtype].numpy)


def _extension(port: Port) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None:
    """What makes an output of a type that NumPy lacks an array of its own dtype, if there is one."""
    if port.dtype == "string":
        return unpacked
    name = DTYPES[port.dtype].extension
    try:
        dtype = np.dtype(getattr(importlib.import_module("ml_dtypes"), name)) if name else None
    except (ImportError, AttributeError):
        return None
    return None if dtype is None else lambda array: array.view(dtype)
