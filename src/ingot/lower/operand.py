"""A node while it is lowered, and the values that it reads and makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir

from ingot.errors import IngotError
from ingot.ir.index import Ix
from ingot.ir.program import Tensor


@dataclass(eq=False)
class Operand:
    """A value of the ONNX graph while it is lowered.

    dtype: what its elements are computed with. data: the elements where they are constant. known: the integers (`Ix`) where they are known up to symbols, as an
    object array. tensor: where it lies in the program, made on demand for constants. storage: of an operand that lies
    in no tensor yet, the type of storage that it has in ONNX, if any.
    """

    name: str
    dtype: str
    shape: tuple[Ix, ...]
    tensor: Tensor | None = None
    data: np.ndarray | None = None
    known: np.ndarray | None = None
    storage: str = ""

    @property
    def stored(self) -> str:
        """The dtype that it has in ONNX."""
        return self.tensor.dtype if self.tensor is not None else self.storage or self.dtype

    @property
    def rank(self) -> int:
        return len(self.shape)

    def dims(self) -> tuple[int, ...] | None:
        """The shape where it is all integers."""
        return tuple(d.value for d in self.shape) if all(d.is_const for d in self.shape) else None


@dataclass(eq=False)
class SequenceOperand:
    """A sequence while the graph is lowered: its elements, so that its length is known. dtype: of every element."""

    elements: tuple[Operand, ...]
    dtype: str


@dataclass(eq=False)
class Absent:
    """An optional without a value; one with a value is that value."""


Anything = Operand | SequenceOperand | Absent


@dataclass
class Node:
    """An ONNX node with its inputs resolved; absent inputs are None. declared: the shapes that the model states for its
    outputs."""

    operator: str
    domain: str
    name: str
    opset: int
    inputs: list[Anything | None]
    attributes: Mapping[str, Any]
    outputs: Sequence[str]
    declared: Sequence[Sequence[int | str | None] | None] = ()

    def declared_dim(self, output: int, axis: int) -> int | str | None:
        """The size or the symbol's name that the model states for a dimension of an output."""
        shape = self.declared[output] if output < len(self.declared) else None
        return shape[axis] if shape is not None and axis < len(shape) else None

    def get(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def input(self, i: int) -> Operand:
        """Input i. Raises IngotError where it is missing."""
        operand = self.optional(i)
        if operand is None:
            raise self.unsupported(f"input {i} is missing")
        return operand

    def optional(self, i: int) -> Operand | None:
        """Input i, a tensor, or None. Raises IngotError unsupported for anything else."""
        value = self.value(i)
        if isinstance(value, SequenceOperand | Absent):
            kind = "a sequence" if isinstance(value, SequenceOperand) else "an optional without a value"
            raise self.unsupported(f"input {i} is {kind} and must be a tensor")
        return value

    def value(self, i: int) -> Anything | None:
        """Input i, whatever it is."""
        return self.inputs[i] if i < len(self.inputs) else None

    def sequence(self, i: int) -> SequenceOperand:
        """Input i, a sequence. Raises IngotError unsupported for anything else."""
        value = self.value(i)
        if not isinstance(value, SequenceOperand):
            raise self.unsupported(f"input {i} is no sequence")
        return value

    def operands(self) -> list[Operand]:
        """The inputs that are there, all of them tensors."""
        return [x for i in range(len(self.inputs)) if (x := self.optional(i)) is not None]

    def constant(self, i: int, what: str) -> np.ndarray:
        """Input i, which must be constant. Raises IngotError unsupported."""
        operand = self.input(i)
        if operand.data is None:
            raise self.unsupported(f"{what} is computed at run time", "make it a constant of the model")
        return operand.data

    def unsupported(
        self, cause: str, remedy: str = "replace or repair the node, or export the model with other options"
    ) -> IngotError:
        return IngotError("unsupported", f"{self.operator}: {cause}", where=self.name, remedy=remedy)


def object_array(values: Sequence[Any]) -> np.ndarray:
    """A vector of objects as they are."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


def elements_of(tensor: Any) -> np.ndarray:
    """The elements of a tensor of onnx_ir, strings as `bytes`."""
    if tensor.dtype != onnx_ir.DataType.STRING:
        return np.asarray(tensor.numpy())
    return object_array(list(tensor.string_data())).reshape(tuple(tensor.shape))
