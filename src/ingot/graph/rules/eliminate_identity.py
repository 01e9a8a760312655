"""y = Identity(x)  ->  x

Refuses an Identity that gives a graph output its name and whose input cannot take that name: an input, a constant,
a value of an outer graph, or another output.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Identity"):
        source = edit.input_at(node, 0)
        if source is None:
            continue
        if edit.bypass(node, source):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it names an output of its graph")
    return fired
