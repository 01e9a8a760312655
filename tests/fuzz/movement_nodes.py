"""Random nodes that move elements: views, slices, gathers, and what reshapes to computed shapes."""

from __future__ import annotations

import numpy as np
from graph import FLOATS, MOVED, Graph, fits


def transpose(g: Graph) -> None:
    x = g.any(MOVED)
    perm = [int(p) for p in g.rng.permutation(x.rank)]
    how = {"perm": perm} if x.rank and g.chance(0.8) else {}
    order = perm if how else list(range(x.rank))[::-1]
    g.add("Transpose", [x.name], [(x.dtype, tuple(x.shape[p] for p in order))], **how)


def reshape(g: Graph) -> None:
    x = g.any(MOVED)
    total = int(np.prod(x.shape, dtype=np.int64))
    shape: list[int] = []
    left = total
    if total:
        for _ in range(int(g.rng.integers(0, 4))):
            divisors = [d for d in range(1, left + 1) if left % d == 0]
            shape.append(int(g.pick(divisors)))
            left //= shape[-1]
        shape.append(left)
        wanted = list(shape)
        if g.chance(0.5):
            wanted[int(g.rng.integers(len(wanted)))] = -1
        g.add("Reshape", [x.name, g.constant(wanted)], [(x.dtype, tuple(shape))])
    elif x.rank:
        g.add("Reshape", [x.name, g.constant([0] * x.rank)], [(x.dtype, x.shape)])


def flatten(g: Graph) -> None:
    x = g.any(MOVED, 1)
    axis = int(g.rng.integers(-x.rank, x.rank + 1))
    at = axis % x.rank if axis < x.rank else x.rank
    shape = (int(np.prod(x.shape[:at], dtype=np.int64)), int(np.prod(x.shape[at:], dtype=np.int64)))
    g.add("Flatten", [x.name], [(x.dtype, shape)], axis=axis)


def unsqueeze(g: Graph) -> None:
    x = g.any(MOVED)
    if x.rank > 3:
        return
    axis = g.axis(x.rank + 1)
    at = axis % (x.rank + 1)
    g.add("Unsqueeze", [x.name, g.constant([axis])], [(x.dtype, (*x.shape[:at], 1, *x.shape[at:]))])


def squeeze(g: Graph) -> None:
    fit = [v for v in g.values if 1 in v.shape]
    if not fit:
        return
    x = g.pick(fit)
    at = g.pick([i for i, d in enumerate(x.shape) if d == 1])
    signed = at - x.rank if g.chance(0.5) else at
    g.add("Squeeze", [x.name, g.constant([signed])], [(x.dtype, (*x.shape[:at], *x.shape[at + 1 :]))])


def concat(g: Graph) -> None:
    x = g.any(MOVED, 1)
    axis = g.axis(x.rank)
    at = axis % x.rank
    others = [
        g.value(x.dtype, tuple(int(g.pick((0, 1, 2, 5))) if i == at else d for i, d in enumerate(x.shape)))
        for _ in range(int(g.rng.integers(1, 3)))
    ]
    parts = [x, *others, *([x] if g.chance(0.2) else [])]
    shape = tuple(sum(p.shape[at] for p in parts) if i == at else d for i, d in enumerate(x.shape))
    if fits(*shape):
        g.add("Concat", [p.name for p in parts], [(x.dtype, shape)], axis=axis)


def split(g: Graph) -> None:
    x = g.any(MOVED, 1)
    axis = g.axis(x.rank)
    at = axis % x.rank
    first = int(g.rng.integers(0, x.shape[at] + 1))
    sizes = [first, x.shape[at] - first]
    results = [(x.dtype, tuple(s if i == at else d for i, d in enumerate(x.shape))) for s in sizes]
    g.add("Split", [x.name, g.constant(sizes)], results, axis=axis)


def slice_(g: Graph) -> None:
    x = g.any(MOVED, 1)
    axes = sorted({int(a) for a in g.rng.integers(0, x.rank, int(g.rng.integers(1, x.rank + 1)))})
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        step = int(g.pick((1, 1, 2, 3, -1, -2)))
        start, end = (int(v) for v in g.rng.integers(-12, 13, 2))
        if g.chance(0.2):
            end = int(g.pick((2**31 - 1, 2**63 - 1) if step > 0 else (-(2**31), -(2**63))))
        starts.append(start)
        ends.append(end)
        steps.append(step)
        shape[axis] = len(range(*_bounds(start, end, step, x.shape[axis])))
    signed = [a - x.rank if g.chance(0.5) else a for a in axes]
    names = [g.constant(v) for v in (starts, ends, signed, steps)]
    g.add("Slice", [x.name, *names], [(x.dtype, tuple(shape))])


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """As ONNX clamps them."""
    start, end = (v + size if v < 0 else v for v in (start, end))
    if step > 0:
        return min(max(start, 0), size), min(max(end, 0), size), step
    return min(max(start, 0), size - 1), min(max(end, -1), size - 1), step


def expand(g: Graph) -> None:
    x = g.any(MOVED)
    target = tuple(int(g.pick((1, 2, 3))) if d == 1 else int(g.pick((1, d))) for d in x.shape)
    target = (int(g.pick((1, 2))), *target) if x.rank < 4 and g.chance(0.4) else target
    shape = np.broadcast_shapes(x.shape, target)
    if fits(*shape):
        g.add("Expand", [x.name, g.constant(np.array(target, np.int64))], [(x.dtype, shape)])


def tile(g: Graph) -> None:
    x = g.any(MOVED)
    repeats = [int(g.pick((0, 1, 1, 2, 3))) for _ in x.shape]
    shape = tuple(d * r for d, r in zip(x.shape, repeats, strict=True))
    if fits(*shape):
        g.add("Tile", [x.name, g.constant(np.array(repeats, np.int64))], [(x.dtype, shape)])


def pad(g: Graph) -> None:
    x = g.any(MOVED, 1, nonempty=True)
    mode = g.pick(("constant", "reflect", "edge", "wrap"))
    most = [d - 1 if mode == "reflect" else d for d in x.shape]
    low = 0 if mode != "constant" else -1
    before = [
        int(g.rng.integers(low if d > 2 else 0, min(m, 3) + 1)) if m > 0 else 0
        for d, m in zip(x.shape, most, strict=True)
    ]
    after = [
        int(g.rng.integers(low if d > 2 else 0, min(m, 3) + 1)) if m > 0 else 0
        for d, m in zip(x.shape, most, strict=True)
    ]
    shape = tuple(d + a + b for d, a, b in zip(x.shape, before, after, strict=True))
    inputs = [x.name, g.constant(before + after)]
    if mode == "constant" and g.chance(0.5):
        inputs.append(g.constant(7, x.dtype))
    if fits(*shape):
        g.add("Pad", inputs, [(x.dtype, shape)], mode=mode)


def gather(g: Graph) -> None:
    x = g.any(MOVED, 1, nonempty=True)
    axis = g.axis(x.rank)
    size = x.shape[axis % x.rank]
    shape = g.shape(2)
    indices = g.rng.integers(-size, size, shape)
    name = g.pick((lambda: g.constant(indices), lambda: g.given(indices)))()
    at = axis % x.rank
    result = (*x.shape[:at], *shape, *x.shape[at + 1 :])
    if fits(*result) and len(result) <= 5:
        g.add("Gather", [x.name, name], [(x.dtype, result)], axis=axis)


def gather_elements(g: Graph) -> None:
    x = g.any(MOVED, 1, nonempty=True)
    axis = g.axis(x.rank)
    at = axis % x.rank
    shape = tuple(
        int(g.pick((0, 1, 2, 5))) if i == at else int(g.rng.integers(1, d + 1)) for i, d in enumerate(x.shape)
    )
    indices = g.rng.integers(-x.shape[at], x.shape[at], shape)
    g.add("GatherElements", [x.name, g.given(indices)], [(x.dtype, shape)], axis=axis)


def scatter_elements(g: Graph) -> None:
    """Each place at most once, so that the order does not matter."""
    x = g.any(MOVED, 1, nonempty=True)
    axis = g.axis(x.rank)
    at = axis % x.rank
    shape = tuple(int(g.rng.integers(1, d + 1)) for d in x.shape)
    order = np.argsort(g.rng.random(x.shape), axis=at)
    indices = order[tuple(slice(0, s) for s in shape)]
    updates = g.value(x.dtype, shape)
    g.add(
        "ScatterElements",
        [x.name, g.given(indices, fixed=True), updates.name],
        [(x.dtype, x.shape)],
        axis=axis,
    )


def gather_nd(g: Graph) -> None:
    x = g.any(MOVED, 1, nonempty=True)
    depth = int(g.rng.integers(1, x.rank + 1))
    shape = g.shape(2)
    columns = [g.rng.integers(-d, d, shape) for d in x.shape[:depth]]
    result = (*shape, *x.shape[depth:])
    if fits(*result):
        indices = g.given(np.stack(columns, -1), fixed=True)
        g.add("GatherND", [x.name, indices], [(x.dtype, result)])


def trilu(g: Graph) -> None:
    x = g.any((*FLOATS, "int64", "bool"), 2)
    extra = [g.constant(int(g.rng.integers(-4, 5)))] if g.chance(0.7) else []
    g.add("Trilu", [x.name, *extra], [(x.dtype, x.shape)], upper=int(g.chance(0.5)))


def one_hot(g: Graph) -> None:
    shape, depth = g.shape(2) or (3,), int(g.rng.integers(1, 6))
    indices = g.rng.integers(-depth - 2, depth + 2, shape)
    axis = int(g.rng.integers(-len(shape) - 1, len(shape) + 1))
    at = axis % (len(shape) + 1)
    g.add(
        "OneHot", [g.given(indices), g.constant(depth), g.constant([2, 5], "float32")],
        [("float32", (*shape[:at], depth, *shape[at:]))], axis=axis,
    )  # fmt: skip


def shape_arithmetic(g: Graph) -> None:
    """A reshape to a shape that the graph computes."""
    x = g.any(MOVED, 2, nonempty=True)
    g.add("Shape", [x.name], [("int64", (x.rank,))])
    dims = g.values[-1].name
    g.add("Slice", [dims, g.constant([0]), g.constant([1])], [("int64", (1,))])
    first = g.values[-1].name
    g.add("Concat", [first, g.constant([-1])], [("int64", (2,))], axis=0)
    target = g.values[-1].name
    rest = int(np.prod(x.shape[1:], dtype=np.int64))
    g.add("Reshape", [x.name, target], [(x.dtype, (x.shape[0], rest))])
