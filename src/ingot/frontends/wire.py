"""Just enough of the protobuf wire format to read a file without copying its weights.

`strip_weights` is for ONNX; its field numbers are those of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.data_type 2,
float_data 4, raw_data 9, external_data 13, data_location 14; StringStringEntryProto.key 1, value 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx
import onnx_ir as ir

SELF = "\0weights of this file"
"""The external-data location of tensors whose bytes `strip_weights` left behind in the model file itself."""

_GRAPH, _INITIALIZER = 7, 5
_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 9, 13, 14
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_NOT_BYTES = (ir.DataType.UNDEFINED, ir.DataType.STRING)
_BYTE_SIZED = {dtype.value for dtype in ir.DataType if dtype not in _NOT_BYTES and dtype.bitwidth >= 8}


class TruncatedError(ValueError):
    """The buffer ends inside a field. have, need: bytes present and bytes the field asks for."""

    def __init__(self, have: int, need: int) -> None:
        self.have, self.need = have, need
        super().__init__(f"{have:,} bytes of at least {need:,}")


class MalformedError(ValueError):
    """The buffer is no protobuf message."""


class Field(NamedTuple):
    """One field of a message: bytes [start, end) with its tag, [body, end) without tag and length."""

    number: int
    wire: int
    start: int
    body: int
    end: int


def strip_weights(data: bytes, at_least: int = 1024) -> bytes:
    """The ModelProto of `data` in which the large initializers of the main graph are references into `data`.

    A tensor of `at_least` bytes gives up its raw_data (or packed float_data) and becomes external data with
    location `SELF` and the offset and length of its bytes in `data`.
    Raises TruncatedError when `data` ends inside a field of the model, MalformedError when it is no protobuf.
    """
    view = memoryview(data)
    pieces: list[bytes | memoryview] = []
    for field in fields(view, 0, len(view), outermost=True):
        if field.number == _GRAPH and field.wire == BYTES:
            graph = _strip_graph(view, field, at_least)
            pieces += [_tag(_GRAPH, BYTES), _varint(sum(map(len, graph))), *graph]
        else:
            pieces.append(view[field.start : field.end])
    return b"".join(pieces)


def _strip_graph(view: memoryview, graph: Field, at_least: int) -> list[bytes | memoryview]:
    pieces: list[bytes | memoryview] = []
    kept = graph.body
    for field in fields(view, graph.body, graph.end):
        if field.number != _INITIALIZER or field.wire != BYTES or field.end - field.body < at_least:
            continue
        tensor = _strip_tensor(view, field, at_least)
        if tensor is not None:
            pieces += [view[kept : field.start], _tag(_INITIALIZER, BYTES), _varint(len(tensor)), tensor]
            kept = field.end
    pieces.append(view[kept : graph.end])
    return pieces


def _strip_tensor(view: memoryview, tensor: Field, at_least: int) -> bytes | None:
    """The TensorProto without its bytes, or None when it has to stay as it is."""
    data_type = 0
    weights: list[Field] = []
    for field in fields(view, tensor.body, tensor.end):
        if field.number == _DATA_TYPE and field.wire == VARINT:
            data_type, _ = read_varint(view, field.body, field.end, outermost=False)
        elif field.number in (_RAW_DATA, _FLOAT_DATA):
            weights.append(field)
        elif field.number in (_DATA_LOCATION, _EXTERNAL_DATA):
            return None
    if len(weights) != 1 or data_type not in _BYTE_SIZED:
        return None
    (field,) = weights
    length = field.end - field.body
    if field.wire != BYTES or length < at_least:
        return None
    if field.number == _FLOAT_DATA and data_type != onnx.TensorProto.FLOAT:
        return None
    entries = {"location": SELF, "offset": str(field.body), "length": str(length)}
    external = [
        _message(_EXTERNAL_DATA, _message(1, k.encode()) + _message(2, v.encode()))
        for k, v in entries.items()
    ]
    location = _tag(_DATA_LOCATION, VARINT) + _varint(onnx.TensorProto.EXTERNAL)
    return b"".join([view[tensor.body : field.start], view[field.end : tensor.end], *external, location])


def fields(view: memoryview, start: int, end: int, *, outermost: bool = False) -> Iterator[Field]:
    """The fields of the message in bytes [start, end). outermost: whether the file ends there, and may be cut short."""
    at = start
    while at < end:
        tag, body = read_varint(view, at, end, outermost=outermost)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise MalformedError("a field has number 0")
        if wire == VARINT:
            _, stop = read_varint(view, body, end, outermost=outermost)
        elif wire == FIXED64:
            stop = body + 8
        elif wire == FIXED32:
            stop = body + 4
        elif wire == BYTES:
            length, body = read_varint(view, body, end, outermost=outermost)
            stop = body + length
        else:
            raise MalformedError(f"field {number} has wire type {wire}")
        if stop > end:
            raise (
                TruncatedError(end, stop)
                if outermost
                else MalformedError(f"field {number} leaves its message")
            )
        yield Field(number, wire, at, body, stop)
        at = stop


def read_varint(view: memoryview, at: int, end: int, *, outermost: bool) -> tuple[int, int]:
    """The varint at `at` and the position after it."""
    value = shift = 0
    while True:
        if at >= end:
            raise TruncatedError(end, end + 1) if outermost else MalformedError("a number leaves its message")
        byte = view[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift >= 70:
            raise MalformedError("a number has more than ten bytes")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


def _message(number: int, body: bytes) -> bytes:
    return _tag(number, BYTES) + _varint(len(body)) + body
