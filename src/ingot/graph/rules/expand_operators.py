"""y = Operator(x)  ->  the nodes of the body that ONNX gives for the operator

Only operators that `apply` is not told to keep. Bodies that depend on attributes and on the types of the inputs are made for
each node, so these types must be known. Refuses a body that is not valid in the model's operator sets.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from ingot.frontends.onnx import separate_names
from ingot.graph import edit, trace

Operators = Collection[tuple[str, str]]
"""(domain, operator), where the default domain is ""."""


def apply(model: ir.Model, keep: Operators | None = None) -> int:
    """keep: the operators to leave as they are; None leaves all."""
    if keep is None:
        return 0
    fired = 0
    bodies: set[ir.OperatorIdentifier] = set()
    for node in list(model.graph.all_nodes()):
        domain = _domain(node)
        if (domain, node.op_type) in keep or node.op_identifier() in model.functions:
            continue
        proto = _body(node, domain, model)
        if proto is None:
            continue
        node.overload = f"body{len(bodies)}"
        fired += trace.fired(node)
        function = _function(proto, node, model)
        model.functions[function.identifier()] = function
        bodies.add(function.identifier())
    if bodies:
        InlinePass(criteria=lambda function: function.identifier() in bodies)(model)
        separate_names(model)
    return fired


def _domain(node: ir.Node) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _body(node: ir.Node, domain: str, model: ir.Model) -> onnx.FunctionProto | None:
    """The body of an operator at this node, valid in the model's operator sets. None where there is none."""
    opset = model.opset_imports.get(node.domain, model.opset_imports.get(domain))
    if opset is None:
        return None
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, opset, domain)
    except onnx.defs.SchemaError:
        return None
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.type:
            node.attributes[name] = ir.serde.deserialize_attribute(attribute.default_value)
    text = _text(node, schema, opset)
    if text is None:
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    imports = {entry.domain: entry.version for entry in body.opset_import} | model.opset_imports
    imports.setdefault("", onnx.defs.onnx_opset_version())
    del body.opset_import[:]
    body.opset_import.extend(onnx.helper.make_opsetid(name, version) for name, version in imports.items())
    context = onnx.checker.C.CheckerContext()
    context.ir_version = onnx.IR_VERSION
    context.opset_imports = imports
    try:
        onnx.checker.check_function(body, context)
    except onnx.checker.ValidationError:
        trace.refused(node, f"its body is not valid in operator set {opset}")
        return None
    return body


def _text(node: ir.Node, schema: Any, opset: int) -> bytes | None:
    """The serialised body, in its newest version up to `opset`."""

    def newest(versions: list[int]) -> int:
        return max((version for version in versions if version <= opset), default=min(versions))

    if schema.has_function:
        plain: bytes = schema.get_function_with_opset_version(newest(schema.function_opset_versions))
        return plain
    if not schema.has_context_dependent_function:
        return None
    types = [_type(value) for value in node.inputs]
    if None in types:
        trace.refused(node, "its body depends on the type of an input, which is not known")
        return None
    if edit.attribute_graphs(node):
        trace.refused(node, "its body depends on a subgraph")
        return None
    version = newest(schema.context_dependent_function_opset_versions)
    proto = ir.to_proto(node).SerializeToString()
    made: bytes = schema.get_context_dependent_function_with_opset_version(version, proto, types)
    return made


def _type(value: ir.Value | None) -> bytes | None:
    """The type of an input as a serialised TypeProto: empty for one that is left out, None for one not known."""
    if value is None:
        return b""
    if value.type is None:
        return None
    kind: bytes = ir.to_proto(value).type.SerializeToString()
    return kind


def _function(proto: onnx.FunctionProto, node: ir.Node, model: ir.Model) -> ir.Function:
    """The body as a function that `node` alone calls, its nodes and values named after that node.

    An output that the body lacks is one that the node leaves out; the first stands in for it.
    """
    place = trace.place(node).split(" -> ")[-1]
    proto.domain, proto.name, proto.overload = node.domain, node.op_type, node.overload
    made = {name for inner in proto.node for name in inner.output}
    del proto.output[len(node.outputs) :]
    for name in proto.output:
        if name not in made:
            proto.node.append(onnx.helper.make_node("Identity", [proto.output[0]], [name]))
    function = ir.serde.deserialize_function(proto)
    for inner in function.all_nodes():
        inner.name = f"{place}.{inner.name or inner.op_type}"
        for out in inner.outputs:
            if out.name:
                out.name = f"{place}.{out.name}"
    return function
