"""What the rules share: finding nodes, reading constants, replacing values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]
Dim = int | ir.SymbolicDim

MAX_GROWTH = 16 << 20
"""Most bytes that one application of a rule may add to a model."""


def opset(model: ir.Model) -> int:
    """The version of the default operator set."""
    return model.opset_imports.get("", 1)


def nodes(model: ir.Model, *op_types: str) -> Iterator[ir.Node]:
    """Nodes of the default domain with one of `op_types` (all when none is given), in graph order, then subgraphs'.

    Nodes that are removed meanwhile are skipped; nodes that are added meanwhile are not visited.
    """
    for graph in list(model.graphs()):
        for node in list(graph):
            if node.domain == "" and (not op_types or node.op_type in op_types) and node.graph is not None:
                yield node


def pairs(
    model: ir.Model, outer: Collection[str], inner: Collection[str]
) -> Iterator[tuple[ir.Node, ir.Node]]:
    """Nodes of `outer` whose first input a node of `inner` makes, and that node."""
    for node in nodes(model, *outer):
        value = input_at(node, 0)
        producer = value.producer() if value is not None else None
        if producer is not None and producer.op_type in inner and not producer.domain:
            yield node, producer


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is an initializer that no caller can override."""
    return (
        value is not None
        and value.is_initializer()
        and not value.is_graph_input()
        and value.const_value is not None
        and value.const_value.dtype != ir.DataType.STRING
    )


def constant(value: ir.Value | None) -> Array | None:
    """The array of a constant, not to be written to, or None."""
    if value is None or not is_constant(value):
        return None
    assert value.const_value is not None
    return value.const_value.numpy()


def integers(value: ir.Value | None) -> list[int] | None:
    """The elements of a constant of integers, or None."""
    array = constant(value)
    if array is None or array.dtype.kind not in "iu":
        return None
    return [int(element) for element in array.reshape(-1)]


def nbytes(value: ir.Value | None) -> int:
    """Bytes of a constant, 0 for anything else."""
    if value is None or not is_constant(value):
        return 0
    assert value.const_value is not None
    return value.const_value.nbytes


def dims(value: ir.Value | None) -> list[Dim] | None:
    """The dimensions of a value of known rank."""
    return None if value is None or value.shape is None else list(value.shape)


def static_dims(value: ir.Value | None) -> list[int] | None:
    """The dimensions of a value whose shape is fully known."""
    found = dims(value)
    if found is None:
        return None
    known = [dim for dim in found if isinstance(dim, int)]
    return known if len(known) == len(found) else None


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two dimensions are known to be equal."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return a.value is not None and a.value == b.value


def same_dims(a: Sequence[Dim] | None, b: Sequence[Dim] | None) -> bool:
    """Whether two shapes are known to be equal."""
    return a is not None and b is not None and len(a) == len(b) and all(map(same_dim, a, b))


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """The input of a node, None when it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def only_user(value: ir.Value) -> ir.Node | None:
    """The one node that uses the value once, or None: also when the value is an output of its graph."""
    uses = value.uses()
    if len(uses) != 1 or value.is_graph_output():
        return None
    return next(iter(uses)).node


def pads_itself(node: ir.Node) -> bool:
    """Whether the pads of a convolution or a pooling follow from the size of its input."""
    return node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")


def used_outputs(node: ir.Node) -> list[int]:
    """Indices of the outputs that a node or the caller reads."""
    return [i for i, out in enumerate(node.outputs) if out.uses() or out.is_graph_output()]


def attribute_graphs(node: ir.Node) -> list[ir.Graph]:
    """The subgraphs that a node holds."""
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs += attribute.as_graphs()
    return graphs


def can_replace(old: ir.Value, new: ir.Value) -> bool:
    """Whether `replace` would succeed."""
    if not old.is_graph_output():
        return True
    return new.producer() is not None and new.graph is old.graph and not new.is_graph_output()


def replace(old: ir.Value, new: ir.Value) -> bool:
    """Let every user of `old` use `new`. False, and nothing changed, when `old` is an output that `new` cannot be.

    A graph output keeps its name: `new` takes it, which needs a node in the same graph that produces it.
    """
    if not can_replace(old, new):
        return False
    _merge_types(old, new)
    if old.is_graph_output():
        name = old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = f"{name}.replaced"
        new.name = name
    else:
        old.replace_all_uses_with(new)
    return True


def _merge_types(old: ir.Value, new: ir.Value) -> None:
    if new.type is None:
        new.type = old.type
    if old.shape is None or (new.shape is not None and len(new.shape) != len(old.shape)):
        return
    if new.shape is None:
        new.shape = old.shape.copy()
        return
    merged = [
        b if isinstance(a, ir.SymbolicDim) and (isinstance(b, int) or a.value is None) else a
        for a, b in zip(new.shape, old.shape, strict=True)
    ]
    new.shape = ir.Shape(merged)


def remove(node: ir.Node) -> None:
    """Take a node whose outputs nobody uses out of its graph."""
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def remove_unused(nodes: Sequence[ir.Node]) -> None:
    """Take those of `nodes`, each after the nodes it reads, out whose outputs nobody uses."""
    for node in reversed(nodes):
        if not used_outputs(node):
            remove(node)


def bypass(node: ir.Node, value: ir.Value) -> bool:
    """Let `value` stand for the first output of `node` and remove the node. False when that cannot be."""
    if not replace(node.outputs[0], value):
        return False
    remove(node)
    return True


def swap(inner: ir.Node, node: ir.Node, x: ir.Value) -> ir.Value:
    """node(inner(x))  ->  inner(node(x)), both of one output, that of `inner` used by `node` alone.

    Returns what `node` gives, which now has the type of x; its shape is still the old result's.
    """
    middle, out, graph = inner.outputs[0], node.outputs[0], node.graph
    assert graph is not None
    for index, value in enumerate(node.inputs):
        if value is middle:
            node.replace_input_with(index, x)
    inputs = list(inner.inputs)
    new = ir.Node(
        inner.domain, inner.op_type, inputs, list(inner.attributes.values()), name=inner.name, num_outputs=1
    )
    result = new.outputs[0]
    remove(inner)
    result.name, result.type, result.shape = middle.name, out.type, out.shape
    graph.insert_after(node, new)
    replace(out, result)
    for index, value in enumerate(inputs):
        if value is x:
            new.replace_input_with(index, out)
    out.type = x.type
    return out


class Names:
    """Fresh value names for one model, and the domains that it uses."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._taken: set[str | None] | None = None

    def fresh(self, base: str) -> str:
        """`base`, or `base` with a number, whichever no value of the model has."""
        if self._taken is None:
            self._taken = set()
            for graph in self._model.graphs():
                self._taken.update(graph.initializers)
                self._taken.update(value.name for value in graph.inputs)
                self._taken.update(out.name for node in graph for out in node.outputs)
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def use_domain(self, domain: str) -> None:
        """Let the model have operators of `domain`."""
        self._model.opset_imports.setdefault(domain, 1)

    def add_constant(
        self, graph: ir.Graph, base: str, array: Array, dtype: ir.DataType | None = None
    ) -> ir.Value:
        """A new initializer of `graph`."""
        return register(graph, self.fresh(base), array, dtype)

    def set_constant(self, node: ir.Node, index: int, array: Array, suffix: str) -> None:
        """Let input `index` of `node` be `array`.

        A constant that only this node uses keeps its name and gets the new data; else a new constant
        `<old name or output>.<suffix>` takes its place.
        """
        value = input_at(node, index)
        if value is not None and is_constant(value) and only_user(value) is node:
            tensor = ir.Tensor(array, dtype=value.dtype, name=value.name)
            value.const_value, value.shape = tensor, ir.Shape(array.shape)
            return
        graph = node.graph
        assert graph is not None
        if value is not None and value.name:
            base = f"{value.name}.{suffix}"
        else:
            base = f"{node.outputs[0].name}.{suffix}"
        dtype = value.dtype if value is not None else ir.DataType.from_numpy(array.dtype)
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        node.replace_input_with(index, self.add_constant(graph, base, array, dtype))


def register(graph: ir.Graph, name: str, array: Array, dtype: ir.DataType | None = None) -> ir.Value:
    """A new initializer of `graph` with a name that is known to be free."""
    tensor = ir.Tensor(np.asarray(array, order="C"), dtype=dtype, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def fold(node: ir.Node, array: Array) -> bool:
    """Replace a node of one output, which is no graph output, by a constant of that output's name."""
    out, graph = node.outputs[0], node.graph
    if out.is_graph_output() or graph is None or not out.name:
        return False
    name = out.name
    out.name = f"{name}.folded"
    value = register(graph, name, array)
    out.replace_all_uses_with(value)
    remove(node)
    return True


def elements(shape: Sequence[int]) -> int:
    """How many elements a shape has."""
    return math.prod(shape)
