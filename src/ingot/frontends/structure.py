"""Inputs that are sequences or optionals: a library takes tensors, so each becomes as many as the caller says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from ingot.errors import IngotError

Shape = Sequence[int | str]
Group = tuple[str, str, int]
"""An input of the model: its name, "tensor", "sequence" or "absent", and how many tensors it is made of."""


def expand_inputs(model: ir.Model, shapes: Mapping[str, Shape | None]) -> dict[str, Shape]:
    """Put tensors in the place of sequence and optional inputs whose structure `shapes` gives; the shapes of tensors.

    A sequence `x` becomes the inputs `x.0`, `x.1` … for which there are shapes and a SequenceConstruct of them, none
    where `x` itself is given as (). An optional that is given as None is absent; one of a tensor with a declared
    shape need not be given. `model.meta["groups"]` then holds a `Group` for every input.
    Raises IngotError input-shape where something that is no optional is given as None.
    """
    left = dict(shapes)
    groups: list[Group] = []
    structured = False
    for value in list(model.graph.inputs):
        group = _expand(model.graph, value, left)
        structured = structured or group is not None
        groups.append(group or (str(value.name), "tensor", 1))
    if structured:
        model.meta["groups"] = groups
    tensors = {}
    for name, shape in left.items():
        if shape is None:
            raise IngotError(
                "input-shape", "it is no optional input", where=f"input {name}", remedy="give its shape"
            )
        tensors[name] = shape
    return tensors


def _expand(graph: ir.Graph, value: ir.Value, shapes: dict[str, Shape | None]) -> Group | None:
    """What an input became; None for a tensor, and where its structure is not known."""
    name, kind = str(value.name), value.type
    optional = isinstance(kind, ir.OptionalType)
    inner = kind.elem_type if isinstance(kind, ir.OptionalType) else kind
    if optional and name in shapes and shapes[name] is None:
        del shapes[name]
        of = ir.AttrTypeProto("type", ir.TypeAndShape(inner, value.shape))
        _replace(graph, value, [], ir.Node("", "Optional", [], [of]))
        return name, "absent", 0
    if isinstance(inner, ir.SequenceType):
        count = 0
        while f"{name}.{count}" in shapes:
            count += 1
        if not count and shapes.get(name) != ():
            return None
        shapes.pop(name, None)
        parts = [_tensor(f"{name}.{i}", inner.elem_type, value.shape) for i in range(count)]
        made = ir.node("SequenceConstruct", parts)
        if not parts:
            made = ir.node("SequenceEmpty", [], {"dtype": int(inner.dtype)})
        made.outputs[0].name = f"{name}.sequence"
        nodes = [made, ir.node("Optional", made.outputs)] if optional else [made]
        _replace(graph, value, parts, *nodes)
        return name, "sequence", count
    if optional and (name in shapes or value.shape is not None):
        part = _tensor(name, inner, value.shape)
        _replace(graph, value, [part], ir.node("Optional", [part]))
        return name, "tensor", 1
    return None


def _tensor(name: str, kind: ir.TypeProtocol | None, shape: ir.Shape | None) -> ir.Value:
    """An input; unknown dimensions of an element's shape are its own, whatever name they have."""
    dims = None if shape is None else ir.Shape(d if isinstance(d, int) else None for d in shape)
    return ir.val(name, shape=dims, type=kind)


def _replace(graph: ir.Graph, value: ir.Value, inputs: list[ir.Value], *nodes: ir.Node) -> None:
    """Let `inputs` and nodes that make `value` of them stand in the place of an input."""
    at, name = graph.inputs.index(value), value.name
    made = nodes[-1].outputs[0]
    value.replace_all_uses_with(made, replace_graph_outputs=True)
    graph.inputs.remove(value)
    made.name, made.type, made.shape = f"{name}.value", value.type, value.shape
    for offset, one in enumerate(inputs):
        graph.inputs.insert(at + offset, one)
    if len(graph):
        graph.insert_before(graph[0], nodes)
    else:
        graph.extend(nodes)
