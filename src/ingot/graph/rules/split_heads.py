"""Split(Transpose(Reshape(x, [b, s, n, h, d])), axis 0), each part Squeezed  ->  Split(x), each part Reshaped and Transposed

The form in which queries, keys and values come out of one product, in that in which `fuse_attention` finds them.
Refuses other permutations than 2, 0, 3, 1, 4, sizes that are not known, and parts that are used otherwise.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Var, op

_PATTERN = op("Split", op("Transpose", op("Reshape", Var("x"), name="reshape"), name="turn"))
_SHAPERS = ("Reshape", "Squeeze")


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 13:
        return 0
    fired, names = 0, edit.Names(model)
    for found in match.each(model, _PATTERN):
        if tuple(found.named["turn"].attributes.get_ints("perm") or ()) == (2, 0, 3, 1, 4):
            fired += trace.outcome(found.root, found.leak() or _rewrite(found, names))
    return fired


def _rewrite(found: match.Match, names: edit.Names) -> str | None:
    split, x, graph = found.root, found.values["x"], found.root.graph
    dims, five = edit.dims(x), edit.dims(found.named["reshape"].outputs[0])
    if dims is None or five is None or len(dims) != 3 or len(five) != 5 or graph is None:
        return "its sizes are not known"
    _, length, parts, heads, size = five
    if not isinstance(parts, int) or not isinstance(heads, int) or not isinstance(size, int):
        return "its sizes are not known"
    if not edit.same_dim(dims[1], length) or dims[2] != parts * heads * size or len(split.outputs) != parts:
        return "its sizes are not known"
    users = [[use.node for use in out.uses()] for out in split.outputs]
    for out, nodes in zip(split.outputs, users, strict=True):
        if out.is_graph_output() or not all(_drops_first(node) for node in nodes):
            return "its parts are used otherwise than without their first axis"
    inputs = [x, names.add_constant(graph, f"{x.name}.sizes", np.array([heads * size] * parts, np.int64))]
    new = ir.Node("", "Split", inputs, [ir.AttrInt64("axis", 2)], name=split.name, num_outputs=parts)
    made = [new]
    target = names.add_constant(graph, f"{x.name}.heads", np.array([0, 0, heads, size], np.int64))
    for out, old, nodes in zip(new.outputs, split.outputs, users, strict=True):
        reshape = ir.Node("", "Reshape", [out, target], num_outputs=1)
        turn = ir.Node(
            "", "Transpose", [reshape.outputs[0]], [ir.AttrInt64s("perm", (0, 2, 1, 3))], num_outputs=1
        )
        values = (out, reshape.outputs[0], turn.outputs[0])
        shapes = ([*dims[:2], heads * size], [*dims[:2], heads, size], [dims[0], heads, dims[1], size])
        for value, suffix, shape in zip(values, ("part", "split", "heads"), shapes, strict=True):
            value.name, value.type, value.shape = names.fresh(f"{old.name}.{suffix}"), x.type, ir.Shape(shape)
        made += [reshape, turn]
        for node in nodes:
            if node.op_type == "Squeeze":
                edit.replace(node.outputs[0], turn.outputs[0])
            else:
                node.replace_input_with(0, turn.outputs[0])
    graph.insert_before(split, made)
    for node in (node for nodes in users for node in nodes):
        if not edit.used_outputs(node):
            edit.remove(node)
    for node in reversed(found.nodes):
        edit.remove(node)
    return None


def _drops_first(node: ir.Node) -> bool:
    """Whether it reads [1, b, h, s, d] as [b, h, s, d], or by elements alone."""
    if node.domain or node.op_type not in _SHAPERS or not edit.is_constant(edit.input_at(node, 1)):
        return False
    if node.op_type == "Squeeze":
        return edit.integers(node.inputs[1]) == [0] and not node.outputs[0].is_graph_output()
    return 0 not in (edit.integers(node.inputs[1]) or [0])
