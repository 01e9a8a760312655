"""a, b = Split(x); f(a), f(b)  ->  Split(f(x)), f: Transpose, or an operator of one element that needs no other

Refuses parts that are used otherwise too, and an f that is not the same for all parts.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace

ELEMENTWISE = frozenset(
    {
        "Abs",
        "Erf",
        "Exp",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Tanh",
    }
)


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for split in edit.nodes(model, "Split"):
        users = [edit.only_user(part) for part in split.outputs]
        first = users[0]
        if (
            first is None
            or first.domain
            or not (first.op_type == "Transpose" or first.op_type in ELEMENTWISE)
        ):
            continue
        nodes = [user for user in users if user is not None and _same(user, first)]
        if len(nodes) < len(users) or len(users) < 2 or first.graph is not split.graph:
            trace.refused(split, "its parts go different ways")
            continue
        _hoist(split, nodes, names)
        fired += trace.fired(split)
    return fired


def _same(node: ir.Node, first: ir.Node) -> bool:
    values = [{a.name: a.value for a in one.attributes.values()} for one in (node, first)]
    return (
        node.op_type == first.op_type
        and not node.domain
        and node.graph is first.graph
        and values[0] == values[1]
    )


def _hoist(split: ir.Node, nodes: list[ir.Node], names: edit.Names) -> None:
    first, x, graph = nodes[0], split.inputs[0], split.graph
    assert graph is not None
    assert x is not None
    moved = ir.Node("", first.op_type, [x], list(first.attributes.values()), name=first.name, num_outputs=1)
    moved.outputs[0].name = names.fresh(f"{x.name}.{first.op_type.lower()}")
    moved.outputs[0].type = x.type
    axis = split.attributes.get_int("axis", 0)
    dims = edit.dims(x)
    if first.op_type == "Transpose":
        rank = len(first.attributes.get_ints("perm") or dims or edit.dims(split.outputs[0]) or ())
        perm = list(first.attributes.get_ints("perm") or range(rank)[::-1])
        axis = perm.index(axis % rank)
        dims = None if dims is None else [dims[p] for p in perm]
    if dims is not None:
        moved.outputs[0].shape = ir.Shape(dims)
    graph.insert_before(split, moved)
    split.replace_input_with(0, moved.outputs[0])
    split.attributes["axis"] = ir.AttrInt64("axis", axis)
    for part, node in zip(split.outputs, nodes, strict=True):
        part.shape = None if node.outputs[0].shape is None else node.outputs[0].shape.copy()
        replaced = edit.bypass(node, part)
        assert replaced
