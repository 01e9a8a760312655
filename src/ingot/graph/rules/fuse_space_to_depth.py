"""Conv(Concat(x[::b, ::b], x[1::b, ::b], …), w)  ->  Conv(SpaceToDepth<b>(x), w with its channels in that order)

Also without a convolution where the slices stand in the order of SpaceToDepth.
Refuses slices of several tensors, missing or doubled ones, and another order before anything but convolutions of one
group with constant weights.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.merge_slices import cuts


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 10:
        return 0
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Concat"):
        block = math.isqrt(len(node.inputs))
        if block < 2 or block * block != len(node.inputs) or node.attributes.get_int("axis", 0) != 1:
            continue
        offsets = [_offset(value, block) for value in node.inputs]
        places = [place for found in offsets if found is not None for place in [found[1]]]
        if len(places) < len(offsets):
            continue
        reason = _fuse(node, {found[0] for found in offsets if found is not None}, places, block, names)
        if reason is None:
            fired += trace.fired(node)
        else:
            trace.refused(node, reason)
    return fired


def _offset(value: ir.Value | None, block: int) -> tuple[ir.Value, int] | None:
    """x and the place in its blocks, row by row, of a value x[:, :, i::block, j::block]."""
    node = value.producer() if value is not None else None
    if value is None or node is None or node.op_type != "Slice" or node.domain or node.inputs[0] is None:
        return None
    cut, dims = cuts(node), edit.dims(node.inputs[0])
    if cut is None or dims is None or len(dims) != 4 or not cut.keys() <= {2, 3}:
        return None
    place = 0
    for axis in (2, 3):
        start, end, step = cut.get(axis, (0, 0, 0))
        size = dims[axis]
        whole = end >= 2**31 - 1 or (isinstance(size, int) and end >= size)
        if step != block or not 0 <= start < block or not whole:
            return None
        place = place * block + start
    return node.inputs[0], place


def _fuse(
    node: ir.Node, sources: set[ir.Value], places: list[int], block: int, names: edit.Names
) -> str | None:
    if len(sources) != 1 or sorted(places) != list(range(block * block)):
        return "its slices are not all parts of one tensor"
    (x,) = sources
    dims, out = edit.dims(x), node.outputs[0]
    convs = [use.node for use in out.uses()]
    moved = places != sorted(places)
    if moved:
        channels = dims[1] if dims is not None else None
        weights = [edit.constant(edit.input_at(conv, 1)) for conv in convs]
        plain = all(
            conv.op_type == "Conv"
            and not conv.domain
            and conv.attributes.get_int("group", 1) == 1
            and w is not None
            for conv, w in zip(convs, weights, strict=True)
        )
        if not plain or not convs or out.is_graph_output() or not isinstance(channels, int):
            return "it is not followed by convolutions of one group with constant weights"
        for conv, w in zip(convs, weights, strict=True):
            assert w is not None
            parts = w.reshape(w.shape[0], len(places), channels, *w.shape[2:])
            names.set_constant(conv, 1, parts[:, np.argsort(places)].reshape(w.shape), "permuted")
    assert node.graph is not None
    new = ir.Node("", "SpaceToDepth", [x], [ir.AttrInt64("blocksize", block)], name=node.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.blocks")
    node.graph.insert_before(node, new)
    replaced = edit.bypass(node, new.outputs[0])
    assert replaced
    return None
