"""Operator sets 1 to 6 -> 7: what attributes said about broadcasting and training, and attributes that became inputs.

Source: the versions of each operator in ONNX's Changelog.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ingot.errors import IngotError
from ingot.frontends.check import place, subgraphs

OLDEST = 7
"""The operator set that the rest of ingot starts from."""


def upgraded(model: ModelProto) -> ModelProto:
    """A checked model, or a copy of it in a newer operator set. Raises IngotError model-opset.

    Shapes that a rewrite needs come from ONNX's inference.
    """
    entries = [e for e in model.opset_import if e.domain in ("", "ai.onnx")]
    if min((e.version for e in entries), default=OLDEST if model.ir_version >= 3 else 1) >= OLDEST:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    for entry in [e for e in copy.opset_import if e.domain in ("", "ai.onnx")]:
        copy.opset_import.remove(entry)
    copy.opset_import.add(domain="", version=OLDEST)
    shapes = _shapes(onnx.shape_inference.infer_shapes(model).graph)
    for graph in _graphs(copy.graph):
        nodes = [made for node in graph.node for made in _upgraded(node, shapes)]
        del graph.node[:]
        graph.node.extend(nodes)
    return copy


def _graphs(graph: GraphProto) -> Iterable[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in subgraphs(attribute):
                yield from _graphs(inner)


def _shapes(graph: GraphProto) -> dict[str, list[int | None]]:
    """The shapes of the main graph's values, of those whose rank is known."""
    found: dict[str, list[int | None]] = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            found[value.name] = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    return found | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


@dataclass
class _Old:
    """A node while it is rewritten: its attributes, the shapes of values, and the nodes that go before it."""

    node: NodeProto
    attributes: dict[str, AttributeProto]
    shapes: Mapping[str, list[int | None]]
    before: list[NodeProto]

    def pop(self, name: str, default: Any = None) -> Any:
        attribute = self.attributes.pop(name, None)
        return default if attribute is None else helper.get_attribute_value(attribute)

    def put(self, name: str, value: Any) -> None:
        self.attributes[name] = helper.make_attribute(name, value)

    def shape(self, index: int) -> list[int | None]:
        name = self.node.input[index]
        if name not in self.shapes:
            raise self.error(f"its meaning depends on the rank of {name!r}, which is not known")
        return self.shapes[name]

    def insert(self, operator: str, inputs: list[str], index: int, **attributes: Any) -> None:
        """Let a new node make input `index`."""
        name = f"{self.node.output[0]}.input{index}"
        self.before.append(helper.make_node(operator, inputs, [name], **attributes))
        del self.node.input[index:]
        self.node.input.append(name)

    def unsqueeze(self, index: int, first: int, count: int) -> None:
        """Dimensions of 1 from `first` on in the last input."""
        if count > 0:
            self.insert("Unsqueeze", [self.node.input[index]], index, axes=list(range(first, first + count)))

    def error(self, cause: str) -> IngotError:
        return IngotError(
            "model-opset",
            f"it is of an operator set before {OLDEST}, and {cause}",
            where=place(self.node),
            remedy="convert the model with onnx.version_converter.convert_version(model, 17)",
        )


def _upgraded(node: NodeProto, shapes: Mapping[str, list[int | None]]) -> list[NodeProto]:
    old = _Old(node, {a.name: a for a in node.attribute}, shapes, [])
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    old.attributes.pop("consumed_inputs", None)
    if rule is not None:
        rule(old)
    del node.attribute[:]
    node.attribute.extend(old.attributes.values())
    return [*old.before, node]


def _broadcast(old: _Old) -> None:
    """The second operand's dimensions start at `axis` of the first's, or end with them."""
    broadcast, axis = old.pop("broadcast", 0), old.pop("axis")
    if not broadcast or axis is None:
        return
    rank, other = len(old.shape(0)), old.shape(1)
    old.unsqueeze(1, len(other), rank - axis % max(rank, 1) - len(other))


def _prelu(old: _Old) -> None:
    """A slope for each channel."""
    slope = old.shape(1)
    if slope != [1]:
        old.unsqueeze(1, len(slope), len(old.shape(0)) - 2)


def _batch_normalization(old: _Old) -> None:
    if not old.pop("is_test", 0):
        raise old.error("it normalises by the statistics of the batch, as in training")


def _cast(old: _Old) -> None:
    name = old.pop("to", b"").decode()
    try:
        old.put("to", TensorProto.DataType.Value(name))
    except ValueError:
        raise old.error(f"it casts to {name!r}, which is no dtype") from None


def _reshape(old: _Old) -> None:
    if "shape" in old.attributes:
        name = f"{old.node.output[0]}.shape"
        value = numpy_helper.from_array(np.array(old.pop("shape"), np.int64))
        old.before.append(helper.make_node("Constant", [], [name], value=value))
        old.node.input.append(name)


def _tile(old: _Old) -> None:
    if len(old.node.input) == 3:
        raise old.error("it repeats along one axis that is an input")


def _split(old: _Old) -> None:
    if len(old.node.input) == 2:
        raise old.error("its parts are an input")


def _upsample(old: _Old) -> None:
    if "scales" not in old.attributes:
        old.put("scales", [1.0, 1.0, old.pop("height_scale"), old.pop("width_scale")])


def _pad(old: _Old) -> None:
    if "paddings" in old.attributes:
        old.put("pads", list(old.pop("paddings")))


def _concat(old: _Old) -> None:
    old.put("axis", old.pop("axis", 1))


def _whole_power(old: _Old) -> None:
    power = old.pop("p", 2)
    if power != int(power):
        raise old.error(f"its norm has the exponent {power}")
    old.put("p", int(power))


def _drop(*names: str) -> Callable[[_Old], None]:
    def rule(old: _Old) -> None:
        for name in names:
            old.pop(name)

    return rule


_RULES: dict[str, Callable[[_Old], None]] = {
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "Pow", "Equal", "Greater", "Less", "And", "Or", "Xor"), _broadcast
    ),
    **dict.fromkeys(("RNN", "GRU", "LSTM"), _drop("output_sequence")),
    **dict.fromkeys(("LpPool", "GlobalLpPool"), _whole_power),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _drop("is_test"),
    "Gemm": _drop("broadcast"),
    "PRelu": _prelu,
    "Pad": _pad,
    "Reshape": _reshape,
    "Split": _split,
    "Tile": _tile,
    "Upsample": _upsample,
}
