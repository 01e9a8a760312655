"""Caffe's layers as ONNX nodes: a function a layer type, from the values of its bottoms to those of its tops.

`arrays.py` has those that move, select and reduce, `detection.py` those of SSD.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.frontends.builder import Builder
from ingot.frontends.caffe.net import Handler, Layer, layer
from ingot.frontends.caffe.text import Message

Values = list[ir.Value]


def dims(b: Builder, value: ir.Value) -> list[int]:
    """The shape of a value, which Caffe always knows."""
    shape = list(value.shape or ())
    if value.shape is None or not all(isinstance(dim, int) for dim in shape):
        raise b.invalid(f"the shape of {value.name} is not known")
    return [int(dim) for dim in shape if isinstance(dim, int)]


def picture(b: Builder, value: ir.Value) -> list[int]:
    """The shape of a value of four dimensions."""
    shape = dims(b, value)
    if len(shape) != 4:
        raise b.invalid(f"its bottom has {len(shape)} dimensions and must have 4")
    return shape


def axis_of(b: Builder, value: ir.Value, axis: int) -> int:
    """An axis that may count from the end, from 0 on."""
    rank = len(dims(b, value))
    if not -rank <= axis < rank:
        raise b.invalid(f"axis {axis} does not exist in {rank} dimensions")
    return axis % rank


def scalar(b: Builder, value: float) -> ir.Value:
    """A float32; infinite where `value` is beyond it."""
    with np.errstate(over="ignore"):
        return b.constant(np.float32(value))


def affine(b: Builder, name: str, x: ir.Value, scale: float, shift: float) -> ir.Value:
    """x * scale + shift without what does nothing."""
    if scale != 1:
        x = b.op("Mul", x, scalar(b, scale), name=f"{name}/scale")
    return b.op("Add", x, scalar(b, shift), name=f"{name}/shift") if shift else x


# Inputs and layers that pass values on


@layer("Input", "DummyData", bottoms=0)
def input_(b: Builder, it: Layer, x: Values) -> Values:
    shapes = it.message.message("input_param" if it.type == "Input" else "dummy_data_param").messages("shape")
    if len(shapes) not in (1, len(it.tops)):
        raise b.invalid(f"{len(it.tops)} tops have {len(shapes)} shapes", "give each top a shape")
    found = [shape.ints("dim") for shape in shapes] * (len(it.tops) if len(shapes) == 1 else 1)
    return [b.input(top, ir.DataType.FLOAT, shape) for top, shape in zip(it.tops, found, strict=True)]


@layer("Split")
def split(b: Builder, it: Layer, x: Values) -> Values:
    return [x[0]] * len(it.tops)


@layer("Dropout")
def dropout(b: Builder, it: Layer, x: Values) -> Values:
    return x[:1]


@layer("Silence", bottoms=0)
def silence(b: Builder, it: Layer, x: Values) -> Values:
    return []


# Convolution and pooling


class Window:
    """The spatial parameters of a layer of two spatial axes: (height, width) each."""

    def __init__(self, b: Builder, params: Message, what: str = "kernel_size", needed: bool = True) -> None:
        self.kernel = self._pair(b, params, what, "kernel", 0)
        self.stride = self._pair(b, params, "stride", "stride", 1)
        self.pad = self._pair(b, params, "pad", "pad", 0)
        self.dilation = self._pair(b, params, "dilation", "dilation", 1)
        if min(self.stride + self.dilation) < 1 or min(self.pad) < 0 or (needed and min(self.kernel) < 1):
            raise b.invalid("its kernel, stride, pad or dilation is too small")

    @staticmethod
    def _pair(b: Builder, params: Message, name: str, prefix: str, default: int) -> tuple[int, int]:
        if f"{prefix}_h" in params or f"{prefix}_w" in params:
            return params.int(f"{prefix}_h", default), params.int(f"{prefix}_w", default)
        values = params.ints(name) or [default]
        if len(values) > 2:
            raise b.invalid(f"{name} has {len(values)} values; two spatial axes are supported")
        return values[0], values[-1]

    @property
    def pads(self) -> list[int]:
        return [*self.pad, *self.pad]


@layer("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Deconvolution")
def convolution(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("convolution_param")
    window = Window(b, params)
    if params.int("axis", 1) != 1:
        raise it.unsupported(f"its axis is {params.int('axis')}; 1 is supported")
    made = []
    for value in x:
        shape = picture(b, value)
        channels, features = shape[1], params.int("num_output")
        group = channels if "epthwise" in it.type else params.int("group", 1)
        if group < 1 or features < 1 or channels % group or features % group:
            raise b.invalid(f"{channels} channels and {features} outputs do not fall into {group} groups")
        common: dict[str, Any] = {
            "kernel_shape": window.kernel, "strides": window.stride, "pads": window.pads,
            "dilations": window.dilation, "group": group,
        }  # fmt: skip
        operator, outer, inner = "Conv", features, channels // group
        if it.type == "Deconvolution":
            operator, outer, inner = "ConvTranspose", channels, features // group
        operands = [b.constant(it.weights(0, (outer, inner, *window.kernel)), f"{it.name}/weights")]
        if params.bool("bias_term", True):
            operands.append(b.constant(it.weights(1, (features,)), f"{it.name}/bias"))
        made.append(b.op(operator, value, *operands, name=it.name, **common))
    return made


@layer("Pooling")
def pooling(b: Builder, it: Layer, x: Values) -> Values:
    """Sizes are rounded up, and a last window that would start beyond the input and its front pad is left out.

    An average divides by the window's cells within the padded input, so the padding is made first and counts.
    """
    params = it.message.message("pooling_param")
    size = picture(b, x[0])[2:]
    kind = params.word("pool", "MAX", {"0": "MAX", "1": "AVE", "2": "STOCHASTIC"})
    if kind not in ("MAX", "AVE"):
        raise it.unsupported(f"{kind.lower()} pooling")
    if params.bool("global_pooling"):
        return [b.op("GlobalMaxPool" if kind == "MAX" else "GlobalAveragePool", x[0], name=it.name)]
    window = Window(b, params)
    ceil = params.word("round_mode", "CEIL") not in ("FLOOR", "1") and params.bool("ceil_mode", True)
    if ceil and any(s > k for s, k in zip(window.stride, window.kernel, strict=True)) and not any(window.pad):
        _check_windows(it, size, window)
    common: dict[str, Any] = {"kernel_shape": window.kernel, "strides": window.stride, "ceil_mode": int(ceil)}
    if kind == "MAX":
        return list(
            b.ops(
                "MaxPool",
                x[0],
                name=it.name,
                pads=window.pads,
                outputs=min(max(len(it.tops), 1), 2),
                **common,
            )
        )
    if not any(window.pad):
        return [b.op("AveragePool", x[0], name=it.name, **common)]
    pads = b.ints(0, 0, *window.pad, 0, 0, *window.pad)
    y = b.op("AveragePool", b.op("Pad", x[0], pads, name=f"{it.name}/pad"), name=it.name, **common)
    ends = [
        -1 if ceil and (made - 1) * stride >= n + pad else made
        for made, stride, n, pad in zip(dims(b, y)[2:], window.stride, size, window.pad, strict=True)
    ]
    if -1 in ends:
        y = b.op("Slice", y, b.ints(0, 0), b.ints(*ends), b.ints(2, 3), name=f"{it.name}/clip")
    return [y]


def _check_windows(it: Layer, sizes: Sequence[int], window: Window) -> None:
    """Without padding Caffe keeps a last window that starts beyond the input, whose maximum is of nothing."""
    for size, kernel, stride in zip(sizes, window.kernel, window.stride, strict=True):
        if math.ceil((size - kernel) / stride) * stride >= size:
            raise it.unsupported(
                "its last window lies beyond the input, as its stride is larger than its kernel"
            )


@layer("Upsample")
def upsample(b: Builder, it: Layer, x: Values) -> Values:
    """With a second bottom, the mask of a pooling: its inverse. Otherwise each pixel is repeated."""
    params = it.message.message("upsample_param")
    shape = picture(b, x[0])
    scale = params.int("scale", 2)
    factors = params.int("scale_h", scale), params.int("scale_w", scale)
    size = [
        params.int(f"upsample_{side}") or side_size * factor
        for side, side_size, factor in zip("hw", shape[2:], factors, strict=True)
    ]
    if len(x) == 1:
        return [resize(b, it.name, x[0], size, "nearest", "asymmetric")]
    whole = [*shape[:2], *size]
    y = b.op("MaxUnpool", x[0], x[1], b.ints(*whole), name=it.name, kernel_shape=factors, strides=factors)
    y.shape = ir.Shape(whole)
    return [y]


def resize(b: Builder, name: str, x: ir.Value, size: Sequence[int], mode: str, transform: str) -> ir.Value:
    """x resized to a height and width."""
    sizes = b.ints(*dims(b, x)[:2], *size)
    nearest = "floor" if mode == "nearest" else None
    return b.op(
        "Resize", x, None, None, sizes, name=name, mode=mode,
        coordinate_transformation_mode=transform, nearest_mode=nearest,
    )  # fmt: skip


@layer("Interp")
def interp(b: Builder, it: Layer, x: Values) -> Values:
    """Bilinear, corners on corners, to a size, by factors, or to that of a second bottom."""
    params = it.message.message("interp_param")
    begin, end = params.int("pad_beg"), params.int("pad_end")
    shape = picture(b, x[0])
    if begin > 0 or end > 0:
        raise b.invalid("pad_beg and pad_end crop, so they are 0 or negative")
    if begin or end:
        ends = [size + end for size in shape[2:]]
        x = [
            b.op("Slice", x[0], b.ints(-begin, -begin), b.ints(*ends), b.ints(2, 3), name=f"{it.name}/crop"),
            *x[1:],
        ]
        shape = dims(b, x[0])
    size = list(shape[2:])
    if len(x) > 1:
        size = picture(b, x[1])[2:]
    elif "height" in params and "width" in params:
        size = [params.int("height"), params.int("width")]
    else:
        if "shrink_factor" in params:
            size = [(n - 1) // max(params.int("shrink_factor"), 1) + 1 for n in size]
        if "zoom_factor" in params:
            size = [n + (n - 1) * (params.int("zoom_factor") - 1) for n in size]
    return [resize(b, it.name, x[0], size, "linear", "align_corners")]


# Products and normalisation


@layer("InnerProduct")
def inner_product(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("inner_product_param")
    features, transposed = params.int("num_output"), params.bool("transpose")
    axis = axis_of(b, x[0], params.int("axis", 1))
    shape = dims(b, x[0])
    inner = math.prod(shape[axis:])
    weights = it.weights(0, (inner, features) if transposed else (features, inner))
    operands = [b.constant(weights, f"{it.name}/weights")]
    if params.bool("bias_term", True):
        operands.append(b.constant(it.weights(1, (features,)), f"{it.name}/bias"))
    flat = x[0] if axis == 1 and len(shape) == 2 else b.op("Flatten", x[0], name=f"{it.name}/flat", axis=axis)
    y = b.op("Gemm", flat, *operands, name=it.name, transB=int(not transposed))
    if axis != 1:
        y = b.op("Reshape", y, b.ints(*shape[:axis], features), name=f"{it.name}/shape")
    return [y]


@layer("BatchNorm")
def batch_norm(b: Builder, it: Layer, x: Values) -> Values:
    """The blobs are the sums of means and variances, and the number by which both are divided."""
    params = it.message.message("batch_norm_param")
    if not params.bool("use_global_stats", True):
        raise it.unsupported("it normalises by the statistics of the batch", "set use_global_stats: true")
    channels = dims(b, x[0])[axis_of(b, x[0], 1)]
    factor = float(it.weights(2, (1,))[0])
    inverse = 1 / factor if factor else 0.0
    mean, variance = (it.weights(i, (channels,)) * np.float32(inverse) for i in (0, 1))
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    operands = [b.constant(array, f"{it.name}/{what}") for what, array in
                (("scale", ones), ("bias", zeros), ("mean", mean), ("variance", variance))]  # fmt: skip
    return [b.op("BatchNormalization", x[0], *operands, name=it.name, epsilon=params.float("eps", 1e-5))]


@layer("Scale", "Bias")
def scale(b: Builder, it: Layer, x: Values) -> Values:
    """x times (or plus) a factor over some axes, from a second bottom or the weights."""
    params = it.message.message("scale_param" if it.type == "Scale" else "bias_param")
    axis, count = axis_of(b, x[0], params.int("axis", 1)), params.int("num_axes", 1)
    shape = dims(b, x[0])
    over = shape[axis:] if count < 0 else shape[axis : axis + count]
    if len(x) > 1:
        over = dims(b, x[1])
    whole = [*over, *[1] * (len(shape) - axis - len(over))]
    if len(x) == 1:
        factor = b.constant(it.weights(0, over).reshape(whole), f"{it.name}/factor")
    elif len(whole) > len(over):
        factor = b.op("Reshape", x[1], b.ints(*whole), name=f"{it.name}/factor")
    else:
        factor = x[1]
    operator = "Mul" if it.type == "Scale" else "Add"
    y = b.op(operator, x[0], factor, name=it.name)
    if it.type == "Scale" and params.bool("bias_term"):
        bias = it.weights(len(it.blobs) - 1, over).reshape(whole)
        y = b.op("Add", y, b.constant(bias, f"{it.name}/bias"), name=f"{it.name}/biased")
    return [y]


@layer("LRN")
def lrn(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("lrn_param")
    size, alpha, beta = params.int("local_size", 5), params.float("alpha", 1.0), params.float("beta", 0.75)
    if size < 1 or size % 2 == 0:
        raise b.invalid(f"its local_size is {size}, which is not odd")
    if params.word("norm_region", "ACROSS_CHANNELS") in ("ACROSS_CHANNELS", "0"):
        return [
            b.op("LRN", x[0], name=it.name, size=size, alpha=alpha, beta=beta, bias=params.float("k", 1.0))
        ]
    square = b.op("Mul", x[0], x[0], name=f"{it.name}/square")
    mean = b.op(
        "AveragePool",
        square,
        name=f"{it.name}/mean",
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    base = affine(b, it.name, mean, alpha, 1.0)
    return [b.op("Mul", x[0], b.op("Pow", base, scalar(b, -beta), name=f"{it.name}/power"), name=it.name)]


@layer("MVN")
def mvn(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("mvn_param")
    axes = list(range(1 if params.bool("across_channels") else 2, len(dims(b, x[0]))))
    mean = b.op("ReduceMean", x[0], name=f"{it.name}/mean", axes=axes)
    y = b.op("Sub", x[0], mean, name=f"{it.name}/centred")
    if params.bool("normalize_variance", True):
        variance = b.op(
            "ReduceMean", b.op("Mul", y, y, name=f"{it.name}/square"), name=f"{it.name}/variance", axes=axes
        )
        spread = affine(
            b, it.name, b.op("Sqrt", variance, name=f"{it.name}/spread"), 1.0, params.float("eps", 1e-9)
        )
        y = b.op("Div", y, spread, name=it.name)
    return [y]


@layer("Normalize")
def normalize(b: Builder, it: Layer, x: Values) -> Values:
    """x over its L2 norm across the channels, or across all of a picture, times a scale a channel."""
    params = it.message.message("norm_param")
    channels = picture(b, x[0])[1]
    axes = [1, 2, 3] if params.bool("across_spatial", True) else [1]
    square = b.op("Mul", x[0], x[0], name=f"{it.name}/square")
    total = b.op("ReduceSum", square, b.ints(*axes), name=f"{it.name}/sum")
    norm = b.op("Sqrt", affine(b, it.name, total, 1.0, params.float("eps", 1e-10)), name=f"{it.name}/norm")
    shape = (1,) if params.bool("channel_shared", True) else (channels, 1, 1)
    factor = b.constant(it.weights(0, shape), f"{it.name}/factor")
    return [b.op("Mul", b.op("Div", x[0], norm, name=f"{it.name}/unit"), factor, name=it.name)]


@layer("Softmax")
def softmax(b: Builder, it: Layer, x: Values) -> Values:
    axis = axis_of(b, x[0], it.message.message("softmax_param").int("axis", 1))
    return [b.op("Softmax", x[0], name=it.name, axis=axis)]


# Elementwise


def unary(operator: str, **attributes: tuple[str, str, float]) -> Handler:
    """attributes: of the node -> (message, field, default) of the layer."""

    def function(b: Builder, it: Layer, x: Values) -> Values:
        values: dict[str, Any] = {
            name: it.message.message(m).float(f, default) for name, (m, f, default) in attributes.items()
        }
        return [b.op(operator, x[0], name=it.name, **values)]

    return function


layer("Sigmoid")(unary("Sigmoid"))
layer("TanH")(unary("Tanh"))
layer("AbsVal")(unary("Abs"))
layer("BNLL")(unary("Softplus"))
layer("ELU")(unary("Elu", alpha=("elu_param", "alpha", 1.0)))


@layer("ReLU")
def relu(b: Builder, it: Layer, x: Values) -> Values:
    slope = it.message.message("relu_param").float("negative_slope")
    return [b.op("LeakyRelu", x[0], name=it.name, alpha=slope) if slope else b.op("Relu", x[0], name=it.name)]


@layer("ReLU6", "Clip")
def clip(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("clip_param")
    low, high = (params.float("min"), params.float("max")) if it.type == "Clip" else (0.0, 6.0)
    return [b.op("Clip", x[0], scalar(b, low), scalar(b, high), name=it.name)]


@layer("PReLU")
def prelu(b: Builder, it: Layer, x: Values) -> Values:
    shape = dims(b, x[0])
    axis_of(b, x[0], 1)
    shared = it.message.message("prelu_param").bool("channel_shared")
    slope = it.weights(0, (1,) if shared else (shape[1], *[1] * (len(shape) - 2)))
    return [b.op("PRelu", x[0], b.constant(slope, f"{it.name}/slope"), name=it.name)]


@layer("Swish")
def swish(b: Builder, it: Layer, x: Values) -> Values:
    inner = affine(b, it.name, x[0], it.message.message("swish_param").float("beta", 1.0), 0.0)
    return [b.op("Mul", x[0], b.op("Sigmoid", inner, name=f"{it.name}/gate"), name=it.name)]


@layer("Power")
def power(b: Builder, it: Layer, x: Values) -> Values:
    """(shift + scale * x) ^ power"""
    params = it.message.message("power_param")
    y = affine(b, it.name, x[0], params.float("scale", 1.0), params.float("shift"))
    exponent = params.float("power", 1.0)
    return [y if exponent == 1 else b.op("Pow", y, scalar(b, exponent), name=it.name)]


@layer("Exp")
def exp(b: Builder, it: Layer, x: Values) -> Values:
    """base ^ (shift + scale * x), base -1 is e"""
    params = it.message.message("exp_param")
    rate = _log_of_base(b, params.float("base", -1.0))
    y = affine(b, it.name, x[0], rate * params.float("scale", 1.0), rate * params.float("shift"))
    return [b.op("Exp", y, name=it.name)]


@layer("Log")
def log(b: Builder, it: Layer, x: Values) -> Values:
    """The logarithm of shift + scale * x to a base, -1 is e"""
    params = it.message.message("log_param")
    y = affine(b, it.name, x[0], params.float("scale", 1.0), params.float("shift"))
    rate = _log_of_base(b, params.float("base", -1.0))
    if not rate:
        raise b.invalid("there is no logarithm to the base 1")
    return [affine(b, f"{it.name}/base", b.op("Log", y, name=it.name), 1 / rate, 0.0)]


def _log_of_base(b: Builder, base: float) -> float:
    if base == -1:
        return 1.0
    if base <= 0:
        raise b.invalid(f"its base is {base}")
    return math.log(base)


@layer("Threshold")
def threshold(b: Builder, it: Layer, x: Values) -> Values:
    limit = scalar(b, it.message.message("threshold_param").float("threshold"))
    return [
        b.op(
            "Cast",
            b.op("Greater", x[0], limit, name=f"{it.name}/above"),
            name=it.name,
            to=int(ir.DataType.FLOAT),
        )
    ]


@layer("Eltwise")
def eltwise(b: Builder, it: Layer, x: Values) -> Values:
    params = it.message.message("eltwise_param")
    kind = params.word("operation", "SUM", {"0": "PROD", "1": "SUM", "2": "MAX"})
    coefficients = params.floats("coeff") or [1.0] * len(x)
    if kind not in ("PROD", "SUM", "MAX") or len(coefficients) != len(x):
        raise b.invalid(f"{kind} of {len(x)} bottoms with {len(coefficients)} coefficients")
    if kind == "MAX":
        return [b.op("Max", *x, name=it.name)]
    if kind == "PROD":
        return [_chain(b, it.name, "Mul", x)]
    if coefficients == [1.0, -1.0]:
        return [b.op("Sub", *x, name=it.name)]
    terms = [
        affine(b, f"{it.name}/{i}", value, c, 0.0)
        for i, (value, c) in enumerate(zip(x, coefficients, strict=True))
    ]
    return [_chain(b, it.name, "Add", terms)]


def _chain(b: Builder, name: str, operator: str, values: Sequence[ir.Value]) -> ir.Value:
    made = values[0]
    for value in values[1:]:
        made = b.op(operator, made, value, name=name)
    return made


@layer("Axpy", bottoms=3)
def axpy(b: Builder, it: Layer, x: Values) -> Values:
    """A factor a channel, times x, plus y: bottoms in this order."""
    shape = dims(b, x[0])
    factor = (
        x[0] if len(shape) == 4 else b.op("Reshape", x[0], b.ints(*shape[:2], 1, 1), name=f"{it.name}/factor")
    )
    return [b.op("Add", b.op("Mul", factor, x[1], name=f"{it.name}/scaled"), x[2], name=it.name)]
