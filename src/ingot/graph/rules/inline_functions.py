"""y = MyFunction(x)  ->  the nodes of the function's body

Refuses a function whose operator set versions differ from the model's: its nodes would change their meaning.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from ingot.graph import trace


def apply(model: ir.Model) -> int:
    if not model.functions:
        return 0
    before = _calls(model)
    InlinePass(criteria=lambda function: _compatible(function, model))(model)
    left = _calls(model)
    if not left:
        model.functions.clear()
    for node in before:
        if node in left:
            trace.refused(node, "its operator set version differs from the model's")
        else:
            trace.fired(node)
    return len(before - left)


def _calls(model: ir.Model) -> set[ir.Node]:
    return {node for node in model.graph.all_nodes() if node.op_identifier() in model.functions}


def _compatible(function: ir.Function, model: ir.Model) -> bool:
    return all(
        model.opset_imports.get(domain, version) == version
        for domain, version in function.opset_imports.items()
    )
