"""y = Constant<value>()  ->  y as an initializer

Refuses outputs of a graph, strings and sparse tensors.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Constant"):
        out, array = node.outputs[0], _value(node)
        if array is None:
            trace.refused(node, "it is no dense tensor of numbers")
        elif out.is_graph_output() or not out.name:
            trace.refused(node, "it is an output of its graph")
        elif edit.fold(node, array):
            fired += trace.fired(node)
    return fired


def _value(node: ir.Node) -> edit.Array | None:
    for name, attribute in node.attributes.items():
        if name == "value":
            tensor = attribute.as_tensor()
            return None if tensor.dtype == ir.DataType.STRING else tensor.numpy()
        if name == "value_int":
            return np.array(attribute.as_int(), np.int64)
        if name == "value_ints":
            return np.array(attribute.as_ints(), np.int64)
        if name == "value_float":
            return np.array(attribute.as_float(), np.float32)
        if name == "value_floats":
            return np.array(attribute.as_floats(), np.float32)
    return None
