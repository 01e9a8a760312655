"""Pow(x, 2)  ->  x * x;  Pow(x, 0.5)  ->  Sqrt(x);  Pow(x, -1)  ->  Reciprocal(x)

Refuses other exponents, and integers.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace

_FORMS = {2.0: ("Mul", 2), 0.5: ("Sqrt", 1), -1.0: ("Reciprocal", 1)}


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Pow"):
        x, exponent = node.inputs
        array = edit.constant(exponent)
        if array is None or x is None:
            continue
        form = _FORMS.get(float(array.item())) if array.size == 1 and array.dtype.kind in "fiu" else None
        rank = edit.dims(x)
        if form is None or x.dtype is None or not x.dtype.is_floating_point():
            trace.refused(node, "its exponent is another one, or it is of integers")
            continue
        if array.ndim and (rank is None or len(rank) < array.ndim):
            trace.refused(node, "its exponent may add axes")
            continue
        graph, out = node.graph, node.outputs[0]
        assert graph is not None
        new = ir.Node("", form[0], [x] * form[1], name=node.name, num_outputs=1)
        new.outputs[0].name = names.fresh(f"{out.name}.power")
        graph.insert_before(node, new)
        edit.bypass(node, new.outputs[0])
        fired += trace.fired(node)
    return fired
