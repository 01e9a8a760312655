"""The C interface of a compiled library, as Python calls it, and its status codes as `IngotError`s."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingot.errors import IngotError

MAX_RANK = 8

from_buffer: Callable[[Any], ctypes.Array[ctypes.c_char]] = (ctypes.c_char * 0).from_buffer
address_of = ctypes.addressof

OK, ARGUMENT, MEMORY, FILE, WEIGHTS, ABI, TARGET = 0, -1, -2, -3, -4, -5, -6
DTYPE, RANK, SHAPE, CAPACITY, BUSY, UNBOUND, OVERFLOW, INDEX = -7, -8, -9, -10, -11, -12, -13, -14

_CODES = {
    MEMORY: "memory-exhausted",
    FILE: "package-damaged",
    WEIGHTS: "package-damaged",
    ABI: "package-format",
    TARGET: "target-mismatch",
    DTYPE: "input-dtype",
    RANK: "input-rank",
    SHAPE: "input-shape",
    OVERFLOW: "memory-exhausted",
    INDEX: "index-range",
}
_REMEDIES = {
    "index-range": "check the inputs that it comes from",
    "memory-exhausted": "use smaller inputs or free memory",
    "package-damaged": "compile the model again",
    "package-format": "compile the model again with this version of ingot",
    "target-mismatch": "compile the model for a target of this machine, such as native",
}


class TensorInfo(ctypes.Structure):
    """`ingot_tensor_info` of ingot.h."""

    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("dtype", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        ("dims", ctypes.c_int64 * MAX_RANK),
    )


class Library:
    """A loaded shared library; each attribute but `open` is the C function `ingot_<attribute>`.

    It stays loaded until the process ends.
    """

    def __init__(self, path: Path, name: str, load_as: str) -> None:
        try:
            library = ctypes.CDLL(load_as, mode=os.RTLD_NOW | os.RTLD_LOCAL)
            pointer, number = ctypes.c_void_p, ctypes.c_int32
            self.open = _function(library, f"{name}_open", number, ctypes.c_char_p, pointer)
            self.close = _function(library, "ingot_close", number, pointer)
            self.input_count = _function(library, "ingot_input_count", number, pointer)
            self.output_count = _function(library, "ingot_output_count", number, pointer)
            self.input_info = _function(library, "ingot_input_info", number, pointer, number, pointer)
            self.output_info = _function(library, "ingot_output_info", number, pointer, number, pointer)
            self.symbol_count = _function(library, "ingot_symbol_count", number, pointer)
            self.symbol_name = _function(library, "ingot_symbol_name", ctypes.c_char_p, pointer, number)
            self.context_create = _function(
                library, "ingot_context_create", number, pointer, pointer, pointer
            )
            self.context_destroy = _function(library, "ingot_context_destroy", number, pointer)
            self.context_set_threads = _function(
                library, "ingot_context_set_threads", number, pointer, number
            )
            self.bind = _function(library, "ingot_bind", number, pointer, pointer)
            self.bound_output_info = _function(
                library, "ingot_bound_output_info", number, pointer, number, pointer
            )
            self.run_fast = _function(library, "ingot_run_fast", number, pointer, pointer, pointer)
            self.last_error = _function(library, "ingot_last_error", ctypes.c_char_p)
        except (OSError, AttributeError) as error:
            raise IngotError(
                "package-damaged",
                f"the library cannot be loaded: {error}",
                where=str(path),
                remedy="compile the model again on or for this machine",
            ) from error

    def check(self, status: int, where: str = "") -> None:
        """Raises the IngotError that a negative status of the call just made on this thread stands for."""
        if status < 0:
            code = _CODES.get(status, "run-failed")
            raise IngotError(
                code, self.last_error().decode(errors="replace"), where=where, remedy=_REMEDIES.get(code, "")
            )


_loaded: dict[str, tuple[str, Library]] = {}
_loading = threading.Lock()


def open_library(path: Path, name: str, digest: str) -> Library:
    """The library at `path`, whose content has the hash `digest`.

    The dynamic loader knows a library by its path: one that was replaced since it was first loaded from this path is
    loaded from a private copy in memory. Raises IngotError package-damaged.
    """
    key = str(path.absolute())
    with _loading:
        known = _loaded.get(key)
        if known and known[0] == digest:
            return known[1]
        library = Library(path, name, _private_copy(path) if known else key)
        _loaded[key] = digest, library
        return library


def _private_copy(path: Path) -> str:
    """A path under /proc of an open anonymous file with the content of `path`. It stays open, so no other gets its name."""
    descriptor = os.memfd_create(path.name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as copy:
        copy.write(path.read_bytes())
    return f"/proc/self/fd/{descriptor}"


def _function(library: ctypes.CDLL, name: str, result: type, *arguments: type) -> ctypes._NamedFuncPointer:
    function: ctypes._NamedFuncPointer = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function
