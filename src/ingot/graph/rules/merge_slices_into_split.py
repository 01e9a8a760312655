"""Slice(x, 0, a), Slice(x, a, b), …, Slice(x, c, end)  ->  Split(x)

Refuses slices along several axes or with steps, that overlap or leave something out, and axes of unknown size.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.rules.merge_slices import cuts


def apply(model: ir.Model) -> int:
    opset = edit.opset(model)
    if opset < 10:
        return 0
    fired, names = 0, edit.Names(model)
    groups: dict[tuple[ir.Graph | ir.Function | None, ir.Value, int], list[tuple[int, int, ir.Node]]] = {}
    for node in edit.nodes(model, "Slice"):
        x, cut = node.inputs[0], cuts(node)
        if x is None or cut is None or len(cut) != 1:
            continue
        ((axis, (start, end, step)),) = cut.items()
        if step == 1:
            groups.setdefault((node.graph, x, axis), []).append((start, end, node))
    for (_, x, axis), parts in groups.items():
        size = _size(x, axis)
        if len(parts) < 2:
            continue
        if size is None:
            trace.refused(parts[0][2], "the size of its axis is not known")
            continue
        bounds = [(_bound(start, size), _bound(end, size), node) for start, end, node in parts]
        ordered = sorted(bounds, key=lambda part: part[:2])
        edges = [0, *(end for _, end, _ in ordered)]
        if edges[-1] != size or [start for start, _, _ in ordered] != edges[:-1] or 0 in np.diff(edges):
            trace.refused(parts[0][2], "the slices overlap or leave something out")
            continue
        _split(x, axis, [(end - start, node) for start, end, node in ordered], parts[0][2], opset, names)
        fired += trace.fired(parts[0][2])
    return fired


def _size(x: ir.Value, axis: int) -> int | None:
    dims, producer = edit.dims(x), x.producer()
    if dims is not None:
        size = dims[axis]
        return size if isinstance(size, int) else None
    if axis == 1 and producer is not None and producer.op_type == "Conv" and not producer.domain:
        weights = edit.static_dims(edit.input_at(producer, 1))
        return weights[0] if weights else None
    return None


def _bound(value: int, size: int) -> int:
    return min(max(value + size if value < 0 else value, 0), size)


def _split(
    x: ir.Value,
    axis: int,
    parts: list[tuple[int, ir.Node]],
    before: ir.Node,
    opset: int,
    names: edit.Names,
) -> None:
    """parts: sizes, and the slices they stand for. before: the first of those in the graph."""
    graph, sizes = before.graph, [size for size, _ in parts]
    assert graph is not None
    inputs, attributes = [x], [ir.AttrInt64("axis", axis)]
    if opset < 13:
        attributes.append(ir.AttrInt64s("split", sizes))
    else:
        inputs.append(names.add_constant(graph, f"{x.name}.sizes", np.array(sizes, np.int64)))
    split = ir.Node("", "Split", inputs, attributes, num_outputs=len(parts))
    graph.insert_before(before, split)
    for (_, node), out in zip(parts, split.outputs, strict=True):
        out.name = names.fresh(f"{node.outputs[0].name}.part")
        out.type = node.outputs[0].type
        replaced = edit.bypass(node, out)
        assert replaced
