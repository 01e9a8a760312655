"""nodes, initializers and optional outputs that reach no output  ->  nothing

Keeps the inputs of the model and the outputs of subgraphs: they are interfaces.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    opset = edit.opset(model)
    fired = 0
    for graph in reversed(list(model.graphs())):
        for node in reversed(list(graph)):
            used = edit.used_outputs(node)
            if not used:
                fired += trace.fired(node)
                _release(node)
                graph.remove(node, safe=True)
            elif len(used) < len(node.outputs):
                fired += _drop_outputs(node, opset)
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]
                fired += 1
    return fired


def _release(node: ir.Node) -> None:
    """Let the subgraphs of a node that goes away no longer use values from outside."""
    for graph in edit.attribute_graphs(node):
        for inner in graph.all_nodes():
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def _drop_outputs(node: ir.Node, opset: int) -> int:
    """Unname the unused optional outputs, and cut those at the end."""
    if node.domain:
        return 0
    try:
        formal = onnx.defs.get_schema(node.op_type, opset, "").outputs
    except onnx.defs.SchemaError:
        return 0
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    dropped = 0
    for out, parameter in zip(node.outputs, formal, strict=False):
        if out.name and parameter.option == optional and not out.uses() and not out.is_graph_output():
            out.name = ""
            dropped += 1
    if dropped:
        trace.fired(node)
        node.resize_outputs(max((i + 1 for i, out in enumerate(node.outputs) if out.name), default=0))
    return dropped
