"""Kernels of Map and Fill."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from kernel import (
    CHANNELS_LAST,
    PLANAR,
    SOME,
    Kernel,
    Layouts,
    N,
    around,
    by_channel,
    constant,
    loops,
    part,
    tensor,
    within,
)

from ingot.ir.index import Atom, IxLike, Var, ix, ix_of
from ingot.ir.nodes import DTYPES, STORED, Cast, Const, Index, Op, Read, Select, Value
from ingot.ir.program import Fill, Map, identity
from ingot.schedule.layout import Layout, blocked_by, row_major
from ingot.target import Target
from ingot.testing import Array, Feed

COMPUTED = tuple(d for d in DTYPES if d not in STORED and d != "str")
NUMBERS = tuple(d for d in COMPUTED if d != "bool")
LOWERED_AS_TWO = ("f64", "f16")
"""The one conversion that kernels do not have: `lower.context.cast` goes by way of f32."""


def twice(
    name: str, shape: Sequence[int | Var], *, x: Layout | None = None, y: Layout | None = None, dtype: str = "f32",
    perm: Sequence[int] | None = None, sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """x + x at the transposed place."""
    order = list(perm or range(len(shape)))
    given, made = tensor("x", shape, dtype), tensor("y", [shape[p] for p in order], dtype)
    axes = loops("a", made.shape)
    read = Read(given, tuple(ix(axes[order.index(i)]) for i in range(len(shape))))
    layouts: Layouts = {given: x or row_major(len(shape)), made: y or row_major(len(shape))}
    operation = Map(made, axes, Op("or" if dtype == "bool" else "add", (read, read), dtype))

    def formula(feed: Feed) -> Array:
        return (feed["x"] + feed["x"]).transpose(order)

    return Kernel(
        f"map_{name}", operation, layouts, formula, sizes=sizes, rows=order[:1] == [0] and shape[0] is N
    )


def converted(name: str, shape: Sequence[int | Var], source: str, to: str, layout: Layout) -> Kernel:
    given, made = tensor("x", shape, source), tensor("y", shape, to)
    axes = loops("a", shape)
    operation = Map(made, axes, Cast(identity(given, axes), to))
    return Kernel(
        f"map_{name}", operation, {given: layout, made: layout}, lambda f: f["x"].astype(DTYPES[to]),
        tuple(range(5)) if DTYPES[to].kind == "u" else tuple(range(-4, 5)),
    )  # fmt: skip


def rotated(name: str, rows: int | Var, heads: int, pairs: int, layout: Layout | None = None) -> Kernel:
    """Pairs of elements turned by an angle of each row, the results next to one another."""
    given, made = tensor("x", [rows, heads * pairs * 2]), tensor("y", [rows, heads, pairs, 2])
    cosine, sine = tensor("cosine", [rows, pairs]), tensor("sine", [rows, pairs])
    axes = loops("a", made.shape)
    row, place, pair = ix(axes[0]), (ix(axes[1]) * pairs + ix(axes[2])) * 2, ix(axes[2])
    even, odd = Read(given, (row, place)), Read(given, (row, place + 1))
    c, s = Read(cosine, (row, pair)), Read(sine, (row, pair))

    def join(sign: str, a: tuple[Value, Value], b: tuple[Value, Value]) -> Value:
        return Op(sign, (Op("mul", a, "f32"), Op("mul", b, "f32")), "f32")

    first = Op("eq", (Index(ix(axes[3])), Const(0, "i64")), "bool")
    value = Select(first, join("sub", (even, c), (odd, s)), join("add", (even, s), (odd, c)), guards=False)
    layouts = {given: layout or row_major(2), made: row_major(4), cosine: row_major(2), sine: row_major(2)}

    def formula(feed: Feed) -> Array:
        x = feed["x"].reshape(-1, heads, pairs, 2)
        c, s = feed["cosine"][:, None], feed["sine"][:, None]
        return np.stack([x[..., 0] * c - x[..., 1] * s, x[..., 0] * s + x[..., 1] * c], -1)

    return Kernel(f"rotate_{name}", Map(made, axes, value), layouts, formula, sizes=SOME, rows=rows is N)


def scaled(name: str, shape: Sequence[int | Var], layout: Layout, dtype: str = "f32") -> Kernel:
    """x times a constant of each channel, in float64 where the dtype is."""
    given, made, factor = (
        tensor("x", shape),
        tensor("y", shape, dtype),
        constant("factor", int(shape[1]), dtype=dtype),
    )  # type: ignore[arg-type]
    axes = loops("a", shape)
    x: Value = identity(given, axes)
    operation = Map(
        made, axes, Op("mul", (Cast(x, dtype) if dtype != "f32" else x, Read(factor, (ix(axes[1]),))), dtype)
    )
    return Kernel(
        f"map_{name}", operation, {given: layout, made: layout, factor: row_major(1)},
        lambda f: f["x"] * f["factor"].reshape(-1, 1, 1),
    )  # fmt: skip


def gathered(name: str, count: int | Var, table: int, width: int) -> Kernel:
    """Rows of a table, by indices that are data."""
    rows, given, made = (
        tensor("rows", [count], "i64"),
        tensor("x", [table, width]),
        tensor("y", [count, width]),
    )
    axes = loops("a", made.shape)
    index = ix_of(Atom("data", (Read(rows, (ix(axes[0]),)),)))
    operation = Map(made, axes, Read(given, (index, ix(axes[1]))))
    return Kernel(
        f"gather_{name}", operation, {rows: row_major(1), given: row_major(2), made: row_major(2)},
        lambda f: f["x"][f["rows"]], tuple(range(table)), SOME,
    )  # fmt: skip


def shifted(name: str, n: int | Var, by: int, layout: Layout) -> Kernel:
    """x[..., i - by] where that exists, else 5: what a Pad becomes."""
    given, made = tensor("x", [2, 3, 2, n]), tensor("y", [2, 3, 2, n])
    axes = loops("a", made.shape)
    inside = Op("ge", (Index(ix(axes[3])), Const(by, "i64")), "bool")
    read = Read(given, (*map(ix, axes[:3]), ix(axes[3]) - by))
    operation = Map(made, axes, Select(inside, read, Const(5.0, "f32")))

    def formula(feed: Feed) -> Array:
        return np.pad(feed["x"], [(0, 0)] * 3 + [(by, 0)], constant_values=5)[..., : feed["x"].shape[3]]

    return Kernel(f"shift_{name}", operation, {given: layout, made: layout}, formula, sizes=SOME)


def sliced(name: str, first: int, channels: int, x: Layout, y: Layout) -> Kernel:
    """Some channels."""
    given, made = tensor("x", [2, first + channels, 3, 3]), tensor("y", [2, channels, 3, 3])
    axes = loops("a", made.shape)
    read = Read(given, (ix(axes[0]), ix(axes[1]) + first, ix(axes[2]), ix(axes[3])))
    return Kernel(f"slice_{name}", Map(made, axes, read), {given: x, made: y}, lambda f: f["x"][:, first:])


def into(name: str, origin: int, channels: int, layout: Layout) -> Kernel:
    """A part of what a Concat makes."""
    given, whole = tensor("x", [2, channels, 3, 3]), tensor("y", [2, channels + 2 * origin, 3, 3])
    made = part(whole, [0, origin, 0, 0], given.shape)
    axes = loops("a", made.shape)
    operation = Map(made, axes, Op("neg", (identity(given, axes),), "f32"))
    return Kernel(f"map_into_{name}", operation, {given: PLANAR, whole: layout}, lambda f: -f["x"])


def fill(
    name: str,
    shape: Sequence[IxLike | Var],
    pads: Sequence[tuple[int, int]],
    layout: Layout,
    dtype: str = "f32",
) -> Kernel:
    """The border of a padded tensor; what lies inside keeps what it held."""
    whole = tensor("y", [ix(d) + a + b for d, (a, b) in zip(shape, pads, strict=True)], dtype)
    inner = part(whole, [a for a, _ in pads], [ix(d) for d in shape])
    operation = Fill(whole, loops("a", whole.shape), Const(7, dtype), inner)

    def formula(feed: Feed) -> Array:
        inside = tuple(slice(a, d - b) for d, (a, b) in zip(feed["y"].shape, pads, strict=True))
        wanted = np.full_like(feed["y"], 7)
        wanted[inside] = feed["y"][inside]
        return wanted

    return Kernel(f"fill_{name}", operation, {whole: layout}, formula, sizes=SOME)


def table(target: Target) -> list[Kernel]:
    lanes = target.lanes
    block, half = by_channel(lanes), by_channel(max(lanes // 2, 4))
    layouts = {"planar": PLANAR, "blocked": block, "half": half, "last": CHANNELS_LAST}
    none = (0, 0)
    return [
        *(twice(f"of_{n}", [n]) for n in (0, *around(lanes, 2 * lanes), 100, 4095, 4096, 4097)),
        *(twice(f"{dtype}_of_{n}", [3, n], dtype=dtype) for dtype in COMPUTED for n in around(lanes)),
        *(twice(f"{dtype}_blocked", [1, lanes + 1, 2, 3], dtype=dtype, x=block, y=block) for dtype in COMPUTED),
        twice("scalar", []),
        *(twice(f"transposed_{n}_{m}", [n, m], perm=[1, 0]) for n in around(lanes) for m in (1, lanes, lanes + 1)),
        *(twice(f"{x}_to_{y}_{c}", [2, c, 3, 4], x=layouts[x], y=layouts[y]) for x in layouts for y in layouts for c in (1, lanes - 1, lanes, lanes + 1)),
        *(twice(f"{x}_to_last_axis", [1, lanes + 1, 3, 4], x=layouts[x], perm=[0, 2, 3, 1]) for x in layouts),
        *(twice(f"batch_of_{w}", [N, w]) for w in (1, 7, lanes, 2 * lanes)),
        *(within(twice(f"{x}_to_{y}_whole", [2, lanes, 3, 4], x=layouts[x], y=layouts[y]), [1, lanes, 2, 1])
          for x in layouts for y in layouts),
        *(within(twice(f"rows_of_{n}", [3, n]), [1, 5]) for n in around(lanes)),
        twice("long_batch", [N, 5000], sizes=(0, 1, 2)),
        twice("length", [2, N], sizes=(0, 1, lanes - 1, lanes, lanes + 1, 4097)),
        twice("all_n", [N, N], perm=[1, 0], sizes=(0, 1, 5, 2 * lanes + 1)),
        *(twice(f"batch_{x}_to_{y}", [N, lanes + 1, 2, 3], x=layouts[x], y=layouts[y]) for x in layouts for y in layouts),
        *(converted(f"{a}_to_{b}", [3, lanes + 1], a, b, row_major(2)) for a in NUMBERS for b in NUMBERS if a != b and (a, b) != LOWERED_AS_TWO),
        *(converted(f"{a}_to_{b}_blocked", [1, lanes + 1, 2, 3], a, b, block) for a, b in (("f32", "f64"), ("f32", "u8"), ("i64", "f32"), ("f16", "f32"))),
        *(scaled(f"scaled_{x}_{dtype}", [2, lanes + 1, 3, 2], layouts[x], dtype) for x in layouts for dtype in ("f32", "f64")),
        *(rotated(f"{h}_by_{p}", 3, h, p) for h, p in ((1, 4), (8, 4), (4, 8), (3, 2), (2, 16), (3, 5))),
        rotated("blocked", N, 8, 4, blocked_by(2, 1, lanes)),
        *(gathered(f"{n}_of_{w}", n, 5, w) for n in (0, 1, 4) for w in around(lanes)),
        gathered("n", N, 5, lanes + 1),
        *(shifted(f"{n}_{x}", n, 2, layouts[x]) for n in around(lanes) for x in ("planar", "blocked")),
        shifted("n", N, 1, PLANAR),
        *(sliced(f"{o}_{x}_to_{y}", o, lanes + 1, layouts[x], layouts[y]) for o in sorted({1, 4, lanes}) for x in layouts for y in layouts),
        *(into(f"{o}_{c}_{x}", o, c, layouts[x]) for o in sorted({4, lanes}) for c in (1, lanes, lanes + 1) for x in layouts
          if layouts[x].blocked is None or (o % layouts[x].block == 0 and c % layouts[x].block == 0)),
        *(fill(f"{name}_{x}", shape, pads, layouts[x]) for x in layouts for name, shape, pads in (
            ("around", [2, lanes + 1, 3, 4], [none, none, (1, 1), (1, 1)]),
            ("uneven", [1, 3, 3, 4], [none, none, (0, 2), (3, 0)]),
            ("one_side", [1, lanes, 3, 4], [none, none, (0, 1), none]),
            ("of_nothing", [1, lanes, 0, 4], [none, none, (1, 1), (0, 2)]),
            ("batch", [N, 3, 3, 4], [none, none, (1, 1), none]),
            ("width", [2, lanes, 3, N], [none, none, (1, 0), (1, 2)]),
        )),
        *(fill(f"{dtype}", [2, lanes + 1, 3], [none, none, (1, 2)], row_major(3), dtype) for dtype in NUMBERS),
        fill("channels", [1, 3, 2, 2], [none, (1, 2), none, none], PLANAR),
        fill("all_axes", [2, 3], [(1, 1), (2, 1)], row_major(2)),
    ]  # fmt: skip
