"""Writes TFLite models of a few operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite
from flatbuffers import flexbuffers

from ingot.testing import Array

TYPES = {
    "float32": tflite.TensorType.FLOAT32,
    "float16": tflite.TensorType.FLOAT16,
    "int8": tflite.TensorType.INT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "uint8": tflite.TensorType.UINT8,
    "bool": tflite.TensorType.BOOL,
}


@dataclass
class Tensor:
    """scale, zero: of a quantised tensor, one or one a channel of `axis`. signature: -1 where a dimension is open."""

    name: str
    shape: Sequence[int]
    dtype: str = "float32"
    data: Array | None = None
    scale: Sequence[float] = ()
    zero: Sequence[int] = (0,)
    axis: int = 0
    signature: Sequence[int] = ()
    variable: bool = False


@dataclass
class Operator:
    """kind: a built-in operator or a custom one. options: the table, and its fields."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] | None = None
    version: int = 1


def model(
    tensors: Sequence[Tensor], operators: Sequence[Operator], inputs: Sequence[str], outputs: Sequence[str]
) -> bytes:
    """The bytes of a model. An operator's input "" is left out."""
    b = flatbuffers.Builder(1024)
    places = {tensor.name: i for i, tensor in enumerate(tensors)} | {"": -1}
    buffers = [_table(b, "Buffer")]
    made = []
    for tensor in tensors:
        buffer = 0
        if tensor.data is not None:
            buffer = len(buffers)
            data = b.CreateNumpyVector(np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8))
            buffers.append(_table(b, "Buffer", Data=data))
        fields: dict[str, Any] = {
            "Name": b.CreateString(tensor.name),
            "Shape": _ints(b, tensor.shape, np.int32),
        }
        if tensor.signature:
            fields["ShapeSignature"] = _ints(b, tensor.signature, np.int32)
        if tensor.scale:
            scale, zero = _ints(b, tensor.scale, np.float32), _ints(b, tensor.zero, np.int64)
            fields["Quantization"] = _table(
                b, "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=tensor.axis
            )
        made.append(
            _table(b, "Tensor", Type=TYPES[tensor.dtype], Buffer=buffer, IsVariable=tensor.variable, **fields)
        )
    kinds = list(dict.fromkeys((op.kind, op.version) for op in operators))
    codes = [_code(b, kind, version) for kind, version in kinds]
    steps = [_operator(b, op, places, kinds.index((op.kind, op.version))) for op in operators]
    graph = _table(
        b, "SubGraph", Tensors=_offsets(b, made), Operators=_offsets(b, steps),
        Inputs=_ints(b, [places[n] for n in inputs], np.int32), Outputs=_ints(b, [places[n] for n in outputs], np.int32),
    )  # fmt: skip
    root = _table(
        b,
        "Model",
        Version=3,
        OperatorCodes=_offsets(b, codes),
        Subgraphs=_offsets(b, [graph]),
        Buffers=_offsets(b, buffers),
    )
    b.Finish(root, b"TFL3")
    return bytes(b.Output())


def _code(b: flatbuffers.Builder, kind: str, version: int) -> int:
    number = getattr(tflite.BuiltinOperator, kind, None)
    if number is None:
        name = b.CreateString(kind)
        return _table(
            b, "OperatorCode", CustomCode=name, BuiltinCode=32, DeprecatedBuiltinCode=32, Version=version
        )
    return _table(
        b, "OperatorCode", BuiltinCode=number, DeprecatedBuiltinCode=min(number, 127), Version=version
    )


def _operator(b: flatbuffers.Builder, op: Operator, places: Mapping[str, int], code: int) -> int:
    fields: dict[str, Any] = {}
    if op.table:
        options = {
            k: _ints(b, v, np.int32) if isinstance(v, (list, tuple)) else v for k, v in op.options.items()
        }
        fields["BuiltinOptions"] = _table(b, op.table, **options)
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, op.table)
    if op.custom is not None:
        fields["CustomOptions"] = b.CreateByteVector(bytes(flexbuffers.Dumps(dict(op.custom))))
    inputs, outputs = (_ints(b, [places[n] for n in names], np.int32) for names in (op.inputs, op.outputs))
    return _table(b, "Operator", OpcodeIndex=code, Inputs=inputs, Outputs=outputs, **fields)


def _table(b: flatbuffers.Builder, kind: str, **fields: Any) -> int:
    getattr(tflite, f"{kind}Start")(b)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(b, value)
    return int(getattr(tflite, f"{kind}End")(b))


def _ints(b: flatbuffers.Builder, values: Sequence[float], dtype: Any) -> int:
    return int(b.CreateNumpyVector(np.array(values, dtype)))


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())
