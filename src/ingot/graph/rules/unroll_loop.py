"""y, rows = Loop(3, true, x) <body>  ->  the nodes of the body three times, and the rows in a Concat

Refuses a trip count or a condition that is not constant, no turns at all, sequences, and more than 256 nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

MAX_NODES = 256


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, "Loop"):
        body = node.attributes.get_graph("body")
        if body is None:
            continue
        reason = _obstacle(node, body)
        if reason:
            trace.refused(node, reason)
        else:
            _unroll(node, body, names, edit.opset(model))
            fired += trace.fired(node)
    return fired


def _obstacle(node: ir.Node, body: ir.Graph) -> str:
    """Why the loop stays, "" where it need not."""
    trips = edit.constant(edit.input_at(node, 0))
    if trips is None:
        return "its trip count is not constant"
    if not _holds(edit.input_at(node, 1)) or not _goes_on(body):
        return "its condition is not constantly true"
    turns = int(trips.reshape(-1)[0])
    if turns < 1:
        return "it makes no turn"
    if turns * sum(1 for _ in body.all_nodes()) > MAX_NODES:
        return f"it would become more than {MAX_NODES} nodes"
    if any(
        value is None or isinstance(value.type, ir.SequenceType | ir.OptionalType)
        for value in node.inputs[2:]
    ):
        return "it carries a sequence or an optional"
    return ""


def _holds(condition: ir.Value | None) -> bool:
    array = edit.constant(condition)
    return condition is None or (array is not None and bool(array.all()))


def _goes_on(body: ir.Graph) -> bool:
    """Whether the body hands on the condition it is given, or true."""
    result = body.outputs[0]
    producer = result.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        result = producer.inputs[0]
        producer = result.producer()
    if result is body.inputs[1]:
        return True
    if producer is not None and producer.op_type == "Constant" and "value" in producer.attributes:
        return bool(producer.attributes["value"].as_tensor().numpy().all())
    return edit.is_constant(result) and _holds(result)


def _unroll(node: ir.Node, body: ir.Graph, names: edit.Names, opset: int) -> None:
    graph, trips = node.graph, edit.constant(node.inputs[0])
    assert graph is not None
    assert trips is not None
    carried: list[ir.Value] = [value for value in node.inputs[2:] if value is not None]
    rows: list[list[ir.Value]] = [[] for _ in body.outputs[1 + len(carried) :]]
    base = node.outputs[0].name or "loop"
    true = names.add_constant(graph, f"{base}.condition", np.array(True))
    for turn in range(int(trips.reshape(-1)[0])):
        number = names.add_constant(graph, f"{base}.turn", np.array(turn, np.int64))
        results = _insert(node, body, [number, true, *carried], names)
        carried = results[1 : 1 + len(carried)]
        for stack, result in zip(rows, results[1 + len(carried) :], strict=True):
            stack.append(_unsqueezed(node, result, names, opset))
    values = list(carried)
    for stack in rows:
        made = ir.node("Concat", stack, {"axis": 0})
        made.outputs[0].name = names.fresh(f"{base}.rows")
        graph.insert_before(node, made)
        values.append(made.outputs[0])
    for out, value in zip(node.outputs, values, strict=True):
        last = ir.node("Identity", [value])
        last.outputs[0].name = names.fresh(f"{base}.result")
        last.outputs[0].type, last.outputs[0].shape = value.type, value.shape
        graph.insert_before(node, last)
        edit.replace(out, last.outputs[0])
    edit.remove(node)


def _insert(node: ir.Node, body: ir.Graph, inputs: Sequence[ir.Value], names: edit.Names) -> list[ir.Value]:
    """A copy of the body before the loop, on these inputs; its results."""
    graph = node.graph
    assert graph is not None
    copy = body.clone(allow_outer_scope_values=True)
    results = list(copy.outputs)
    copy.outputs.clear()
    given = dict(zip(copy.inputs, inputs, strict=True))
    for formal, actual in given.items():
        formal.replace_all_uses_with(actual)
    for value in list(copy.initializers.values()):
        assert value.name is not None
        del copy.initializers[value.name]
        value.name = names.fresh(value.name)
        graph.register_initializer(value)
    for one in list(copy):
        _rename(one, names)
        copy.remove(one)
        graph.insert_before(node, one)
    return [given.get(result, result) for result in results]


def _rename(node: ir.Node, names: edit.Names) -> None:
    """Give everything that a copied node and its subgraphs define a name of its own."""
    for out in node.outputs:
        if out.name:
            out.name = names.fresh(out.name)
    for graph in edit.attribute_graphs(node):
        for value in [*graph.inputs, *graph.initializers.values()]:
            if value.name:
                value.name = names.fresh(value.name)
        for inner in graph:
            _rename(inner, names)


def _unsqueezed(node: ir.Node, value: ir.Value, names: edit.Names, opset: int) -> ir.Value:
    graph = node.graph
    assert graph is not None
    if opset >= 13:
        axes = names.add_constant(graph, f"{value.name}.axes", np.array([0]))
        made = ir.node("Unsqueeze", [value, axes])
    else:
        made = ir.node("Unsqueeze", [value], {"axes": [0]})
    made.outputs[0].name = names.fresh(f"{value.name}.row")
    graph.insert_before(node, made)
    return made.outputs[0]
