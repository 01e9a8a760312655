"""Kernels of Dense as a convolution, and of the transforms of Winograd's."""

from __future__ import annotations

import numpy as np
from kernel import (
    CHANNELS_LAST,
    PLANAR,
    SOME,
    Kernel,
    Layouts,
    N,
    around,
    asking,
    by_channel,
    drawn,
    epilogue,
    loops,
    part,
    tensor,
)

from ingot.ir.index import Var, ix, var
from ingot.ir.nodes import Acc
from ingot.ir.program import Dense, WinogradInput, WinogradOutput
from ingot.kernels.use_winograd import ERRORS
from ingot.kernels.winograd import matrices
from ingot.schedule.layout import Layout
from ingot.target import Target
from ingot.testing import Array, Feed


def conv(
    name: str, *, n: int | Var = 1, c: int = 3, h: int | Var = 4, w: int | Var = 5, k: int = 8, taps: tuple[int, int] = (1, 1),
    stride: int = 1, dilation: int = 1, groups: int = 1, x: Layout = PLANAR, y: Layout = PLANAR, finish: str = "plain",
    skipped: int = 0, into: int | None = None, halo: int = 0, sizes: tuple[int, ...] = SOME,
) -> Kernel:  # fmt: skip
    """x, y: layouts. skipped: channels of x before those that are read. into: the channel of a larger tensor at which
    the output begins. halo: rows and columns of a padded tensor around the output."""

    def size(extent: int | Var, reach: int) -> int | Var:
        return (extent - (reach - 1) * dilation - 1) // stride + 1 if isinstance(extent, int) else extent

    down, across = size(h, taps[0]), size(w, taps[1])
    given = tensor("x", [n, c + skipped, h, w])
    made = tensor("y", [n, k, down, across])
    if into is not None or halo:
        whole = [ix(n), ix(k + 2 * (into or 0)), ix(down) + 2 * halo, ix(across) + 2 * halo]
        made = part(tensor("y", whole), [0, into or 0, halo, halo], made.shape)
    axes, inner, channel = loops("a", made.shape), loops("t", taps), var("c", c // groups)
    weight = drawn("weight", [*taps, c // groups, k])
    layouts: Layouts = {given: x, made.root()[0]: y}
    group = ix(axes[1]) // (k // groups) * (c // groups) if groups > 1 else ix(0)
    index = (
        ix(axes[0]),
        ix(channel) + group + skipped,
        *(ix(axes[2 + i]) * stride + ix(inner[i]) * dilation for i in (0, 1)),
    )
    value, finished = epilogue(finish, made, axes, 1, layouts)

    def formula(feed: Feed) -> Array:
        source = feed["x"]
        high, wide = (
            (d - (t - 1) * dilation - 1) // stride + 1 for d, t in zip(source.shape[2:], taps, strict=True)
        )
        total = np.zeros((source.shape[0], k, high, wide), np.float32)
        each, per = c // groups, k // groups
        for g, i, j in np.ndindex(groups, *taps):
            rows, columns = (
                slice(t * dilation, t * dilation + (d - 1) * stride + 1, stride)
                for t, d in ((i, high), (j, wide))
            )
            seen = source[:, skipped + g * each : skipped + (g + 1) * each, rows, columns]
            features = slice(g * per, (g + 1) * per)
            total[:, features] += np.einsum("nchw,ck->nkhw", seen, weight[i, j][:, features])
        return finished(total, feed)

    operation = Dense(made, axes, value, 1, inner, channel, given, index, weight)
    return Kernel(f"conv_{name}", operation, layouts, formula, sizes=sizes, rows=n is N and h is not N)


def batched(name: str, products: int, c: int, k: int, tiles: int, *, n: int | Var, lanes: int) -> Kernel:
    """The products between Winograd's transforms: each has a weight of its own."""
    given, made = tensor("x", [products, c, n, tiles]), tensor("y", [products, k, n, tiles])
    axes, channel = loops("a", made.shape), var("c", c)
    weight = drawn("weight", [products, c, k])
    index = (ix(axes[0]), ix(channel), ix(axes[2]), ix(axes[3]))
    operation = Dense(made, axes, Acc("f32"), 1, (), channel, given, index, weight, 0)
    layouts = {given: by_channel(lanes), made: by_channel(lanes)}
    return Kernel(
        f"batched_{name}", operation, layouts, lambda f: np.einsum("pcnt,pck->pknt", f["x"], weight), sizes=SOME
    )  # fmt: skip


def both(matrix: Array, tiles: Array) -> Array:
    """matrix . tile . matrix^T over the first two axes, in float64."""
    return np.einsum("ai,bj,ij...->ab...", matrix, matrix, tiles.astype(np.float64))


def winograd_input(
    name: str, m: int, r: int, h: int, w: int, c: int, *, x: Layout, y: Layout, n: int | Var = 1, top: int = 0
) -> Kernel:
    """h, w: the size of the output; top: rows of x above those that are read."""
    size = m + r - 1
    down, across = -(-h // m), -(-w // m)
    whole = tensor("x", [n, c, h + r - 1 + top, w + r - 1])
    given = part(whole, [0, 0, top, 0], [ix(n), c, h + r - 1, w + r - 1]) if top else whole
    made = tensor("y", [size**2, c, n, down * across])

    def formula(feed: Feed) -> Array:
        missing = [(0, 0), (0, 0), (0, down * m - h), (0, across * m - w)]
        padded = np.pad(feed[given.name], missing, mode="edge")
        seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))[:, :, ::m, ::m]
        moved = both(np.array(matrices(m, r)[2]), seen.transpose(4, 5, 1, 0, 2, 3))
        return moved.reshape(size**2, c, -1, down * across).astype(np.float32)

    operation = WinogradInput(made, loops("a", made.shape), Acc("f32"), given, m, r, (ix(down), ix(across)))
    return Kernel(f"winograd_input_{name}", operation, {whole: x, made: y}, formula, sizes=(1, 0, 3))


def winograd_output(
    name: str, m: int, r: int, h: int, w: int, k: int, *, x: Layout, y: Layout, n: int | Var = 1, finish: str = "plain",
    halo: int = 0,
) -> Kernel:  # fmt: skip
    """halo: rows and columns of a padded tensor around the output."""
    size = m + r - 1
    down, across = -(-h // m), -(-w // m)
    given = tensor("x", [size**2, k, n, down * across])
    made = tensor("y", [n, k, h + 2 * halo, w + 2 * halo])
    layouts = {given: x, made: y}
    if halo:
        made = part(made, [0, 0, halo, halo], [ix(n), k, h, w])
    axes = loops("a", made.shape)
    value, finished = epilogue(finish, made, axes, 1, layouts)

    def formula(feed: Feed) -> Array:
        square = feed["x"].reshape(size, size, k, -1, down, across)
        tiles = both(np.array(matrices(m, r)[0]), square).transpose(3, 2, 4, 0, 5, 1)
        whole = tiles.reshape(tiles.shape[0], k, down * m, across * m)[:, :, :h, :w]
        return finished(whole.astype(np.float32), feed)

    operation = WinogradOutput(made, axes, value, given, m, r, (ix(down), ix(across)))
    return Kernel(f"winograd_output_{name}", operation, layouts, formula, sizes=(1, 0, 3))


def table(target: Target) -> list[Kernel]:
    lanes = target.lanes
    block, half = by_channel(lanes), by_channel(max(lanes // 2, 4))
    layouts = {"planar": PLANAR, "blocked": block, "half": half, "last": CHANNELS_LAST}
    pairs = [
        ("planar", "planar"),
        ("planar", "blocked"),
        ("half", "planar"),
        ("blocked", "half"),
        ("blocked", "blocked"),
        ("last", "blocked"),
    ]
    return [
        *(conv(f"features_{k}", k=k, y=block, finish="bias") for k in around(lanes, 2 * lanes, 4 * lanes)),
        *(conv(f"features_{k}_planar", k=k, finish="bias") for k in around(lanes)),
        *(conv(f"channels_{c}_{x}", c=c, k=lanes + 1, x=layouts[x], y=block) for c in (0, *around(lanes)) for x in layouts),
        *(conv(f"width_{w}", w=w, h=2, k=2 * lanes + 1, y=block) for w in (*range(1, 10), 13, 14, 15, 17, 29)),
        *(conv(f"height_{h}", w=7, h=h, k=lanes, y=block) for h in (1, 2, 3, 7, 8, 9)),
        *(conv(f"column_of_{h}", w=1, h=h, k=lanes, y=block) for h in (1, 14, 29)),
        *(conv(f"3x3_{x}_to_{y}", taps=(3, 3), h=5, w=6, c=lanes + 1, k=lanes + 2, x=layouts[x], y=layouts[y]) for x, y in pairs),
        *(conv(f"3x3_{x}_stride_2", taps=(3, 3), h=7, w=8, c=3, k=lanes, stride=2, x=layouts[x], y=block) for x in layouts),
        conv("dilated", taps=(3, 2), h=9, w=8, dilation=2, x=block, y=block),
        *(conv(f"{finish}_{y}_{k}", k=k, y=layouts[y], finish=finish) for finish in ("residual", "mixed")
          for y in ("planar", "blocked", "half") for k in (lanes, lanes + 3)),
        *(conv(f"groups_{g}_of_{k // g}_{y}", c=4 * g, k=k, groups=g, taps=(3, 1), h=3, w=3, x=block, y=layouts[y])
          for g, k in sorted({(2, 8), (4, 16), (3, 24), (2, 2 * lanes), (2, 4 * lanes)}) for y in ("planar", "blocked")),
        *(conv(f"channels_from_{o}", c=lanes, skipped=o, x=block, y=block) for o in sorted({1, 4, lanes - 1, lanes})),
        *(conv(f"into_channel_{o}_{y}", c=3, k=lanes, into=o, y=layouts[y]) for o in sorted({4, lanes})
          for y in ("planar", "half", "blocked") if layouts[y].blocked is None or o % layouts[y].block == 0),
        *(conv(f"into_padded_{y}", k=lanes + 1, halo=1, y=layouts[y], finish="residual") for y in ("planar", "blocked")),
        *(conv(f"batch_{x}", n=N, c=5, k=lanes + 1, h=4, w=4, taps=(3, 3), x=layouts[x], y=block) for x in layouts),
        *(conv(f"heavy_{h}x{w}x{k}_{y}", h=h, w=w, k=k, c=8 * lanes, x=block, y=layouts[y], halo=h % 2, finish="heavy")
          for h, w, k in ((2, 6, 4 * lanes), (1, 6, 4 * lanes + 1), (7, 2, 2 * lanes)) for y in ("planar", "blocked")),
        *(asking(conv(f"{w}_wide_{t}x{t}_{x}", w=w, h=5, c=lanes + 4, k=5 * lanes + 1, taps=(t, t), x=layouts[x], y=block))
          for w in (9, 47) for t in (1, 3) for x in ("blocked", "last")),
        *(conv(f"deep_{h}x{w}", h=h, w=w, c=132, k=4 * lanes + 3, x=block, y=block) for h, w in ((14, 15), (7, 33))),
        conv("batch_residual", n=N, k=lanes + 3, y=block, finish="residual"),
        conv("wide_as_n", w=N, h=1, c=lanes, k=2 * lanes, x=block, y=block, sizes=(1, 2, 3, 14, 31)),
        conv("all_n", n=N, h=N, w=N, k=lanes + 1, sizes=(1, 2, 5)),
        *(batched(f"{c}_to_{k}", 4, c, k, t, n=1, lanes=lanes) for c, k, t in ((lanes, lanes, 1), (lanes, 2 * lanes, 7), (lanes + 1, lanes + 2, 15))),
        batched("batch", 4, lanes, lanes, 5, n=N, lanes=lanes),
        *(one for m, r in ERRORS for one in winograd(m, r, lanes)),
    ]  # fmt: skip


def winograd(m: int, r: int, lanes: int) -> list[Kernel]:
    block, half = by_channel(lanes), by_channel(max(lanes // 2, 4))
    full, ragged = (2 * m, 3 * m), (m + 1, 2 * m - 1)
    return [
        *(winograd_input(f"{m}x{r}_{h}x{w}", m, r, h, w, lanes, x=block, y=block) for h, w in ((1, 1), full)),
        *(winograd_input(f"{m}x{r}_{name}", m, r, *ragged, c, x=x, y=block, n=N)
          for name, c, x in (("planar", lanes, PLANAR), ("blocked", lanes + 1, block), ("half", lanes, half), ("last", lanes + 1, CHANNELS_LAST))),
        winograd_input(f"{m}x{r}_from_row_{m}", m, r, *ragged, lanes + 1, x=block, y=block, top=m),
        *(winograd_output(f"{m}x{r}_{h}x{w}", m, r, h, w, lanes, x=block, y=block) for h, w in ((1, 1), full)),
        *(winograd_output(f"{m}x{r}_{name}", m, r, *ragged, k, x=block, y=y, finish=finish, n=N)
          for name, k, y, finish in (("planar", lanes + 1, PLANAR, "bias"), ("blocked", lanes + 3, block, "residual"), ("half", lanes, half, "mixed"))),
        winograd_output(f"{m}x{r}_into_padded", m, r, *ragged, lanes + 1, x=block, y=block, halo=1, finish="residual"),
    ]  # fmt: skip
