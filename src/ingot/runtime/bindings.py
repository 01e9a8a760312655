"""Runs of arrays that stay where they are."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ingot.errors import IngotError
from ingot.runtime.library import address_of, from_buffer
from ingot.runtime.strings import ELEMENT

if TYPE_CHECKING:
    from ingot.runtime.session import Session


class Binding:
    """Arrays that stay where they are: each run reads what the inputs then hold and overwrites the outputs.

    inputs: by name, those given, or a copy of one that is not dense. outputs: in the model's order, those given and new ones.
    It has a context of its own; threads that run at the same time need a binding each. Strings cannot be bound, as they are
    converted in each run.
    """

    def __init__(
        self, session: Session, feeds: Mapping[str, Any], outputs: Mapping[str, np.ndarray[Any, Any]]
    ) -> None:
        if ELEMENT in (*session._input_dtypes, *session._output_dtypes):
            raise IngotError("unsupported", "strings cannot be bound", where=session._where, remedy="use run")
        state = session._free_state()
        weakref.finalize(self, session._idle.append, state)
        arrays = session._take(state, feeds)
        self.inputs = dict(zip(session._input_index, arrays, strict=True))
        session._check_output_names(outputs, session._output_index)
        made = [
            session._check_output(port, outputs[port.name], shape, dtype)
            if port.name in outputs
            else np.empty(shape, dtype)
            for port, (_, shape, dtype) in zip(session._outputs, state.made, strict=True)
        ]
        for i, array in enumerate(made):
            state.outputs[i] = address_of(from_buffer(array))
        self.outputs = session._extend(made)
        self._session, self._state = session, state
        self._call = session._library.run_fast
        self._arguments = state.context, state.input_table, state.output_table

    def run(self) -> list[np.ndarray[Any, Any]]:
        """One inference: `outputs`, cut to the sizes reached where those are known only while running.

        Raises IngotError index-range, run-failed.
        """
        status = self._call(*self._arguments)
        if status:
            self._session._library.check(status, self._session._where)
        if self._session._sizes_vary:
            return [self._session._cut(self._state, i, array) for i, array in enumerate(self.outputs)]
        return self.outputs


class IoBinding:
    """Inputs and outputs of a session, bound one by one, under the names of ONNX Runtime's `IOBinding`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._feeds: dict[str, Any] = {}
        self._wanted: dict[str, np.ndarray[Any, Any] | None] = {}
        self._binding: Binding | None = None
        self._results: list[np.ndarray[Any, Any]] = []

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray[Any, Any]) -> None:
        """Each run reads what the array then holds, or, of one that is not dense, what it holds now."""
        self._feeds[name] = arr_on_cpu
        self._binding = None

    def bind_output(
        self, name: str, device_type: str = "cpu", device_id: int = 0, *, array: Any = None
    ) -> None:
        """Asks for an output, written to `array`, or, without one, to an array made at the first run and kept."""
        if device_type != "cpu" or device_id:
            cause = f"there is no device {device_type}:{device_id}"
            raise IngotError("option-invalid", cause, where="bind_output", remedy="use cpu")
        self._wanted[name] = array
        self._binding = None

    def clear_binding_inputs(self) -> None:
        self._feeds, self._binding = {}, None

    def clear_binding_outputs(self) -> None:
        self._wanted, self._binding = {}, None

    def copy_outputs_to_cpu(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the outputs of the last run, in the order in which they were bound."""
        return [array.copy() for array in self.get_outputs()]

    def get_outputs(self) -> list[np.ndarray[Any, Any]]:
        """The outputs of the last run, in the order in which they were bound, where they lie."""
        return self._session._select(self._results, list(self._wanted)) if self._results else []

    def _run(self) -> None:
        if self._binding is None:
            given = {name: array for name, array in self._wanted.items() if array is not None}
            self._session._check_output_names(self._wanted, self._session._output_index)
            self._binding = self._session.bind(self._feeds, given)
        self._results = self._binding.run()
