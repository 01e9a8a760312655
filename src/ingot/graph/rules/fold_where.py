"""Where(c, x, y)  ->  x or y, c constant and the same everywhere;  Where(c, x, x)  ->  x;  Where(Not(c), x, y)  ->  Where(c, y, x)

Refuses a branch that is not known to have the shape of the result.
"""

from __future__ import annotations

import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired = 0
    for node in edit.nodes(model, "Where"):
        condition, *branches = node.inputs
        array, negation = edit.constant(condition), condition.producer() if condition is not None else None
        if negation is not None and negation.op_type == "Not" and not negation.domain:
            for index, value in enumerate((negation.inputs[0], *branches[::-1])):
                node.replace_input_with(index, value)
            fired += trace.fired(node)
            continue
        if branches[0] is branches[1]:
            taken = branches[0]
        elif array is None or not array.size or not (array.all() or not array.any()):
            continue
        else:
            taken = branches[0 if array.all() else 1]
        if taken is None or not edit.same_dims(edit.dims(taken), edit.dims(node.outputs[0])):
            trace.refused(node, "the branch is not known to have the shape of the result")
        elif edit.bypass(node, taken):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it is an output of its graph")
    return fired
