"""ONNX's own backend interface (`onnx.backend.base`), so that ONNX's tests and other tools can run models here.

Every model is compiled to a library and run from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.backend.base as base

from ingot.compiler import compile
from ingot.runtime import Session, load


class Representation(base.BackendRep):
    """A compiled model. inputs: the names of the inputs in the model's order, those with an initializer left out."""

    def __init__(self, session: Session, inputs: Sequence[str]) -> None:
        self.session, self.inputs = session, list(inputs)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, in order. inputs: an array for each input in order, or by name. Raises IngotError as Session.run does."""
        feeds = dict(inputs) if isinstance(inputs, dict) else dict(zip(self.inputs, inputs, strict=True))
        return tuple(self.session.run(None, feeds))


class Backend(base.Backend):
    """ingot for tools that speak ONNX's backend interface."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every part of the model can be compiled."""
        from ingot.compiler import check

        return cls.supports_device(device) and check(model).ok

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Representation:
        """Compiles a model; kwargs are those of `ingot.compile`. Raises IngotError as that does."""
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [value.name for value in model.graph.input if value.name not in constants]
        return Representation(load(compile(model, **kwargs)), inputs)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Compiles a model and runs it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Compiles a model of one node, for inputs as those given, and runs it once."""
        names = [name for name in node.input if name]
        arrays = [np.asarray(array) for array in inputs]
        ports = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays, strict=True)
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", ports, results)
        opset = onnx.helper.make_opsetid(
            node.domain, kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        )
        opsets = (
            [opset]
            if not node.domain
            else [opset, onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version())]
        )
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=opsets), arrays, device, **kwargs)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Only the CPU."""
        return device.split(":")[0] == "CPU"


is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
