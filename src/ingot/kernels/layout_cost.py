"""What an operation is estimated to take with its tensors in given layouts: cycles of one core, whole numbers.

For each access the addresses of one vector are looked at: it is one load, a broadcast, or a load for each lane
(`access`). Which vectors a kernel makes is the rule of its generator (`nest`, `reduce`, `row`, `dense`, `winograd`);
estimates of tiles and of transforms are theirs too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ingot.ir.index import Var, ix
from ingot.ir.nodes import Read, Value, size_of, walk
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Loop,
    Map,
    MatMul,
    Operation,
    Reduce,
    Row,
    Tensor,
    WinogradInput,
    WinogradOutput,
)
from ingot.ir.work import picoseconds
from ingot.kernels.access import EVEN, Accesses, Layouts, Sample, Walk, tested
from ingot.kernels.dense import width_of
from ingot.kernels.elementwise import value_cost
from ingot.kernels.reduce import IN_FLIGHT, LATENCY
from ingot.kernels.tiles import rank
from ingot.kernels.use_winograd import INPUT_CYCLES, OUTPUT_CYCLES
from ingot.schedule.layout import PAGE, Layout
from ingot.target import Target

VECTOR = {Walk.NEXT: 1.0, Walk.SAME: 0.5, Walk.NEAR: 3.0}
LANE = {Walk.APART: 1.2, Walk.ANYHOW: 2.0}
"""Cycles to load or store a vector, or each of its lanes."""
TURNED = 6.0
"""Cycles that a vector of a square takes to be turned."""
SINGLE = 3.0
"""Cycles that a lane takes which is tested, loaded and computed on its own, besides its arithmetic."""
UNBLOCKED = 0.03
"""Of a product's time: what it takes longer with x, or with the result, in a layout that is not blocked, besides what is counted.
An allowance for what the estimate leaves out, so that blocks stay where nothing speaks against them."""
LINE, SETS, WAYS = 64, 64, 8
"""Bytes of a line, and the first cache."""
FETCH, MISS, LOST = 2.0, 4.0, 4.0
"""Cycles for a line from the second cache, for a page that the first translation cache has lost, and for a line that
others of its set displaced."""
NEAR_BYTES, FAR_BYTES = 32.0, 8.0
"""Bytes a cycle from the second cache, and from beyond it."""
PASSES = {"softmax": 3, "log_softmax": 3, "layer_norm": 3, "rms_norm": 2}
FOLD = 20.0
"""Cycles to combine the lanes of a sum."""
CYCLES_PER_PS = 3.7e-3


@dataclass(frozen=True)
class _Vectors:
    """Vectors of `width` elements, `count` of them in all. inner: how many follow each other in the innermost loop.
    whole: whether all are full."""

    sample: Sample
    width: int
    count: int
    inner: int = 1
    whole: bool = True


class LayoutCost:
    """Estimates operations. sizes: values of the symbols."""

    def __init__(self, target: Target, sizes: Mapping[str, int]) -> None:
        self._target, self._at = target, Accesses(sizes)
        self._kept: dict[tuple[Any, ...], Any] = {}

    def __call__(self, operation: Operation, layouts: Layouts) -> int:
        """The cycles of all turns of the loops around an operation, as far as their number is known."""
        if not self._elements(operation.output):
            return 0
        turns = 1
        for guard in operation.guard:
            if isinstance(guard, Loop) and guard.trips is not None and guard.trips.is_const:
                turns *= max(guard.trips.value, 1)
        return round(turns * self._estimate(operation, layouts))

    def _estimate(self, operation: Operation, layouts: Layouts) -> float:
        if isinstance(operation, Map):
            return max(self._memory(operation, layouts), self._map(operation, layouts))
        if isinstance(operation, Reduce):
            return max(self._memory(operation, layouts), self._reduce(operation, layouts))
        if isinstance(operation, Row):
            return max(self._memory(operation, layouts), self._row(operation, layouts))
        if isinstance(operation, Fill):
            return self._fill(operation, layouts)
        if isinstance(operation, Dense):
            return self._dense(operation, layouts)
        if isinstance(operation, WinogradInput):
            return self._transform(operation, operation.x, operation.output, INPUT_CYCLES, layouts)
        if isinstance(operation, WinogradOutput):
            cost = self._transform(operation, operation.output, operation.products, OUTPUT_CYCLES, layouts)
            return cost + self._ends(operation, layouts)
        rough = self._rough(operation)
        if isinstance(operation, MatMul | Attention):
            column = operation.axes[-1] if isinstance(operation, MatMul) else operation.n
            rough += self._scalars(operation, layouts) + self._rows(operation, operation.b, column, layouts)
        if isinstance(operation, Attention):
            rough += self._rows(operation, operation.c, operation.axes[-1], layouts)
        return rough

    def _rough(self, operation: Operation) -> float:
        try:
            return self._at.size(picoseconds(operation)) * CYCLES_PER_PS
        except (AssertionError, LookupError):
            return 0.0

    def _elements(self, tensor: Tensor) -> int:
        return math.prod(map(self._at.size, tensor.shape))

    def _extents(self, variables: tuple[Var, ...]) -> int:
        return math.prod(map(self._at.extent, variables))

    def _memory(self, operation: Map | Reduce | Row, layouts: Layouts) -> float:
        """Cycles in which its tensors pass once, of those that are read no more than the loops reach."""
        over = operation.over if isinstance(operation, Reduce) else ()
        domain = self._elements(operation.output) * self._extents(over)
        total = 0
        for tensor in (operation.output, *operation.inputs()):
            layout = layouts[tensor.root()[0]]
            size = 1
            for axis, extent in enumerate(tensor.shape):
                block = layout.block if axis == layout.blocked else 1
                size *= -(-self._at.size(extent) // block) * block
            total += (size if tensor is operation.output else min(size, domain)) * size_of(tensor.dtype)
        far = max(total - self._target.l2, 0)
        return (total - far) / NEAR_BYTES + far / FAR_BYTES

    # Vectors

    def _along(self, operation: Operation, variable: Var, width: int, start: int = 0) -> Sample:
        """Points of `width` neighbours along a variable."""
        key = (operation, variable, width, start)
        if key not in self._kept:
            moving = {variable: start + np.arange(width)}
            self._kept[key] = self._at.sample(operation.axes, _summed(operation), moving)
        found: Sample = self._kept[key]
        return found

    def _blocks(self, operation: Operation, axis: int, width: int) -> Sample:
        """Points along the second block of an axis, where there is one."""
        blocks = -(-self._at.size(operation.output.shape[axis]) // width)
        return self._along(operation, operation.axes[axis], width, width * min(1, blocks - 1))

    def _vectors(self, operation: Map | Reduce, layouts: Layouts, *values: Value) -> _Vectors | None:
        """Those that `nest_of` makes; None for single elements."""
        layout = layouts[operation.output.root()[0]]
        ladder = self._ladder(operation, layout)
        if layout.blocked is not None:
            return ladder[0]
        best = None
        for vectors in ladder:
            if self._stored(operation, layouts, vectors.sample) is not Walk.NEXT:
                break
            if not EVEN.issuperset(self._at.reads(values, layouts, vectors.sample)):
                break
            best = vectors
        return best

    def _stored(self, operation: Operation, layouts: Layouts, sample: Sample) -> Walk:
        return self._at.walk(operation.output, tuple(map(ix, operation.axes)), layouts, sample)

    def _ladder(self, operation: Map | Reduce, layout: Layout) -> list[_Vectors]:
        """Vectors of a blocked output; of another one those along its innermost axis, along the two innermost as one, and
        so on."""
        key = (operation, layout)
        if key not in self._kept:
            self._kept[key] = (
                self._blocked(operation, layout)
                if layout.blocked is not None
                else self._joined(operation, layout)
            )
        found: list[_Vectors] = self._kept[key]
        return found

    def _blocked(self, operation: Map | Reduce, layout: Layout) -> list[_Vectors]:
        assert layout.blocked is not None
        axis, width = layout.blocked, layout.block
        shape = [self._at.size(d) for d in operation.output.shape]
        whole = shape[axis] % width == 0
        shape[axis] = -(-shape[axis] // width)
        inner = next((shape[a] for a in reversed(layout.order) if shape[a] != 1), 1)
        return [_Vectors(self._blocks(operation, axis, width), width, math.prod(shape), inner, whole)]

    def _joined(self, operation: Map | Reduce, layout: Layout) -> list[_Vectors]:
        shape = [self._at.size(d) for d in operation.output.shape]
        order = [a for a in layout.order if shape[a] != 1]
        made = []
        size = 1
        for depth in range(1, len(order) + 1):
            row, size = size, size * shape[order[-depth]]
            width = self._target.lanes
            while width > max(size, 4):
                width //= 2
            if size < 4:
                continue
            start = max(row - width // 2, 0) if depth > 1 else 0
            at = min(start, size - width) + np.arange(width)
            moving = {}
            for axis in reversed(order[-depth:]):
                moving[operation.axes[axis]] = at % shape[axis]
                at = at // shape[axis]
            sample = self._at.sample(operation.axes, _summed(operation), moving)
            inner = -(-size // width)
            made.append(
                _Vectors(sample, width, math.prod(shape) // max(size, 1) * inner, inner, size % width == 0)
            )
        return made

    # Operations

    def _map(self, operation: Map, layouts: Layouts) -> float:
        value, elements = operation.finish, self._elements(operation.output)
        cost = value_cost(value) / 3
        vectors = self._vectors(operation, layouts, value)
        if vectors is not None:
            if tested(value, vectors.sample.changing):
                return vectors.count * vectors.width * (cost + SINGLE)
            reads = self._at.reads([value], layouts, vectors.sample)
            moved = [*reads, self._stored(operation, layouts, vectors.sample)]
            return vectors.count * (cost + sum(_cycles(w, vectors.width) for w in moved))
        ladder = self._ladder(operation, layouts[operation.output.root()[0]])
        for vectors in ladder:
            walks = self._at.reads([value], layouts, vectors.sample)
            if vectors.whole and Walk.APART not in walks and Walk.ANYHOW not in walks:
                return vectors.count * (cost + 1 + sum(_cycles(w, vectors.width) for w in walks))
        if ladder and not tested(value, ladder[0].sample.changing):
            vectors = ladder[0]
            reads = self._at.reads([value], layouts, vectors.sample)
            if self._turns(operation, layouts):
                return vectors.count * (cost + TURNED + len(reads))
            if {*EVEN, Walk.APART}.issuperset(reads):
                return vectors.count * (cost + 1 + sum(_cycles(w, vectors.width) for w in reads))
        return elements * (cost + SINGLE)

    def _turns(self, operation: Map, layouts: Layouts) -> bool:
        """Whether squares are read along another axis than they are written along."""
        order = layouts[operation.output.root()[0]].order
        for axis in [a for a in order if operation.output.shape[a] != ix(1)][:-1]:
            size = operation.output.shape[axis]
            if not size.is_const or size.value % 4 or size.value == 0:
                continue
            width = next(w for w in (16, 8, 4) if size.value % w == 0)
            sample = self._along(operation, operation.axes[axis], min(width, self._target.lanes))
            walks = self._at.reads([operation.finish], layouts, sample)
            if Walk.NEXT in walks and EVEN.issuperset(walks):
                return True
        return False

    def _fill(self, operation: Fill, layouts: Layouts) -> float:
        border = self._elements(operation.output) - self._elements(operation.inner)
        return border / layouts[operation.output.root()[0]].block

    def _reduce(self, operation: Reduce, layouts: Layouts) -> float:
        """Vectors along the output where its value is read in vectors, else along what is reduced, else single elements."""
        value, finish = operation.value, operation.finish
        steps, elements = self._extents(operation.over), self._elements(operation.output)
        each, last = value_cost(value) / 2, value_cost(finish) / 3 + 1
        if operation.op in ("argmax", "argmin"):
            return elements * (steps * LATENCY + last)
        vectors = self._vectors(operation, layouts, value, finish)
        if vectors is not None and not tested(value, vectors.sample.changing):
            walks = self._at.reads([value], layouts, vectors.sample)
            if EVEN.issuperset(walks):
                strips = layouts[operation.output.root()[0]].blocked is None and not vectors.whole
                together = 1 if strips else min(vectors.inner, IN_FLIGHT)
                loads = sum(_cycles(w, vectors.width) for w in walks)
                done = sum(
                    _cycles(w, vectors.width) for w in self._at.reads([finish], layouts, vectors.sample)
                )
                return vectors.count * (steps * max(each, loads, LATENCY / together) + last + done)
        reads = len([n for n in walk(value) if isinstance(n, Read)])
        if self._folds(operation, layouts):
            return elements * (steps / self._target.lanes * max(LATENCY, reads + each) + last + FOLD)
        return elements * (steps * max(LATENCY, reads * 0.5 + 2 * each) + last)

    def _folds(self, operation: Reduce, layouts: Layouts) -> bool:
        """Whether vectors along something that is reduced are read evenly."""
        lanes = self._target.lanes
        for variable in operation.over:
            if self._at.extent(variable) < 2 * lanes or tested(operation.value, frozenset((variable,))):
                continue
            walks = self._at.reads([operation.value], layouts, self._along(operation, variable, lanes))
            if Walk.NEXT in walks and EVEN.issuperset(walks):
                return True
        return False

    def _row(self, operation: Row, layouts: Layouts) -> float:
        """All passes over the rows, in vectors along them or of neighbouring ones."""
        value, finish, output = operation.value, operation.finish, operation.output
        layout = layouts[output.root()[0]]
        axis, width = self._row_axis(operation, layout), layout.block
        if layout.blocked is None:
            width = self._target.lanes
        shape = [self._at.size(d) for d in output.shape]
        shape[axis] = -(-shape[axis] // width)
        sample = self._blocks(operation, axis, width)
        loads = sum(_cycles(w, width) for w in self._at.reads([value], layouts, sample))
        done = sum(_cycles(w, width) for w in self._at.reads([finish], layouts, sample))
        stored = _cycles(self._stored(operation, layouts, sample), width)
        again = loads if isinstance(value, Read) else stored
        later = (PASSES[operation.op] - 1) * (again + (4.0 if "softmax" in operation.op else 1.0))
        first = value_cost(value) / 3 + loads + (0.0 if isinstance(value, Read) else stored)
        cost = math.prod(shape) * (first + later + value_cost(finish) / 3 + done + stored)
        if operation.axes[axis] not in operation.over:
            return cost
        return cost + FOLD * PASSES[operation.op] * self._elements(output) / max(
            self._extents(operation.over), 1
        )

    def _row_axis(self, operation: Row, layout: Layout) -> int:
        """The innermost axis; where that is normalised and rows are short, the next one that is not."""
        if layout.blocked is not None:
            return layout.blocked
        inner = layout.order[-1]
        if (
            operation.axes[inner] in operation.over
            and self._extents(operation.over) < self._target.lanes // 2
        ):
            kept = [a for a in layout.order if operation.axes[a] not in operation.over]
            return next((a for a in reversed(kept) if operation.output.shape[a] != ix(1)), inner)
        return inner

    def _dense(self, operation: Dense, layouts: Layouts) -> float:
        output, feature = operation.output, operation.feature
        layout = layouts[output.root()[0]]
        products, width, across, vectors = self._tile(operation, layout)
        sample = self._blocks(operation, feature, width)
        ends = _cycles(self._stored(operation, layouts, sample), width) - 1
        ends += sum(_cycles(w, width) for w in self._at.reads([operation.finish], layouts, sample))
        features: int = operation.weight.shape[-1]
        positions = self._elements(output) // features
        blocks = -(-features // width)
        steps = _steps(operation)
        arriving = (
            steps * self._arrival(operation, layouts, across) * positions / across * -(-blocks // vectors)
        )
        away = (layout.blocked is None) + (layouts[operation.x.root()[0]].blocked is None)
        return products * (1 + UNBLOCKED * away) + arriving + positions * blocks * ends

    def _tile(self, operation: Dense, layout: Layout) -> tuple[float, int, int, int]:
        """(cycles of all products, lanes, positions of a tile, vectors of a tile), as `dense` chooses them."""
        output, feature, lanes = operation.output, operation.feature, self._target.lanes
        features = operation.weight.shape[-1]
        group = self._group(operation)
        width = width_of(operation, layout, lanes, group)
        key = (operation, width, "tile")
        if key not in self._kept:
            extents = [d for a, d in enumerate(output.shape) if a not in (feature, operation.batched)]
            row, column = [ix(1), ix(1), *extents][-2:]
            if column == ix(1):
                row, column = column, row
            vectors = -(-min(group, features) // width)
            from_memory = operation.weight.nbytes > self._target.l2
            cost, tile = rank(
                self._target, _steps(operation), row, column, vectors, width < lanes, from_memory=from_memory
            )[0]
            covered = (
                (row.value if row.is_const else 1)
                * (column.value if column.is_const else 64)
                * vectors
                * width
            )
            total = self._elements(output) // features * -(-features // width) * width
            across = min(tile.rows * tile.columns, max(self._at.size(row) * self._at.size(column), 1))
            self._kept[key] = cost * total / max(covered, 1), width, across, tile.vectors
        found: tuple[float, int, int, int] = self._kept[key]
        return found

    def _group(self, operation: Dense) -> int:
        """How many of the first features read the same elements of x."""
        features: int = operation.weight.shape[-1]
        variable = operation.axes[operation.feature]
        read = [i for i in operation.x_index if variable in i.variables()]
        key = (operation, "group")
        if key not in self._kept:
            sample = self._along(operation, variable, features)
            same = np.ones(features, bool)
            for e in read:
                found = self._at.number(e, sample)
                same &= found == found[0]
            self._kept[key] = features if same.all() else int(np.argmin(same))
        number: int = self._kept[key]
        return number

    def _arrival(self, operation: Dense, layouts: Layouts, across: int) -> float:
        """Cycles that a step of a tile waits for lines of x, beyond those of a blocked x, which `tile_cost` has."""
        output = operation.output
        skipped = (operation.feature, operation.batched)
        column = next(
            (a for a in reversed(range(output.rank)) if a not in skipped and output.shape[a] != ix(1)), None
        )
        channels = min(self._at.extent(operation.channel), 16)
        key = (operation, across, "tile of x")
        if key not in self._kept:
            moving = {
                operation.axes[operation.feature]: 0,
                operation.channel: np.arange(channels).reshape(-1, 1),
            }
            if column is not None:
                width = min(across, self._at.size(output.shape[column]))
                moving[operation.axes[column]] = np.arange(width).reshape(1, -1)
            self._kept[key] = self._at.sample(operation.axes, _summed(operation), moving)
        offsets = self._at.offsets(operation.x, operation.x_index, layouts, self._kept[key])
        if offsets is None or not np.size(offsets):
            return 0.0
        at = np.atleast_2d(offsets) * size_of(operation.x.dtype)
        lines = np.unique(at // LINE)
        crowded = bool(np.unique(lines % SETS, return_counts=True)[1].max() > WAYS)
        pages = len(np.unique(at[:, 0] // PAGE)) == len(at) > 1 and self._at.extent(operation.channel) > SETS
        fetched = FETCH * max(len(lines) - at.shape[1], 0) / len(at)
        return float(fetched) + (LOST * at.shape[1] if crowded else 0.0) + (MISS if pages else 0.0)

    def _transform(
        self,
        operation: WinogradInput | WinogradOutput,
        image: Tensor,
        planes: Tensor,
        cycles: Mapping[int, float],
        layouts: Layouts,
    ) -> float:
        """Of all tiles; the image takes a load or store for each lane where its channels do not lie together."""
        n = operation.m + operation.r - 1
        width = layouts[planes.root()[0]].block
        key = (operation, width, "channels")
        if key not in self._kept:
            self._kept[key] = Sample({operation.axes[1]: np.arange(width)})
        index = (ix(0), ix(operation.axes[1]), ix(0), ix(0))
        touched = _cycles(self._at.walk(image, index, layouts, self._kept[key]), width) - 1
        images, channels, *_ = map(self._at.size, image.shape)
        tiles = images * math.prod(map(self._at.size, operation.tiles))
        elements = (n if image is not operation.output else operation.m) ** 2
        return tiles * -(-channels // width) * (n * n * cycles[n] + elements * touched)

    def _ends(self, operation: WinogradOutput, layouts: Layouts) -> float:
        """Of what the epilogue reads."""
        width = layouts[operation.products.root()[0]].block
        sample = self._blocks(operation, 1, width)
        reads = sum(_cycles(w, width) for w in self._at.reads([operation.finish], layouts, sample))
        return reads * self._elements(operation.output) / width

    def _scalars(self, operation: MatMul | Attention, layouts: Layouts) -> float:
        """Of the lines of the operand that is read an element at a time, where each has one of k only."""
        lanes = self._target.lanes
        walks = self._at.reads([operation.a], layouts, self._along(operation, operation.k, lanes))
        apart = sum(w not in EVEN for w in walks)
        return apart * FETCH * self._extents((*operation.axes[:-1], operation.k))

    def _rows(self, operation: MatMul | Attention, value: Value, column: Var, layouts: Layouts) -> float:
        """Of the copy of an operand that is not made of rows of whole vectors (`operands`)."""
        assert isinstance(value, Read)
        lanes, extent = self._target.lanes, self._at.extent(column)
        while extent <= lanes // 2 and lanes > 4:
            lanes //= 2
        found = self._at.walk(value.tensor, value.index, layouts, self._along(operation, column, lanes))
        if found is Walk.NEXT and (extent % lanes == 0 or layouts[value.tensor.root()[0]].pitch >= lanes):
            return 0.0
        return self._elements(value.tensor) / lanes * (_cycles(found, lanes) + 1)


def _cycles(found: Walk, width: int) -> float:
    """To load or store a vector."""
    return VECTOR[found] if found in VECTOR else LANE[found] * width


def _summed(operation: Operation) -> list[Var]:
    """The variables of an operation that are no axes."""
    inner = [getattr(operation, name, None) for name in ("k", "n", "channel")]
    more = (*getattr(operation, "taps", ()), *(operation.over if isinstance(operation, Reduce) else ()))
    return [v for v in (*inner, *more) if isinstance(v, Var)]


def _steps(operation: Dense) -> int:
    groups = operation.weight.shape[0] if operation.batched is not None else 1
    return int(operation.weight.size // max(groups * operation.weight.shape[-1], 1))
