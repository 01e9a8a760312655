"""y = If(constant) <then, else>  ->  the nodes of the branch that is taken

Refuses a condition that is not constant, and a branch whose output could not take the name of a graph output.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, "If"):
        condition = edit.constant(edit.input_at(node, 0))
        if condition is None or condition.size != 1:
            trace.refused(node, "its condition is not constant")
            continue
        branch = node.attributes.get_graph("then_branch" if condition.any() else "else_branch")
        if branch is None or len(branch.outputs) != len(node.outputs):
            trace.refused(node, "its branch gives another number of outputs")
        elif not _replaceable(node, branch):
            trace.refused(node, "an output of the graph would be a constant or another output")
        else:
            _inline(node, branch, names)
            fired += trace.fired(node)
    return fired


def _replaceable(node: ir.Node, branch: ir.Graph) -> bool:
    for out, inner in zip(node.outputs, branch.outputs, strict=True):
        if out.is_graph_output() and (inner.producer() is None or inner.graph is not branch):
            return False
    return len(set(branch.outputs)) == len(branch.outputs)


def _inline(node: ir.Node, branch: ir.Graph, names: edit.Names) -> None:
    graph = node.graph
    assert graph is not None
    results = list(branch.outputs)
    branch.outputs.clear()
    for value in list(branch.initializers.values()):
        assert value.name is not None
        del branch.initializers[value.name]
        if value.name in graph.initializers:
            value.name = names.fresh(value.name)
        graph.register_initializer(value)
    inner = list(branch)
    branch.remove(inner)
    graph.insert_before(node, inner)
    for out, result in zip(node.outputs, results, strict=True):
        edit.replace(out, result)
    edit.remove(node)
