"""f(g(x)) with f, g of Reshape, Flatten, Squeeze, Unsqueeze  ->  Reshape(x)

Refuses when the final shape is not a constant that means the same for x: an entry 0 copies a dimension of g(x), and at
most one dimension may be unknown.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_SHAPERS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def apply(model: ir.Model) -> int:
    fired = 0
    names = edit.Names(model)
    for node in edit.nodes(model, *_SHAPERS):
        middle = edit.input_at(node, 0)
        inner = middle.producer() if middle is not None else None
        if (
            middle is None
            or inner is None
            or inner.op_type not in _SHAPERS
            or inner.domain
            or not inner.inputs
        ):
            continue
        wanted = _target(node, middle)
        if wanted is None:
            trace.refused(node, "its shape is not a constant")
            continue
        if node.op_type == "Reshape" and wanted == edit.integers(node.inputs[1]):
            node.replace_input_with(0, inner.inputs[0])
        else:
            _reshape(node, inner.inputs[0], wanted, names)
        fired += trace.fired(node)
    return fired


def _target(node: ir.Node, middle: ir.Value) -> list[int] | None:
    """The argument of a Reshape that gives the shape of node's output from any tensor of as many elements."""
    if node.op_type != "Reshape":
        return _from_output(node)
    wanted = edit.integers(edit.input_at(node, 1))
    if wanted is None:
        return _from_output(node)
    if node.attributes.get_int("allowzero", 0):
        return wanted if 0 not in wanted else None
    dims = edit.dims(middle)
    copied = _copied(middle)
    for axis, dim in enumerate(wanted):
        if dim == 0 and axis >= copied:
            known = dims[axis] if dims is not None and axis < len(dims) else None
            if not isinstance(known, int) or known == 0:
                return _from_output(node)
            wanted[axis] = known
    return wanted


def _copied(middle: ir.Value) -> int:
    """How many leading dimensions the Reshape that makes `middle` copies from its own input."""
    node = middle.producer()
    assert node is not None
    if node.op_type != "Reshape" or node.attributes.get_int("allowzero"):
        return 0
    wanted = edit.integers(edit.input_at(node, 1)) or []
    return next((axis for axis, dim in enumerate(wanted) if dim != 0), len(wanted))


def _from_output(node: ir.Node) -> list[int] | None:
    dims = edit.dims(node.outputs[0])
    if dims is None:
        return None
    wanted = [dim if isinstance(dim, int) else -1 for dim in dims]
    return wanted if wanted.count(-1) <= 1 and 0 not in wanted else None


def _reshape(node: ir.Node, source: ir.Value | None, wanted: list[int], names: edit.Names) -> None:
    """Let `node` be Reshape(source, wanted), its output as before."""
    graph, out = node.graph, node.outputs[0]
    assert graph is not None
    shape = names.add_constant(graph, f"{out.name}.shape", np.array(wanted, np.int64))
    new = ir.Node("", "Reshape", [source, shape], name=node.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.reshaped")
    graph.insert_before(node, new)
    replaced = edit.bypass(node, new.outputs[0])
    assert replaced
