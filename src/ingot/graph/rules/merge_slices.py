"""Slice(Slice(x))  ->  Slice(x) along the axes of both

Refuses bounds that are not constant, an axis that both cut, axes that cannot be compared as the rank is not known, and
operator sets before 10.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace

Cut = tuple[int, int, int]
"""Start, end, step."""


def apply(model: ir.Model) -> int:
    if edit.opset(model) < 10:
        return 0
    fired, names = 0, edit.Names(model)
    for node, inner in edit.pairs(model, ("Slice",), ("Slice",)):
        first, second = cuts(inner), cuts(node)
        if first is None or second is None:
            reason = "its bounds are not constant"
        elif first.keys() & second.keys() or min([*first, *second]) < 0:
            reason = "they may cut the same axis"
        else:
            node.replace_input_with(0, inner.inputs[0])
            set_cuts(node, first | second, names)
            fired += trace.fired(node)
            continue
        trace.refused(node, reason)
    return fired


def cuts(node: ir.Node) -> dict[int, Cut] | None:
    """What a Slice of operator set 10 or newer cuts from each of its axes, None where that is not constant.

    Axes count from 0 where the rank is known, else as they were given.
    """
    given = [edit.integers(edit.input_at(node, index)) for index in range(1, 5)]
    absent = [edit.input_at(node, index) is None for index in range(1, 5)]
    starts, ends, axes, steps = given
    if starts is None or ends is None or any(a is None and not b for a, b in zip(given, absent, strict=True)):
        return None
    axes = list(range(len(starts))) if axes is None else axes
    rank = edit.dims(node.inputs[0])
    if rank is not None:
        axes = [axis % len(rank) for axis in axes]
    return dict(zip(axes, zip(starts, ends, steps or [1] * len(starts), strict=True), strict=True))


def set_cuts(node: ir.Node, wanted: dict[int, Cut], names: edit.Names) -> None:
    """Let a Slice cut what is wanted."""
    axes = sorted(wanted)
    columns = [*zip(*(wanted[axis] for axis in axes), strict=True)]
    node.resize_inputs(5)
    assert node.graph is not None
    for index, column in enumerate([columns[0], columns[1], axes, columns[2]], start=1):
        label = f"{node.outputs[0].name}.{('starts', 'ends', 'axes', 'steps')[index - 1]}"
        node.replace_input_with(index, names.add_constant(node.graph, label, np.array(column, np.int64)))
