"""Random control flow around small bodies, and sequences of tensors."""

from __future__ import annotations

import numpy as np
from graph import DEPTH, FLOATS, INTEGERS, MOVED, Graph, Made, fits


def _condition(g: Graph) -> tuple[str, bool | None]:
    """The name of a bool, and its value where that is known."""
    if g.chance(0.3):
        x = g.any(INTEGERS, nonempty=True)
        (total,) = g.node("ReduceSum", [x.name], keepdims=0)
        return g.node("Greater", [total, g.constant(0, x.dtype)])[0], None
    value = g.chance(0.5)
    return (g.constant(value, "bool") if g.chance(0.3) else g.given(np.asarray(value))), value


def if_(g: Graph) -> None:
    """Branches whose results are alike or, where it is known which one is taken, of one dtype and rank."""
    if g.depth == DEPTH:
        return
    x = g.any(MOVED)
    name, value = _condition(g)
    bodies = g.body(), g.body()
    for body in bodies:
        body.grow(3)
    ends = [body.like(x) for body in bodies]
    pairs = [
        (a, b) for a in bodies[0].results for b in bodies[1].results if (a.dtype, a.rank) == (b.dtype, b.rank)
    ]
    if value is not None and pairs and g.chance(0.4):
        ends = g.pick(pairs)
    taken = ends[0 if value else 1]
    then, otherwise = (body.graph([], [end]) for body, end in zip(bodies, ends, strict=True))
    g.add("If", [name], [(taken.dtype, taken.shape)], then_branch=then, else_branch=otherwise)


def loop(g: Graph) -> None:
    """One carried value and perhaps rows; so many turns, or until a turn says so."""
    if g.depth == DEPTH:
        return
    x = g.any(MOVED)
    body = g.body()
    turn, goes_on = Made(g.fresh("i"), "int64", ()), Made(g.fresh("b"), "bool", ())
    carried = Made(g.fresh("s"), x.dtype, x.shape)
    body.values += [turn, carried]
    body.grow(3)
    end = body.like(carried)
    rows = [v for v in (body.pick(body.results),) if v != end and fits(5, *v.shape) and v.rank < 4]
    turns = int(g.rng.integers(1 if rows else 0, 5))
    count = g.integer(turns)
    if g.chance(0.3):
        last = int(g.rng.integers(0, 3))
        (on,) = body.node("Less", [turn.name, g.constant(last)])
        turns = min(turns, last + 1)
    else:
        (on,) = body.node("Identity", [goes_on.name])
    start = g.constant(True, "bool") if g.chance(0.7) else ""
    inner = body.graph([turn, goes_on, carried], [Made(on, "bool", ()), end, *rows])
    results = [(x.dtype, x.shape), *((v.dtype, (turns, *v.shape)) for v in rows)]
    g.add("Loop", [count, start, x.name], results, body=inner)


def scan(g: Graph) -> None:
    """A carried value and the rows of another along an axis, forwards or backwards."""
    if g.depth == DEPTH:
        return
    x, rows = g.any(MOVED), g.any(MOVED, 1, nonempty=True)
    axis = g.axis(rows.rank)
    at = axis % rows.rank
    length, body = rows.shape[at], g.body()
    carried = Made(g.fresh("s"), x.dtype, x.shape)
    row = Made(g.fresh("s"), rows.dtype, (*rows.shape[:at], *rows.shape[at + 1 :]))
    body.values += [carried, row]
    body.grow(3)
    end, made = body.like(carried), body.pick(body.results)
    if made == end or made.rank == 4 or not fits(length, *made.shape):
        return
    g.add(
        "Scan",
        [x.name, rows.name],
        [(x.dtype, x.shape), (made.dtype, (length, *made.shape))],
        body=body.graph([carried, row], [end, made]),
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=[int(g.chance(0.5))],
        scan_output_directions=[int(g.chance(0.5))],
    )


def sequence(g: Graph) -> None:
    """Tensors put together, perhaps one more or less, and one of them, all of them or their number."""
    x = g.any((*FLOATS, *INTEGERS), 1)
    at = int(g.rng.integers(x.rank))

    def other() -> Made:
        return g.value(
            x.dtype, tuple(int(g.pick((1, 2, d))) if i == at else d for i, d in enumerate(x.shape))
        )

    if g.chance(0.4) and x.shape[at]:
        size = int(g.rng.integers(1, x.shape[at] + 1))
        lengths = [min(size, x.shape[at] - first) for first in range(0, x.shape[at], size)]
        shapes = [(*x.shape[:at], n, *x.shape[at + 1 :]) for n in lengths]
        (name,) = g.node("SplitToSequence", [x.name, g.constant(size)], axis=at)
    else:
        parts = [x, *(other() for _ in range(int(g.rng.integers(0, 3))))]
        shapes = [v.shape for v in parts]
        (name,) = g.node("SequenceConstruct", [v.name for v in parts])
    if g.chance(0.4):
        new, place = other(), int(g.rng.integers(-len(shapes), len(shapes) + 1))
        (name,) = g.node("SequenceInsert", [name, new.name, g.constant(place)])
        shapes.insert(place, new.shape)
    if g.chance(0.3) and len(shapes) > 1:
        place = int(g.rng.integers(-len(shapes), len(shapes)))
        (name,) = g.node("SequenceErase", [name, g.constant(place)])
        del shapes[place]
    if g.chance(0.2):
        g.add("SequenceLength", [name], [("int64", ())])
    alike = len(set(shapes)) == 1
    if g.chance(0.5):
        place = int(g.rng.integers(-len(shapes), len(shapes)))
        where = g.integer(place) if alike else g.constant(place)
        g.add("SequenceAt", [name, where], [(x.dtype, shapes[place])])
    elif alike and x.rank < 4 and g.chance(0.4):
        axis = g.axis(x.rank + 1)
        shape = list(shapes[0])
        shape.insert(axis % (x.rank + 1), len(shapes))
        if fits(*shape):
            g.add("ConcatFromSequence", [name], [(x.dtype, tuple(shape))], axis=axis, new_axis=1)
    else:
        total = (*x.shape[:at], sum(s[at] for s in shapes), *x.shape[at + 1 :])
        if fits(*total):
            g.add("ConcatFromSequence", [name], [(x.dtype, total)], axis=at)
