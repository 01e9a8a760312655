"""Window functions for spectra: sums of cosines (Harris, On the use of windows, 1978)."""

from __future__ import annotations

import math

from ingot.ir.index import Var, ix
from ingot.ir.nodes import Const, Index, Op, Value
from ingot.lower.context import Context
from ingot.lower.elementwise import dtype_name
from ingot.lower.movement import integers
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.tables import table
from ingot.lower.values import cast

COSINES = {
    "HannWindow": (0.5, -0.5),
    "HammingWindow": (25 / 46, -21 / 46),
    "BlackmanWindow": (0.42, -0.5, 0.08),
}
"""The factors of cos(2 pi k n / N) for k from 0 on."""


@lowers(*COSINES)
def window(ctx: Context, node: Node) -> Operand:
    size = ctx.size((integers(ctx, node, 0, "the size") or [ix(0)])[0], None, 0, 0)
    period = size if node.get("periodic", 1) else size - 1

    def value(axes: tuple[Var, ...]) -> Value:
        n, length = cast(Index(ix(axes[0])), "f64"), cast(Index(period), "f64")
        turn = Op("div", (n, length), "f64")
        total: Value = Const(COSINES[node.operator][0], "f64")
        for k, factor in enumerate(COSINES[node.operator][1:], 1):
            angle = Op("mul", (turn, Const(2 * math.pi * k, "f64")), "f64")
            wave = Op("mul", (Op("cos", (angle,), "f64"), Const(factor, "f64")), "f64")
            total = Op("add", (total, wave), "f64")
        return total

    return table(ctx, [size], dtype_name(node.get("output_datatype", 1), node), value)
