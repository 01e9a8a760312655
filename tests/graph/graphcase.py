"""Run one rule on a model written as ONNX text, and check that its outputs did not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from ingot.frontends import load_model
from ingot.graph import trace
from ingot.graph.guard import random_inputs
from ingot.graph.rules import infer_shapes, lift_constants
from ingot.testing import EXACT, Level, assert_close, lengths, reference

Array = np.ndarray[Any, np.dtype[Any]]


def parse(
    text: str, constants: Mapping[str, Array] | None = None, *, opset: int = 17, ir_version: int = 8
) -> ir.Model:
    """A loaded model. text: from the graph's name on. constants: arrays for graph inputs that become initializers."""
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "custom" : 1]>\n'
    proto = onnx.parser.parse_model(text if text.lstrip().startswith("<") else header + text)
    for name, array in (constants or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return load_model(proto)


@dataclass
class Outcome:
    """What one application did. refused: the reasons."""

    model: ir.Model
    fired: int
    refused: list[str]

    @property
    def ops(self) -> list[str]:
        return [node.op_type for node in self.model.graph.all_nodes()]

    def node(self, op_type: str) -> ir.Node:
        return next(node for node in self.model.graph.all_nodes() if node.op_type == op_type)

    def constant(self, name: str) -> Array:
        tensor = self.model.graph.initializers[name].const_value
        assert tensor is not None
        return tensor.numpy()


def apply(
    rule: ModuleType,
    text: str,
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    level: Level = EXACT,
    feed: Mapping[str, Array] | None = None,
    symbols: Mapping[str, int] | None = None,
    infer: bool = True,
    run: bool = True,
) -> Outcome:
    """Apply `rule` once, after the constants are lifted and shapes are inferred, and compare all outputs."""
    model = parse(text, constants, opset=opset)
    if rule is not lift_constants:
        lift_constants.apply(model)
    if infer:
        infer_shapes.apply(model)
    feeds = dict(feed) if feed is not None else random_inputs(model, symbols)
    interface = [[(v.name, v.dtype) for v in side] for side in (model.graph.inputs, model.graph.outputs)]
    before = reference(ir.to_proto(model), feeds) if run else []
    with trace.recording() as events:
        fired = rule.apply(model)
    assert sum(not event.reason for event in events) <= fired
    assert [
        [(v.name, v.dtype) for v in side] for side in (model.graph.inputs, model.graph.outputs)
    ] == interface
    after = ir.to_proto(model)
    if run:
        onnx.checker.check_model(after)
        for got, expected in zip(reference(after, feeds), before, strict=True):
            assert_close(got, expected, level, reduction=lengths(after)["reduction"])
    return Outcome(model, fired, [event.reason for event in events if event.reason])
