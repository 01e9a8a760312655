"""Shape(x), Size(x), Gather(Shape(x), i), Slice(Shape(x), a, b)  ->  constants

Also a Gather or a Slice of these.
Refuses when one of the dimensions asked for is not a known integer: symbols are the lowering's work.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Gather", "Slice", "Shape", "Size"):
        value = computed(node)
        if value is None:
            continue
        if not all(isinstance(dim, int) for dim in value.flat):
            trace.refused(node, "a dimension is symbolic or unknown")
        elif edit.fold(node, value.astype(np.int64)):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it is an output of its graph")
    return fired


_CHAIN = 4
"""How many Gathers and Slices after a Shape are looked through."""


def computed(node: ir.Node, chain: int = _CHAIN) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    """The dimensions that a node computes from a shape, integers or symbols; None for any other node."""
    if node.op_type == "Shape":
        return _shape(node)
    if node.op_type == "Size":
        dims = edit.static_dims(edit.input_at(node, 0))
        return None if dims is None else np.array(edit.elements(dims), dtype=object)
    source = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    if source is None or source.domain or source.op_type not in ("Shape", "Gather", "Slice") or not chain:
        return None
    shape = computed(source, chain - 1)
    if shape is None or shape.ndim != 1:
        return None
    return _gather(node, shape) if node.op_type == "Gather" else _slice(node, shape)


def _shape(node: ir.Node) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    dims = edit.dims(edit.input_at(node, 0))
    if dims is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims))
    return np.array(dims, dtype=object)[start:end]


def _gather(
    node: ir.Node, shape: np.ndarray[tuple[int, ...], np.dtype[np.object_]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    indices = edit.constant(edit.input_at(node, 1))
    if indices is None or any(not -shape.size <= index < shape.size for index in indices.flat):
        return None
    return np.asarray(shape[indices], dtype=object)


def _slice(
    node: ir.Node, shape: np.ndarray[tuple[int, ...], np.dtype[np.object_]]
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    bounds: list[int] = []
    for index, name in ((1, "starts"), (2, "ends"), (4, "steps")):
        given = (
            edit.integers(edit.input_at(node, index)) if node.inputs[1:] else node.attributes.get_ints(name)
        )
        if given is None and name == "steps" and edit.input_at(node, 4) is None:
            given = [1]
        if given is None or len(given) != 1:
            return None
        bounds.append(given[0])
    start, end, step = bounds
    return shape[start:end:step] if step else None
