"""LSTM, GRU and RNN: one kernel for all steps of one direction, a batch element a task.

Equations and gate order are ONNX's (LSTM: i o f c; GRU: z r h).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ingot.ir.index import Ix, ix, minimum
from ingot.ir.nodes import Const, Load, Local, Op, Read, Splat, Value
from ingot.ir.program import Recurrent, Tensor
from ingot.kernels.builder import Builder, Built, Lane, Packed


def build_recurrent(builder: Builder, operation: Recurrent) -> Built:
    return _Layer(builder, operation).build()


class _Layer:
    def __init__(self, builder: Builder, operation: Recurrent) -> None:
        self.builder, self.operation = builder, operation
        self.gates, self.hidden = operation.weight.shape[0], operation.weight.shape[1]
        self.lanes = builder.target.lanes
        while self.lanes > 4 and self.hidden <= self.lanes // 2:
            self.lanes //= 2
        self.vectors = -(-self.hidden // self.lanes)
        self.steps, self.batch, _ = operation.output.shape
        self.group = max(g for g in (1, 2, 4) if self.vectors % g == 0 and g * self.gates <= 12)

    def build(self) -> Built:
        builder, operation = self.builder, self.operation
        width = self.vectors * self.lanes
        padded = np.zeros((self.gates, self.hidden, width), np.float32)
        padded[:, :, : self.hidden] = operation.weight
        grouped = padded.reshape(self.gates, self.hidden, self.vectors // self.group, self.group * self.lanes)
        self.weights = builder.buffer(
            Packed("recurrent weights", np.ascontiguousarray(grouped.transpose(2, 1, 0, 3)))
        )
        self.bias = None
        if operation.recurrent_bias is not None:
            bias = np.zeros(width, np.float32)
            bias[: self.hidden] = operation.recurrent_bias
            self.bias = builder.buffer(Packed("recurrent bias", bias))
        row = builder.fresh_var(self.batch)
        task, tasks = builder.tasks([(row, self.batch)])
        self.row = ix(row)
        for state, last in zip(operation.state, operation.last, strict=False):
            self.copy(state, [], last, [])
        with builder.loop(self.steps) as t:
            step = ix(builder.define(self.steps - 1 - ix(t), self.steps)) if operation.reverse else ix(t)
            self.step(step)
        work = (
            float(self.gates * self.hidden * self.hidden)
            / 12
            * (self.steps.value if self.steps.is_const else 32)
        )
        return builder.finish(operation.op, task, tasks, work)

    def vector_loop(self, body: Callable[[Ix, Lane], None]) -> None:
        """Over the hidden units, a vector at a time; body gets the index with its lane."""
        with self.builder.loop(self.vectors) as v:
            self.at_vector(ix(v), body)

    def at_vector(self, v: Ix, body: Callable[[Ix, Lane], None]) -> None:
        spread = self.builder.fresh_var(self.lanes)
        count = (
            None if self.hidden % self.lanes == 0 else minimum(ix(self.hidden) - v * self.lanes, self.lanes)
        )
        body(v * self.lanes + ix(spread), Lane(spread, self.lanes, count))

    def copy(self, source: Tensor, at: list[Ix], target: Tensor, to: list[Ix]) -> None:
        """Copy this batch element's hidden units from source[at] to target[to]."""

        def vector(j: Ix, lane: Lane) -> None:
            self.write(target, [*to, self.row, j], lane, self.read(source, [*at, self.row, j], lane))

        self.vector_loop(vector)

    def read(self, tensor: Tensor, index: list[Ix], lane: Lane | None) -> Value:
        return self.builder.value(Read(tensor, tuple(index)), {}, lane)

    def write(self, tensor: Tensor, index: list[Ix], lane: Lane, value: Value) -> None:
        self.builder.store(tensor, index, {}, lane, value)

    def op(self, name: str, *args: Value) -> Value:
        return self.builder.let(Op(name, tuple(self.builder.splat(a, self.lanes) for a in args), "f32"))

    def products(self, source: Tensor, group: Ix, gates: list[int]) -> list[list[Local]]:
        """source (batch row) times the weights of some gates, for the vectors of a group: [gate][vector]."""
        builder = self.builder
        zero = Splat(Const(0.0, "f32"), self.lanes)
        accs = [[builder.let(zero, "a") for _ in range(self.group)] for _ in gates]
        stride = self.gates * self.group * self.lanes
        base = builder.define(group * (self.hidden * stride))
        with builder.loop(self.hidden, unroll=2) as k:
            h = builder.let(Splat(self.read(source, [self.row, ix(k)], None), self.lanes), "x")
            for i, gate in enumerate(gates):
                for v in range(self.group):
                    at = ix(base) + ix(k) * stride + (gate * self.group + v) * self.lanes
                    weight = Load(self.weights, at, "f32", self.lanes)
                    builder.assign(accs[i][v], Op("fma", (h, weight, accs[i][v]), "f32"))
        return accs

    def gate_input(self, step: Ix, gate: int, j: Ix, lane: Lane) -> Value:
        return self.read(self.operation.x, [step, self.row, j + gate * self.hidden], lane)

    def step(self, step: Ix) -> None:
        getattr(self, f"_{self.operation.op}")(step)
        self.copy(self.operation.output, [step], self.operation.last[0], [])

    def groups(self, body: Callable[[Ix], None]) -> None:
        with self.builder.loop(self.vectors // self.group) as g:
            body(ix(g))

    def _lstm(self, step: Ix) -> None:
        hidden, cell = self.operation.last[:2]

        def group(g: Ix) -> None:
            accs = self.products(hidden, g, [0, 1, 2, 3])
            for v in range(self.group):

                def vector(j: Ix, lane: Lane, v: int = v) -> None:
                    i, o, f, c = (
                        self.op("add", accs[n][v], self.gate_input(step, n, j, lane)) for n in range(4)
                    )
                    old = self.read(cell, [self.row, j], lane)
                    new = self.op(
                        "fma",
                        self.op("sigmoid", f),
                        old,
                        self.op("mul", self.op("sigmoid", i), self.op("tanh", c)),
                    )
                    self.write(cell, [self.row, j], lane, new)
                    out = self.op("mul", self.op("sigmoid", o), self.op("tanh", new))
                    self.write(self.operation.output, [step, self.row, j], lane, out)

                self.at_vector(g * self.group + v, vector)

        self.groups(group)

    def _gru(self, step: Ix) -> None:
        hidden = self.operation.last[0]
        if self.operation.linear_before_reset:
            self.groups(lambda g: self._gru_linear(step, hidden, g))
            return
        scratch, update = self.operation.last[1:3]

        def first(g: Ix) -> None:
            accs = self.products(hidden, g, [0, 1])
            for v in range(self.group):

                def vector(j: Ix, lane: Lane, v: int = v) -> None:
                    z, r = (
                        self.op("sigmoid", self.op("add", accs[n][v], self.gate_input(step, n, j, lane)))
                        for n in (0, 1)
                    )
                    self.write(update, [self.row, j], lane, z)
                    self.write(
                        scratch,
                        [self.row, j],
                        lane,
                        self.op("mul", r, self.read(hidden, [self.row, j], lane)),
                    )

                self.at_vector(g * self.group + v, vector)

        def second(g: Ix) -> None:
            accs = self.products(scratch, g, [2])
            for v in range(self.group):

                def vector(j: Ix, lane: Lane, v: int = v) -> None:
                    n = self.op("tanh", self.op("add", accs[0][v], self.gate_input(step, 2, j, lane)))
                    self._blend(step, j, lane, self.read(update, [self.row, j], lane), n, hidden)

                self.at_vector(g * self.group + v, vector)

        self.groups(first)
        self.groups(second)

    def _gru_linear(self, step: Ix, hidden: Tensor, g: Ix) -> None:
        accs = self.products(hidden, g, [0, 1, 2])
        for v in range(self.group):

            def vector(j: Ix, lane: Lane, v: int = v) -> None:
                z, r = (
                    self.op("sigmoid", self.op("add", accs[n][v], self.gate_input(step, n, j, lane)))
                    for n in (0, 1)
                )
                inner: Value = accs[2][v]
                if self.bias is not None:
                    split = j.split(lane.var)
                    assert split is not None
                    inner = self.op("add", inner, Load(self.bias, split[1], "f32", self.lanes))
                n = self.op("tanh", self.op("fma", r, inner, self.gate_input(step, 2, j, lane)))
                self._blend(step, j, lane, z, n, hidden)

            self.at_vector(g * self.group + v, vector)

    def _blend(self, step: Ix, j: Ix, lane: Lane, z: Value, n: Value, hidden: Tensor) -> None:
        """(1 - z) n + z h."""
        old = self.read(hidden, [self.row, j], lane)
        out = self.op("fma", z, self.op("sub", old, n), n)
        self.write(self.operation.output, [step, self.row, j], lane, out)

    def _rnn(self, step: Ix) -> None:
        hidden = self.operation.last[0]

        def group(g: Ix) -> None:
            accs = self.products(hidden, g, [0])
            for v in range(self.group):

                def vector(j: Ix, lane: Lane, v: int = v) -> None:
                    total = self.op("add", accs[0][v], self.gate_input(step, 0, j, lane))
                    relu = self.operation.activations[0] == "Relu"
                    out = self.op("max", total, Const(0.0, "f32")) if relu else self.op("tanh", total)
                    self.write(self.operation.output, [step, self.row, j], lane, out)

                self.at_vector(g * self.group + v, vector)

        self.groups(group)
