"""Categories of the domain ai.onnx.ml, strings or numbers, as other values or as vectors of ones and zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from ingot.ir.index import Var, ix, var
from ingot.ir.nodes import DTYPES, Acc, Const, Index, Op, Select, Value, as_index
from ingot.ir.program import Reduce
from ingot.lower.context import Context
from ingot.lower.elementwise import FLOATS, op
from ingot.lower.ml import DOMAIN, attribute_array, labels_of
from ingot.lower.operand import Node, Operand, elements_of
from ingot.lower.registry import lowers
from ingot.lower.strings import numbered
from ingot.lower.values import cast


def positions(ctx: Context, x: Operand, keys: np.ndarray) -> Operand:
    """Where the last key that equals each element stands, a NaN any NaN; -1 for none."""
    if x.dtype == "str":
        last = {word: i for i, word in enumerate(keys.tolist())}
        order, found = ctx.constant(np.array([*last.values(), -1])), numbered(ctx, x, list(last))

        def number(axes: tuple[Var, ...]) -> Value:
            at = ctx.read(found, axes)
            last_one = Select(op("lt", at, Const(0, "i64")), Const(len(last), "i64"), at)
            return ctx.read(order, [as_index(last_one)])

        return ctx.map(x.shape, "i64", number)
    table = ctx.constant(keys.astype(DTYPES[x.dtype]))
    out, over = ctx.axes(x.shape), var(ctx.unique("r"), len(keys))
    v, key = ctx.read(x, out), ctx.read(table, [over])
    same = op("eq", v, key)
    if x.dtype in FLOATS:
        same = Op("or", (same, Op("and", (op("isnan", v), op("isnan", key)), "bool")), "bool")
    position = Select(same, Index(ix(over)), Const(-1, "i64"))
    return ctx.add(Reduce(ctx.tensor("i64", x.shape), out, Acc("i64"), "max", (over,), position))


def chosen(ctx: Context, at: Operand, values: np.ndarray, default: Any) -> Operand:
    """values[at], the default where `at` is negative."""
    table = ctx.constant(values if len(values) else np.array([default], values.dtype))

    def value(axes: tuple[Var, ...]) -> Value:
        number = ctx.read(at, axes)
        known = ctx.read(table, [as_index(op("max", number, Const(0, "i64")))])
        return Select(op("lt", number, Const(0, "i64")), Const(default, table.dtype), known)

    return ctx.map(at.shape, table.dtype, value)


@lowers("LabelEncoder", domain=DOMAIN)
def label_encoder(ctx: Context, node: Node) -> Operand:
    x, keys, values = node.input(0), _side(node, "keys"), _side(node, "values")
    if (x.dtype == "str") != (keys.dtype == object):
        raise node.unsupported(f"keys of another type than {x.dtype}", "use keys of the input's type")
    name, default = {
        "f": ("default_float", -0.0), "i": ("default_int64", -1), "O": ("default_string", "_Unused"),
    }[values.dtype.kind]  # fmt: skip
    default = node.get(name, default)
    if node.get("default_tensor") is not None:
        default = elements_of(node.get("default_tensor")).reshape(-1)[0]
        default = default if isinstance(default, bytes) else default.item()
    default = default.encode() if isinstance(default, str) else default
    return chosen(ctx, positions(ctx, x, keys), values, default)


def _side(node: Node, side: str) -> np.ndarray:
    for name, dtype in (("int64s", np.int64), ("floats", np.float32), ("strings", object), ("tensor", None)):
        found = attribute_array(node, f"{side}_{name}", dtype)
        if found is not None and found.dtype.kind in "ifO":
            return found.reshape(-1)
    raise node.unsupported(f"no {side} that are strings, integers or floats", "use such")


@lowers("CategoryMapper", domain=DOMAIN)
def category_mapper(ctx: Context, node: Node) -> Operand:
    """Strings to integers, or integers to strings."""
    x = node.input(0)
    words, numbers = (
        attribute_array(node, f"cats_{n}", d) for n, d in (("strings", object), ("int64s", np.int64))
    )
    assert words is not None
    assert numbers is not None
    if x.dtype == "str":
        return chosen(ctx, positions(ctx, x, words), numbers, int(node.get("default_int64", -1)))
    default = str(node.get("default_string", "_Unused")).encode()
    return chosen(ctx, positions(ctx, x, numbers), words, default)


@lowers("OneHotEncoder", domain=DOMAIN)
def one_hot_encoder(ctx: Context, node: Node) -> Operand:
    """With zeros=0 a run ends where an element is no category."""
    x = node.input(0)
    table = labels_of(node, "cats_strings" if x.dtype == "str" else "cats_int64s")
    if x.dtype not in ("str", "i64"):
        x = ctx.map(x.shape, "i64", lambda axes, x=x: cast(ctx.read(x, axes), "i64"))  # type: ignore[misc]
    found = positions(ctx, x, table)
    if not node.get("zeros", 1):
        text = "an element is none of the categories"
        ctx.demand(x.shape, lambda axes: op("ge", ctx.read(found, axes), Const(0, "i64")), text)

    def value(axes: tuple[Var, ...]) -> Value:
        return cast(op("eq", ctx.read(found, axes[:-1]), Index(ix(axes[-1]))), "f32")

    return ctx.map([*x.shape, len(table)], "f32", value)
