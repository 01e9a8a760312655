"""LSTM, GRU and RNN: one kernel for all steps of one direction, a group of hidden units of a batch element a task.

The first wave of tasks copies the states, each later one is a step, or half of one where a GRU multiplies twice.
Constant weights are packed in the order of the loops; computed ones are read as they lie. Equations and gate order are ONNX's (LSTM: i o f c; GRU: z r h).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ingot.ir.index import Ix, ix, maximum, minimum
from ingot.ir.nodes import DTYPES, Const, Index, Load, Local, Op, Read, Splat, Value, as_index
from ingot.ir.program import Recurrent, Tensor
from ingot.kernels.builder import Builder, Built, Lane, Packed


def build_recurrent(builder: Builder, operation: Recurrent) -> Built:
    return _Layer(builder, operation).build()


class _Layer:
    def __init__(self, builder: Builder, operation: Recurrent) -> None:
        self.builder, self.operation = builder, operation
        self.gates, self.hidden = operation.gates, operation.hidden
        self.dtype = operation.output.dtype
        self.lanes = builder.target.lanes
        while self.lanes > 4 and self.hidden <= self.lanes // 2:
            self.lanes //= 2
        self.vectors = -(-self.hidden // self.lanes)
        self.batch, self.steps, _ = operation.output.shape
        self.slots = operation.last[-1]
        self.group = max(g for g in (1, 2, 4) if self.vectors % g == 0 and g * self.gates <= 12)

    def build(self) -> Built:
        builder, operation = self.builder, self.operation
        self.weights = self.bias = None
        if isinstance(operation.weight, np.ndarray):
            self.weights = builder.buffer(Packed("recurrent weights", self.packed(operation.weight)))
        if isinstance(operation.recurrent_bias, np.ndarray):
            bias = np.zeros(self.vectors * self.lanes, DTYPES[self.dtype])
            bias[: self.hidden] = operation.recurrent_bias
            self.bias = builder.buffer(Packed("recurrent bias", bias))
        parts = self.parts()
        groups = self.vectors // self.group
        waves = self.steps * len(parts) + 1
        wave, group, row = (builder.fresh_var(extent) for extent in (waves, groups, self.batch))
        task, tasks = builder.tasks([(wave, waves), (group, ix(groups)), (row, self.batch)])
        self.row, self.at = ix(row), ix(group)
        with builder.when(Op("eq", (Index(ix(wave)), Const(0, "i64")), "bool")):
            self.start()
        for i, part in enumerate(parts):
            mine = Op("gt", (Index(ix(wave)), Const(0, "i64")), "bool")
            if len(parts) > 1:
                turn = Op("eq", (Index(ix(wave) % len(parts)), Const((i + 1) % len(parts), "i64")), "bool")
                mine = Op("and", (mine, turn), "bool")
            with builder.when(mine):
                t = ix(builder.define((ix(wave) + (len(parts) - 1)) // len(parts) - 1, self.steps))
                self.slot = ix(builder.define(t % 2, 2))
                if operation.lengths is None:
                    self.step = self.at_step(t, self.steps)
                    part()
                else:
                    self.masked(operation.lengths, t, part, part is parts[-1])
        macs = self.gates * self.hidden * self.hidden / (groups * len(parts))
        return builder.finish(operation.op, task, tasks, macs / 25, wave=self.batch * groups)

    def packed(self, weight: np.ndarray) -> np.ndarray:
        """Constant weights as [group of vectors, from, gate, to]."""
        padded = np.zeros((self.gates, self.hidden, self.vectors * self.lanes), weight.dtype)
        padded[:, :, : self.hidden] = weight
        grouped = padded.reshape(self.gates, self.hidden, self.vectors // self.group, self.group * self.lanes)
        return np.ascontiguousarray(grouped.transpose(2, 1, 0, 3))

    def at_step(self, t: Ix, length: Ix) -> Ix:
        """Where the input and output of the t-th step lie in a sequence."""
        return ix(self.builder.define(length - 1 - t, self.steps)) if self.operation.reverse else t

    def masked(self, lengths: Tensor, t: Ix, part: Callable[[], None], last: bool) -> None:
        """A part of a step where the batch element's sequence has that step; else the last one sets the output to 0."""
        builder = self.builder
        given = as_index(builder.let(self.read(lengths, [self.row], None)))
        length = ix(builder.define(maximum(minimum(given, self.steps), 0), self.steps + 1))
        active = builder.let(Op("lt", (Index(t), Index(length)), "bool"))
        with builder.when(active):
            self.step = self.at_step(t, length)
            part()
        if last:
            zero = Const(0.0, self.dtype)
            with builder.when(Op("not", (active,), "bool")):
                self.vectors_of_group(
                    lambda v, j, lane: self.write(self.operation.output, [self.row, t, j], lane, zero)
                )

    def parts(self) -> list[Callable[[], None]]:
        """What computes a step, in waves of tasks."""
        if self.operation.op == "gru" and self.operation.linear_before_reset:
            return [self.gru_linear]
        return {"lstm": [self.lstm], "gru": [self.gru_reset, self.gru_blend], "rnn": [self.rnn]}[
            self.operation.op
        ]

    def vector(self, v: int) -> tuple[Ix, Lane]:
        """The hidden units in a vector of the group, and their lane."""
        spread = self.builder.fresh_var(self.lanes)
        first = (self.at * self.group + v) * self.lanes
        ragged = self.hidden % self.lanes != 0
        count = minimum(ix(self.hidden) - first, self.lanes) if ragged else None
        return first + ix(spread), Lane(spread, self.lanes, count)

    def vectors_of_group(self, body: Callable[[int, Ix, Lane], None]) -> None:
        """body gets the number of a vector of the group, the hidden units in it, and their lane."""
        for v in range(self.group):
            body(v, *self.vector(v))

    def read(self, tensor: Tensor, index: list[Ix], lane: Lane | None) -> Value:
        return self.builder.value(Read(tensor, tuple(index)), {}, lane)

    def write(self, tensor: Tensor, index: list[Ix], lane: Lane, value: Value) -> None:
        self.builder.store(tensor, index, {}, lane, value)

    def op(self, name: str, *args: Value) -> Value:
        return self.builder.let(Op(name, tuple(self.builder.splat(a, self.lanes) for a in args), self.dtype))

    def activation(self, i: int, value: Value, lane: Lane) -> Value:
        """f, g or h of a value."""
        return self.builder.value(self.operation.activations[i], {}, lane, value)

    def start(self) -> None:
        """The states become the last ones, and the hidden one what the first step reads."""

        def vector(v: int, j: Ix, lane: Lane) -> None:
            for state, last in zip(self.operation.state, self.operation.last, strict=False):
                self.write(last, [self.row, j], lane, self.read(state, [self.row, j], lane))
            self.write(
                self.slots,
                [ix(0), self.row, j],
                lane,
                self.read(self.operation.state[0], [self.row, j], lane),
            )

        self.vectors_of_group(vector)

    def old(self, j: Ix, lane: Lane | None) -> Value:
        """The hidden units that this step reads."""
        return self.read(self.slots, [self.slot, self.row, j], lane)

    def result(self, j: Ix, lane: Lane, value: Value) -> None:
        """The hidden units that this step computes."""
        self.write(self.operation.output, [self.row, self.step, j], lane, value)
        self.write(self.operation.last[0], [self.row, j], lane, value)
        self.write(self.slots, [1 - self.slot, self.row, j], lane, value)

    def products(self, source: Callable[[Ix, None], Value], gates: list[int]) -> list[list[Local]]:
        """The units that source reads times the weights of some gates, for the group's vectors: [gate][vector]."""
        builder = self.builder
        zero = Splat(Const(0.0, self.dtype), self.lanes)
        accs = [[builder.let(zero, "a") for _ in range(self.group)] for _ in gates]
        stride = self.gates * self.group * self.lanes
        base = None if self.weights is None else ix(builder.define(self.at * (self.hidden * stride)))
        with builder.loop(self.hidden, unroll=2) as k:
            h = builder.let(Splat(source(ix(k), None), self.lanes), "x")
            for i, gate in enumerate(gates):
                for v in range(self.group):
                    if base is not None:
                        at = base + ix(k) * stride + (gate * self.group + v) * self.lanes
                        weight: Value = Load(str(self.weights), at, self.dtype, self.lanes)
                    else:
                        assert isinstance(self.operation.weight, Tensor)
                        j, lane = self.vector(v)
                        weight = self.read(self.operation.weight, [ix(gate), ix(k), j], lane)
                    builder.assign(accs[i][v], Op("fma", (h, weight, accs[i][v]), self.dtype))
        return accs

    def gate(self, gate: int, acc: Local, j: Ix, lane: Lane) -> Value:
        """What goes into a gate's activation."""
        return self.op("add", acc, self.input(gate, j, lane))

    def input(self, gate: int, j: Ix, lane: Lane) -> Value:
        return self.read(self.operation.x, [self.row, self.step, j + gate * self.hidden], lane)

    def lstm(self) -> None:
        cell = self.operation.last[1]
        accs = self.products(self.old, [0, 1, 2, 3])

        def vector(v: int, j: Ix, lane: Lane) -> None:
            i, o, f, c = (self.gate(n, accs[n][v], j, lane) for n in range(4))
            old = self.read(cell, [self.row, j], lane)
            i = self.activation(0, self.peep(0, i, old, j, lane), lane)
            if self.operation.coupled:
                f = self.op("sub", Const(1.0, self.dtype), i)
            else:
                f = self.activation(0, self.peep(2, f, old, j, lane), lane)
            new = self.op("fma", f, old, self.op("mul", i, self.activation(1, c, lane)))
            self.write(cell, [self.row, j], lane, new)
            o = self.activation(0, self.peep(1, o, new, j, lane), lane)
            self.result(j, lane, self.op("mul", o, self.activation(2, new, lane)))

        self.vectors_of_group(vector)

    def peep(self, gate: int, value: Value, cell: Value, j: Ix, lane: Lane) -> Value:
        """What goes into a gate with what it sees of the cell."""
        if self.operation.peepholes is None:
            return value
        return self.op("fma", self.read(self.operation.peepholes, [ix(gate), j], lane), cell, value)

    def gru_reset(self) -> None:
        """The first half of a step: the update gate, and the hidden units times the reset gate."""
        reset, update = self.operation.last[1:3]
        accs = self.products(self.old, [0, 1])

        def vector(v: int, j: Ix, lane: Lane) -> None:
            z, r = (self.activation(0, self.gate(n, accs[n][v], j, lane), lane) for n in (0, 1))
            self.write(update, [self.row, j], lane, z)
            self.write(reset, [self.row, j], lane, self.op("mul", r, self.old(j, lane)))

        self.vectors_of_group(vector)

    def gru_blend(self) -> None:
        """The second half."""
        reset, update = self.operation.last[1:3]
        accs = self.products(lambda k, lane: self.read(reset, [self.row, k], lane), [2])

        def vector(v: int, j: Ix, lane: Lane) -> None:
            n = self.activation(1, self.gate(2, accs[0][v], j, lane), lane)
            self.blend(j, lane, self.read(update, [self.row, j], lane), n)

        self.vectors_of_group(vector)

    def gru_linear(self) -> None:
        accs = self.products(self.old, [0, 1, 2])

        def vector(v: int, j: Ix, lane: Lane) -> None:
            z, r = (self.activation(0, self.gate(n, accs[n][v], j, lane), lane) for n in (0, 1))
            inner: Value = accs[2][v]
            if self.bias is not None:
                split = j.split(lane.var)
                assert split is not None
                inner = self.op("add", inner, Load(self.bias, split[1], self.dtype, self.lanes))
            elif isinstance(self.operation.recurrent_bias, Tensor):
                inner = self.op("add", inner, self.read(self.operation.recurrent_bias, [j], lane))
            total = self.op("fma", r, inner, self.input(2, j, lane))
            self.blend(j, lane, z, self.activation(1, total, lane))

        self.vectors_of_group(vector)

    def blend(self, j: Ix, lane: Lane, z: Value, n: Value) -> None:
        """(1 - z) n + z h."""
        self.result(j, lane, self.op("fma", z, self.op("sub", self.old(j, lane), n), n))

    def rnn(self) -> None:
        accs = self.products(self.old, [0])

        def vector(v: int, j: Ix, lane: Lane) -> None:
            self.result(j, lane, self.activation(0, self.gate(0, accs[0][v], j, lane), lane))

        self.vectors_of_group(vector)
