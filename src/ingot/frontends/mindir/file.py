"""A MindIR file as plain objects, checked.

The field numbers are those of MindSpore's mind_ir.proto: ModelProto.producer_name 2, graph 7, functions 8, little_endian 10,
primitives 12; GraphProto.node 1, name 2, parameter 3, input 5, output 6; NodeProto.input 1, output 2, name 3,
op_type 4, attribute 5, domain 7; PrimitiveProto.name 1, op_type 2, attribute 3; ValueInfoProto.name 1, tensor 2;
AttributeProto.name 1, f 2, i 3, d 4, s 5, t 6, floats 8, doubles 9, ints 10, strings 11, tensors 12, type 16,
values 17; TensorProto.dims 1, data_type 2, float_data 3, int32_data 4, int64_data 6, name 7, raw_data 9, double_data 10,
uint64_data 11, external_data 12, ref_key 13, compression_type 16, quant_params 17; ExternalDataProto.location 1, offset 2,
length 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from ingot.errors import IngotError
from ingot.frontends import wire
from ingot.frontends.builder import Array
from ingot.frontends.check import MAX_ELEMENTS, external_path, read_bytes

DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    4: np.dtype(np.uint16),
    5: np.dtype(np.int16),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
    12: np.dtype(np.uint32),
    13: np.dtype(np.uint64),
    16: np.dtype(ml_dtypes.bfloat16),
    17: np.dtype(np.float64),
}
"""TensorProto.DataType."""

_FLOATS, _INTEGERS = (1, 10, 16), (2, 3, 4, 5, 6, 7, 12, 13)
_STRING, _BOOL, _DOUBLE = 8, 9, 11
_TENSORS, _SEQUENCES, _MONADS, _NONES = (17, 19), (20, 21), (23, 24), (25, 36)
_ELEMENTS = {3: "<f4", 10: "<f8"}
_MAX_DEPTH = 16
_AGAIN = "copy or export the file again"


@dataclass(frozen=True)
class State:
    """What orders reads and writes of parameters in MindSpore. Inference has no writes, so it carries nothing."""


@dataclass(frozen=True)
class Other:
    """A value of a kind that no network computes with. number: of AttributeProto.AttributeType."""

    number: int


@dataclass
class Tensor:
    """shape: -1 where a dimension is open. dtype: None for what is no number. data: of a parameter or constant."""

    name: str
    dtype: np.dtype[Any] | None
    shape: list[int]
    data: Array | None = None


@dataclass
class Node:
    """op: a primitive's name, or "" for a call of `callee`: a function of the file or a value. scope: where it stands."""

    op: str
    callee: str
    inputs: list[str]
    outputs: list[str]
    scope: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Graph:
    """A function. inputs: with None for a `State`. constants, parameters: by the names that nodes use."""

    name: str
    nodes: list[Node]
    inputs: list[tuple[str, Tensor | None]]
    outputs: list[str]
    parameters: dict[str, Tensor]
    constants: dict[str, Any]


@dataclass
class Network:
    """main: the graph that is run. functions: all graphs, by name."""

    main: Graph
    functions: dict[str, Graph]


def read_file(path: Path) -> Network:
    """Raises IngotError model-not-found, -truncated, -invalid, -too-large, external-data-*, unsupported."""
    data = read_bytes(path, "give the path of a .mindir file")
    try:
        return _File(memoryview(data), path).network()
    except wire.TruncatedError as error:
        raise IngotError(
            "model-truncated", f"the file is cut short: it has {error}", where=str(path), remedy=_AGAIN
        ) from None
    except (wire.MalformedError, ValueError, KeyError) as error:
        raise IngotError(
            "model-invalid", f"the file is no MindIR model: {error}", where=str(path), remedy=_AGAIN
        ) from None


class _Message:
    """The fields of one message by number, read where they lie."""

    def __init__(self, view: memoryview, start: int, end: int, *, outermost: bool = False) -> None:
        self.view = view
        self.fields: dict[int, list[wire.Field]] = {}
        for part in wire.fields(view, start, end, outermost=outermost):
            self.fields.setdefault(part.number, []).append(part)

    def parts(self, number: int) -> list[memoryview]:
        parts = self.fields.get(number, ())
        return [self.view[part.body : part.end] for part in parts if part.wire == wire.BYTES]

    def strings(self, number: int) -> list[str]:
        return [bytes(part).decode(errors="replace") for part in self.parts(number)]

    def string(self, number: int) -> str:
        return next(iter(self.strings(number)), "")

    def messages(self, number: int) -> Iterator[_Message]:
        for part in self.fields.get(number, ()):
            if part.wire == wire.BYTES:
                yield _Message(self.view, part.body, part.end)

    def ints(self, number: int) -> list[int]:
        """Signed, packed or not."""
        found = []
        for part in self.fields.get(number, ()):
            at = part.body
            while part.wire in (wire.VARINT, wire.BYTES) and at < part.end:
                value, at = wire.read_varint(self.view, at, part.end, outermost=False)
                value &= 2**64 - 1
                found.append(value - 2**64 if value >> 63 else value)
        return found

    def number(self, number: int, default: int = 0) -> int:
        return next(iter(self.ints(number)), default)

    def floats(self, number: int, kind: str) -> Array:
        """float or double, packed or not."""
        parts = [np.frombuffer(self.view[p.body : p.end], kind) for p in self.fields.get(number, ())]
        return np.concatenate(parts) if parts else np.zeros(0, kind)


class _File:
    def __init__(self, view: memoryview, path: Path) -> None:
        self.where = str(path)
        self.roots = tuple(dict.fromkeys((path.absolute().parent, path.resolve().parent)))
        self.model = _Message(view, 0, len(view), outermost=True)
        self.primitives: dict[str, tuple[str, dict[str, Any]]] = {}
        self.files: dict[str, Array] = {}

    def network(self) -> Network:
        if not self.model.parts(7):
            self.invalid("it has no graph")
        if not self.model.number(10, 1):
            raise IngotError(
                "unsupported",
                "its numbers are big-endian",
                where=self.where,
                remedy="export it on a little-endian machine",
            )
        for it in self.model.messages(12):
            self.primitives[it.string(1)] = it.string(2), self.attributes(it, 3)
        graphs = [self.graph(it) for it in (*self.model.messages(7), *self.model.messages(8))]
        return Network(graphs[0], {graph.name: graph for graph in graphs})

    def invalid(self, cause: str) -> NoReturn:
        raise IngotError("model-invalid", cause, where=self.where, remedy=_AGAIN)

    def graph(self, it: _Message) -> Graph:
        nodes, constants = [], {}
        for part in it.messages(1):
            outputs = part.strings(2)
            if part.string(4) == "Constant":
                values = self.attributes(part, 5)
                constants.update(dict.fromkeys(outputs, values.get("value", Other(0))))
            else:
                nodes.append(self.node(part, outputs))
        inputs = []
        for part in it.messages(5):
            tensor = next(part.messages(2), None)
            inputs.append((part.string(1), None if tensor is None else self.tensor(tensor, values=False)))
        parameters = {part.string(7): self.parameter(part) for part in it.messages(3)}
        outputs = [part.string(1) for part in it.messages(6)]
        return Graph(it.string(2), nodes, inputs, outputs, parameters, constants)

    def node(self, it: _Message, outputs: list[str]) -> Node:
        """An op_type of REF:: names a primitive of the file, a function, or a value that is one."""
        op, callee = it.string(4), ""
        attributes: dict[str, Any]
        if op.startswith("REF::"):
            callee = op.removeprefix("REF::")
            op, attributes = self.primitives.get(callee, ("", {}))
        else:
            attributes = self.attributes(it, 5)
        scope = it.string(7).removeprefix("Default/") or op
        return Node(op, callee, it.strings(1), outputs, scope, attributes)

    def attributes(self, it: _Message, number: int) -> dict[str, Any]:
        """The values of attributes by name; the shapes of results are left out."""
        found = {}
        for part in it.messages(number):
            name = part.string(1)
            if name != "shape":
                found[name] = self.value(part)
        return found

    def value(self, it: _Message, depth: int = 0) -> Any:
        """What an AttributeProto stands for: a number, text, an array, None, State, or a tuple of such."""
        kind = it.number(16)
        if depth > _MAX_DEPTH:
            self.invalid("a value is nested too deeply")
        if kind in _SEQUENCES:
            return tuple(self.value(part, depth + 1) for part in it.messages(17))
        if kind in _MONADS:
            return State()
        if kind in _NONES:
            return None
        if kind in _TENSORS:
            tensors = [*it.messages(12), *it.messages(6)]
            return self.tensor(tensors[0]).data if len(tensors) == 1 else Other(kind)
        if kind == _STRING:
            return next(iter([*it.strings(5), *it.strings(11)]), "")
        values: list[Any]
        if kind in _FLOATS:
            values = [*it.floats(2, "<f4").tolist(), *it.floats(8, "<f4").tolist()]
        elif kind == _DOUBLE:
            values = [*it.floats(4, "<f8").tolist(), *it.floats(9, "<f8").tolist()]
        elif kind in _INTEGERS or kind == _BOOL:
            values = [*it.ints(3), *it.ints(10)]
        else:
            return Other(kind)
        if kind == _BOOL:
            values = [bool(value) for value in values]
        return values[0] if len(values) == 1 else tuple(values)

    def parameter(self, it: _Message) -> Tensor:
        tensor = self.tensor(it)
        name = it.string(13) or tensor.name.rpartition(":")[2]
        return Tensor(name, tensor.dtype, tensor.shape, tensor.data)

    def tensor(self, it: _Message, *, values: bool = True) -> Tensor:
        """values: whether it holds its elements, and is not a type alone."""
        name, shape, dtype = it.string(7), it.ints(1), DTYPES.get(it.number(2))
        where = f"tensor {name}" if name else self.where
        if any(dim < (0 if values else -2) for dim in shape) or math.prod(map(abs, shape)) > MAX_ELEMENTS:
            raise IngotError(
                "model-too-large",
                f"it declares the shape {shape}",
                where=where,
                remedy="check the shapes in the file",
            )
        if not values:
            return Tensor(name, dtype, shape)
        if dtype is None or it.number(16) or it.parts(17):
            raise IngotError(
                "unsupported",
                "its elements are compressed, or no numbers",
                where=where,
                remedy="export the network in float32, without quantisation",
            )
        data = self.elements(it, dtype, where)
        if data.size != math.prod(shape):
            raise IngotError(
                "model-invalid",
                f"its shape {shape} has {math.prod(shape):,} elements and it holds {data.size:,}",
                where=where,
                remedy=_AGAIN,
            )
        return Tensor(name, dtype, shape, data.reshape(shape))

    def elements(self, it: _Message, dtype: np.dtype[Any], where: str) -> Array:
        """Flat, from raw bytes, from a file beside the model, or from numbers one by one."""
        external = next(it.messages(12), None)
        raw = next(iter(it.parts(9)), None)
        if external is not None:
            raw = self.external(external, where)
        if raw is not None:
            if len(raw) % dtype.itemsize:
                raise ValueError(f"{where} has {len(raw)} bytes")
            return np.frombuffer(raw, dtype)
        for number, kind in _ELEMENTS.items():
            if number in it.fields:
                return it.floats(number, kind).astype(dtype)
        return np.array([*it.ints(4), *it.ints(6), *it.ints(11)], np.int64).astype(dtype)

    def external(self, it: _Message, where: str) -> memoryview:
        """The bytes of a tensor in a file of the model's folder."""
        location, offset, length = it.string(1), it.number(2), it.number(3)
        if location not in self.files:
            file = external_path(location, self.roots, where)
            try:
                self.files[location] = np.memmap(file, np.uint8, "r")
            except (OSError, ValueError) as error:
                raise _missing(
                    f"its elements lie in {location!r}, which cannot be read: {error}", where
                ) from None
        data = self.files[location]
        if min(offset, length) < 0 or offset + length > data.size:
            raise _missing(
                f"bytes {offset:,} to {offset + length:,} of {location!r} are wanted, which has {data.size:,}",
                where,
            )
        return memoryview(data[offset : offset + length])  # type: ignore[arg-type]


def _missing(cause: str, where: str) -> IngotError:
    return IngotError(
        "external-data-missing",
        cause,
        where=where,
        remedy="put the files that were exported with the model beside it, unchanged",
    )
