"""New nodes in front of one, with types and shapes known as soon as they exist."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from ingot.frontends.infer import infer_node
from ingot.graph import edit


class Writer:
    """Puts nodes of the default domain in front of `before`, named after it."""

    def __init__(self, before: ir.Node, names: edit.Names, opset: int) -> None:
        assert before.graph is not None
        self.opset = opset
        self._before, self._names = before, names
        self._made: list[ir.Node] = []
        self._graph: Any = before.graph
        self._label = before.outputs[0].name or before.op_type

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The first output of a new node. Attributes of None are left out."""
        return self.ops(op_type, *inputs, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: ir.Value | None, outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Sequence[ir.Value]:
        """All outputs of a new node."""
        if domain:
            self._names.use_domain(domain)
        kept = {key: value for key, value in attributes.items() if value is not None}
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        node = ir.node(op_type, inputs, attributes=kept, domain=domain, num_outputs=outputs)
        for out in node.outputs:
            out.name = self._names.fresh(f"{self._label}.{op_type.lower()}")
        node.name = node.outputs[0].name
        self._graph.insert_before(self._before, node)
        self._made.append(node)
        if not domain and all(value is None or value.dtype is not None for value in inputs):
            with contextlib.suppress(RuntimeError, onnx.defs.SchemaError, onnx.checker.ValidationError):
                infer_node(node, self.opset)
        return node.outputs

    def undo(self) -> None:
        """Take away all new nodes, whose outputs nothing else uses yet."""
        for node in reversed(self._made):
            edit.remove(node)
        self._made.clear()

    def constant(self, array: Any, dtype: ir.DataType | None = None, name: str = "constant") -> ir.Value:
        """A new initializer of an array or a number; of `dtype`, or that of the array."""
        array = np.asarray(array) if dtype is None else np.asarray(array).astype(dtype.numpy())
        return self._names.add_constant(self._graph, f"{self._label}.{name}", array, dtype)

    def ints(self, *values: int) -> ir.Value:
        """A vector of int64."""
        return self.constant(np.array(values, np.int64))
