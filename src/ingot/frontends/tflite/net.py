"""The graph of a TFLite model: where each tensor is, in which layout, as an integer or as the real that it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends.builder import OPSET, Array, Builder
from ingot.frontends.tflite.file import Network, Operator, Quantisation, Tensor, read_file

FIRST = (0, 3, 1, 2)
"""Channels first: axis i of it is axis FIRST[i] of NHWC."""
LAST = (0, 2, 3, 1)

Handler = Callable[["Op"], None]
OPERATORS: dict[str, Handler] = {}


def operator(*kinds: str) -> Callable[[Handler], Handler]:
    """Registers a function for these operators."""

    def register(function: Handler) -> Handler:
        OPERATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def read(path: Path, weights: Path | None = None) -> ir.Model:
    """A TFLite file as ONNX. Raises IngotError: model-*, unsupported."""
    network = read_file(path)
    _check_known(network, str(path))
    return Net(network).convert()


def _check_known(network: Network, where: str) -> None:
    """One error that names all operators and types that cannot be converted."""
    unknown = sorted({op.kind for op in network.operators} - OPERATORS.keys())
    used = {i for op in network.operators for i in (*op.inputs, *op.outputs) if i >= 0} | set(network.inputs)
    untyped = [network.tensors[i].name for i in sorted(used) if network.tensors[i].dtype is None]
    if unknown or untyped:
        parts = [f"no ONNX for these operators: {', '.join(unknown)}"] if unknown else []
        parts += [f"tensors of a type that is no number: {', '.join(untyped[:8])}"] if untyped else []
        raise IngotError(
            "unsupported",
            "; ".join(parts),
            where=where,
            remedy="end the model before them, or export it from its own framework",
        )


class Net:
    """Values by tensor and layout. A four-dimensional tensor may be there in NHWC, channels first, or both.

    padded: for the output of a padding with zeros, the tensor before it and (begin, end) of height and width.
    flattened: for the output of a reshape to [N, rest], the tensor before it. spread: for the output of a convolution
    over SPACE_TO_BATCH_ND, what makes the same convolution with a dilation instead.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        wide = any(t.quantisation and t.dtype == np.int16 and t.data is None for t in network.tensors)
        self.b = Builder(network.name, 21 if wide else OPSET)
        self.stored: dict[tuple[int, bool], ir.Value] = {}
        self.real: dict[tuple[int, bool], ir.Value] = {}
        self.written_first: set[int] = set()
        self.padded: dict[int, tuple[int, list[tuple[int, int]]]] = {}
        self.flattened: dict[int, int] = {}
        self.spread: dict[int, Callable[[Op, int, Sequence[tuple[int, int]]], None]] = {}
        self.spaced: dict[int, tuple[int, list[int], list[tuple[int, int]]]] = {}

    def convert(self) -> ir.Model:
        for place, index in enumerate(self.network.inputs):
            tensor = self.network.tensors[index]
            shape = [_symbol(tensor, axis) if dim is None else dim for axis, dim in enumerate(tensor.shape)]
            assert tensor.dtype is not None
            name = tensor.name or f"input_{place}"
            self.stored[index, False] = self.b.input(name, ir.DataType.from_numpy(tensor.dtype), shape)
        for op in self.network.operators:
            self.b.where = (
                f"{op.kind} {self.network.tensors[op.outputs[0]].name if op.outputs else ''}".strip()
            )
            OPERATORS[op.kind](Op(self, op))
        self.b.where = "model"
        outputs: dict[str, ir.Value] = {}
        for place, index in enumerate(self.network.outputs):
            name = self.network.tensors[index].name or f"output_{place}"
            outputs[name if name not in outputs else f"{name}_{place}"] = self.held(index, False)
        return self.b.finish(list(outputs.items()), "TFLite")

    # Layouts

    def prefers_first(self, index: int) -> bool:
        """Whether a tensor was written channels first."""
        return index in self.written_first

    def held(self, index: int, first: bool) -> ir.Value:
        """A tensor as it is stored, in a layout."""
        if (index, first) not in self.stored:
            tensor = self.network.tensors[index]
            if tensor.data is not None:
                data = tensor.data.transpose(FIRST) if first else tensor.data
                self.stored[index, first] = self.b.constant(data, tensor.name or "constant")
            elif (index, not first) in self.stored:
                value = self.stored[index, not first]
                self.stored[index, first] = self._moved(value, FIRST if first else LAST)
            else:
                raise self.b.invalid(f"it reads the tensor {tensor.name!r} before an operator writes it")
        return self.stored[index, first]

    def _moved(self, value: ir.Value, perm: Sequence[int]) -> ir.Value:
        """Transposed, by a Reshape where the elements stay in order."""
        shape = list(value.shape or ())
        moved = [shape[axis] for axis in perm]
        middle = shape[1:]
        in_order = [axis for axis in perm if shape[axis] != 1] == [
            axis for axis in range(4) if shape[axis] != 1
        ]
        if in_order and all(isinstance(dim, int) for dim in middle):
            return self.b.op(
                "Reshape",
                value,
                self.b.ints(0, *[int(dim) for dim in moved[1:] if isinstance(dim, int)]),
                name=f"{value.name}/moved",
            )
        return self.b.op(
            "Transpose", value, name=f"{value.name}/{'first' if perm == FIRST else 'last'}", perm=perm
        )

    def value(self, index: int, first: bool = False) -> ir.Value:
        """A tensor as the numbers that it stands for, in a layout."""
        tensor = self.network.tensors[index]
        if tensor.quantisation is None:
            return self.held(index, first)
        if (index, first) not in self.real:
            axis = tensor.quantisation.axis
            axis = FIRST.index(axis) if first and tensor.quantisation.scale.size > 1 else axis
            self.real[index, first] = self.dequantised(self.held(index, first), tensor, axis)
        return self.real[index, first]

    def dequantised(self, value: ir.Value, tensor: Tensor, axis: int) -> ir.Value:
        """axis: where the scales lie in `value`, if there are several."""
        q = tensor.quantisation
        assert q is not None
        assert tensor.dtype is not None
        several = q.scale.size > 1
        operands = [self.b.constant(q.scale if several else q.scale[0], f"{tensor.name}/scale")]
        zero = q.zero.astype(tensor.dtype)
        if tensor.dtype != np.int32:
            operands.append(self.b.constant(zero if several else zero[0], f"{tensor.name}/zero"))
        return self.b.op(
            "DequantizeLinear", value, *operands, name=f"{tensor.name}/real", axis=axis if several else None
        )

    def put(self, index: int, value: ir.Value, first: bool) -> None:
        """Store what an operator has computed, quantised if the tensor is."""
        tensor = self.network.tensors[index]
        if tensor.data is not None or self.stored.keys() & {(index, False), (index, True)}:
            raise self.b.invalid(f"the tensor {tensor.name!r} is written twice or is no variable")
        q = tensor.quantisation
        if q is not None:
            if q.scale.size > 1:
                raise self._unsupported(tensor, "an activation is quantised per channel")
            assert tensor.dtype is not None
            operands = [
                self.b.constant(q.scale[0], f"{tensor.name}/scale"),
                self.b.constant(q.zero[0].astype(tensor.dtype), f"{tensor.name}/zero"),
            ]
            value = self.b.op("QuantizeLinear", value, *operands, name=tensor.name)
        self.stored[index, first] = value
        if first:
            self.written_first.add(index)

    def _unsupported(self, tensor: Tensor, cause: str) -> IngotError:
        return IngotError(
            "unsupported", cause, where=f"tensor {tensor.name}", remedy="quantise it per tensor"
        )


def _symbol(tensor: Tensor, axis: int) -> str:
    return "N" if axis == 0 else f"{tensor.name}_{axis}"


class Op:
    """An operator being converted: its inputs as values, constants or shapes, and its outputs."""

    def __init__(self, net: Net, op: Operator) -> None:
        self.net, self.b, self.op, self.options = net, net.b, op, op.options
        self.name = net.network.tensors[op.outputs[0]].name if op.outputs else op.kind

    def unsupported(self, cause: str, remedy: str = "end the model before this operator") -> IngotError:
        return IngotError("unsupported", cause, where=self.b.where, remedy=remedy)

    def option(self, name: str, default: Any = 0) -> Any:
        return self.options.get(name, default)

    def has(self, place: int) -> bool:
        return place < len(self.op.inputs) and self.op.inputs[place] >= 0

    def index(self, place: int) -> int:
        if not self.has(place):
            raise self.b.invalid(f"it has no input {place}")
        return self.op.inputs[place]

    def tensor(self, place: int) -> Tensor:
        return self.net.network.tensors[self.index(place)]

    def out(self, place: int = 0) -> Tensor:
        if place >= len(self.op.outputs) or self.op.outputs[place] < 0:
            raise self.b.invalid(f"it has no output {place}")
        return self.net.network.tensors[self.op.outputs[place]]

    def rank(self, place: int = 0) -> int:
        shape = self.held_any(place).shape
        return len(self.tensor(place).shape) if shape is None else len(shape)

    def held_any(self, place: int) -> ir.Value:
        index = self.index(place)
        return self.net.held(index, self.net.prefers_first(index))

    def dims(self, place: int = 0) -> list[int | None]:
        """The shape of an input in the model's own layout, None for what is not known."""
        value = self.held_any(place)
        if value.shape is None:
            return self.tensor(place).shape
        shape = [dim if isinstance(dim, int) else None for dim in value.shape]
        return [shape[axis] for axis in LAST] if self.net.prefers_first(self.index(place)) else shape

    def known(self, place: int, axis: int) -> int:
        """A dimension that must be known."""
        if axis >= self.rank(place):
            raise self.b.invalid(f"its input {place} has {self.rank(place)} dimensions")
        dim = self.dims(place)[axis]
        if dim is None:
            raise self.unsupported(
                f"it needs to know dimension {axis} of its input {place}", "give the input a fixed shape"
            )
        return dim

    def plain(self, place: int = 0) -> ir.Value:
        """An input as real numbers in the model's own layout."""
        return self.net.value(self.index(place))

    def first(self, place: int = 0) -> ir.Value:
        """An input of four dimensions, channels first."""
        if self.rank(place) != 4:
            raise self.unsupported(f"its input has {self.rank(place)} dimensions; 4 are supported")
        return self.net.value(self.index(place), True)

    def get(self, place: int, first: bool) -> ir.Value:
        return self.first(place) if first else self.plain(place)

    def data(self, place: int) -> Array:
        """An input that must be constant, as it is stored."""
        constant = self.constant(place)
        if constant is None:
            raise self.unsupported(f"its input {place} is computed at run time; a constant is supported")
        return constant

    def constant(self, place: int) -> Array | None:
        """A constant input as it is stored, also where an operator without arithmetic gives it."""
        index = self.index(place)
        tensor = self.net.network.tensors[index]
        if tensor.data is None and (index, False) in self.net.stored:
            held = self.net.stored[index, False].const_value
            return None if held is None else held.numpy()
        return tensor.data

    def ints(self, place: int) -> list[int]:
        data = self.data(place)
        if data.dtype.kind not in "iu":
            raise self.b.invalid(f"its input {place} is of type {data.dtype}, not of integers")
        return [int(v) for v in data.reshape(-1)]

    def axis(self, axis: int, place: int = 0) -> int:
        """An axis that may count from the end, from 0 on."""
        rank = self.rank(place)
        if not -rank <= axis < rank:
            raise self.b.invalid(f"axis {axis} does not exist in {rank} dimensions")
        return axis % rank

    def weights(self, place: int, change: Callable[[Array], Array], axis: int) -> ir.Value:
        """A constant as reals after `change` of what is stored. axis: where its scales then lie."""
        tensor = self.tensor(place)
        data = self.constant(place)
        if data is None:
            raise self.unsupported(
                f"its input {place} is computed at run time; constant weights are supported"
            )
        changed = np.ascontiguousarray(change(data))
        if changed.dtype in (np.float16, np.float64):
            changed = changed.astype(np.float32)
        q = tensor.quantisation
        if q is not None and changed.dtype == np.int64:
            changed = (changed * q.scale.astype(np.float64)).astype(np.float32)
        value = self.b.constant(changed, tensor.name or f"{self.name}/weights")
        if changed.dtype == np.float32:
            return value
        if q is None:
            raise self.b.invalid(f"its input {place} holds integers without a scale")
        return self.net.dequantised(value, tensor, axis)

    def layout(self) -> bool:
        """Whether to compute channels first: some input is there so, and all others can follow."""
        indices = [i for i in self.op.inputs if i >= 0]
        return any(self.net.prefers_first(i) for i in indices)

    def broadcast(self, place: int, first: bool) -> ir.Value:
        """An operand of an elementwise operator, so that it broadcasts in that layout."""
        rank = self.rank(place)
        if not first or (rank < 4 and math.prod(2 if d is None else d for d in self.dims(place)) == 1):
            return self.plain(place)
        if rank == 4:
            return self.first(place)
        tensor, constant = self.tensor(place), self.constant(place)
        if constant is not None:
            shape = (1,) * (4 - rank) + constant.shape
            axis = FIRST.index(4 - rank + tensor.quantisation.axis) if tensor.quantisation else 0
            if tensor.quantisation or constant.dtype.kind == "f":
                return self.weights(place, lambda a: a.reshape(shape).transpose(FIRST), axis)
            return self.b.constant(constant.reshape(shape).transpose(FIRST), tensor.name)
        wide = self.b.op(
            "Unsqueeze", self.plain(place), self.b.ints(*range(4 - rank)), name=f"{tensor.name}/wide"
        )
        return self.b.op("Transpose", wide, name=f"{tensor.name}/first", perm=FIRST)

    def put(self, value: ir.Value, first: bool = False, place: int = 0) -> None:
        """An output, with the activation that is fused to the operator."""
        tensor = self.out(place)
        self.net.put(self.op.outputs[place], self.activated(value, tensor), first)

    def activated(self, value: ir.Value, tensor: Tensor) -> ir.Value:
        kind = self.option("FusedActivationFunction")
        limits = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(kind)
        if kind == 4:
            return self.b.op("Tanh", value, name=f"{tensor.name}/tanh")
        if limits is None:
            raise self.unsupported(f"its activation is number {kind}")
        return clip(self.b, value, *limits, tensor)


def clip(b: Builder, value: ir.Value, low: float | None, high: float | None, tensor: Tensor) -> ir.Value:
    """value between limits, where the quantisation of the tensor does not keep it there."""
    smallest, largest = stored_range(tensor.quantisation, tensor.dtype)
    low = None if low is not None and smallest >= low else low
    high = None if high is not None and largest <= high else high
    if low == 0 and high is None:
        return b.op("Relu", value, name=f"{tensor.name}/relu")
    if low is None and high is None:
        return value
    ends = [None if end is None else b.constant(np.float32(end)) for end in (low, high)]
    return b.op("Clip", value, *ends, name=f"{tensor.name}/clip")


def stored_range(q: Quantisation | None, dtype: np.dtype[Any] | None) -> tuple[float, float]:
    """The reals that a quantised tensor can hold, widened by half a step inwards; all where it is none."""
    if q is None or dtype is None or q.scale.size > 1:
        return -math.inf, math.inf
    limits, scale, zero = np.iinfo(dtype), float(q.scale[0]), int(q.zero[0])
    return (limits.min - zero + 0.5) * scale, (limits.max - zero - 0.5) * scale


def pairs(values: Sequence[int]) -> list[tuple[int, int]]:
    """[begin, end, begin, end ...] as pairs."""
    return list(zip(values[::2], values[1::2], strict=True))
