"""Conv<k>(SpaceToDepth<b>(x), w)  ->  Conv<k * b, strides * b>(x, w');  DepthToSpace<b>(Conv<1>(x, w))  ->  ConvTranspose<b, strides = b>(x, w')

As many products, and no tensor in between. Refuses groups, dilations and automatic pads, a kernel of another size before a
DepthToSpace, weights that are not constant, biases that differ inside a block, and parts that others use too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, match, trace
from ingot.graph.match import Fixed, Var, op

_INTO = op("Conv", op("SpaceToDepth", Var("x"), name="blocks"), Fixed("w"), name="conv")
_OUT_OF = op("DepthToSpace", op("Conv", Var("x"), Fixed("w"), name="conv"), name="blocks")


def apply(model: ir.Model) -> int:
    names = edit.Names(model)
    fired = read_pixels(model, names)
    for found in match.each(model, _OUT_OF):
        fired += trace.outcome(found.root, _unfit(found) or found.leak() or _transposed(found, names))
    return fired


def read_pixels(model: ir.Model, names: edit.Names, most: int | None = None) -> int:
    """The first of the two; most: channels of x at most."""
    fired = 0
    for found in match.each(model, _INTO):
        dims = edit.dims(found.values["x"])
        channels = dims[1] if dims is not None and len(dims) == 4 else None
        few = most is None or (isinstance(channels, int) and channels <= most)
        reason = None if few else f"its image does not have at most {most} channels"
        fired += trace.outcome(found.root, reason or _unfit(found) or found.leak() or _larger(found, names))
    return fired


def _unfit(found: match.Match) -> str | None:
    conv, w = found.named["conv"], edit.static_dims(found.values["w"])
    rates = conv.attributes.get_ints("dilations", ())
    if conv.attributes.get_int("group", 1) != 1 or any(rate != 1 for rate in rates):
        return "it has groups or dilations"
    if edit.pads_itself(conv) or w is None or len(w) != 4:
        return "it has automatic pads, or its weights have not four axes"
    return None


def _weights(found: match.Match) -> edit.Array:
    array = edit.constant(found.values["w"])
    assert array is not None
    return array


def _larger(found: match.Match, names: edit.Names) -> str | None:
    conv, graph = found.named["conv"], found.root.graph
    block = found.named["blocks"].attributes.get_int("blocksize") or 1
    w = _weights(found)
    features, channels, rows, columns = w.shape
    if channels % (block * block):
        return "its weights do not fit the blocks"
    split = w.reshape(features, block, block, channels // block**2, rows, columns)
    made = split.transpose(0, 3, 4, 1, 5, 2).reshape(features, -1, rows * block, columns * block)
    assert graph is not None
    weights = names.add_constant(graph, f"{found.values['w'].name}.blocks", made, found.values["w"].dtype)
    grown = {"pads": (0, 0, 0, 0), "strides": (1, 1)}
    attributes = [
        ir.AttrInt64s(name, [size * block for size in conv.attributes.get_ints(name, default)])
        for name, default in grown.items()
    ]
    attributes.append(ir.AttrInt64s("kernel_shape", made.shape[2:]))
    inputs = [found.values["x"], weights, *([conv.inputs[2]] if edit.input_at(conv, 2) is not None else [])]
    return match.fuse(found, "Conv", inputs, attributes, names)


def _transposed(found: match.Match, names: edit.Names) -> str | None:
    conv, blocks, graph = found.named["conv"], found.named["blocks"].attributes, found.root.graph
    block, w = blocks.get_int("blocksize") or 1, _weights(found)
    plain = not any(conv.attributes.get_ints("pads", ()))
    if w.shape[2:] != (1, 1) or not plain or any(s != 1 for s in conv.attributes.get_ints("strides", ())):
        return "it reads more than one element"
    given = edit.input_at(conv, 2)
    bias = edit.constant(given)
    if given is not None and bias is None:
        return "its bias is not constant"
    rows_first = blocks.get_string("mode", "DCR") == "DCR"
    shape = (block, block, -1) if rows_first else (-1, block, block)
    order = (2, 0, 1) if rows_first else (0, 1, 2)
    made = w.reshape(*shape, w.shape[1]).transpose(3, *order)
    assert graph is not None
    inputs = [found.values["x"]]
    arrays = [np.ascontiguousarray(made)]
    if bias is not None:
        parts = bias.reshape(shape).transpose(order).reshape(-1, block * block)
        if np.any(parts != parts[:, :1]):
            return "its bias differs inside a block"
        arrays.append(parts[:, 0])
    for array, name in zip(arrays, ("weights", "bias"), strict=False):
        label = f"{found.root.outputs[0].name}.{name}"
        inputs.append(names.add_constant(graph, label, array, found.values["w"].dtype))
    attributes = [ir.AttrInt64s(name, (block, block)) for name in ("kernel_shape", "strides")]
    return match.fuse(found, "ConvTranspose", inputs, attributes, names)
