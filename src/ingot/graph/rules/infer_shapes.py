"""a graph  ->  the same graph with the shape and dtype of every value, as far as ONNX's own inference goes

Shapes that the file recorded for values of standard operators are dropped first: they may be stale; those that the user
gave stay. Large weights
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
    declared |= {value: shape for value, shape in recorded.items() if value.meta.get("given")}
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


MAX_PROPAGATED = 2**20
"""Elements of one value that ONNX's inference may compute, and the longest step of a Slice that it may take."""

_BY_VALUE = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Gather",
        "Mul",
        "Range",
        "Shape",
        "Size",
        "Slice",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    }
)
"""Operators whose results ONNX's inference computes where it has their operands; it knows nothing of what others give."""


def _strides_far(node: ir.Node) -> bool:
    """Whether the step of a Slice may be so long that inference by value, which adds it in 32 bits, leaves the tensor."""
    step = node.inputs[4] if node.op_type == "Slice" and len(node.inputs) > 4 else None
    if step is None or step.const_value is None:
        return step is not None and step.producer() is not None
    return any(abs(int(s)) > MAX_PROPAGATED for s in step.const_value.numpy().reshape(-1))


def _propagates_much(model: ir.Model) -> bool:
    """Whether inference by value could compute more than MAX_PROPAGATED elements of a value, which it keeps one by one."""
    lengths: dict[ir.Value | None, int] = {}

    def length(value: ir.Value | None) -> int:
        if value not in lengths:
            shape = None if value is None else value.shape
            known = shape is not None and len(shape) == 1 and isinstance(shape[0], int)
            lengths[value] = int(shape[0]) if known else 1  # type: ignore[index, arg-type]
        return lengths[value]

    for node in edit.nodes(model):
        sizes = [length(value) for value in node.inputs]
        size = sum(sizes) if node.op_type == "Concat" else max(sizes, default=1)
        size = size if node.op_type in _BY_VALUE else 1
        data = [None if v is None or v.const_value is None else v.const_value for v in node.inputs]
        at = _FILLERS.get(node.op_type)
        shape = data[at] if at is not None and len(data) > at else None
        if shape is not None and shape.size <= 64:
            size = math.prod(int(d) for d in shape.numpy().reshape(-1))
        if node.op_type == "Range" and len(data) == 3 and all(d is not None for d in data):
            start, stop, step = (float(d.numpy().reshape(-1)[0]) for d in data if d is not None)
            size = int(min(abs((stop - start) / step), 2**62)) if step and math.isfinite(stop - start) else 0
        if size > MAX_PROPAGATED or _strides_far(node):
            return True
        lengths.update(dict.fromkeys(node.outputs, size))
    return False


def _infer(model: ir.Model) -> None:
    _refuse_huge(model)
    logger = logging.getLogger("onnx_ir.passes.common.shape_inference")
    was, logger.disabled = logger.disabled, True
    try:
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=not _propagates_much(model))(model)
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
