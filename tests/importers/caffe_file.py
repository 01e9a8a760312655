"""Writes caffemodels, and says what a network of a prototxt computes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from ingot.frontends import load_model
from ingot.testing import Array, reference


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def caffemodel(weights: Mapping[str, Sequence[Array]], *, v1: bool = False) -> bytes:
    """A NetParameter with the blobs of each layer, in the V1 or the new form."""
    layers = []
    for name, blobs in weights.items():
        body = message(4 if v1 else 1, name.encode())
        for blob in blobs:
            if v1:
                sizes = [1] * (4 - blob.ndim) + list(blob.shape)
                data = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(sizes, 1))
                data += message(5, blob.astype("<f4").tobytes())
            else:
                shape = message(1, b"".join(varint(n) for n in blob.shape))
                data = message(7, shape) + b"".join(b"\x2d" + struct.pack("<f", v) for v in blob.ravel()[:2])
                data += message(5, blob.ravel()[2:].astype("<f4").tobytes())
            body += message(6 if v1 else 7, data)
        layers.append(message(2 if v1 else 100, body))
    return message(1, b"net") + b"".join(layers)


def write(
    folder: Path, text: str, weights: Mapping[str, Sequence[Array]] | None = None, *, v1: bool = False
) -> Path:
    """net.prototxt, with net.caffemodel beside it."""
    path = folder / "net.prototxt"
    path.write_text(text)
    if weights is not None:
        path.with_suffix(".caffemodel").write_bytes(caffemodel(weights, v1=v1))
    return path


def converted(path: Path) -> onnx.ModelProto:
    proto = ir.to_proto(load_model(path))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run(path: Path, *feeds: Array) -> dict[str, Array]:
    """What ONNX Runtime makes of a network, by the names of its outputs."""
    proto = converted(path)
    found = reference(proto, {port.name: feed for port, feed in zip(proto.graph.input, feeds, strict=True)})
    return {port.name: array for port, array in zip(proto.graph.output, found, strict=True)}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)
