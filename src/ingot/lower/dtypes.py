"""Which element types operators take."""

from __future__ import annotations

from functools import cache

import onnx

from ingot.errors import IngotError
from ingot.ir.nodes import DTYPES
from ingot.lower.operand import Node, Operand, SequenceOperand

MAX_VERSION = 1 << 30
"""Asks for the newest version of an operator."""
OF_STRINGS = frozenset({
    "ArrayFeatureExtractor", "Cast", "CastLike", "CategoryMapper", "CenterCropPad", "Compress", "Concat", "ConcatFromSequence", "DepthToSpace", "Equal",
    "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "If", "LabelEncoder", "Loop", "OneHot", "OneHotEncoder",
    "Optional", "OptionalGetElement", "OptionalHasElement", "Pad", "RegexFullMatch", "Reshape", "ReverseSequence", "Scan", "Scatter",
    "ScatterElements", "ScatterND", "SequenceAt", "SequenceConstruct", "SequenceErase", "SequenceInsert", "SequenceLength", "Shape",
    "Size", "Slice", "SpaceToDepth", "Split", "SplitToSequence", "Squeeze", "StringConcat", "StringNormalizer", "StringSplit",
    "TensorScatter", "TfIdfVectorizer", "Tile", "Transpose", "Trilu", "Unique", "Unsqueeze", "Where",
})  # fmt: skip
"""The operators that take tensors of strings."""


def check_types(node: Node) -> None:
    """Raise IngotError where an input is of a type that no version of the operator takes there, strings stand where it takes
    none, or two inputs that share a type in the operator's schema have different ones.

    An operator that ONNX gives strings and numbers alike moves or compares them, and is taken for all types.
    """
    given = [x.dtype for x in node.inputs if isinstance(x, Operand | SequenceOperand)]
    for i, x in enumerate(node.inputs):
        kinds = _allowed(node.operator, node.domain, i)
        if (
            isinstance(x, Operand)
            and kinds
            and not kinds >= {"string", "float"}
            and onnx_name(x.stored) not in kinds
        ):
            raise IngotError(
                "model-invalid",
                f"{node.operator}: input {i} is of dtype {onnx_name(x.stored)}, and must be of {', '.join(sorted(kinds))}",
                where=node.name,
                remedy="cast it to one of these (Cast)",
            )
    if "str" in given and node.operator not in OF_STRINGS:
        raise node.unsupported("strings", "encode them as numbers, as LabelEncoder does")
    found: dict[str, tuple[int, str]] = {}
    for i, (x, kind) in enumerate(zip(node.inputs, _formal_types(node), strict=False)):
        if not kind or not isinstance(x, Operand):
            continue
        first, dtype = found.setdefault(kind, (i, x.stored))
        if x.stored != dtype:
            raise IngotError(
                "model-invalid",
                f"{node.operator}: inputs {first} and {i} are of dtypes {dtype} and {x.stored}, and must be of one",
                where=node.name,
                remedy="cast one of them to the other's dtype",
            )


def _formal_types(node: Node) -> list[str]:
    """The type variable of each input in the operator's schema, "" for one that is of any type."""
    if not onnx.defs.has(node.operator, node.opset, node.domain):
        return []
    formal = onnx.defs.get_schema(node.operator, node.opset, node.domain).inputs
    if not formal:
        return []
    every = [formal[min(i, len(formal) - 1)] for i in range(len(node.inputs))]
    return [p.type_str if p.is_homogeneous and "(" not in p.type_str else "" for p in every]


@cache
def onnx_name(dtype: str) -> str:
    """What ONNX calls a dtype."""
    number = onnx.helper.np_dtype_to_tensor_dtype(DTYPES[dtype])
    return str(onnx.TensorProto.DataType.Name(number)).lower()


@cache
def _allowed(operator: str, domain: str, position: int) -> frozenset[str]:
    """The element types of tensors that some version of an operator takes for an input; none where it has no schema."""
    found: set[str] = set()
    version = MAX_VERSION
    while onnx.defs.has(operator, version, domain):
        schema = onnx.defs.get_schema(operator, version, domain)
        last = len(schema.inputs) - 1
        many = last >= 0 and schema.inputs[last].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
        for formal in schema.inputs[min(position, last) if many else position :][:1]:
            found |= {kind[kind.rindex("(") + 1 :].rstrip(")") for kind in formal.types if "tensor(" in kind}
        version = schema.since_version - 1
    return frozenset(found)
