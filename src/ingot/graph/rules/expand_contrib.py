"""y = com.microsoft.Operator(x)  ->  the nodes of standard ONNX that compute it

Operators that ONNX Runtime and its tools write into optimised files: fused activations and products, GELUs, norms with
residuals, attention, also of grouped queries and of quantised inputs, rotary embeddings, quantised arithmetic, weights of 4
and 8 bits; and the norms that they leave in the default domain of any operator set. Raises the operator set to what the nodes need.
Refuses outputs that standard ONNX has no operator for, sizes that are not known, and models that cannot be raised.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import contrib_attention as contrib_attention  # registers its operators
from ingot.graph import contrib_grouped as contrib_grouped
from ingot.graph import edit, opset, trace
from ingot.graph.contrib import DOMAIN, EXPANSIONS, Call, RefusalError
from ingot.graph.rules import infer_shapes
from ingot.graph.writer import Writer

_UNSET = ("LayerNormalization", "SimplifiedLayerNormalization")
"""What ONNX Runtime writes into the default domain of any operator set."""


def apply(model: ir.Model) -> int:
    total = 0
    while fired := _expand_all(model):
        total += fired
        infer_shapes.apply(model)
    return total


def _expand_all(model: ir.Model) -> int:
    """One pass; what it expands tells shapes that others wait for."""
    fired, names = 0, edit.Names(model)
    for node in list(model.graph.all_nodes()):
        if node.domain == DOMAIN and node.op_type in EXPANSIONS:
            fired += trace.outcome(node, _expand(model, node, names))
        elif not node.domain and node.op_type in _UNSET and _unset(model, node):
            fired += trace.outcome(node, _standard(model, node, names))
    return fired


def _unset(model: ir.Model, node: ir.Node) -> bool:
    return node.op_type != "LayerNormalization" or edit.opset(model) < 17


def _standard(model: ir.Model, node: ir.Node, names: edit.Names) -> str | None:
    if node.op_type == "LayerNormalization":
        return opset.raise_to(model, 17)
    return _expand(model, node, names)


def _expand(model: ir.Model, node: ir.Node, names: edit.Names) -> str | None:
    """Why it cannot be, None when it is done."""
    version, expansion = EXPANSIONS[node.op_type]
    reason = opset.raise_to(model, version)
    if reason is not None:
        return reason
    writer = Writer(node, names, edit.opset(model))
    try:
        made = expansion(Call(node, writer))
        results = [made] if isinstance(made, ir.Value) else list(made)
        used = edit.used_outputs(node)
        if any(index >= len(results) or results[index] is None for index in used):
            raise RefusalError("an output is used that standard ONNX has no operator for")
        results = [_own(writer, node, value) for value in results]
    except RefusalError as error:
        writer.undo()
        return str(error)
    for index in used:
        value = results[index]
        assert value is not None
        edit.replace(node.outputs[index], value)
    edit.remove(node)
    return None


def _own(writer: Writer, node: ir.Node, value: ir.Value | None) -> ir.Value | None:
    """The value, by a node of its own where it could not take the name of an output of the graph."""
    taken = value is not None and (value.producer() is None or value.is_graph_output())
    outputs = any(out.is_graph_output() for out in node.outputs)
    return writer.op("Identity", value) if taken and outputs else value
