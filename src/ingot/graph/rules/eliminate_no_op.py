"""y = f(x) where f changes nothing  ->  x

f: Reshape, Flatten, Squeeze, Unsqueeze, Expand or Tile to the same shape; Transpose in the same order; Cast to the same
dtype; Pad by zero; Slice of everything; Concat, Sum, Max, Min or Mean of one; Split into one; pooling with a window of
one; Add, Sub, Mul, Div or Pow with the neutral constant.
Refuses when the shapes are not known well enough, and outputs that give a graph output its name where the input cannot.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace


def apply(model: ir.Model) -> int:
    fired, opset = 0, edit.opset(model)
    for node in edit.nodes(model, *_RULES, *_NEUTRAL):
        source = _neutral(node) if node.op_type in _NEUTRAL else _RULES[node.op_type](node, opset)
        if source is None or edit.used_outputs(node) not in ([], [0]):
            continue
        if edit.bypass(node, source):
            fired += trace.fired(node)
        else:
            trace.refused(node, "it names an output of its graph")
    return fired


def _same_shape(node: ir.Node, opset: int) -> ir.Value | None:
    source, out = edit.input_at(node, 0), node.outputs[0]
    if source is None or not edit.same_dims(edit.dims(source), edit.dims(out)):
        return None
    return source


def _reshape(node: ir.Node, opset: int) -> ir.Value | None:
    source, wanted = edit.input_at(node, 0), edit.integers(edit.input_at(node, 1))
    dims = edit.dims(source)
    if dims is None or wanted is None or len(wanted) != len(dims):
        return _same_shape(node, opset)
    zeros = node.attributes.get_int("allowzero", 0) and 0 in wanted
    if zeros or 0 in dims or wanted.count(-1) > 1:
        return _same_shape(node, opset)
    kept = all(
        want in (0, -1) or (isinstance(dim, int) and want == dim)
        for want, dim in zip(wanted, dims, strict=True)
    )
    return source if kept else _same_shape(node, opset)


def _transpose(node: ir.Node, opset: int) -> ir.Value | None:
    source, perm = edit.input_at(node, 0), node.attributes.get_ints("perm")
    if perm is None:
        rank = len(source.shape) if source is not None and source.shape is not None else None
        return source if rank in (0, 1) else None
    return source if list(perm) == sorted(perm) else None


def _cast(node: ir.Node, opset: int) -> ir.Value | None:
    source = edit.input_at(node, 0)
    target = edit.input_at(node, 1)
    wanted = (
        node.attributes.get_int("to")
        if node.op_type == "Cast"
        else target.dtype
        if target is not None
        else None
    )
    return source if source is not None and source.dtype is not None and source.dtype == wanted else None


def _pad(node: ir.Node, opset: int) -> ir.Value | None:
    pads = list(node.attributes.get_ints("pads", ())) if opset < 11 else edit.integers(edit.input_at(node, 1))
    return edit.input_at(node, 0) if pads is not None and not any(pads) else None


def _expand(node: ir.Node, opset: int) -> ir.Value | None:
    source, wanted = edit.input_at(node, 0), edit.integers(edit.input_at(node, 1))
    dims = edit.dims(source)
    if dims is None or wanted is None or len(wanted) > len(dims):
        return _same_shape(node, opset)
    tail = dims[len(dims) - len(wanted) :]
    kept = all(
        want == 1 or (isinstance(dim, int) and want == dim) for want, dim in zip(wanted, tail, strict=True)
    )
    return source if kept else None


def _tile(node: ir.Node, opset: int) -> ir.Value | None:
    repeats = edit.integers(edit.input_at(node, 1))
    return edit.input_at(node, 0) if repeats is not None and all(count == 1 for count in repeats) else None


def _slice(node: ir.Node, opset: int) -> ir.Value | None:
    source, dims = edit.input_at(node, 0), edit.dims(edit.input_at(node, 0))
    arguments: list[list[int] | None] = []
    for index, name in enumerate(("starts", "ends", "axes", "steps"), start=1):
        given = node.attributes.get_ints(name) if opset < 10 else edit.integers(edit.input_at(node, index))
        if given is None and opset >= 10 and edit.input_at(node, index) is not None:
            return None
        arguments.append(None if given is None else list(given))
    starts, ends, axes, steps = arguments
    if starts is None or ends is None or any(step != 1 for step in steps or ()):
        return None
    for axis, start, end in zip(axes or range(len(starts)), starts, ends, strict=False):
        dim = dims[axis] if dims is not None and -len(dims) <= axis < len(dims) else None
        reaches = end >= 2**31 - 1 or (isinstance(dim, int) and end >= dim)
        if not reaches or (start != 0 and not (isinstance(dim, int) and start <= -dim)):
            return None
    return source


def _only_input(node: ir.Node, opset: int) -> ir.Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _split(node: ir.Node, opset: int) -> ir.Value | None:
    return edit.input_at(node, 0) if len(node.outputs) == 1 else None


def _pool(node: ir.Node, opset: int) -> ir.Value | None:
    ones = [*node.attributes.get_ints("kernel_shape", (0,)), *node.attributes.get_ints("strides", ())]
    plain = all(size == 1 for size in ones) and not any(node.attributes.get_ints("pads", ()))
    return edit.input_at(node, 0) if plain else None


_RULES: dict[str, Callable[[ir.Node, int], ir.Value | None]] = {
    "AveragePool": _pool,
    "Cast": _cast,
    "CastLike": _cast,
    "Concat": _only_input,
    "Expand": _expand,
    "Flatten": _same_shape,
    "Max": _only_input,
    "MaxPool": _pool,
    "Mean": _only_input,
    "Min": _only_input,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _same_shape,
    "Sum": _only_input,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _same_shape,
}

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1}


def _neutral(node: ir.Node) -> ir.Value | None:
    """The operand that the other, a constant, leaves as it is."""
    if len(node.inputs) != 2:
        return None
    sides = [(0, 1), (1, 0)] if node.op_type in ("Add", "Mul") else [(0, 1)]
    for data, other in sides:
        source, value = node.inputs[data], node.inputs[other]
        if source is None or not edit.is_constant(value) or edit.nbytes(value) > 1 << 20:
            continue
        array = edit.constant(value)
        if (
            array is not None
            and _keeps_shape(array.shape, edit.dims(source))
            and np.all(array == _NEUTRAL[node.op_type])
        ):
            return source
    return None


def _keeps_shape(shape: tuple[int, ...], dims: list[edit.Dim] | None) -> bool:
    """Whether broadcasting against `shape` leaves `dims` as they are."""
    if not shape:
        return True
    if dims is None or len(shape) > len(dims):
        return False
    return all(n == 1 or n == dim for n, dim in zip(reversed(shape), reversed(dims), strict=False))
