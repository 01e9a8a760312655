"""TFLite's layers with weights, pools, normalisations and elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.frontends.builder import Array
from ingot.frontends.tflite.net import FIRST, Handler, Op, clip, operator

Pair = tuple[int, int]
SAME, VALID = 0, 1


def same_pads(size: int, kernel: int, stride: int) -> Pair:
    """(begin, end) with which the output has ceil(size / stride) elements; what is odd goes to the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def padding(c: Op, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> dict[str, Any]:
    """The attributes pads or auto_pad of a Conv or pool on input 0."""
    if c.rank() != 4:
        raise c.b.invalid(f"its input has {c.rank()} dimensions")
    if c.option("Padding") == VALID:
        return {}
    sizes = c.dims()[1:3]
    pads = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        if size is None and s != 1:
            return {"auto_pad": "SAME_UPPER"}
        pads.append(same_pads(size or 1 << 20, (k - 1) * d + 1, s))
    return {"pads": [pads[0][0], pads[1][0], pads[0][1], pads[1][1]]}


def strides(c: Op) -> Pair:
    found = c.option("StrideH"), c.option("StrideW")
    if min(found) < 1:
        raise c.b.invalid(f"its strides are {found}")
    return found


@operator("CONV_2D")
def conv_2d(c: Op) -> None:
    """Weights [features, height, width, channels / groups]."""
    weights = c.data(1)
    if weights.ndim != 4:
        raise c.b.invalid(f"its weights have {weights.ndim} dimensions")
    channels, inner = c.known(0, 3), weights.shape[3]
    if inner < 1 or channels % inner:
        raise c.b.invalid(f"{channels} channels do not fall into groups of {inner}")
    _convolve(c, c.weights(1, lambda w: w.transpose(FIRST), 0), weights.shape[1:3], channels // inner)


@operator("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(c: Op) -> None:
    """Weights [1, height, width, channels * multiplier]."""
    weights = c.data(1)
    channels = c.known(0, 3)
    if weights.ndim != 4 or weights.shape[0] != 1 or weights.shape[3] % max(channels, 1):
        raise c.b.invalid(f"its weights have the shape {weights.shape} for {channels} channels")
    moved = c.weights(1, lambda w: w.transpose(3, 0, 1, 2), 0)
    _convolve(c, moved, weights.shape[1:3], channels)


def _convolve(c: Op, weights: ir.Value, kernel: Sequence[int], group: int) -> None:
    stride = strides(c)
    dilation = c.option("DilationHFactor", 1), c.option("DilationWFactor", 1)
    source, index = c.first(), c.index(0)
    pads = padding(c, kernel, stride, dilation)
    before = c.net.padded.get(index)
    if before is not None and not pads.get("auto_pad"):
        inner = pads.get("pads", [0] * 4)
        (top, bottom), (left, right) = before[1]
        pads = {"pads": [a + b for a, b in zip(inner, (top, left, bottom, right), strict=True)]}
        source = c.net.value(before[0], True)
    operands = [weights, *bias(c, 2)]
    common: dict[str, Any] = {"kernel_shape": list(kernel), "group": group}
    c.put(
        c.b.op(
            "Conv",
            source,
            *operands,
            name=f"{c.name}/conv",
            strides=stride,
            dilations=dilation,
            **common,
            **pads,
        ),
        True,
    )
    spaced = c.net.spaced.get(index)
    if spaced is not None and stride == (1, 1) and dilation == (1, 1) and c.option("Padding") == VALID:

        def spread(target: Op, block: int, total: Sequence[Pair]) -> None:
            (top, bottom), (left, right) = total
            source, pad = c.net.padded.get(spaced[0], (spaced[0], [(0, 0), (0, 0)]))
            (above, below), (ahead, after) = pad
            top, bottom, left, right = top + above, bottom + below, left + ahead, right + after
            value = c.b.op(
                "Conv", c.net.value(source, True), *operands, name=f"{target.name}/conv",
                pads=[top, left, bottom, right], dilations=[block, block], **common,
            )  # fmt: skip
            target.put(c.activated(value, target.out()), True)

        c.net.spread[c.op.outputs[0]] = spread


def bias(c: Op, place: int) -> list[ir.Value]:
    return [c.weights(place, lambda v: v.reshape(-1), 0)] if c.has(place) else []


@operator("TRANSPOSE_CONV")
def transpose_conv(c: Op) -> None:
    """Inputs: output shape, weights [features, height, width, channels], x; the padding is that of the Conv it inverts."""
    weights, stride = c.data(1), strides(c)
    size = c.out().shape if c.constant(0) is None else list(c.ints(0))
    if weights.ndim != 4 or len(size) != 4 or size[1] is None or size[2] is None:
        raise c.unsupported("its output size is computed at run time; a constant is supported")
    kernel = weights.shape[1:3]
    pads, extra = [], []
    for wanted, axis, k, s in zip((size[1], size[2]), (1, 2), kernel, stride, strict=True):
        begin, end = same_pads(wanted, k, s) if c.option("Padding") == SAME else (0, 0)
        made = (c.known(2, axis) - 1) * s + k - begin - end
        if not 0 <= wanted - made < max(s, 1):
            raise c.unsupported(f"{c.known(2, axis)} elements become {wanted}")
        pads.append((begin, end))
        extra.append(wanted - made)
    value = c.b.op(
        "ConvTranspose", c.first(2), c.weights(1, lambda w: w.transpose(3, 0, 1, 2), 1), *bias(c, 3),
        name=f"{c.name}/conv", strides=stride, kernel_shape=list(kernel),
        pads=[pads[0][0], pads[1][0], pads[0][1], pads[1][1]], output_padding=extra if any(extra) else None,
    )  # fmt: skip
    c.put(value, True)


@operator("FULLY_CONNECTED")
def fully_connected(c: Op) -> None:
    """Weights [features, inner]. Without KeepNumDims x is taken as rows of `inner` elements."""
    if c.option("WeightsFormat"):
        raise c.unsupported("its weights are shuffled")
    if c.rank(1) != 2:
        raise c.b.invalid(f"its weights have {c.rank(1)} dimensions")
    features, inner = c.known(1, 0), c.known(1, 1)
    keeps = c.option("KeepNumDims") and c.rank() > 2
    if keeps or c.constant(1) is None:
        if c.constant(1) is None:
            weights = c.b.op("Transpose", c.plain(1), name=f"{c.name}/transposed", perm=[1, 0])
        else:
            weights = c.weights(1, lambda w: w.T, 1)
        rows = c.plain() if keeps else _flat(c, c.plain(), inner)
        value = c.b.op("MatMul", rows, weights, name=f"{c.name}/product")
        extra = bias(c, 2)
        c.put(c.b.op("Add", value, extra[0], name=f"{c.name}/sum") if extra else value)
        return
    source, unmixed = _rows(c)
    weights = c.weights(1, unmixed, 0)
    value = c.b.op("Gemm", _flat(c, source, inner), weights, *bias(c, 2), name=f"{c.name}/product", transB=1)
    wanted = c.out().shape
    if len(wanted) != 2 and c.rank() == 1:
        value = c.b.op("Reshape", value, c.b.ints(features), name=f"{c.name}/vector")
    c.put(value)


def _flat(c: Op, x: ir.Value, inner: int) -> ir.Value:
    shape = list(x.shape or ())
    if len(shape) == 2 and shape[1] == inner:
        return x
    return c.b.op("Reshape", x, c.b.ints(-1, inner), name=f"{c.name}/rows")


def _rows(c: Op) -> tuple[ir.Value, Callable[[Array], Array]]:
    """Input 0, and the change of the weights' columns to its order of elements.

    What a convolution gives is flattened channels first, and the columns follow, so that nothing is transposed.
    """
    index = c.index(0)
    before = c.net.flattened.get(index, index)
    if not c.net.prefers_first(before):
        return c.plain(), lambda w: w
    shape = list(c.net.held(before, True).shape or ())
    if not all(isinstance(dim, int) for dim in shape[1:]):
        return c.plain(), lambda w: w
    channels, height, width = (int(dim) for dim in shape[1:] if isinstance(dim, int))
    if c.data(1).shape[-1] != channels * height * width:
        return c.plain(), lambda w: w
    order = (
        np.arange(channels * height * width).reshape(height, width, channels).transpose(2, 0, 1).reshape(-1)
    )
    return c.net.value(before, True), lambda w: w[:, order]


@operator("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
def pool_2d(c: Op) -> None:
    kernel, stride = (c.option("FilterHeight"), c.option("FilterWidth")), strides(c)
    if min(kernel) < 1:
        raise c.b.invalid(f"its filter is {kernel}")
    common: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, **padding(c, kernel, stride, (1, 1))}
    x = c.first()
    if c.op.kind == "MAX_POOL_2D":
        c.put(c.b.op("MaxPool", x, name=f"{c.name}/pool", **common), True)
    elif c.op.kind == "AVERAGE_POOL_2D":
        mean = c.b.op("AveragePool", x, name=f"{c.name}/pool", **common)
        c.put(_rounded_away(c, mean, kernel[0] * kernel[1]), True)
    else:
        square = c.b.op("Mul", x, x, name=f"{c.name}/square")
        mean = c.b.op("AveragePool", square, name=f"{c.name}/mean", **common)
        c.put(c.b.op("Sqrt", mean, name=f"{c.name}/root"), True)


def _rounded_away(c: Op, mean: ir.Value, count: int) -> ir.Value:
    """A mean of `count` integers moved off the middle between two, away from a stored 0, as TFLite rounds it.

    QuantizeLinear rounds a middle to the even neighbour. Other means are further from it than they are moved.
    """
    tensor = c.out()
    q, dtype = tensor.quantisation, tensor.dtype
    if q is None or dtype is None or count % 2:
        return mean
    scale, zero = float(q.scale[0]), int(q.zero[0])
    up = c.b.constant(np.float32(scale / (4 * count)))
    if dtype.kind == "i":
        above = c.b.op(
            "GreaterOrEqual", mean, c.b.constant(np.float32(-zero * scale)), name=f"{c.name}/above"
        )
        down = c.b.constant(np.float32(-scale / (4 * count)))
        up = c.b.op("Where", above, up, down, name=f"{c.name}/away")
    return c.b.op("Add", mean, up, name=f"{c.name}/rounded")


@operator("SOFTMAX", "LOG_SOFTMAX")
def softmax(c: Op) -> None:
    first = c.layout()
    x, beta = c.get(0, first), c.option("Beta", 1.0)
    if c.op.kind == "SOFTMAX" and beta != 1:
        x = c.b.op("Mul", x, c.b.constant(np.float32(beta)), name=f"{c.name}/scaled")
    kind = "Softmax" if c.op.kind == "SOFTMAX" else "LogSoftmax"
    c.put(c.b.op(kind, x, name=f"{c.name}/softmax", axis=1 if first else -1), first)


@operator("L2_NORMALIZATION")
def l2_normalization(c: Op) -> None:
    """Along the channels; the norm is at least 1e-6."""
    first = c.layout()
    x = c.get(0, first)
    norm = c.b.op("ReduceL2", x, name=f"{c.name}/norm", axes=[1 if first else -1])
    norm = c.b.op("Max", norm, c.b.constant(np.float32(1e-6)), name=f"{c.name}/at_least")
    c.put(c.b.op("Div", x, norm, name=f"{c.name}/unit"), first)


@operator("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(c: Op) -> None:
    """ONNX divides alpha by the size, TFLite does not."""
    size = 2 * c.option("Radius") + 1
    value = c.b.op(
        "LRN", c.first(), name=f"{c.name}/lrn", size=size, alpha=float(c.option("Alpha", 1.0)) * size,
        beta=float(c.option("Beta", 0.5)), bias=float(c.option("Bias", 1.0)),
    )  # fmt: skip
    c.put(value, True)


# Elementwise


def elementwise(kind: str, count: int = 1) -> Handler:
    """An operator of ONNX on as many inputs."""

    def handler(c: Op) -> None:
        first = c.layout()
        operands = [c.broadcast(i, first) for i in range(count or len(c.op.inputs))]
        c.put(c.b.op(kind, *operands, name=f"{c.name}/{kind.lower()}"), first)

    return handler


for _kind, _onnx in {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor",
    "LOG": "Log", "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg", "ROUND": "Round", "SIN": "Sin",
    "SIGN": "Sign", "SQRT": "Sqrt", "TANH": "Tanh", "HARD_SWISH": "HardSwish",
}.items():  # fmt: skip
    operator(_kind)(elementwise(_onnx))
for _kind, _onnx in {
    "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "POW": "Pow", "LOGICAL_AND": "And",
    "LOGICAL_OR": "Or", "MAXIMUM": "Max", "MINIMUM": "Min", "EQUAL": "Equal", "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual", "LESS": "Less", "LESS_EQUAL": "LessOrEqual",
}.items():  # fmt: skip
    operator(_kind)(elementwise(_onnx, 2))
operator("SELECT", "SELECT_V2")(elementwise("Where", 3))
operator("ADD_N")(elementwise("Sum", 0))


@operator("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
def relu(c: Op) -> None:
    first = c.layout()
    low, high = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}.get(
        c.op.kind, (0.0, 1.0)
    )
    c.put(clip(c.b, c.get(0, first), low, high, c.out()), first)


@operator("LEAKY_RELU")
def leaky_relu(c: Op) -> None:
    first = c.layout()
    c.put(c.b.op("LeakyRelu", c.get(0, first), name=f"{c.name}/leaky", alpha=float(c.option("Alpha"))), first)


@operator("PRELU")
def prelu(c: Op) -> None:
    first = c.layout()
    c.put(c.b.op("PRelu", c.get(0, first), c.broadcast(1, first), name=f"{c.name}/prelu"), first)


@operator("GELU")
def gelu(c: Op) -> None:
    """x / 2 * (1 + erf(x / sqrt 2)), or with tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) in erf's place."""
    first = c.layout()
    x, b = c.get(0, first), c.b

    def number(value: float) -> ir.Value:
        return b.constant(np.float32(value))

    if c.option("Approximate"):
        cube = b.op("Mul", b.op("Mul", x, x, name=f"{c.name}/square"), x, name=f"{c.name}/cube")
        inner = b.op(
            "Add", x, b.op("Mul", cube, number(0.044715), name=f"{c.name}/part"), name=f"{c.name}/inner"
        )
        gate = b.op(
            "Tanh",
            b.op("Mul", inner, number(math.sqrt(2 / math.pi)), name=f"{c.name}/scaled"),
            name=f"{c.name}/tanh",
        )
    else:
        gate = b.op(
            "Erf", b.op("Mul", x, number(math.sqrt(0.5)), name=f"{c.name}/scaled"), name=f"{c.name}/erf"
        )
    half = b.op("Mul", x, number(0.5), name=f"{c.name}/half")
    c.put(
        b.op("Mul", half, b.op("Add", gate, number(1), name=f"{c.name}/gate"), name=f"{c.name}/gelu"), first
    )


@operator("RSQRT")
def rsqrt(c: Op) -> None:
    first = c.layout()
    root = c.b.op("Sqrt", c.get(0, first), name=f"{c.name}/root")
    c.put(c.b.op("Reciprocal", root, name=f"{c.name}/rsqrt"), first)


@operator("SQUARE")
def square(c: Op) -> None:
    first = c.layout()
    x = c.get(0, first)
    c.put(c.b.op("Mul", x, x, name=f"{c.name}/square"), first)


@operator("SQUARED_DIFFERENCE")
def squared_difference(c: Op) -> None:
    first = c.layout()
    difference = c.b.op("Sub", c.broadcast(0, first), c.broadcast(1, first), name=f"{c.name}/difference")
    c.put(c.b.op("Mul", difference, difference, name=f"{c.name}/square"), first)


@operator("NOT_EQUAL")
def not_equal(c: Op) -> None:
    first = c.layout()
    equal = c.b.op("Equal", c.broadcast(0, first), c.broadcast(1, first), name=f"{c.name}/equal")
    c.put(c.b.op("Not", equal, name=f"{c.name}/not"), first)


@operator("DIV", "FLOOR_DIV", "FLOOR_MOD")
def div(c: Op) -> None:
    """Integers divide towards zero in DIV and downwards in FLOOR_DIV."""
    first = c.layout()
    a, b = c.broadcast(0, first), c.broadcast(1, first)
    real = a.dtype is not None and a.dtype.is_floating_point()
    if c.op.kind == "DIV":
        c.put(c.b.op("Div", a, b, name=f"{c.name}/quotient"), first)
    elif real:
        whole = c.b.op("Floor", c.b.op("Div", a, b, name=f"{c.name}/quotient"), name=f"{c.name}/floor")
        if c.op.kind == "FLOOR_MOD":
            whole = c.b.op("Sub", a, c.b.op("Mul", whole, b, name=f"{c.name}/part"), name=f"{c.name}/rest")
        c.put(whole, first)
    else:
        rest = c.b.op("Mod", a, b, name=f"{c.name}/rest")
        if c.op.kind == "FLOOR_DIV":
            rest = c.b.op("Div", c.b.op("Sub", a, rest, name=f"{c.name}/even"), b, name=f"{c.name}/quotient")
        c.put(rest, first)
