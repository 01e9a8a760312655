"""Where each tensor's elements lie: in an order of its axes, or blocked by a vector of channels.

By the rules here inputs and outputs of the model are row-major. What a Dense writes is blocked along its features, and
elementwise, window and row operations keep the layout of what they read, so conversions are needed only at the model's
ends. `assignment` starts from that and looks for something better among the `alternatives`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ingot.ir.index import Ix, ix, product, var, weighted_sum
from ingot.ir.nodes import Read, size_of
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Map,
    MatMul,
    Operation,
    Program,
    Recurrent,
    Reduce,
    Row,
    Tensor,
    WinogradInput,
    WinogradOutput,
)


@dataclass(frozen=True)
class Layout:
    """order: the axes from outermost to innermost. block: how many elements of axis `blocked` lie together, innermost.

    pitch: the innermost axis of a row-major tensor is rounded up to a multiple of this. spare: unused elements after all
    that lies inside one step of the blocked axis, so that steps are not a multiple of a page apart.
    """

    order: tuple[int, ...]
    blocked: int | None = None
    block: int = 1
    pitch: int = 1
    spare: int = 0

    def extents(self, shape: Sequence[Ix]) -> list[Ix]:
        """The physical extents, in order, the block last where there is one."""
        dims = [shape[a].ceildiv(self.block) if a == self.blocked else shape[a] for a in self.order]
        if self.blocked is not None:
            dims.append(ix(self.block))
        elif self.pitch > 1 and dims:
            dims[-1] = dims[-1].ceildiv(self.pitch) * self.pitch
        return dims

    def offset(self, index: Sequence[Ix], shape: Sequence[Ix]) -> Ix:
        """The position of an element, in elements from the start."""
        at = [index[a] // self.block if a == self.blocked else index[a] for a in self.order]
        if self.blocked is not None:
            at.append(index[self.blocked] % self.block)
        return weighted_sum(zip(at, self.strides(tuple(shape)), strict=True))

    @cache  # noqa: B019
    def strides(self, shape: tuple[Ix, ...]) -> tuple[Ix, ...]:
        """Elements between neighbours along each physical axis."""
        found = [ix(1)]
        for axis, extent in reversed(list(zip(self.order, self.extents(shape)[1:], strict=False))):
            found.append(found[-1] * extent + (self.spare if axis == self.blocked else 0))
        return tuple(reversed(found)) if shape else ()

    def linear_offset(self, origin: Sequence[Ix], shape: Sequence[Ix]) -> int | None:
        """What an origin adds to every offset, where that is one known number."""
        if any(not o.is_const for o in origin):
            return None
        if self.blocked is not None and origin[self.blocked].value % self.block:
            return None
        total = self.offset(origin, shape)
        return total.value if total.is_const else None

    def size(self, shape: Sequence[Ix]) -> Ix:
        """How many elements the storage holds, padding included."""
        return self.strides(tuple(shape))[0] * self.extents(shape)[0] if shape else ix(1)

    def describe(self) -> str:
        """Such as "0,1,2,3" or "0,1/16,2,3,16"."""
        parts = [f"{a}/{self.block}" if a == self.blocked else str(a) for a in self.order]
        if self.blocked is not None:
            parts.append(str(self.block) + (f"+{self.spare}" if self.spare else ""))
        return ",".join(parts)


def row_major(rank: int, pitch: int = 1) -> Layout:
    return Layout(tuple(range(rank)), pitch=pitch)


def blocked_by(rank: int, axis: int, block: int) -> Layout:
    """Blocked along an axis; a last axis goes outermost, so that neighbouring rows lie one block apart."""
    order = list(range(rank))
    if axis == rank - 1:
        order = [axis, *order[:-1]]
    return Layout(tuple(order), axis, block)


def natural_block(channels: Ix, lanes: int) -> int:
    """How many channels to keep together: a vector, or half of one where that wastes less."""
    half = max(lanes // 2, 4)
    if channels.is_const and 0 < channels.value % lanes <= half:
        return half
    return lanes


def assign(program: Program, lanes: int) -> dict[Tensor, Layout]:
    """A layout for every tensor that owns storage."""
    layouts: dict[Tensor, Layout] = {}
    edges = _region_edges(program)
    for tensor in program.inputs + program.outputs:
        layouts[tensor] = row_major(tensor.rank)
    wide = _matrix_operands(program)
    uses = program.uses()
    for operation in program.operations:
        for tensor in operation.inputs():
            if tensor.kind == "const":
                layouts.setdefault(tensor, row_major(tensor.rank))
        if isinstance(operation, Fill):
            continue
        for tensor in operation.writes():
            root = tensor.root()[0]
            if root not in layouts:
                last = _features_last(operation, uses) if root is tensor else None
                layouts[root] = last or _choose(operation, tensor, layouts, lanes, edges, wide)
    for operation in program.operations:
        layouts.setdefault(operation.output.root()[0], row_major(operation.output.rank))
    return layouts


def _features_last(operation: Operation, uses: Mapping[Tensor, Sequence[Operation]]) -> Layout | None:
    """The layout that puts a Dense's features innermost, where that makes plain copies of all that read the result."""
    output, readers = operation.output, uses.get(operation.output, [])
    if not isinstance(operation, Dense) or not readers:
        return None
    last = Layout((*(a for a in range(output.rank) if a != operation.feature), operation.feature))
    for reader in readers:
        read = reader.finish
        if type(reader) is not Map or not isinstance(read, Read):
            return None
        plain = row_major(reader.output.rank).offset(tuple(map(ix, reader.axes)), reader.output.shape)
        if last.offset(read.index, output.shape) != plain:
            return None
    return last


def _region_edges(program: Program) -> dict[Tensor, dict[int, set[Ix]]]:
    """Where regions start inside each whole, by axis."""
    edges: dict[Tensor, dict[int, set[Ix]]] = {}
    for operation in program.operations:
        root, origin = operation.output.root()
        if root is not operation.output:
            for axis, at in enumerate(origin):
                edges.setdefault(root, {}).setdefault(axis, set()).update({at})
                end = at + operation.output.shape[axis]
                if end != root.shape[axis]:
                    edges[root][axis].add(end)
    return edges


def _matrix_operands(program: Program) -> set[Tensor]:
    """Tensors that a MatMul writes, or that are read as rows by one product alone: row-major, in rows of whole vectors."""
    found = set()
    uses = program.uses()
    for operation in program.operations:
        if isinstance(operation, MatMul):
            found.add(operation.output.root()[0])
        if isinstance(operation, MatMul | Attention):
            rows = [(operation.b, operation.axes[-1] if isinstance(operation, MatMul) else operation.n)]
            if isinstance(operation, Attention):
                rows.append((operation.c, operation.axes[-1]))
            for value, column in rows:
                if (
                    isinstance(value, Read)
                    and value.tensor.kind == "temp"
                    and value.tensor.region is None
                    and uses[value.tensor] == [operation]
                    and value.index[-1] == ix(column)
                ):
                    found.add(value.tensor)
    return found


def _choose(
    operation: Operation,
    tensor: Tensor,
    layouts: dict[Tensor, Layout],
    lanes: int,
    edges: dict[Tensor, dict[int, set[Ix]]],
    matrices: set[Tensor],
) -> Layout:
    root = tensor.root()[0]
    if isinstance(operation, Attention) and tensor is not operation.output:
        return row_major(root.rank, lanes)
    if root in matrices and isinstance(operation, MatMul | Row | Map):
        return row_major(root.rank, lanes)
    axis: int | None = None
    if tensor.dtype == "str":
        return row_major(root.rank)
    if isinstance(operation, Dense):
        axis = operation.feature
    elif isinstance(operation, WinogradInput | WinogradOutput):
        axis = 1
    elif isinstance(operation, Recurrent):
        axis = root.rank - 1 if tensor is operation.output and operation.hidden >= 2 * lanes else None
    elif isinstance(operation, Map | Reduce | Row):
        axis = _inherited_axis(operation, layouts)
    if axis is None:
        return row_major(root.rank)
    if axis == root.rank - 1 and root.rank > 2 and not isinstance(operation, Dense | Recurrent):
        like = [layouts.get(r.tensor.root()[0]) for r in operation.reads()]
        if not any(k is not None and k.blocked == axis for k in like):
            return row_major(root.rank)
    return _blocks(root, axis, lanes, edges) or row_major(root.rank)


def _blocks(
    root: Tensor, axis: int, lanes: int, edges: Mapping[Tensor, Mapping[int, set[Ix]]]
) -> Layout | None:
    """Blocked along an axis, as far as the regions in it allow."""
    block = natural_block(root.shape[axis], lanes)
    for edge in edges.get(root, {}).get(axis, set()):
        while block > 1 and not (edge.is_const and edge.value % block == 0):
            block //= 2
    if block < 4 or (root.shape[axis].is_const and root.shape[axis].value < 3):
        return None
    made = blocked_by(root.rank, axis, block)
    item = size_of(root.dtype)
    step = made.strides(root.shape)[made.order.index(axis)]
    rows = axis == root.rank - 1 and root.shape[axis] != ix(block)
    same = step.is_const and step.value * item % PAGE == 0 and step.value > 0
    return replace(made, spare=SPARE // item) if rows and same else made


PAGE = 4096
SPARE = 256
"""Bytes. Addresses that are a multiple of a page apart share one set of the first cache, which holds 8 to 12 lines."""


def _inherited_axis(operation: Map | Reduce | Row, layouts: dict[Tensor, Layout]) -> int | None:
    """The output axis that walks the blocked axis of the largest blocked tensor read."""
    best: tuple[int, int] | None = None
    for read in operation.reads():
        layout = layouts.get(read.tensor.root()[0])
        if layout is None or layout.blocked is None:
            continue
        at = read.index[layout.blocked]
        for axis, variable in enumerate(operation.axes):
            split = at.split(variable)
            if (
                split is not None
                and split[0] == 1
                and split[1].is_const
                and split[1].value % layout.block == 0
            ):
                weight = _weight(read.tensor)
                if best is None or weight > best[0]:
                    best = weight, axis
    return None if best is None else best[1]


def _weight(tensor: Tensor) -> int:
    """Its elements; more than any has where their number is not known."""
    size = product(tensor.shape)
    return size.value if size.is_const else 1 << 40


FAMILIES = ("channels first", "channels last", "blocked")
"""The kinds of layout that are looked at: NCHW, NHWC, and NCHW with a vector of channels innermost."""


def alternatives(
    program: Program, rules: Mapping[Tensor, Layout], lanes: int
) -> dict[Tensor, dict[str, Layout]]:
    """For each tensor that need not lie as the rules say, its layouts by kind.

    Those are temporaries that any kernel may read and write, and inputs, which stay where they are but may be copied.
    """
    channels = _channel_axes(program)
    edges = _region_edges(program)
    fixed = _matrix_operands(program)
    for operation in program.operations:
        if isinstance(operation, WinogradInput):
            fixed.add(operation.output.root()[0])
        elif isinstance(operation, WinogradOutput):
            fixed.add(operation.products.root()[0])
        elif not isinstance(operation, Map | Reduce | Row | Dense | Fill):
            values = isinstance(operation, MatMul | Attention)
            fixed |= {t.root()[0] for t in operation.writes()}
            fixed |= set() if values else {t.root()[0] for t in operation.inputs()}
        fixed |= {t.root()[0] for t in operation.flags()}
    found = {}
    for tensor, axis in channels.items():
        if (
            tensor in fixed
            or tensor.kind not in ("temp", "input")
            or tensor.rank < 2
            or tensor.dtype == "str"
        ):
            continue
        others = [a for a in range(tensor.rank) if a != axis]
        first = Layout((*others[:1], axis, *others[1:]))
        by_kind = {"channels first": first, "channels last": Layout((*others, axis))}
        if tensor.rank == 2:
            by_kind = {"channels last": row_major(2)} if axis == 1 else {"channels first": row_major(2)}
        blocked = _blocks(tensor, axis, lanes, edges)
        if blocked is not None:
            by_kind["blocked"] = blocked
        same = {_places(layout, tensor): layout for layout in (*by_kind.values(), rules[tensor])}
        if len(same) > 1:
            found[tensor] = {kind: same[_places(layout, tensor)] for kind, layout in by_kind.items()}
    return found


def _places(layout: Layout, tensor: Tensor) -> tuple[Ix, Ix]:
    """What two layouts of a tensor that put every element in the same place have in common."""
    at = [ix(0) if d == ix(1) else ix(var(f"{a}", d)) for a, d in enumerate(tensor.shape)]
    return layout.offset(at, tensor.shape), layout.size(tensor.shape)


def _channel_axes(program: Program) -> dict[Tensor, int]:
    """Which axis of a tensor is its channels: features of a Dense, what a Dense sums over, and what such an axis becomes
    or comes from elsewhere."""
    found: dict[Tensor, int] = {}
    for operation in program.operations:
        root = operation.output.root()[0]
        if isinstance(operation, Dense):
            found.setdefault(root, operation.feature)
        elif isinstance(operation, WinogradInput | WinogradOutput):
            found.setdefault(root, 1)
        elif isinstance(operation, Map | Reduce | Row):
            for tensor, axis, own in _walked(operation):
                if found.get(tensor) == axis:
                    found.setdefault(root, own)
    for operation in reversed(program.operations):
        if isinstance(operation, Dense):
            axes = [a for a, i in enumerate(operation.x_index) if operation.channel in i.variables()]
            if len(axes) == 1:
                found.setdefault(operation.x.root()[0], axes[0])
        elif isinstance(operation, WinogradInput):
            found.setdefault(operation.x.root()[0], 1)
        elif isinstance(operation, Map | Reduce | Row):
            for tensor, axis, own in _walked(operation):
                if found.get(operation.output.root()[0]) == own:
                    found.setdefault(tensor, axis)
    return found


def _walked(operation: Map | Reduce | Row) -> list[tuple[Tensor, int, int]]:
    """(tensor, its axis, axis of the output) for each axis of what is read that one of the output walks alone, the largest
    tensor first."""
    found = []
    for read in operation.reads():
        for axis, at in enumerate(read.index):
            for own, variable in enumerate(operation.axes):
                if at.split(variable) is not None and variable in at.variables():
                    found.append((-_weight(read.tensor), read.tensor.root()[0], axis, own))
    found.sort(key=lambda one: one[0])
    return [(tensor, axis, own) for _, tensor, axis, own in found]
