"""ONNX's own backend interface (`onnx.backend.base`), so that ONNX's tests and other tools can run models here.

Every model is compiled to a library and run from it: before the first run where the model says all that a library fixes,
else at the first run, which shows the lengths of sequences, which optionals have a value and ranks that were not declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.backend.base as base
from onnx import numpy_helper

from ingot.compiler import check, compile
from ingot.errors import IngotError
from ingot.runtime import Session, load

Shapes = dict[str, tuple[int, ...] | None]

_WHOLE = {
    onnx.TensorProto.BOOL, onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32, onnx.TensorProto.INT64,
    onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64,
}  # fmt: skip


class Representation(base.BackendRep):
    """A model ready to run. inputs: the names of the inputs in the model's order, those with an initializer left out.

    Where the length of a sequence depends on the values of integer or boolean inputs, these are constants of a library,
    and other values make another one.
    """

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        constants = {tensor.name for tensor in model.graph.initializer}
        self._ports = [value for value in model.graph.input if value.name not in constants]
        self._model, self._options = model, options
        self._sessions: dict[object, Session] = {}
        self._fixed: list[str] = []
        self.inputs = [port.name for port in self._ports]
        if not any(map(_open, self._ports)):
            try:
                self._session({})
            except IngotError as error:
                if not self._can_fix(error):
                    raise

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, in order. inputs: an array (a list for a sequence, None for an absent optional) for each input in
        order, or by name.

        Raises IngotError as `ingot.compile` and `Session.run` do.
        """
        feeds = dict(inputs) if isinstance(inputs, dict) else dict(zip(self.inputs, inputs, strict=True))
        try:
            session = self._session(feeds)
        except IngotError as error:
            if not self._can_fix(error):
                raise
            session = self._session(feeds)
        return tuple(session.run(None, {k: v for k, v in feeds.items() if k not in self._fixed}))

    def _can_fix(self, error: IngotError) -> bool:
        """Whether the values of inputs may say what the model alone does not; from now on they are looked at."""
        if error.code != "structure-unknown" or self._fixed:
            return False
        self._fixed = [p.name for p in self._ports if p.type.tensor_type.elem_type in _WHOLE]
        return bool(self._fixed)

    def _session(self, feeds: Mapping[str, Any]) -> Session:
        """The library for inputs of this structure, compiled now if they are the first."""
        shapes: Shapes = {}
        for port in self._ports:
            if port.name in feeds and port.name not in self._fixed and _open(port):
                shapes |= _structure(port, feeds[port.name])
        values = {name: np.asarray(feeds[name]) for name in self._fixed if name in feeds}
        key = (*shapes.items(), *((name, v.shape, v.tobytes()) for name, v in values.items()))
        if key not in self._sessions:
            model = self._model
            if values:
                model = onnx.ModelProto()
                model.CopyFrom(self._model)
                model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in values.items())
            options = {**self._options, "shapes": {**(self._options.get("shapes") or {}), **shapes}}
            self._sessions[key] = load(compile(model, **options))
        return self._sessions[key]


def _open(port: onnx.ValueInfoProto) -> bool:
    """Whether only a run shows what an input is: a sequence, an optional, or a tensor of any rank."""
    return not port.type.HasField("tensor_type") or not port.type.tensor_type.HasField("shape")


def _structure(port: onnx.ValueInfoProto, value: Any) -> Shapes:
    """The shapes that `ingot.compile` takes for an input like this one."""
    if value is None:
        return {port.name: None}
    if isinstance(value, list | tuple):
        parts = {f"{port.name}.{i}": np.asarray(part).shape for i, part in enumerate(value)}
        return dict(parts) if parts else {port.name: ()}
    return {port.name: np.asarray(value).shape}


class Backend(base.Backend):
    """ingot for tools that speak ONNX's backend interface."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every part of the model can be compiled."""
        return cls.supports_device(device) and check(model).ok

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Representation:
        """Compiles a model, at its first run where that shows more; kwargs are those of `ingot.compile`.

        Raises IngotError as that does.
        """
        return Representation(model, kwargs)

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
