"""Attention: a product, a softmax and a product, which fusion makes one operation where nothing reads what lies between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ingot.ir.index import Ix, IxLike, Var, ix, minimum, var
from ingot.ir.nodes import Acc, Const, Index, Op, Select, Value
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.contraction import product_of
from ingot.lower.elementwise import const, op
from ingot.lower.operand import Node, Operand
from ingot.lower.reduction import row
from ingot.lower.registry import lowers
from ingot.lower.values import cast

_DOUBLE = 11
"""The number of float64 in ONNX's list of dtypes."""

Condition = Callable[[Sequence[IxLike]], Value]
"""Whether a query sees a key, at (batch, head, query, key)."""


@lowers("Attention")
def attention(ctx: Context, node: Node) -> list[Operand]:
    """Scaled dot products with masks, past keys, grouped heads and a soft cap; sums and softmax in float at least.

    Q: (batch, heads, queries, size), K and V: (batch, key heads, keys, size), or rank 3 with the heads inside the last
    axis. A query that sees no key gives zeros.
    """
    inputs = [node.input(i) for i in range(3)]
    flat = inputs[0].rank == 3
    if flat:
        counts = [int(node.attributes[f"{side}_num_heads"]) for side in ("q", "kv", "kv")]
        inputs = [_split_heads(ctx, x, n) for x, n in zip(inputs, counts, strict=True)]
    q, k, v = inputs
    past = [node.optional(4), node.optional(5)]
    offset = ix(0)
    if past[0] is not None and past[1] is not None:
        offset = past[0].shape[2]
        k, v = ctx.concat([past[0], k], 2), ctx.concat([past[1], v], 2)
    wide = _wide(node, q)
    raw = _scores(ctx, node, q, k, wide)
    cap = node.get("softcap", 0.0)
    capped = _softcapped(ctx, raw, cap) if cap else raw
    visible = _Visible(ctx, node, raw.shape, offset)
    biased = visible.masked(capped)
    softmax = row(ctx, biased, [3], "softmax")
    alive = visible.any()
    y = _weighted(ctx, softmax, v, wide, q.dtype, alive)
    mode = node.get("qk_matmul_output_mode", 0)
    seen = _zero_unless(ctx, alive, softmax) if mode == 3 else (raw, capped, biased)[mode]
    return [_join_heads(ctx, y) if flat else y, k, v, _converted(ctx, seen, q.dtype)]


@lowers("FlexAttention", domain="ai.onnx.preview")
def flex_attention(ctx: Context, node: Node) -> Operand:
    """Scaled dot products whose scores and whose probabilities subgraphs may change."""
    q, k, v = (node.input(i) for i in range(3))
    wide = _wide(node, q)
    scores = _modified(ctx, node, "score_mod", _scores(ctx, node, q, k, wide))
    softmax = _modified(ctx, node, "prob_mod", row(ctx, scores, [3], "softmax"))
    return _weighted(ctx, softmax, v, wide, q.dtype, None)


def _modified(ctx: Context, node: Node, attribute: str, x: Operand) -> Operand:
    """What a subgraph of one input makes of x."""
    graph = node.get(attribute)
    if graph is None:
        return x
    (result,) = ctx.lower_graph(graph, [x])
    ctx.node = node
    if not isinstance(result, Operand):
        raise node.unsupported(f"{attribute} gives no tensor")
    for given, wanted in zip(result.shape, x.shape, strict=True):
        ctx.require(given, wanted)
    return result


def _wide(node: Node, x: Operand) -> str:
    """The dtype of scores: the softmax's own where that is wider than float."""
    return "f64" if x.dtype == "f64" or node.get("softmax_precision") == _DOUBLE else "f32"


def _converted(ctx: Context, x: Operand, dtype: str) -> Operand:
    return x if x.dtype == dtype else ctx.map(x.shape, dtype, lambda axes: cast(ctx.read(x, axes), dtype))


def _split_heads(ctx: Context, x: Operand, heads: int) -> Operand:
    """(batch, rows, heads * size) as (batch, heads, rows, size)."""
    batch, rows, width = x.shape
    size = width // heads
    ctx.require(size * heads, width)
    return ctx.view(x, [batch, heads, rows, size], lambda b, h, m, d: [b, m, h * size + d])


def _join_heads(ctx: Context, x: Operand) -> Operand:
    """(batch, heads, rows, size) as (batch, rows, heads * size)."""
    batch, heads, rows, size = x.shape
    return ctx.view(x, [batch, rows, heads * size], lambda b, m, i: [b, i // size, m, i % size])


def _shared(ctx: Context, node: Node, x: Operand, heads: Ix) -> Operand:
    """Keys or values with a head for each of the queries' heads: consecutive ones share one."""
    own = x.shape[1]
    if own == heads:
        return x
    if not (own.is_const and heads.is_const and own.value and heads.value % own.value == 0):
        raise node.unsupported(f"{heads} heads of queries cannot share {own} heads of keys")
    times = heads.value // own.value
    shape = [x.shape[0], heads, *x.shape[2:]]
    return ctx.view(x, shape, lambda b, h, n, d: [b, h // times, n, d])


def _scores(ctx: Context, node: Node, q: Operand, k: Operand, wide: str) -> Operand:
    """(batch, heads, queries, keys): the products of queries and keys, scaled."""
    size = q.shape[3]
    scale = node.get("scale")
    if scale is None:
        if not size.is_const:
            raise node.unsupported("the size of a head is known only at run time", "give the attribute scale")
        scale = 1 / math.sqrt(max(size.value, 1))
    ctx.require(q.shape[0], k.shape[0])
    keys = _converted(ctx, _shared(ctx, node, k, q.shape[1]), wide)
    turned = ctx.view(keys, [*keys.shape[:2], size, keys.shape[2]], lambda b, h, d, n: [b, h, n, d])
    shape = (*q.shape[:3], keys.shape[2])
    factor = Const(float(scale), wide)
    return product_of(ctx, _converted(ctx, q, wide), turned, shape, lambda axes: op("mul", Acc(wide), factor))


def _weighted(
    ctx: Context, softmax: Operand, v: Operand, wide: str, dtype: str, alive: Operand | None
) -> Operand:
    """(batch, heads, queries, size): the values' sums by weight, zeros where no key is alive."""
    values = _converted(ctx, _shared(ctx, ctx.node, v, softmax.shape[1]), wide)
    weights = _converted(ctx, softmax, wide)
    shape = (*softmax.shape[:3], v.shape[3])

    def finish(axes: tuple[Var, ...]) -> Value:
        if alive is None:
            return Acc(wide)
        return Select(ctx.read_broadcast(alive, [*axes[:3], 0]), Acc(wide), Const(0.0, wide), guards=False)

    return _converted(ctx, product_of(ctx, weights, values, shape, finish), dtype)


def _softcapped(ctx: Context, x: Operand, cap: float) -> Operand:
    def element(axes: tuple[Var, ...]) -> Value:
        value = ctx.read(x, axes)
        return op("mul", op("tanh", op("mul", value, const(1 / cap, value))), const(cap, value))

    return ctx.map(x.shape, x.dtype, element)


def _zero_unless(ctx: Context, alive: Operand | None, x: Operand) -> Operand:
    if alive is None:
        return x

    def element(axes: tuple[Var, ...]) -> Value:
        value = ctx.read(x, axes)
        return Select(ctx.read_broadcast(alive, [*axes[:3], 0]), value, const(0.0, value), guards=False)

    return ctx.map(x.shape, x.dtype, element)


class _Visible:
    """Which keys the queries of an Attention node see, and what the mask adds to their scores.

    shape: (batch, heads, queries, keys). offset: the position of the first query among the keys where no input says
    how many keys are valid.
    """

    def __init__(self, ctx: Context, node: Node, shape: tuple[Ix, ...], offset: Ix) -> None:
        self.ctx, self.shape, self.offset = ctx, shape, offset
        self.mask = node.optional(3)
        self.valid = node.optional(6)
        self.causal = bool(node.get("is_causal", 0))
        self.left, self.right = node.get("left_window_size", -1), node.get("right_window_size", -1)
        self.conditions = self._conditions()

    def _conditions(self) -> list[Condition]:
        found: list[Condition] = []
        if self.causal:
            found.append(lambda at: Op("le", (Index(ix(at[3])), self._position(at)), "bool"))
        if self.left >= 0:
            found.append(lambda at: Op("ge", (self._shifted(at, self.left), self._position(at)), "bool"))
        if self.right >= 0:
            found.append(lambda at: Op("le", (self._shifted(at, -self.right), self._position(at)), "bool"))
        if self.valid is not None:
            found.append(lambda at: Op("lt", (Index(ix(at[3])), self._valid(at)), "bool"))
        mask = self.mask
        if mask is not None:
            if mask.shape[-1] != self.shape[3]:
                found.append(lambda at: Op("lt", (Index(ix(at[3])), Index(mask.shape[-1])), "bool"))
            if mask.dtype == "bool":
                found.append(self._mask)
        return found

    def _shifted(self, at: Sequence[IxLike], by: int) -> Value:
        return Index(ix(at[3]) + by)

    def _position(self, at: Sequence[IxLike]) -> Value:
        """The query's position among the keys."""
        if self.valid is None:
            return Index(ix(at[2]) + self.offset)
        return Op("add", (self._valid(at), Index(ix(at[2]) - self.shape[2])), "i64")

    def _valid(self, at: Sequence[IxLike]) -> Value:
        assert self.valid is not None
        return cast(self.ctx.read_broadcast(self.valid, at[:1]), "i64")

    def _mask(self, at: Sequence[IxLike]) -> Value:
        """The mask at a key that lies inside of it."""
        mask = self.mask
        assert mask is not None
        last = ix(at[3])
        if mask.shape[-1] != self.shape[3]:
            last = minimum(last, mask.shape[-1] - 1)
        return self.ctx.read_broadcast(mask, [*at[:3], last])

    def _seen(self, at: Sequence[IxLike]) -> Value | None:
        """All conditions, None where there is none."""
        result: Value | None = None
        for condition in self.conditions:
            one = condition(at)
            result = one if result is None else Op("and", (result, one), "bool")
        return result

    def masked(self, scores: Operand) -> Operand:
        """The scores plus the mask, -inf where a query does not see a key."""
        mask = self.mask
        added = mask is not None and mask.dtype != "bool"
        if not added and not self.conditions:
            return scores

        def element(axes: tuple[Var, ...]) -> Value:
            value = self.ctx.read(scores, axes)
            if added:
                value = op("add", value, cast(self._mask(axes), scores.dtype))
            seen = self._seen(axes)
            return value if seen is None else Select(seen, value, const(-math.inf, value), guards=False)

        return self.ctx.map(scores.shape, scores.dtype, element)

    def any(self) -> Operand | None:
        """(batch or 1, heads or 1, queries or 1, 1) of bool: whether a query sees a key. None where each one does."""
        ctx, mask = self.ctx, self.mask
        data = None if mask is None else mask.data
        windowed = self.left >= 0 or self.right >= 0
        padded = mask is not None and mask.shape[-1] != self.shape[3]
        if self.valid is None and not windowed and not padded:
            if mask is None:
                return None
            if data is not None and not self.causal:
                open_ = data if data.dtype == np.bool_ else data.astype(np.float64) > -np.inf
                if open_.any(-1).all():
                    return None
        sides = [ix(1)] * 3
        if self.valid is not None:
            sides[0] = self.shape[0]
        if self.causal or windowed:
            sides[2] = self.shape[2]
        if mask is not None:
            for side, d in zip(range(4 - mask.rank, 3), mask.shape[:-1], strict=True):
                sides[side] = sides[side] if d == ix(1) else self.shape[side]
        out = ctx.axes([*sides, ix(1)])
        key = var(ctx.unique("r"), self.shape[3])
        at = [*out[:3], key]
        seen = self._seen(at)
        if mask is not None and mask.dtype != "bool":
            value = self._mask(at)
            finite = op("gt", value, const(-math.inf, value))
            seen = finite if seen is None else Op("and", (seen, finite), "bool")
        assert seen is not None
        output = ctx.tensor("bool", [*sides, ix(1)])
        return ctx.add(Reduce(output, out, Acc("bool"), "or", (key,), seen))
