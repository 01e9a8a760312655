"""Writes MindIR files."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from caffe_file import message, varint

from ingot.testing import Array

KINDS = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}
STATE = object()
"""The value that orders effects."""


@dataclass
class Node:
    """op: a primitive, or the name of a function or a value, called. inputs: names, or constants."""

    op: str
    inputs: Sequence[Any]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    calls: bool = False


@dataclass
class Graph:
    """inputs: name -> shape and dtype, or None for a state."""

    name: str
    inputs: Mapping[str, tuple[Sequence[int], str] | None]
    nodes: Sequence[Node]
    output: str
    parameters: Mapping[str, Array | bytes] = field(default_factory=dict)


def number(place: int, value: int) -> bytes:
    return varint(place << 3) + varint(value % 2**64)


def tensor(shape: Sequence[int], dtype: str, *extra: bytes) -> bytes:
    return b"".join(number(1, dim) for dim in shape) + number(2, KINDS[dtype]) + b"".join(extra)


def array(value: Array, name: str = "") -> bytes:
    return tensor(
        value.shape,
        value.dtype.name,
        message(7, name.encode()),
        message(9, np.ascontiguousarray(value).tobytes()),
    )


def external(value: Array, name: str, location: str, offset: int, length: int | None = None) -> bytes:
    """A tensor whose elements lie in another file."""
    size = value.nbytes if length is None else length
    where = message(1, location.encode()) + number(2, offset) + number(3, size)
    return tensor(value.shape, value.dtype.name, message(7, name.encode()), message(12, where))


def attribute(name: str, value: Any) -> bytes:
    """An AttributeProto."""
    body = message(1, name.encode())
    if value is STATE:
        return body + number(16, 23)
    if value is None:
        return body + number(16, 25)
    if isinstance(value, bool):
        return body + number(3, int(value)) + number(16, 9)
    if isinstance(value, int):
        return body + number(3, value) + number(16, 7)
    if isinstance(value, float):
        return body + varint(2 << 3 | 5) + struct.pack("<f", value) + number(16, 1)
    if isinstance(value, str):
        return body + message(5, value.encode()) + number(16, 8)
    if isinstance(value, tuple):
        return body + number(16, 20) + b"".join(message(17, attribute("", item)) for item in value)
    return body + message(12, array(value)) + number(16, 19)


def model(main: Graph, *functions: Graph) -> bytes:
    primitives: list[bytes] = []
    constants = 0

    def graph(it: Graph) -> bytes:
        nonlocal constants
        found = []
        for node in it.nodes:
            names = []
            for value in node.inputs:
                if not isinstance(value, str) or value.startswith("="):
                    constants += 1
                    names.append(f"constant_{constants}")
                    held = value[1:] if isinstance(value, str) else value
                    made = message(2, names[-1].encode()) + message(4, b"Constant")
                    found.append(message(1, made + message(5, attribute("value", held))))
                else:
                    names.append(value)
            target = node.op
            if not node.calls:
                target = f"{node.op}:{len(primitives)}"
                attributes = b"".join(message(3, attribute(*item)) for item in node.attributes.items())
                primitives.append(
                    message(12, message(1, target.encode()) + message(2, node.op.encode()) + attributes)
                )
            body = b"".join(message(1, name.encode()) for name in names)
            body += message(2, node.output.encode()) + message(4, f"REF::{target}".encode())
            found.append(message(1, body + message(7, f"Default/{node.output}".encode())))
        for name, port in it.inputs.items():
            kind = b"" if port is None else message(2, tensor(*port))
            found.append(message(5, message(1, name.encode()) + kind))
        for name, value in it.parameters.items():
            found.append(message(3, value if isinstance(value, bytes) else array(value, name)))
        return b"".join([message(2, it.name.encode()), *found, message(6, message(1, it.output.encode()))])

    graphs = [message(7 if place == 0 else 8, graph(it)) for place, it in enumerate((main, *functions))]
    head = message(1, b"1.1") + message(2, b"MindSpore") + number(10, 1)
    return head + b"".join(graphs) + b"".join(primitives)
