"""a graph  ->  the same graph with the shape and dtype of every value, as far as ONNX's own inference goes

Shapes that the file recorded for values of standard operators are dropped first: they may be stale. Large weights
take part by their shape only. Counts the values whose shape it learned. Runs once, at the start.
"""

from __future__ import annotations

import logging

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ingot.graph import edit


def apply(model: ir.Model) -> int:
    declared = {value: value.shape for graph in model.graphs() for value in graph.outputs}
    recorded = {out: out.shape for node in edit.nodes(model) for out in node.outputs}
    for value in recorded:
        value.shape = None
    _infer(model)
    for value, shape in declared.items():
        value.shape = _merged(value.shape, shape)
    return sum(value.shape is not None and value.shape != shape for value, shape in recorded.items())


def _infer(model: ir.Model) -> None:
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
