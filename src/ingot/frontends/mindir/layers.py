"""MindSpore's primitives with weights, pools, normalisations, activations and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ingot.frontends.mindir.call import Call, Handler, primitive

ATTRIBUTE = 1 << 8
"""The place of what no version of a primitive has as an input."""
_MODES = {0: "pad", 1: "same", 2: "valid"}
"""PadMode, of primitives that take it as a number."""


def channels_first(c: Call, place: int = ATTRIBUTE) -> None:
    layout = c.argument(place, "data_format", c.node.attributes.get("format", "NCHW"))
    if layout not in ("NCHW", "NCDHW", 0):
        raise c.unsupported(f"its data format is {layout!r}; NCHW is supported")


def spatial(c: Call, place: int, name: str, rank: int = 2) -> list[int]:
    """Sizes of the last axes: of an integer, or of a tuple that may have those of N and C too. 1 by default."""
    found = c.integers(place, name, 1)
    found = found * rank if len(found) == 1 else found
    if len(found) < rank or any(size != 1 for size in found[:-rank]) or min(found) < 1:
        raise c.b.invalid(f"its {name} is {found}")
    return list(found[-rank:])


def padding(
    c: Call, mode: Any, sizes: Sequence[int | None], windows: Sequence[tuple[int, int, int]]
) -> list[int] | None:
    """Begins and then ends of each axis; None for "same" where a size is open.

    windows: kernel, stride and dilation of each axis. Of "same" what is odd goes to the end.
    """
    mode = _MODES.get(mode, mode)
    mode = mode.lower() if isinstance(mode, str) else mode
    if mode == "valid":
        return [0] * 2 * len(windows)
    if mode == "pad":
        pads = c.integers(ATTRIBUTE, "pad", c.node.attributes.get("pads", 0))
        pads = pads * 2 * len(windows) if len(pads) == 1 else pads[-2 * len(windows) :]
        if len(pads) != 2 * len(windows) or min(pads) < 0:
            raise c.b.invalid(f"its padding is {pads}")
        return [*pads[::2], *pads[1::2]]
    if mode != "same":
        raise c.b.invalid(f"its pad_mode is {mode!r}")
    begins, ends = [], []
    for size, (kernel, stride, dilation) in zip(sizes, windows, strict=True):
        if size is None:
            return None
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return begins + ends


def window(
    c: Call, x: ir.Value, mode: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> dict[str, Any]:
    """The attributes of a Conv or pool over the last axes of x."""
    pads = padding(c, mode, c.dims(x)[-len(kernel) :], list(zip(kernel, stride, dilation, strict=True)))
    around: dict[str, Any] = (
        {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads} if any(pads) else {}
    )
    return {"kernel_shape": list(kernel), "strides": list(stride), **around}


@primitive("Conv2D")
def conv_2d(c: Call) -> Any:
    """Weights [features, channels / group, height, width]."""
    channels_first(c)
    x, weights = c.x(0), c.x(1)
    stride, dilation = spatial(c, ATTRIBUTE, "stride"), spatial(c, ATTRIBUTE, "dilation")
    mode = c.argument(ATTRIBUTE, "pad_mode", "valid")
    attributes = window(c, x, mode, c.sizes(weights, (-2, -1)), stride, dilation)
    return c.op("Conv", x, weights, dilations=dilation, group=c.integer(ATTRIBUTE, "group", 1), **attributes)


@primitive("Conv2DBackpropInput", "Conv2DTranspose")
def conv_2d_transpose(c: Call) -> Any:
    """Inputs: x, weights [channels, features / group, height, width], the output's shape, whose convolution gives x's."""
    channels_first(c)
    x, weights, size = c.x(0), c.x(1), c.integers(2, "input_sizes")
    kernel, stride, dilation = (
        c.sizes(weights, (-2, -1)),
        spatial(c, ATTRIBUTE, "stride"),
        spatial(c, ATTRIBUTE, "dilation"),
    )
    windows = list(zip(kernel, stride, dilation, strict=True))
    if len(size) != 4:
        raise c.b.invalid(f"its output has the shape {size}")
    pads = padding(c, c.argument(ATTRIBUTE, "pad_mode", "valid"), size[2:], windows)
    assert pads is not None
    extra = []
    for axis, (k, s, d) in enumerate(windows):
        least = (c.sizes(x, (2, 3))[axis] - 1) * s + (k - 1) * d + 1 - pads[axis] - pads[axis + 2]
        extra.append(size[axis + 2] - least)
        if not 0 <= extra[-1] < max(s, d):
            raise c.b.invalid(f"its output has the shape {size}, where {least} elements are computed")
    return c.op(
        "ConvTranspose", x, weights, kernel_shape=kernel, strides=stride, dilations=dilation, pads=pads,
        group=c.integer(ATTRIBUTE, "group", 1), output_padding=extra if any(extra) else None,
    )  # fmt: skip


@primitive("MaxPool")
def max_pool(c: Call) -> Any:
    channels_first(c)
    kernel, stride = spatial(c, ATTRIBUTE, "kernel_size"), spatial(c, ATTRIBUTE, "strides")
    mode = c.argument(ATTRIBUTE, "pad_mode", "valid")
    return c.op("MaxPool", c.x(), **window(c, c.x(), mode, kernel, stride, (1, 1)))


@primitive("MaxPoolWithArgmaxV2")
def max_pool_with_places(c: Call) -> Any:
    """The maxima; their places are not converted."""
    kernel, stride, dilation = (
        spatial(c, ATTRIBUTE, name) for name in ("kernel_size", "strides", "dilation")
    )
    pads = c.integers(ATTRIBUTE, "pads", 0)
    pads = pads * 2 if len(pads) == 1 else pads[-2:]
    y = c.op(
        "MaxPool", c.x(), kernel_shape=kernel, strides=stride, dilations=dilation, pads=[*pads, *pads],
        ceil_mode=int(c.flag(ATTRIBUTE, "ceil_mode")),
    )  # fmt: skip
    return y, None


@primitive("AvgPool")
def avg_pool(c: Call) -> Any:
    """Padding does not count."""
    channels_first(c, 4)
    kernel, stride = spatial(c, 1, "kernel_size"), spatial(c, 2, "strides")
    return c.op(
        "AveragePool", c.x(), **window(c, c.x(), c.argument(3, "pad_mode", "valid"), kernel, stride, (1, 1))
    )


@primitive("AvgPool3D")
def avg_pool_3d(c: Call) -> Any:
    channels_first(c)
    if c.integer(ATTRIBUTE, "divisor_override", 0):
        raise c.unsupported("it divides by a number of its own")
    kernel, stride = spatial(c, ATTRIBUTE, "kernel_size", 3), spatial(c, ATTRIBUTE, "strides", 3)
    mode = c.argument(ATTRIBUTE, "pad_mode", "valid")
    return c.op(
        "AveragePool", c.x(), ceil_mode=int(c.flag(ATTRIBUTE, "ceil_mode")),
        count_include_pad=int(c.flag(ATTRIBUTE, "count_include_pad", True)),
        **window(c, c.x(), mode, kernel, stride, (1, 1, 1)),
    )  # fmt: skip


@primitive("AdaptiveAvgPool2D")
def adaptive_avg_pool(c: Call) -> Any:
    """Output i is the mean of the elements from floor(i n / m) to ceil((i + 1) n / m), along both axes."""
    x, wanted = c.x(), c.integers(1, "output_size")
    if len(wanted) != 2:
        raise c.b.invalid(f"its output_size is {wanted}")
    if wanted == (1, 1):
        return c.op("ReduceMean", x, axes=[-2, -1], keepdims=1)
    for axis, m in zip((-2, -1), wanted, strict=True):
        (n,) = c.sizes(x, (axis,))
        if m in (-1, n):
            continue
        if m < 1 or n < 1:
            raise c.b.invalid(f"its output_size is {wanted}")
        c.b.check_made(n * m)
        weights = np.zeros((m, n))
        for i in range(m):
            part = slice(i * n // m, -(-(i + 1) * n // m))
            weights[i, part] = 1 / (part.stop - part.start)
        if axis == -2:
            x = c.op("MatMul", c.like(weights, x), x, part="rows")
        else:
            x = c.op("MatMul", x, c.like(weights.T, x), part="columns")
    return x


# Products


def swapped(c: Call, x: ir.Value, part: str) -> ir.Value:
    """Its last two axes swapped."""
    rank = c.rank(x)
    return c.op("Transpose", x, part=part, perm=[*range(rank - 2), rank - 1, rank - 2])


@primitive("MatMul", "BatchMatMul")
def matmul(c: Call) -> Any:
    a, b = c.x(0), c.x(1)
    first, second = c.flag(2, "transpose_a"), c.flag(3, "transpose_b")
    if (first or second) and c.rank(a) == c.rank(b) == 2:
        return c.op("Gemm", a, b, transA=int(first), transB=int(second))
    return c.op("MatMul", swapped(c, a, "a") if first else a, swapped(c, b, "b") if second else b)


@primitive("MatMulExt", "BatchMatMulExt", "Mm")
def matmul_ext(c: Call) -> Any:
    return c.op("MatMul", c.x(0), c.x(1))


@primitive("Dense")
def dense(c: Call) -> Any:
    """Weights [features, inner]."""
    product = c.op("MatMul", c.x(0), swapped(c, c.x(1), "weights"), part="product")
    return product if len(c) < 3 or c.given(2) is None else c.op("Add", product, c.x(2))


@primitive("Addmm", "Baddbmm")
def addmm(c: Call) -> Any:
    """beta * x + alpha * (a @ b)"""
    product = scaled(c, c.op("MatMul", c.x(1), c.x(2), part="product"), 4, "alpha")
    return c.op("Add", scaled(c, c.x(0), 3, "beta"), product)


def scaled(c: Call, x: ir.Value, place: int, name: str) -> ir.Value:
    factor = c.number(place, name, 1.0)
    return x if factor == 1 else c.op("Mul", x, c.like(factor, x), part=name)


@primitive("BiasAdd")
def bias_add(c: Call) -> Any:
    channels_first(c, 2)
    return c.op("Add", c.x(0), along_channels(c, c.x(1), c.rank(c.x(0))))


def along_channels(c: Call, x: ir.Value, rank: int) -> ir.Value:
    """A vector as one along axis 1 of `rank`."""
    return x if rank < 3 else c.op("Unsqueeze", x, c.b.ints(*range(1, rank - 1)), part="channels")


# Normalisations


@primitive("BatchNorm")
def batch_norm(c: Call) -> Any:
    """Inputs: x, scale, bias, mean, variance."""
    channels_first(c, 8)
    if c.flag(5, "is_training"):
        raise c.unsupported("it computes mean and variance of the batch", "export after net.set_train(False)")
    epsilon = c.number(6, "epsilon", 1e-5)
    y = c.op("BatchNormalization", *(c.x(place) for place in range(5)), epsilon=epsilon)
    return y, None, None, None, None


@primitive("LayerNorm")
def layer_norm(c: Call) -> Any:
    """The normalised tensor; mean and variance are not converted."""
    x = c.x()
    axis, other = (
        c.axis(c.integer(place, name, 1), c.rank(x))
        for place, name in ((3, "begin_norm_axis"), (4, "begin_params_axis"))
    )
    if axis != other:
        raise c.unsupported(f"it normalises from axis {axis} on and scales from axis {other} on")
    y = c.op("LayerNormalization", x, c.x(1), c.x(2), axis=axis, epsilon=c.number(5, "epsilon", 1e-7))
    return y, None, None


@primitive("GroupNorm")
def group_norm(c: Call) -> Any:
    """Inputs: x, the number of groups, weight, bias, epsilon. Mean and deviation are not converted."""
    x, groups = c.x(), c.integer(1, "num_groups")
    rank, (channels,) = c.rank(x), c.sizes(x, (1,))
    if groups < 1 or channels % groups:
        raise c.b.invalid(f"{channels} channels do not fall into {groups} groups")
    c.b.check_made(groups)
    apart = c.op("Reshape", x, c.b.ints(0, groups, -1), part="groups")
    unit = [c.like(np.full(groups, number), x) for number in (1, 0)]
    normal = c.op("InstanceNormalization", apart, *unit, part="normal", epsilon=c.number(4, "eps", 1e-5))
    y = c.op("Reshape", normal, c.shape(x), part="whole")
    if c.given(2) is not None:
        y = c.op("Mul", y, along_channels(c, c.x(2), rank), part="scaled")
    if c.given(3) is not None:
        y = c.op("Add", y, along_channels(c, c.x(3), rank))
    return y, None, None


@primitive("L2Normalize")
def l2_normalize(c: Call) -> Any:
    """x / sqrt(max(sum of x², epsilon))"""
    x, axes = c.x(), c.integers(ATTRIBUTE, "axis", 0)
    total = c.op("ReduceSumSquare", x, part="sum", axes=list(axes), keepdims=1)
    least = c.op("Max", total, c.like(c.number(ATTRIBUTE, "epsilon", 1e-4), x), part="at_least")
    return c.op("Div", x, c.op("Sqrt", least, part="norm"))


@primitive("LRN")
def lrn(c: Call) -> Any:
    """ONNX divides alpha by the size, MindSpore does not."""
    size = 2 * c.integer(ATTRIBUTE, "depth_radius", 5) + 1
    alpha, beta, bias = (
        c.number(ATTRIBUTE, name, default) for name, default in (("alpha", 1.0), ("beta", 0.5), ("bias", 1.0))
    )
    return c.op("LRN", c.x(), size=size, alpha=alpha * size, beta=beta, bias=bias)


# Elementwise


def unary(kind: str, **attributes: Any) -> Handler:
    return lambda c: c.op(kind, c.x(), **attributes)


for _name, _kind in {
    "Abs": "Abs", "Ceil": "Ceil", "Cos": "Cos", "Erf": "Erf", "Exp": "Exp", "Floor": "Floor", "HSwish": "HardSwish",
    "Log": "Log", "LogicalNot": "Not", "Neg": "Neg", "ReLU": "Relu", "Reciprocal": "Reciprocal", "SeLU": "Selu",
    "Sigmoid": "Sigmoid", "Sign": "Sign", "Sin": "Sin", "Softplus": "Softplus", "Softsign": "Softsign", "Sqrt": "Sqrt",
    "Tanh": "Tanh",
}.items():  # fmt: skip
    primitive(_name)(unary(_kind))
primitive("HSigmoid")(unary("HardSigmoid", alpha=1 / 6, beta=0.5))


@primitive("Round")
def round_(c: Call) -> Any:
    if c.integer(1, "decimals", 0):
        raise c.unsupported("it rounds to decimals")
    return c.op("Round", c.x())


@primitive("Square")
def square(c: Call) -> Any:
    return c.op("Mul", c.x(), c.x())


@primitive("Rsqrt")
def rsqrt(c: Call) -> Any:
    return c.op("Reciprocal", c.op("Sqrt", c.x(), part="root"))


@primitive("Log1p")
def log1p(c: Call) -> Any:
    return c.op("Log", c.op("Add", c.x(), c.like(1, c.x()), part="above"))


@primitive("Expm1")
def expm1(c: Call) -> Any:
    return c.op("Sub", c.op("Exp", c.x(), part="exp"), c.like(1, c.x()))


@primitive("SiLU")
def silu(c: Call) -> Any:
    return c.op("Mul", c.x(), c.op("Sigmoid", c.x(), part="gate"))


@primitive("Mish")
def mish(c: Call) -> Any:
    """x * tanh(log(1 + exp(x)))"""
    return c.op("Mul", c.x(), c.op("Tanh", c.op("Softplus", c.x(), part="softplus"), part="gate"))


@primitive("GeLU")
def gelu(c: Call) -> Any:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x³)))"""
    x = c.x()
    cube = c.op("Mul", c.op("Mul", x, x, part="square"), x, part="cube")
    inner = c.op("Add", x, c.op("Mul", cube, c.like(0.044715, x), part="part"), part="inner")
    gate = c.op("Tanh", c.op("Mul", inner, c.like(math.sqrt(2 / math.pi), x), part="scaled"), part="tanh")
    half = c.op("Mul", x, c.like(0.5, x), part="half")
    return c.op("Mul", half, c.op("Add", gate, c.like(1, x), part="gate"))


@primitive("ReLU6")
def relu6(c: Call) -> Any:
    return c.op("Clip", c.x(), c.like(0, c.x()), c.like(6, c.x()))


@primitive("ClampScalar")
def clamp(c: Call) -> Any:
    x = c.x()
    limits = [c.argument(place, name) for place, name in ((1, "min"), (2, "max"))]
    return c.op("Clip", x, *(None if limit is None else c.like(limit, x) for limit in limits))


@primitive("Elu")
def elu(c: Call) -> Any:
    return c.op("Elu", c.x(), alpha=c.number(1, "alpha", 1.0))


@primitive("LeakyReLUExt")
def leaky_relu(c: Call) -> Any:
    return c.op("LeakyRelu", c.x(), alpha=c.number(1, "negative_slope", 0.01))


@primitive("PReLU")
def prelu(c: Call) -> Any:
    """One slope for each channel, or for all."""
    return c.op("PRelu", c.x(0), along_channels(c, c.x(1), c.rank(c.x(0))))


@primitive("Softmax", "LogSoftmax")
def softmax(c: Call) -> Any:
    axes = c.integers(1, "axis", -1)
    if len(axes) != 1:
        raise c.unsupported(f"it is over {len(axes)} axes")
    return c.op(c.node.op, c.x(), axis=axes[0])


def operands(c: Call, first: int = 0, second: int = 1) -> tuple[ir.Value, ir.Value]:
    """Two tensors of one type; a number has the type of the tensor beside it, unless that would cut it short."""
    found = [c.given(first), c.given(second)]
    values = [c.net.tensor(value) for value in found]
    for place in (0, 1):
        number, other = found[place], values[1 - place]
        if isinstance(number, bool | int | float) and other.dtype is not None:
            if isinstance(number, float) and not other.dtype.is_floating_point():
                values[1 - place] = c.op("Cast", other, part="real", to=int(ir.DataType.FLOAT))
            else:
                values[place] = c.like(number, other)
    return values[0], values[1]


def binary(kind: str) -> Handler:
    return lambda c: c.op(kind, *operands(c))


for _name, _kind in {
    "Add": "Add", "Equal": "Equal", "Greater": "Greater", "GreaterEqual": "GreaterOrEqual", "Less": "Less",
    "LessEqual": "LessOrEqual", "LogicalAnd": "And", "LogicalOr": "Or", "Maximum": "Max", "Minimum": "Min", "Mul": "Mul",
    "Muls": "Mul", "Pow": "Pow", "Sub": "Sub",
}.items():  # fmt: skip
    primitive(_name)(binary(_kind))
for _name, _kind in {
    "ScalarAdd": "Add", "ScalarEq": "Equal", "ScalarGe": "GreaterOrEqual", "ScalarGt": "Greater", "ScalarLe": "LessOrEqual",
    "ScalarLt": "Less", "ScalarMul": "Mul", "ScalarSub": "Sub",
}.items():  # fmt: skip
    primitive(_name)(binary(_kind))
for _name in ("Equal", "Greater", "GreaterEqual", "Less", "LessEqual"):
    primitive(f"{_name}Scalar")(binary(_name.replace("rE", "rOrE").replace("sE", "sOrE")))


@primitive("NotEqual", "NotEqualScalar")
def not_equal(c: Call) -> Any:
    return c.op("Not", c.op("Equal", *operands(c), part="equal"))


@primitive("Div", "Divs", "RealDiv")
def div(c: Call) -> Any:
    a, b = operands(c)
    if a.dtype is not None and not a.dtype.is_floating_point():
        raise c.unsupported("it divides integers")
    return c.op("Div", a, b)


@primitive("FloorDiv", "FloorMod", "ScalarFloorDiv")
def floor_div(c: Call) -> Any:
    a, b = operands(c)
    if a.dtype is not None and not a.dtype.is_floating_point():
        rest = c.op("Mod", a, b, part="rest")
        return rest if c.node.op == "FloorMod" else c.op("Div", c.op("Sub", a, rest, part="even"), b)
    whole = c.op("Floor", c.op("Div", a, b, part="quotient"), part="whole")
    return whole if c.node.op != "FloorMod" else c.op("Sub", a, c.op("Mul", whole, b, part="part"))


def weighted(kind: str) -> Handler:
    """x + alpha * y, or the difference."""

    def handler(c: Call) -> Any:
        a, b = operands(c)
        return c.op(kind, a, scaled(c, b, 2, "alpha"))

    return handler


for _name, _kind in {"AddExt": "Add", "AddScalar": "Add", "SubExt": "Sub", "SubScalar": "Sub"}.items():
    primitive(_name)(weighted(_kind))


@primitive("Select")
def select(c: Call) -> Any:
    return c.op("Where", c.x(0), *operands(c, 1, 2))


@primitive("MaskedFill")
def masked_fill(c: Call) -> Any:
    a, b = operands(c, 2, 0)
    return c.op("Where", c.x(1), a, b)


# Recurrent


@primitive("LSTM")
def lstm(c: Call) -> Any:
    """One layer over x [steps, N, inner], with h and c, and all weights in one vector: W, R and a bias, of i, f, g, o."""
    if (
        c.integer(ATTRIBUTE, "num_layers", 1) != 1
        or c.flag(ATTRIBUTE, "bidirectional")
        or c.integer(ATTRIBUTE, "proj_size", 0)
    ):
        raise c.unsupported(
            "it has several layers, two directions or a projection", "use one nn.LSTM for each"
        )
    inner, hidden = c.integer(ATTRIBUTE, "input_size"), c.integer(ATTRIBUTE, "hidden_size")
    rows = 4 * hidden
    c.b.check_made(rows)
    sizes = [rows * inner, rows * hidden, *([rows] if c.flag(ATTRIBUTE, "has_bias", True) else [])]
    flat = c.op("Reshape", c.x(3), c.b.ints(-1), part="flat")
    if c.sizes(flat, (0,)) != [sum(sizes)] or min(inner, hidden) < 1:
        raise c.b.invalid(f"it has {c.dims(flat)} weights and needs {sum(sizes)}")
    parts = c.net.ops("Split", flat, c.b.ints(*sizes), name=f"{c.name}/parts", axis=0, outputs=len(sizes))
    w, r, *bias = (_gates(c, part, columns) for part, columns in zip(parts, (inner, hidden, 1), strict=False))
    if bias:
        single = c.op("Reshape", bias[0], c.b.ints(1, rows), part="bias")
        bias = [c.op("Concat", single, c.like(np.zeros((1, rows)), single), part="biases", axis=1)]
    y, last, cell = c.ops(
        "LSTM", c.x(0), w, r, bias[0] if bias else None, None, c.x(1), c.x(2), hidden_size=hidden, outputs=3
    )
    return c.op("Squeeze", y, c.b.ints(1), part="steps"), last, cell, None, None


def _gates(c: Call, flat: ir.Value, columns: int) -> ir.Value:
    """Weights [1, gates, columns] in ONNX's order: i, o, f, g."""
    matrix = c.op("Reshape", flat, c.b.ints(1, 4, -1, columns), part="gates")
    ordered = c.op("Gather", matrix, c.b.ints(0, 3, 1, 2), part="ordered", axis=1)
    return c.op("Reshape", ordered, c.b.ints(1, -1, columns), part="matrix")
