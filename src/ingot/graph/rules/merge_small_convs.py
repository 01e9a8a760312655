"""Conv(x, w1), Conv(x, w2), …  ->  Split(Conv(x, [w1; w2; …])): convolutions that together fill one vector of features

Also depthwise convolutions of all the parts of a Split, which become one in front of it.
Refuses groups of more than 16 features or of none with fewer than 8, groups that differ in more than their features,
and weights that are not constant float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

TOGETHER = 16
"""Features of a merged convolution at most."""
FEW = 8
"""Some part has fewer features than this."""
_LISTS = ("kernel_shape", "strides", "pads", "dilations")


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    fired = 0
    for nodes in alike(model):
        x = nodes[0].inputs[0]
        if x is not None and _small(nodes):
            fired += merge(model, nodes, x, nodes[0], 1, names)
    for node in edit.nodes(model, "Split"):
        convs = _depthwise_parts(node)
        x = node.inputs[0]
        if convs and x is not None and _small(convs) and merge(model, convs, x, node, None, names):
            edit.remove(node)
            fired += 1
    return fired


def alike(model: ir.Model) -> list[list[ir.Node]]:
    """Groups of convolutions of one tensor that differ in their features only."""
    groups: dict[tuple[object, ...], list[ir.Node]] = {}
    for node in edit.nodes(model, "Conv"):
        if node.attributes.get_int("group", 1) == 1 and node.inputs[0] is not None:
            groups.setdefault((node.graph, node.inputs[0], *_form(node)), []).append(node)
    return [nodes for nodes in groups.values() if len(nodes) > 1]


def _small(convs: Sequence[ir.Node]) -> bool:
    sizes = [(edit.static_dims(edit.input_at(conv, 1)) or [TOGETHER])[0] for conv in convs]
    if sum(sizes) <= TOGETHER and min(sizes) < FEW:
        return True
    trace.refused(convs[0], "the features fill vectors of their own")
    return False


def _form(node: ir.Node) -> tuple[object, ...]:
    """All that convolutions need to share: their attributes, and the weights' shape but for the features."""
    weight = edit.static_dims(edit.input_at(node, 1))
    lists = (tuple(node.attributes.get_ints(name) or ()) for name in _LISTS)
    return *lists, node.attributes.get_string("auto_pad", "NOTSET"), tuple(weight[1:]) if weight else None


def _depthwise_parts(split: ir.Node) -> list[ir.Node] | None:
    """The convolutions that read the parts of a Split of channels, one each, with a filter for each channel."""
    if split.attributes.get_int("axis", 0) != 1:
        return None
    convs = [edit.only_user(part) for part in split.outputs]
    found: list[ir.Node] = []
    for part, conv in zip(split.outputs, convs, strict=True):
        dims = edit.static_dims(edit.input_at(conv, 1)) if conv is not None else None
        if (
            conv is None
            or conv.op_type != "Conv"
            or conv.domain
            or conv.inputs[0] is not part
            or dims is None
        ):
            return None
        if conv.graph is not split.graph or dims[1] != 1 or conv.attributes.get_int("group", 1) != dims[0]:
            return None
        if found and _form(conv) != _form(found[0]):
            return None
        found.append(conv)
    return found


def merge(
    model: ir.Model,
    convs: Sequence[ir.Node],
    x: ir.Value,
    before: ir.Node,
    group: int | None,
    names: edit.Names,
) -> int:
    """One convolution of x, placed before a node, in place of several. group: its groups, by default its features."""
    first = convs[0]
    weights = [edit.constant(edit.input_at(conv, 1)) for conv in convs]
    given = [edit.input_at(conv, 2) for conv in convs]
    biases = [edit.constant(b) for b in given]
    arrays = [w for w in weights if w is not None and w.dtype == np.float32]
    if len(arrays) < len(convs) or any(
        (b is None) != (v is None) for b, v in zip(biases, given, strict=True)
    ):
        trace.refused(first, "the weights are not constant float32")
        return 0
    sizes = [w.shape[0] for w in arrays]
    graph, out = first.graph, first.outputs[0]
    assert isinstance(graph, ir.Graph)
    inputs = [x, names.add_constant(graph, f"{out.name}.weights", np.concatenate(arrays))]
    if any(b is not None for b in biases):
        whole = [np.zeros(n, np.float32) if b is None else b for n, b in zip(sizes, biases, strict=True)]
        inputs.append(names.add_constant(graph, f"{out.name}.biases", np.concatenate(whole)))
    attributes = [a for a in first.attributes.values() if a.name != "group"]
    attributes.append(ir.AttrInt64("group", sum(sizes) if group is None else group))
    merged = ir.Node("", "Conv", inputs, attributes, name=first.name, num_outputs=1)
    merged.outputs[0].name = names.fresh(f"{out.name}.merged")
    merged.outputs[0].type = out.type
    if out.shape is not None:
        merged.outputs[0].shape = ir.Shape([out.shape[0], sum(sizes), *out.shape[2:]])
    split = _split(model, graph, merged.outputs[0], sizes, names)
    graph.insert_before(before, [merged, split])
    for conv, part in zip(convs, split.outputs, strict=True):
        part.name = names.fresh(f"{conv.outputs[0].name}.part")
        edit.replace(conv.outputs[0], part)
        edit.remove(conv)
    return trace.fired(merged)


def _split(
    model: ir.Model, graph: ir.Graph, value: ir.Value, sizes: Sequence[int], names: edit.Names
) -> ir.Node:
    axis = ir.AttrInt64("axis", 1)
    if edit.opset(model) < 13:
        return ir.Node("", "Split", [value], [axis, ir.AttrInt64s("split", sizes)], num_outputs=len(sizes))
    parts = names.add_constant(graph, f"{value.name}.sizes", np.array(sizes, np.int64))
    return ir.Node("", "Split", [value, parts], [axis], num_outputs=len(sizes))
