"""a node whose inputs are all constants  ->  its outputs as constants

Refuses random operators, QuantizeLinear and DequantizeLinear (they carry the quantisation), control flow, operators
without a known meaning, graph outputs, outputs over 64 MiB, and growth beyond a budget for the whole model: an output
counts with its bytes less those of the inputs that die.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.evaluate import evaluate, supported

MAX_OUTPUT = 64 << 20


def apply(model: ir.Model) -> int:
    fired, grown = 0, 0
    for node in edit.nodes(model):
        if not all(value is None or edit.is_constant(value) for value in node.inputs):
            continue
        if not supported(node) or not any(value is not None for value in node.inputs):
            trace.refused(node, f"{node.op_type} is never folded")
            continue
        if any(out.is_graph_output() for out in node.outputs):
            trace.refused(node, "it is an output of its graph")
            continue
        dying = sum(
            edit.nbytes(value) for value in set(node.inputs) if value is not None and _dies(value, node)
        )
        limit = min(MAX_OUTPUT, dying + edit.MAX_GROWTH - grown)
        results = evaluate(node, [edit.constant(value) for value in node.inputs], edit.opset(model), limit)
        if results is None:
            trace.refused(node, "its outputs are too large or cannot be computed")
            continue
        grown += max(0, sum(array.nbytes for array in results) - dying)
        _replace(node, results)
        fired += trace.fired(node)
    return fired


def _dies(value: ir.Value, node: ir.Node) -> bool:
    return not value.is_graph_output() and all(use.node is node for use in value.uses())


def _replace(node: ir.Node, results: list[edit.Array]) -> None:
    graph = node.graph
    assert graph is not None
    for out, array in zip(node.outputs, results, strict=False):
        if not out.uses() or not out.name:
            continue
        name = out.name
        out.name = f"{name}.folded"
        out.replace_all_uses_with(edit.register(graph, name, array))
    edit.remove(node)
