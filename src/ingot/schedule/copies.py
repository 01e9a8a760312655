"""Copies: of a whole made of its parts, into a region that the producer can write, and of every other element."""

from __future__ import annotations

from collections.abc import Mapping

from ingot.ir.index import Ix, ix, product, substitute, var
from ingot.ir.nodes import Const, Index, Op, Read, Select, data_of, reindex
from ingot.ir.program import Dense, Fill, Map, Operation, Program, Routine, Tensor


def split_copies(program: Program) -> int:
    """A copy of a whole that is made of regions, and that nothing else reads, becomes a copy of each of them."""
    uses = program.uses()
    makers: dict[Tensor, list[Operation]] = {}
    for operation in program.operations:
        if operation.output.region is not None:
            makers.setdefault(operation.output.region[0], []).append(operation)
    made: list[Operation] = []
    count = 0
    for operation in program.operations:
        parts = _parts(operation, makers, uses) if type(operation) is Map else None
        made.extend(parts or [operation])
        count += parts is not None
    program.operations = made
    return count


def _parts(
    copy: Map, makers: dict[Tensor, list[Operation]], uses: dict[Tensor, list[Operation]]
) -> list[Operation] | None:
    """The copies of the regions, which are then tensors of their own, or None where the copy has to stay whole."""
    read = copy.finish
    if not isinstance(read, Read) or read.tensor.kind != "temp" or read.tensor.region is not None:
        return None
    whole, regions = read.tensor, makers.get(read.tensor, [])
    if (
        copy.output.is_state
        or uses[whole] != [copy]
        or any(isinstance(r, Fill) or r.guard != copy.guard for r in regions)
    ):
        return None
    if any(r.output in uses for r in regions) or copy.output in makers:
        return None
    if sum((product(r.output.shape) for r in regions), ix(0)) != product(whole.shape) or len(regions) < 2:
        return None
    boxes = [_box(copy, read, r.output) for r in regions]
    parts: list[Operation] = []
    for number, (region, box) in enumerate(zip(regions, boxes, strict=True)):
        if box is None:
            return None
        shape = tuple(region.output.shape[box[a]] if a in box else d for a, d in enumerate(copy.output.shape))
        assert region.output.region is not None
        start = region.output.region[1]
        origin = tuple(start[box[a]] if a in box else ix(0) for a in range(copy.output.rank))
        axes = tuple(var(v.name, d) for v, d in zip(copy.axes, shape, strict=True))
        moved = {v: ix(w) + o for v, w, o in zip(copy.axes, axes, origin, strict=True)}
        at = tuple(substitute(i, moved) - o for i, o in zip(read.index, start, strict=True))
        tensor = Tensor(
            f"{copy.output.name}_{number}", copy.output.dtype, shape, region=(copy.output, origin)
        )
        nodes = tuple(dict.fromkeys((*region.nodes, *copy.nodes)))
        parts.append(Map(tensor, axes, Read(region.output, at), nodes=nodes, guard=copy.guard))
    for region in regions:
        region.output.region = None
    return parts


def _box(copy: Map, read: Read, region: Tensor) -> dict[int, int] | None:
    """Which axes of the copy walk the axes that cut the region out of its whole; None where that is no box."""
    found: dict[int, int] = {}
    for axis, (extent, whole) in enumerate(zip(region.shape, read.tensor.shape, strict=True)):
        if extent == whole:
            continue
        walks = [i for i, v in enumerate(copy.axes) if read.index[axis] == ix(v) and v.extent == whole]
        if len(walks) != 1:
            return None
        found[walks[0]] = axis
    return found


def place_copies(program: Program) -> int:
    """Where a tensor is copied whole into a region or an output, let its producer write there at once."""
    producers: dict[Tensor, list[Operation]] = {}
    for operation in program.operations:
        producers.setdefault(operation.output, []).append(operation)
    uses = program.uses()
    updated = {t for o in program.operations if isinstance(o, Routine) for t in o.updates}
    gone = set()
    for operation in program.operations:
        if type(operation) is not Map or not isinstance(operation.finish, Read):
            continue
        source, target = operation.finish.tensor, operation.output
        if operation.finish.index != tuple(map(ix, operation.axes)) or source.shape != target.shape:
            continue
        if source.kind != "temp" or source.region is not None or source.dtype != target.dtype:
            continue
        if any(o.guard != operation.guard for o in producers.get(source, [])):
            continue
        whole, origin = target.root()
        if whole in updated and _readers(source, uses) != {operation}:
            continue
        if whole.is_state or not _writable_region(whole, origin, target.shape, producers.get(source, [])):
            continue
        source.region = (target, tuple(ix(0) for _ in target.shape))
        gone.add(operation)
    program.operations = [o for o in program.operations if o not in gone]
    return len(gone)


def _readers(source: Tensor, uses: Mapping[Tensor, list[Operation]]) -> set[Operation]:
    """What reads a tensor, or a region of it, as its last writer left it."""
    return {
        o
        for tensor, users in uses.items()
        for o in users
        if tensor.root()[0] is source and not (isinstance(o, Routine) and tensor in o.updates)
    }


def interleave(program: Program) -> int:
    """Two Maps that write every other element along the last axis of a tensor: one Map of the whole tensor."""
    parts: dict[Tensor, list[Operation]] = {}
    for operation in program.operations:
        if operation.output.region is not None and operation.output.rank:
            parts.setdefault(operation.output.root()[0], []).append(operation)
    count = 0
    for whole, makers in parts.items():
        first, *others = sorted(makers, key=lambda o: str(o.output.root()[1][-1]))
        if len(others) != 1 or type(first) is not Map or type(others[0]) is not Map:
            continue
        second = others[0]
        origins = [o.output.root()[1] for o in (first, second)]
        if [*origins[0], *origins[1]] != [*map(ix, [0] * (2 * whole.rank - 1)), ix(1)]:
            continue
        if whole.shape[-1] != ix(2) or any(
            o.output.shape != (*whole.shape[:-1], ix(1)) for o in (first, second)
        ):
            continue
        if first.guard != second.guard or any(
            data_of(i) for o in (first, second) for r in o.reads() for i in r.index
        ):
            continue
        parity = var(f"{first.axes[-1].name}p", 2)
        axes = (*first.axes[:-1], parity)
        sides = [
            reindex(o.finish, dict(zip(o.axes, (*map(ix, first.axes[:-1]), ix(0)), strict=True)))
            for o in (first, second)
        ]
        even = Op("eq", (Index(ix(parity)), Const(0, "i64")), "bool")
        nodes = tuple(dict.fromkeys((*first.nodes, *second.nodes)))
        both = Map(whole, axes, Select(even, *sides, guards=False), nodes=nodes, guard=first.guard)
        last = max((first, second), key=program.operations.index)
        program.operations = [
            both if o is last else o for o in program.operations if o is last or o not in makers
        ]
        count += 1
    return count


def _writable_region(
    whole: Tensor, origin: tuple[Ix, ...], shape: tuple[Ix, ...], makers: list[Operation]
) -> bool:
    """Whether a producer can write the region in any layout the whole may get."""
    if whole.kind == "output" and whole.rank >= 3 and any(isinstance(o, Dense) for o in makers):
        return False
    blockable = {1, whole.rank - 1} if whole.rank > 2 else {whole.rank - 1}
    for axis in blockable:
        if not 0 <= axis < whole.rank or shape[axis] == whole.shape[axis]:
            continue
        end = origin[axis] + shape[axis]
        last = end == whole.shape[axis]
        for edge in (origin[axis],) if last else (origin[axis], end):
            if not (edge.is_const and edge.value % 8 == 0) and not (
                axis == whole.rank - 1 and whole.rank == 4
            ):
                return False
    return True
