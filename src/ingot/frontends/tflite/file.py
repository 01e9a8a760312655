"""A TFLite flatbuffer as plain objects, checked."""

from __future__ import annotations

import inspect
import math
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tflite  # type: ignore[import-untyped]
from flatbuffers import flexbuffers  # type: ignore[import-untyped]

from ingot.errors import IngotError
from ingot.frontends.builder import Array
from ingot.frontends.check import MAX_ELEMENTS, read_bytes

DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.FLOAT64: np.dtype(np.float64),
    tflite.TensorType.BFLOAT16: np.dtype(ml_dtypes.bfloat16),
    tflite.TensorType.INT8: np.dtype(np.int8),
    tflite.TensorType.INT16: np.dtype(np.int16),
    tflite.TensorType.INT32: np.dtype(np.int32),
    tflite.TensorType.INT64: np.dtype(np.int64),
    tflite.TensorType.UINT8: np.dtype(np.uint8),
    tflite.TensorType.UINT16: np.dtype(np.uint16),
    tflite.TensorType.UINT32: np.dtype(np.uint32),
    tflite.TensorType.UINT64: np.dtype(np.uint64),
    tflite.TensorType.BOOL: np.dtype(np.bool_),
    tflite.TensorType.INT4: np.dtype(np.int8),
}
"""int4 is kept in bytes."""

_AGAIN = "copy, download or convert the file again"


@dataclass(frozen=True)
class Quantisation:
    """real = scale * (stored - zero), one of each, or one an index of `axis`."""

    scale: Array
    zero: Array
    axis: int


@dataclass
class Tensor:
    """shape: None where a dimension is open. data: of a constant. quantisation: of an integer that stands for a real."""

    name: str
    dtype: np.dtype[Any] | None
    shape: list[int | None]
    data: Array | None
    quantisation: Quantisation | None


@dataclass
class Operator:
    """inputs, outputs: indices of tensors, -1 for an input that is left out. options: the fields of its options."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Network:
    """The main subgraph of a file."""

    name: str
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


def read_file(path: Path) -> Network:
    """Raises IngotError model-not-found, -empty, -truncated, -invalid, -too-large, unsupported."""
    where = str(path)
    data = read_bytes(path)
    if len(data) < 8:
        raise IngotError("model-truncated", "the file is cut short", where=where, remedy=_AGAIN)
    if data[4:8] != b"TFL3":
        raise IngotError(
            "model-not-onnx", "the file is no TFLite model", where=where, remedy="give a TFLite model"
        )
    try:
        return _network(data, where, path.stem)
    except IngotError:
        raise
    except (
        struct.error,
        ValueError,
        IndexError,
        TypeError,
        OverflowError,
        KeyError,
        AssertionError,
    ) as error:
        raise IngotError(
            "model-invalid",
            f"the file is damaged or cut short: its flatbuffer is broken ({str(error)[:120] or type(error).__name__})",
            where=where,
            remedy=_AGAIN,
        ) from None


def _invalid(cause: str, where: str) -> IngotError:
    return IngotError("model-invalid", cause, where=where, remedy=_AGAIN)


def _network(data: bytes, where: str, stem: str) -> Network:
    model = tflite.Model.GetRootAs(data, 0)
    if model.SubgraphsLength() < 1:
        raise _invalid("the model has no graph", where)
    graph = model.Subgraphs(0)
    _check_counts(model, graph, len(data), where)
    tensors = [_tensor(model, graph.Tensors(i), data) for i in range(graph.TensorsLength())]
    codes = [_code(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
    operators = [_operator(graph.Operators(i), codes) for i in range(graph.OperatorsLength())]
    name = _text(graph.Name()) or stem
    found = Network(
        name, tensors, operators, _indices(graph.InputsAsNumpy()), _indices(graph.OutputsAsNumpy())
    )
    used = [i for op in operators for i in (*op.inputs, *op.outputs)] + found.inputs + found.outputs
    if any(not -1 <= i < len(tensors) for i in used) or any(i < 0 for i in found.inputs + found.outputs):
        raise _invalid("an operator uses a tensor that does not exist", where)
    if not found.outputs:
        raise _invalid("the model has no outputs", where)
    return found


def _check_counts(model: Any, graph: Any, size: int, where: str) -> None:
    """Every entry of a vector takes four bytes of the file, unless entries share them to do harm."""
    total = (
        graph.TensorsLength() + graph.OperatorsLength() + model.BuffersLength() + model.OperatorCodesLength()
    )
    if 4 * total > size:
        raise _invalid("the flatbuffer declares more entries than it has room for", where)
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        total += operator.InputsLength() + operator.OutputsLength()
        if 4 * total > size:
            raise _invalid("the flatbuffer declares more entries than it has room for", where)


def _indices(values: Any) -> list[int]:
    return [int(v) for v in values] if isinstance(values, np.ndarray) else []


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


@cache
def _names(table: type) -> dict[int, str]:
    """The names of an enum's values."""
    return {value: name for name, value in vars(table).items() if isinstance(value, int)}


def _code(code: Any) -> str:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if number == tflite.BuiltinOperator.CUSTOM:
        return _text(code.CustomCode()) or "CUSTOM"
    return _names(tflite.BuiltinOperator).get(number, f"operator {number}")


def _operator(operator: Any, codes: list[str]) -> Operator:
    index = operator.OpcodeIndex()
    if not 0 <= index < len(codes):
        raise ValueError("an operator has an unknown code")
    found = Operator(codes[index], _indices(operator.InputsAsNumpy()), _indices(operator.OutputsAsNumpy()))
    found.options = _options(operator)
    custom = operator.CustomOptionsAsNumpy()
    if found.kind == "TFLite_Detection_PostProcess" and isinstance(custom, np.ndarray):
        loaded = flexbuffers.Loads(custom.tobytes())
        found.options = loaded if isinstance(loaded, dict) else {}
    return found


def _options(operator: Any) -> dict[str, Any]:
    table: Any = operator.BuiltinOptions()
    name = _names(tflite.BuiltinOptions).get(operator.BuiltinOptionsType(), "NONE")
    kind: Any = getattr(tflite, name, None)
    if table is None or kind is None:
        return {}
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return {getter: getattr(options, getter)() for getter in _getters(kind)}


@cache
def _getters(kind: type) -> tuple[str, ...]:
    """The methods of a table that take nothing and give a field; a vector's ends with AsNumpy."""
    functions = {name: f for name, f in vars(kind).items() if inspect.isfunction(f) and name[0].isupper()}
    return tuple(
        name
        for name, f in functions.items()
        if f.__code__.co_argcount == 1 and not name.endswith(("Length", "IsNone"))
    )


def _tensor(model: Any, tensor: Any, data: bytes) -> Tensor:
    name = _text(tensor.Name())
    dtype = DTYPES.get(tensor.Type())
    shape = _indices(tensor.ShapeAsNumpy())
    signature = _indices(tensor.ShapeSignatureAsNumpy())
    if any(dim < 0 for dim in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise IngotError(
            "model-too-large",
            f"it declares the shape {shape}",
            where=f"tensor {name}",
            remedy="check the shapes in the file",
        )
    dims: list[int | None] = list(shape)
    if len(signature) == len(shape):
        dims = [None if wanted < 0 else dim for dim, wanted in zip(shape, signature, strict=True)]
    constant = _data(model, tensor, data)
    if constant is not None and tensor.Sparsity() is not None:
        raise IngotError(
            "unsupported",
            "its weights are stored sparse",
            where=f"tensor {name}",
            remedy="convert the model without sparsity",
        )
    array = None
    if constant is not None and dtype is not None:
        array = _array(constant, dtype, shape, name, packed=tensor.Type() == tflite.TensorType.INT4)
    return Tensor(name, dtype, dims, array, _quantisation(tensor, dtype, shape, name))


def _data(model: Any, tensor: Any, data: bytes) -> Array | None:
    """The bytes of a constant; buffer 0 is empty by convention."""
    index = tensor.Buffer()
    if not 0 <= index < model.BuffersLength():
        raise ValueError("a tensor has a buffer that does not exist")
    buffer = model.Buffers(index)
    if buffer.Offset() > 1:
        return np.frombuffer(data, np.uint8, buffer.Size(), buffer.Offset())
    values = buffer.DataAsNumpy()
    return values if isinstance(values, np.ndarray) and values.size else None


def _array(data: Array, dtype: np.dtype[Any], shape: list[int], name: str, *, packed: bool) -> Array:
    count = math.prod(shape)
    needed = -(-count // 2) if packed else count * dtype.itemsize
    if data.size != needed:
        raise _invalid(f"its shape {shape} needs {needed:,} bytes and it has {data.size:,}", f"tensor {name}")
    if packed:
        nibbles = np.stack([data << 4, data], -1).reshape(-1)[:count].view(np.int8) >> 4
        return nibbles.reshape(shape)
    return np.frombuffer(data.tobytes(), dtype).reshape(shape)


def _quantisation(
    tensor: Any, dtype: np.dtype[Any] | None, shape: list[int], name: str
) -> Quantisation | None:
    parameters = tensor.Quantization()
    if parameters is None or dtype is None or dtype.kind not in "iu":
        return None
    scale = parameters.ScaleAsNumpy()
    if not isinstance(scale, np.ndarray) or not scale.size:
        return None
    zero = parameters.ZeroPointAsNumpy()
    zero = zero if isinstance(zero, np.ndarray) and zero.size else np.zeros(scale.size, np.int64)
    axis, where = parameters.QuantizedDimension(), f"tensor {name}"
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise _invalid("a scale of its quantisation is not positive", where)
    if zero.size != scale.size or (
        scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size)
    ):
        raise _invalid(f"its quantisation has {scale.size} scales and does not fit its shape {shape}", where)
    limits = np.iinfo(dtype)
    if (zero < limits.min).any() or (zero > limits.max).any():
        raise _invalid("a zero point of its quantisation is out of range", where)
    return Quantisation(scale.astype(np.float32), zero.astype(np.int64), axis)
