"""MaxPool<[h, w]>(x)  ->  MaxPool<[1, w]>(MaxPool<[h, 1]>(x)): h + w comparisons an element instead of h * w

Refuses windows whose rows would not save half of the comparisons, indices, rounded-up and automatic sizes.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    fired = 0
    for node in edit.nodes(model, "MaxPool"):
        kernel = list(node.attributes.get_ints("kernel_shape") or ())
        if len(kernel) != 2:
            continue
        strides = list(node.attributes.get_ints("strides") or (1, 1))
        if kernel[0] * kernel[1] < 2 * (kernel[0] * strides[1] + kernel[1]):
            continue
        if edit.used_outputs(node) != [0] or node.attributes.get_int("ceil_mode"):
            trace.refused(node, "its indices are used or its size is rounded up")
        elif edit.pads_itself(node):
            trace.refused(node, "its padding follows from its sizes")
        else:
            fired += _split(node, kernel, strides, names)
    return fired


def _split(node: ir.Node, kernel: list[int], strides: list[int], names: edit.Names) -> int:
    pads = list(node.attributes.get_ints("pads") or (0, 0, 0, 0))
    dilations = list(node.attributes.get_ints("dilations") or (1, 1))
    value, out, graph = node.inputs[0], node.outputs[0], node.graph
    assert graph is not None
    made: list[ir.Node] = []
    for axis in (0, 1):
        attributes = [
            ir.AttrInt64s("kernel_shape", _along(axis, kernel)),
            ir.AttrInt64s("strides", _along(axis, strides)),
            ir.AttrInt64s("dilations", _along(axis, dilations)),
            ir.AttrInt64s("pads", [p if at % 2 == axis else 0 for at, p in enumerate(pads)]),
        ]
        name = node.name if axis else f"{node.name}.rows"
        made.append(ir.Node("", "MaxPool", [value], attributes, name=name, num_outputs=1))
        value = made[-1].outputs[0]
        value.name, value.type = names.fresh(f"{out.name}.{'columns' if axis else 'rows'}"), out.type
    x = node.inputs[0]
    assert x is not None
    if out.shape is not None and x.shape is not None:
        made[0].outputs[0].shape = ir.Shape([*out.shape[:3], x.shape[3]])
    graph.insert_before(node, made)
    edit.bypass(node, made[1].outputs[0])
    return trace.fired(made[1])


def _along(axis: int, values: list[int]) -> list[int]:
    """The values for a window along one axis, one elsewhere."""
    return [v if at == axis else 1 for at, v in enumerate(values)]
