"""Builds an onnx_ir model node by node, with the shape of every value known as soon as it exists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ingot.errors import IngotError
from ingot.frontends.check import MAX_ELEMENTS
from ingot.frontends.infer import SMALL, infer_node

Array = np.ndarray[Any, np.dtype[Any]]

OPSET = 17
"""What importers write, unless a model needs more: other toolchains know it."""

MAX_MADE = 2**26
"""Most elements of a constant that an importer computes from shapes in a file."""


class Builder:
    """A graph under construction.

    Values are `ir.Value`s with dtype and shape; a dimension is an integer, a symbol or unknown. Errors name `where`,
    which the importer keeps at the layer or operator that it is at. Raises IngotError model-invalid where shapes do not
    fit together, model-too-large where they are beyond reason.
    """

    def __init__(self, name: str, opset: int = OPSET) -> None:
        self.where = "model"
        self._graph = ir.Graph([], [], nodes=[], opset_imports={"": opset}, name=name or "model")
        self._home = self._graph
        self._opset = opset
        self._names: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def input(self, name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        """A graph input of that very name."""
        if name in self._names:
            raise self.invalid(f"two inputs are named {name!r}")
        value = ir.Value(name=self._fresh(name), type=ir.TensorType(dtype), shape=ir.Shape(shape))
        self._check_size(value)
        self._graph.inputs.append(value)
        return value

    def constant(self, array: Any, name: str = "constant") -> ir.Value:
        """An initializer that holds `array`; equal small ones are one."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= SMALL else None
        if key is not None and key in self._constants:
            return self._constants[key]
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=self._fresh(name))
        value = ir.Value(
            name=tensor.name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        self._home.register_initializer(value)
        if key is not None:
            self._constants[key] = value
        return value

    def ints(self, *values: int) -> ir.Value:
        """A vector of int64."""
        return self.constant(np.array(values, np.int64))

    def op(
        self, op_type: str, *inputs: ir.Value | None, name: str = "", outputs: int = 1, **attributes: Any
    ) -> ir.Value:
        """A node's first output. name: of the node and of that output, made unique."""
        return self.ops(op_type, *inputs, name=name, outputs=outputs, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, name: str = "", outputs: int = 1, **attributes: Any
    ) -> Sequence[ir.Value]:
        """All outputs of a node. Attributes of None are left out."""
        kept = {key: value for key, value in attributes.items() if value is not None}
        node = ir.node(op_type, inputs, attributes=kept, num_outputs=outputs, name=name or None)
        for place, value in enumerate(node.outputs):
            value.name = self._fresh(name or op_type if place == 0 else f"{name or op_type}_{place}")
        node.name = node.outputs[0].name
        self._infer(node)
        self._graph.append(node)
        return node.outputs

    def inner(self, name: str) -> Builder:
        """A builder of a subgraph. Its nodes may read the values of this graph, which holds its constants too."""
        made = Builder(self._fresh(name), self._opset)
        made.where, made._home = self.where, self._home
        made._names, made._constants = self._names, self._constants
        return made

    def parameter(self, name: str, dtype: ir.DataType, shape: Sequence[int] | ir.Shape | None) -> ir.Value:
        """An input of a subgraph, whose name is made unique."""
        value = ir.Value(
            name=self._fresh(name),
            type=ir.TensorType(dtype),
            shape=None if shape is None else ir.Shape(shape),
        )
        self._graph.inputs.append(value)
        return value

    def close(self, outputs: Sequence[ir.Value]) -> ir.Graph:
        """The subgraph with these outputs."""
        made = {out for node in self._graph for out in node.outputs}
        for value in outputs:
            if value not in made or value in self._graph.outputs:
                value = self.op("Identity", value, name=str(value.name))
            self._graph.outputs.append(value)
        return self._graph

    def control(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        bodies: dict[str, ir.Graph],
        outputs: Sequence[tuple[ir.DataType | None, ir.Shape | None]],
        name: str,
    ) -> Sequence[ir.Value]:
        """An If or Loop. outputs: dtype and shape of each, which its bodies show."""
        node = ir.node(op_type, inputs, attributes=dict(bodies), num_outputs=len(outputs))
        for value, (dtype, shape) in zip(node.outputs, outputs, strict=True):
            value.name = self._fresh(name)
            value.type = None if dtype is None else ir.TensorType(dtype)
            value.shape = shape
        node.name = node.outputs[0].name
        self._graph.append(node)
        return node.outputs

    def finish(self, outputs: Sequence[tuple[str, ir.Value]], producer: str) -> ir.Model:
        """The model. outputs: the name of each and its value."""
        taken: set[ir.Value] = set()
        for name, value in outputs:
            if value.is_graph_input() or value.is_initializer() or value in taken:
                value = self.op("Identity", value, name=name)
            taken.add(value)
            self._graph.outputs.append(value)
        named = {name: value for (name, _), value in zip(outputs, self._graph.outputs, strict=True)}
        for value in self._values():
            if value.name in named and named[value.name] is not value:
                if value.is_graph_input():
                    raise self.invalid(f"an input and an output are named {value.name!r}")
                value.name = self._fresh(value.name)
        for name, value in named.items():
            value.name = name
        model = ir.Model(self._graph, ir_version=8 if self._opset < 19 else 10, producer_name=producer)
        RemoveUnusedNodesPass()(model)
        return model

    def _values(self) -> list[ir.Value]:
        made = [out for node in self._graph.all_nodes() for out in node.outputs]
        return [*self._graph.inputs, *self._graph.initializers.values(), *made]

    def invalid(
        self, cause: str, remedy: str = "check the file; it is damaged or not consistent"
    ) -> IngotError:
        return IngotError("model-invalid", cause, where=self.where, remedy=remedy)

    def check_made(self, elements: int) -> None:
        """Raise model-too-large before an array of so many elements is made from sizes in the file."""
        if elements > MAX_MADE:
            raise self._too_large(f"it needs a constant of {elements:,} elements", MAX_MADE)

    def _fresh(self, base: str) -> str:
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def _infer(self, node: ir.Node) -> None:
        """Types and shapes of a node's outputs, by ONNX's own inference."""
        try:
            infer_node(node, self._opset)
        except (
            onnx.shape_inference.InferenceError,
            onnx.defs.SchemaError,
            RuntimeError,
            ValueError,
        ) as error:
            reason = str(error).rpartition("[ShapeInferenceError]")[2].strip().splitlines() or [str(error)]
            raise self.invalid(f"{node.op_type}: shapes do not fit: {reason[0][:200]}") from None
        except onnx.checker.ValidationError as error:
            raise self.invalid(
                f"{node.op_type}: types do not fit: {str(error).splitlines()[0][:200]}"
            ) from None
        for value in node.outputs:
            self._check_size(value)

    def _check_size(self, value: ir.Value) -> None:
        dims = [dim for dim in value.shape or () if isinstance(dim, int)]
        if any(dim < 0 for dim in dims):
            raise self.invalid(f"{value.name} has the shape {dims}, with a negative dimension")
        if math.prod(dims) > MAX_ELEMENTS:
            raise self._too_large(f"{value.name} holds {math.prod(dims):,} elements", MAX_ELEMENTS)

    def _too_large(self, cause: str, limit: int) -> IngotError:
        return IngotError(
            "model-too-large",
            f"{cause}, more than {limit:,}",
            where=self.where,
            remedy="check the shapes in the file",
        )
