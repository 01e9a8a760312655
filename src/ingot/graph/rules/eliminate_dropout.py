"""y = Dropout(x)  ->  x, as in inference

Refuses a Dropout whose mask is used, or whose training_mode is not known to be false.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Dropout"):
        source, training = edit.input_at(node, 0), edit.input_at(node, 2)
        mode = edit.constant(training)
        if source is None:
            continue
        if training is not None and (mode is None or bool(mode.any())):
            trace.refused(node, "its training_mode is not known to be false")
        elif any(index > 0 for index in edit.used_outputs(node)):
            trace.refused(node, "its mask is used")
        elif edit.bypass(node, source):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it names an output of its graph")
    return fired
