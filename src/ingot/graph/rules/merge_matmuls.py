"""MatMul(x, u) + b, MatMul(x, v) + c, …  ->  Split(MatMul(x, [u v …]) + [b c …]), as of queries, keys and values

Also without biases, of three and more. Refuses weights and biases that are not constant, biases for some only, and
weights that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

Part = tuple[ir.Node, ir.Node | None]
"""A MatMul, and the Add of its bias."""


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    groups: dict[tuple[ir.Graph | ir.Function | None, ir.Value, int], list[Part]] = {}
    for node in edit.nodes(model, "MatMul"):
        weights = edit.static_dims(edit.input_at(node, 1))
        if node.inputs[0] is not None and weights is not None and len(weights) == 2:
            key = (node.graph, node.inputs[0], weights[0])
            groups.setdefault(key, []).append((node, _bias(node, weights[1])))
    for parts in groups.values():
        if len(parts) < 2:
            continue
        reason = _unfit(parts)
        if reason is None:
            _merge(model, parts, names)
            fired += trace.fired(parts[0][0])
        else:
            trace.refused(parts[0][0], reason)
    return fired


def _bias(node: ir.Node, features: int) -> ir.Node | None:
    """The Add of a constant [features] to the product, its only user."""
    add = edit.only_user(node.outputs[0])
    if add is None or add.op_type != "Add" or add.domain or add.graph is not node.graph:
        return None
    bias = add.inputs[1 if add.inputs[0] is node.outputs[0] else 0]
    return add if edit.is_constant(bias) and edit.static_dims(bias) == [features] else None


def _unfit(parts: list[Part]) -> str | None:
    biased = sum(add is not None for _, add in parts)
    weights = [node.inputs[1] for node, _ in parts]
    if any(not edit.is_constant(w) for w in weights):
        return "the weights are not constant"
    if len({w.dtype for w in weights if w is not None}) != 1:
        return "the weights differ in dtype"
    if biased not in (0, len(parts)):
        return "only some have a constant bias"
    if any(
        w is not None and edit.only_user(w) is not node for w, (node, _) in zip(weights, parts, strict=True)
    ):
        return "a weight has other users"
    return "nothing would be gained" if not biased and len(parts) < 3 else None


def _merge(model: ir.Model, parts: list[Part], names: edit.Names) -> None:
    first, graph = parts[0][0], parts[0][0].graph
    x, dtype = first.inputs[0], first.inputs[1].dtype if first.inputs[1] is not None else None
    assert graph is not None
    assert x is not None
    label = parts[0][0].outputs[0].name
    arrays = [edit.constant(node.inputs[1]) for node, _ in parts]
    sizes = [array.shape[1] for array in arrays if array is not None]
    weights = names.add_constant(
        graph, f"{label}.weights", np.concatenate([a for a in arrays if a is not None], axis=1), dtype
    )
    product = ir.Node("", "MatMul", [x, weights], name=first.name, num_outputs=1)
    made, last = [product], product
    if parts[0][1] is not None:
        given = [
            edit.constant(v) for _, add in parts if add is not None for v in add.inputs if edit.is_constant(v)
        ]
        biases = names.add_constant(
            graph, f"{label}.biases", np.concatenate([b for b in given if b is not None]), dtype
        )
        last = ir.Node("", "Add", [product.outputs[0], biases], name=parts[0][1].name, num_outputs=1)
        made.append(last)
    dims = edit.dims(first.outputs[0])
    for node in made:
        node.outputs[0].name = names.fresh(f"{label}.merged")
        node.outputs[0].type = first.outputs[0].type
        if dims is not None:
            node.outputs[0].shape = ir.Shape([*dims[:-1], sum(sizes)])
    inputs, attributes = [last.outputs[0]], [ir.AttrInt64("axis", -1)]
    if edit.opset(model) < 13:
        axis = len(dims) - 1 if dims is not None else -1
        attributes = [ir.AttrInt64("axis", axis), ir.AttrInt64s("split", sizes)]
    else:
        inputs.append(names.add_constant(graph, f"{label}.sizes", np.array(sizes, np.int64)))
    split = ir.Node("", "Split", inputs, attributes, num_outputs=len(parts))
    graph.insert_before(first, [*made, split])
    for (node, add), out in zip(parts, split.outputs, strict=True):
        end = add or node
        out.name, out.type = names.fresh(f"{end.outputs[0].name}.part"), end.outputs[0].type
        replaced = edit.bypass(end, out)
        assert replaced
        if add is not None:
            edit.remove(node)
