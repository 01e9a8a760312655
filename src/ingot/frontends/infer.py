"""Types and shapes of one node's outputs, by ONNX's own inference."""

from __future__ import annotations

import onnx
import onnx_ir as ir

SMALL = 4096
"""Constants of up to so many elements take part by their value."""


def infer_node(node: ir.Node, opset: int) -> None:
    """Set the type and shape of each output as far as they follow from the inputs.

    node: of the default domain, with inputs of known dtype and names for all values. Raises what onnx raises.
    """
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    types, data = {}, {}
    for value in node.inputs:
        if value is None:
            continue
        assert value.name is not None
        types[value.name] = _type_proto(value)
        constant = value.const_value
        if constant is not None and constant.size <= SMALL:
            data[value.name] = ir.to_proto(constant)
    found = onnx.shape_inference.infer_node_outputs(schema, ir.to_proto(node), types, data)
    for value in node.outputs:
        assert value.name is not None
        proto = found.get(value.name)
        if proto is None:
            continue
        value.type = ir.TensorType(ir.DataType(proto.tensor_type.elem_type))
        if proto.tensor_type.HasField("shape"):
            value.shape = ir.Shape(_dim(dim) for dim in proto.tensor_type.shape.dim)


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    assert value.dtype is not None
    proto = onnx.TypeProto()
    proto.tensor_type.elem_type = value.dtype.value
    if value.shape is not None:
        proto.tensor_type.shape.SetInParent()
        for dim in value.shape:
            added = proto.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                added.dim_value = dim
            elif dim.value:
                added.dim_param = dim.value
    return proto


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None
