"""a = f(x), b = f(x) in one graph, with equal attributes  ->  a = f(x), used for both

Refuses random operators, nodes with subgraphs, operators of other domains, and a second result that is a graph output
unless the first can take its name.
"""

from __future__ import annotations

from collections.abc import Hashable

import onnx_ir as ir

from ingot.graph import edit, trace

_RANDOM = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
_MAX_TENSOR = 4096


def apply(model: ir.Model) -> int:
    fired = 0
    first: dict[Hashable, ir.Node] = {}
    for node in edit.nodes(model):
        key = _key(node)
        if key is None:
            continue
        twin = first.setdefault(key, node)
        if twin is node:
            continue
        pairs = list(zip(node.outputs, twin.outputs, strict=True))
        if not all(edit.can_replace(mine, theirs) for mine, theirs in pairs):
            trace.refused(node, "it is an output of its graph, and so is its twin")
            continue
        for mine, theirs in pairs:
            edit.replace(mine, theirs)
        fired += trace.fired(node)
        edit.remove(node)
    return fired


def _key(node: ir.Node) -> Hashable | None:
    """Equal for nodes that compute the same, None for nodes that may not be merged."""
    if node.op_type in _RANDOM or (node.op_type == "Dropout" and len(node.inputs) > 2):
        return None
    attributes: list[tuple[str, Hashable]] = []
    for name, attribute in sorted(node.attributes.items()):
        if attribute.is_ref() or attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
            return None
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype == ir.DataType.STRING or tensor.nbytes > _MAX_TENSOR:
                return None
            attributes.append((name, (tensor.dtype, tensor.shape.numpy(), tensor.tobytes())))
        else:
            value = attribute.value
            attributes.append((name, tuple(value) if isinstance(value, list | tuple) else value))
    named = tuple(bool(out.name) for out in node.outputs)
    key = (node.graph, node.op_type, node.overload, tuple(map(id, node.inputs)), tuple(attributes), named)
    try:
        hash(key)
    except TypeError:
        return None
    return key
