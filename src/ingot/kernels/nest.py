"""The loop nest over an output tensor in its physical order, and its vector axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ingot.ir.index import Ix, Var, ix, minimum, product, substitute
from ingot.ir.nodes import Read, Value, has_text, reindex, walk
from ingot.ir.program import Tensor
from ingot.kernels.builder import Builder, Lane, pattern

FARTHEST = 1 << 20
"""Elements of a vector lie at most so far apart."""


@dataclass
class Nest:
    """loops: (variable, extent), outermost first. mapping: each axis of the output by the loop variables and the lane.

    lane: the vector axis inside the innermost loop; with `strip` the innermost loop counts whole vectors of a row of
    `strip` elements, the last of which may be partial.
    """

    loops: list[tuple[Var, Ix]]
    mapping: dict[Var, Ix]
    lane: Lane | None = None
    strip: Ix | None = None
    fixed: dict[Var, Ix] = field(default_factory=dict)


def nest_of(builder: Builder, output: Tensor, axes: Sequence[Var], values: Sequence[Value]) -> Nest:
    """The nest for computing `output[axes]` from `values`.

    Neighbouring loops that every access walks evenly become one; so do the innermost ones where vectors across them
    need each tensor in one vector's reach only. There are no vectors of strings.
    """
    root, _ = output.root()
    layout = builder.layouts[root]
    loops: list[tuple[Var, Ix]] = []
    mapping: dict[Var, Ix] = {}
    lane: Lane | None = None
    scalar = any(map(has_text, values))
    for axis in layout.order:
        extent = output.shape[axis]
        if axis == layout.blocked and not scalar:
            outer = builder.fresh_var(extent.ceildiv(layout.block))
            inner = builder.fresh_var(layout.block)
            lane = Lane(inner, layout.block)
            loops.append((outer, extent.ceildiv(layout.block)))
            mapping[axes[axis]] = ix(outer) * layout.block + ix(inner)
        else:
            variable = builder.fresh_var(extent)
            loops.append((variable, extent))
            mapping[axes[axis]] = ix(variable)
    nest = Nest([(v, e) for v, e in loops if e != ix(1)], mapping)
    ones = {v: ix(0) for v, e in loops if e == ix(1)}
    nest.mapping = {a: substitute(m, ones) for a, m in mapping.items()}
    if lane is not None:
        nest.lane = lane
        assert layout.blocked is not None
        channels = output.shape[layout.blocked]
        ragged = not (channels.is_const and channels.value % layout.block == 0)
        if ragged and any(builder.overruns(reindex(v, nest.mapping), lane) for v in values):
            block = nest.mapping[axes[layout.blocked]].split(lane.var)
            assert block is not None
            lane.count = minimum(channels - block[1], layout.block)
    _merge(builder, nest, output, axes, values)
    if lane is None and not scalar:
        _strip(builder, nest, output, axes, values)
        if nest.lane is None:
            _join(builder, nest, output, axes, values)
    return nest


def _flats(
    builder: Builder, mapping: dict[Var, Ix], output: Tensor, axes: Sequence[Var], values: Sequence[Value]
) -> list[Ix]:
    """Every buffer offset in the body, with the data that run-time indices depend on."""
    found = [builder.flat(output, [mapping[a] for a in axes])[1]]
    for value in values:
        placed = reindex(value, mapping)
        for node in walk(placed):
            if isinstance(node, Read):
                found.append(builder.flat(node.tensor, node.index)[1])
            elif hasattr(node, "index") and not isinstance(node, Read):
                found.append(node.index)
    return found


def _merge(
    builder: Builder, nest: Nest, output: Tensor, axes: Sequence[Var], values: Sequence[Value]
) -> None:
    i = len(nest.loops) - 2
    while i >= 0:
        (outer, outer_extent), (inner, inner_extent) = nest.loops[i], nest.loops[i + 1]
        joined = builder.fresh_var(outer_extent * inner_extent)
        even = True
        for flat in _flats(builder, nest.mapping, output, axes, values):
            a, b = flat.split(outer), flat.split(inner)
            if a is None or b is None or ix(a[0]) != inner_extent * b[0]:
                even = False
                break
        if even:
            change = {outer: ix(joined) // inner_extent, inner: ix(joined) % inner_extent}
            nest.mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
            if nest.lane is not None and nest.lane.count is not None:
                nest.lane.count = substitute(nest.lane.count, change)
            nest.loops[i : i + 2] = [(joined, outer_extent * inner_extent)]
        i -= 1


def _strip(
    builder: Builder,
    nest: Nest,
    output: Tensor,
    axes: Sequence[Var],
    values: Sequence[Value],
    farthest: int = 1,
) -> None:
    """Vectorise the innermost loop of a row-major nest, where it is long enough and walked evenly, elements lying at
    most so far apart."""
    if not nest.loops:
        return
    inner, extent = nest.loops[-1]
    lanes = builder.target.lanes
    while extent.is_const and lanes > extent.value and lanes > 4:
        lanes //= 2
    if extent.is_const and extent.value < 4:
        return
    blocks = extent.ceildiv(lanes)
    outer, lane = builder.fresh_var(blocks), builder.fresh_var(lanes)
    change = {inner: ix(outer) * lanes + ix(lane)}
    mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
    for flat in _flats(builder, mapping, output, axes, values):
        split = flat.split(lane)
        if split is None or not 0 <= split[0] <= farthest:
            return
    nest.mapping = mapping
    nest.loops[-1] = (outer, blocks)
    nest.lane = Lane(lane, lanes)
    if not (extent.is_const and extent.value % lanes == 0):
        nest.strip = extent


def space(builder: Builder, nest: Nest, output: Tensor, axes: Sequence[Var], values: Sequence[Value]) -> None:
    """Vectors of elements that lie apart, along the innermost loop, or the one around it where that has few steps."""
    extent = nest.loops[-1][1]
    few = extent.is_const and extent.value < 4 and len(nest.loops) > 1
    if few:
        nest.loops[-2:] = nest.loops[:-3:-1]
    _strip(builder, nest, output, axes, values, FARTHEST)
    if few and nest.lane is None:
        nest.loops[-2:] = nest.loops[:-3:-1]


def _join(builder: Builder, nest: Nest, output: Tensor, axes: Sequence[Var], values: Sequence[Value]) -> None:
    """Vectors across several of the innermost loops of a row-major nest."""
    lanes = builder.target.lanes
    for count in range(2, len(nest.loops) + 1):
        joined = nest.loops[-count:]
        if not all(e.is_const for _, e in joined):
            return
        extent = product(e for _, e in joined)
        if extent.value % lanes:
            continue
        outer, spread = builder.fresh_var(extent // lanes), builder.fresh_var(lanes)
        left, change = ix(outer) * lanes + ix(spread), {}
        for variable, size in reversed(joined):
            change[variable] = left % size
            left = left // size
        mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
        lane = Lane(spread, lanes)
        found = [pattern(f, lane) for f in _flats(builder, mapping, output, axes, values)]
        if all(f is not None and max(f[1]) < lanes for f in found) and found[0][1] == tuple(range(lanes)):  # type: ignore[index]
            nest.mapping, nest.lane = mapping, lane
            nest.loops[-count:] = [(outer, extent // lanes)]
        return


def turned(
    builder: Builder, nest: Nest, output: Tensor, axes: Sequence[Var], values: Sequence[Value]
) -> tuple[int, int] | None:
    """(loop, lanes) where the output lies along the innermost loop, and everything read along that other loop."""
    *others, (inner, extent) = nest.loops
    if extent.is_const and extent.value < 4:
        return None
    for place in reversed(range(len(others))):
        variable, size = others[place]
        lanes = builder.target.lanes
        while lanes > 4 and not (size.is_const and size.value % lanes == 0):
            lanes //= 2
        if not (size.is_const and size.value and size.value % lanes == 0):
            continue
        outer, lane = builder.fresh_var(size // lanes), builder.fresh_var(lanes)
        change = {variable: ix(outer) * lanes + ix(lane)}
        mapping = {k: substitute(v, change) for k, v in nest.mapping.items()}
        written, *reads = _flats(builder, mapping, output, axes, values)
        along, splits = written.split(inner), [f.split(lane) for f in reads]
        if along is None or along[0] != 1 or not any(s is not None and s[0] == 1 for s in splits):
            continue
        if all(s is not None and s[0] in (0, 1) for s in splits):
            return place, lanes
    return None
