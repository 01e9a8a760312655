"""Operators on text: counts of sequences of tokens."""

from __future__ import annotations

from functools import reduce

import numpy as np

from ingot.ir.index import Ix, ix, maximum
from ingot.ir.nodes import Acc, Const, Op, Value
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.strings import numbered
from ingot.lower.values import cast


@lowers("TfIdfVectorizer")
def tf_idf(ctx: Context, node: Node) -> Operand:
    """How often each sequence of the pool occurs among (tokens) or in each row of (rows, tokens), its tokens side by side
    or with up to `max_skip_count` others between neighbours: (columns) or (rows, columns)."""
    x, mode = node.input(0), node.attributes["mode"]
    pool = [int(token) for token in node.get("pool_int64s") or ()]
    if x.dtype == "str":
        words = [word.encode() for word in node.get("pool_strings") or ()]
        pool_of = {word: i for i, word in enumerate(dict.fromkeys(words))}
        x, pool = numbered(ctx, x, list(pool_of)), [pool_of[word] for word in words]
    if not pool or x.dtype not in ("i64", "i32"):
        raise node.unsupported(f"tokens that are {x.dtype}, or no pool of them", "give integers or strings")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise node.unsupported(f"mode={mode}", "use TF, IDF or TFIDF")
    indexes = np.array(node.attributes["ngram_indexes"], np.int64)
    columns = int(indexes.max()) + 1
    if len(np.unique(indexes)) < len(indexes):
        raise node.unsupported("two sequences of the pool are counted in one column", "give each its own")
    counts: list[Operand] = []
    for columns_of, table in _pool(node, pool, indexes):
        length = table.shape[1]
        skips = int(node.attributes["max_skip_count"]) if length > 1 else 0
        counts += [_count(ctx, x, columns_of, table, columns, skip + 1) for skip in range(skips + 1)]
    factors = np.ones(columns, np.float32)
    if node.get("weights") and mode != "TF":
        factors[indexes] = node.attributes["weights"]
    scale = ctx.constant(factors)

    def element(axes: tuple) -> Value:  # type: ignore[type-arg]
        values = [ctx.read(c, axes) for c in counts] or [Const(0.0, "f32")]
        total = reduce(lambda a, b: Op("add", (a, b), "f32"), values)
        if mode == "IDF":
            total = cast(Op("gt", (total, Const(0.0, "f32")), "bool"), "f32")
        return Op("mul", (total, ctx.read(scale, axes[-1:])), "f32")

    return ctx.map([*x.shape[:-1], columns], "f32", element)


def _pool(node: Node, pool: list[int], indexes: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length that is asked for: the columns of the pool's sequences, and the sequences, (count, length)."""
    starts = list(node.attributes["ngram_counts"])
    low, high = int(node.attributes["min_gram_length"]), int(node.attributes["max_gram_length"])
    found, first = [], 0
    for length, (start, stop) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        table = np.array(pool[start:stop], np.int64).reshape(-1, length)
        if len(table) and low <= length <= high:
            found.append((indexes[first : first + len(table)], table))
        first += len(table)
    return found


def _count(
    ctx: Context, x: Operand, columns_of: np.ndarray, table: np.ndarray, columns: int, stride: int
) -> Operand:
    """In column columns_of[i], how often the tokens table[i] stand in x, `stride` apart; 0 in other columns."""
    length = table.shape[1]
    wanted, there = np.zeros((columns, length), np.int64), np.zeros(columns, np.bool_)
    wanted[columns_of], there[columns_of] = table, True
    sequences, known = ctx.constant(wanted), ctx.constant(there)
    output = ctx.tensor("f32", [*x.shape[:-1], columns])
    axes = ctx.axes(output.shape)
    places: Ix = maximum(x.shape[-1] - (length - 1) * stride, 0)
    (place,) = ctx.axes([places])
    hit = ctx.read(known, axes[-1:])
    for k in range(length):
        token = cast(ctx.read(x, [*axes[:-1], ix(place) + k * stride]), "i64")
        same = Op("eq", (token, ctx.read(sequences, [axes[-1], k])), "bool")
        hit = Op("and", (hit, same), "bool")
    return ctx.add(Reduce(output, axes, Acc("f32"), "add", (place,), cast(hit, "f32")))
