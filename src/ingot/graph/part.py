"""A part of a model as a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from ingot.graph.edit import Array


def uses(node: onnx.NodeProto) -> list[str]:
    """The values that a node reads, those that its subgraphs take from outside included."""
    return list(dict.fromkeys(name for name in _reads(node) if name))


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            made = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in _reads(inner) if name not in made)
                made.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in made)


def producers(model: onnx.ModelProto) -> dict[str, int]:
    """The position of the node that makes each value of the main graph."""
    return {name: i for i, node in enumerate(model.graph.node) for name in node.output if name}


def before(model: onnx.ModelProto, nodes: Iterable[int], most: int | None = None) -> set[int]:
    """The nodes, and those that make what they read, `most` steps back or all the way."""
    made = producers(model)
    found = set(nodes)
    front = set(found)
    while front and (most is None or most > 0):
        front = {made[name] for i in front for name in uses(model.graph.node[i]) if name in made} - found
        found |= front
        most = None if most is None else most - 1
    return found


def part(
    model: onnx.ModelProto, nodes: Collection[int], outputs: Sequence[str], values: Mapping[str, Array]
) -> onnx.ModelProto:
    """The model of some nodes, by position, with the values named as outputs.

    What the nodes read and do not make becomes an input: as the model declares it, or of the dtype and shape that it has
    in `values`. Constants stay constants.
    """
    graph = model.graph
    chosen = [graph.node[i] for i in sorted(nodes)]
    made = {name for node in chosen for name in node.output}
    needed = dict.fromkeys(name for node in chosen for name in uses(node) if name not in made)
    needed |= dict.fromkeys(name for name in outputs if name not in made)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    declared = {value.name: value for value in graph.input}
    fixed = {tensor.name for tensor in constants}
    inputs = [declared.get(name) or _declare(name, values[name]) for name in needed if name not in fixed]
    result = onnx.ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions
    )
    result.graph.CopyFrom(
        onnx.GraphProto(name=graph.name or "part", node=chosen, initializer=constants, input=inputs)
    )
    known = {value.name: value for value in (*graph.output, *graph.value_info)}
    for name in outputs:
        result.graph.output.append(known.get(name) or _output(name, values.get(name)))
    return result


def _output(name: str, array: Array | None) -> onnx.ValueInfoProto:
    """A value of this array's dtype and rank."""
    if array is None:
        return onnx.ValueInfoProto(name=name)
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, [None] * array.ndim)


def _declare(name: str, array: Array) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype)
    return onnx.helper.make_tensor_value_info(name, kind, array.shape)
