"""Squeeze(ReduceMean(x))  ->  ReduceMean<keepdims = 0>(x);  Flatten(GlobalAveragePool(x))  ->  ReduceMean<keepdims = 0>(x)

Also the other Reduce operators, GlobalMaxPool, and Reshape. Refuses a reshape that does not drop just the axes that were
reduced, sizes that are not known, and a result that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

_SHAPERS = ("Flatten", "Reshape", "Squeeze")
_POOLS = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, *_SHAPERS):
        middle = edit.input_at(node, 0)
        inner = middle.producer() if middle is not None else None
        if middle is None or inner is None or inner.domain:
            continue
        if not (inner.op_type in _POOLS or inner.op_type.startswith("Reduce")):
            continue
        axes = _axes(inner)
        if edit.only_user(middle) is not node:
            trace.refused(node, "what is reduced has other users")
        elif axes is None or not _drops(axes, edit.dims(middle), edit.dims(node.outputs[0])):
            trace.refused(node, "it does not drop just the axes that were reduced")
        else:
            _merge(model, node, inner, axes, names)
            fired += trace.fired(node)
    return fired


def _axes(node: ir.Node) -> list[int] | None:
    dims = edit.dims(node.inputs[0])
    if dims is None or not node.attributes.get_int("keepdims", 1):
        return None
    if node.op_type in _POOLS:
        return list(range(2, len(dims)))
    given = edit.input_at(node, 1)
    axes = node.attributes.get_ints("axes") if given is None else edit.integers(given)
    return None if not axes else sorted(axis % len(dims) for axis in axes)


def _drops(axes: list[int], before: list[edit.Dim] | None, after: list[edit.Dim] | None) -> bool:
    if before is None or after is None:
        return False
    kept = [dim for axis, dim in enumerate(before) if axis not in axes]
    if len(kept) != len(after):
        return False
    unknown = [i for i, (a, b) in enumerate(zip(kept, after, strict=True)) if not edit.same_dim(a, b)]
    return len(unknown) <= 1 and all(not isinstance(kept[i], int) for i in unknown)


def _merge(model: ir.Model, node: ir.Node, inner: ir.Node, axes: list[int], names: edit.Names) -> None:
    kind = _POOLS.get(inner.op_type, inner.op_type)
    graph, out = node.graph, node.outputs[0]
    assert graph is not None
    inputs, attributes = [inner.inputs[0]], [ir.AttrInt64("keepdims", 0)]
    if edit.opset(model) >= (13 if kind == "ReduceSum" else 18):
        inputs.append(names.add_constant(graph, f"{out.name}.axes", np.array(axes, np.int64)))
    else:
        attributes.append(ir.AttrInt64s("axes", axes))
    new = ir.Node("", kind, inputs, attributes, name=inner.name, num_outputs=1)
    new.outputs[0].name = names.fresh(f"{out.name}.reduced")
    graph.insert_before(node, new)
    replaced = edit.bypass(node, new.outputs[0])
    assert replaced
    edit.remove(inner)
