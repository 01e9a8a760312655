"""a graph  ->  the same graph with the shape and dtype of every value, as far as ONNX's own inference goes

Shapes that the file recorded for values of standard operators are dropped first: they may be stale. Large weights
take part by their shape only. Counts the values whose shape it learned. Runs once, at the start.
"""

from __future__ import annotations

import logging
import math

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ingot.errors import IngotError
from ingot.frontends.check import MAX_ELEMENTS
from ingot.graph import edit


def apply(model: ir.Model) -> int:
    declared = {value: value.shape for graph in model.graphs() for value in graph.outputs}
    recorded = {out: out.shape for node in edit.nodes(model) for out in node.outputs}
    untyped = _untyped_sequences(model)
    for value in recorded:
        value.shape = None
    _infer(model)
    for out in untyped:
        out.type = None
    for value, shape in declared.items():
        value.shape = _merged(value.shape, shape)
    return sum(value.shape is not None and value.shape != shape for value, shape in recorded.items())


_SEQUENCES = (
    "Optional",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceMap",
    "SplitToSequence",
)
_PASS_ON = ("Identity", "If", "Loop", "OptionalGetElement")


def _untyped_sequences(model: ir.Model) -> list[ir.Value]:
    """Values without a type that may be sequences or optionals, for which onnx_ir would note the type of their tensors."""
    if next(edit.nodes(model, *_SEQUENCES), None) is None:
        return []
    return [o for node in edit.nodes(model, *_SEQUENCES, *_PASS_ON) for o in node.outputs if o.type is None]


_FILLERS = {"ConstantOfShape": 0, "Expand": 1}


def _refuse_huge(model: ir.Model) -> None:
    """ONNX's inference computes small-looking shape arithmetic by value, and would fill memory with a huge one."""
    for node in edit.nodes(model):
        at = _FILLERS.get(node.op_type)
        shape = node.inputs[at] if at is not None and len(node.inputs) > at else None
        if shape is None or shape.const_value is None or shape.const_value.size > 64:
            continue
        elements = math.prod(int(d) for d in shape.const_value.numpy().reshape(-1))
        if elements > MAX_ELEMENTS:
            raise IngotError(
                "model-too-large",
                f"{node.op_type} makes {elements:,} elements, more than {MAX_ELEMENTS:,}",
                where=node.name or node.op_type,
                remedy="check the shapes in the file, or give smaller ones",
            )


def _infer(model: ir.Model) -> None:
    _refuse_huge(model)
    logger = logging.getLogger("onnx_ir.passes.common.shape_inference")
    was, logger.disabled = logger.disabled, True
    try:
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    finally:
        logger.disabled = was


def _merged(inferred: ir.Shape | None, declared: ir.Shape | None) -> ir.Shape | None:
    """Integers that were inferred win, then what the model declares."""
    if inferred is None or declared is None or len(inferred) != len(declared):
        return inferred if inferred is not None else declared
    dims = [a if isinstance(a, int) or _unknown(b) else b for a, b in zip(inferred, declared, strict=True)]
    return ir.Shape(dims)


def _unknown(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and dim.value is None
