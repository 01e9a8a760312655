"""Small functions of MindSpore, each with inputs: together they use the primitives that networks are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import mint, nn, ops


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def convolutions(x: Any, w: Any, d: Any) -> Any:
    y = ops.Conv2D(6, 3, pad_mode="same", stride=2)(x, w)
    z = ops.Conv2D(6, (3, 2), pad_mode="valid", dilation=2)(x, w[:, :, :, :2])
    grouped = ops.Conv2D(4, 3, pad_mode="pad", pad=(1, 0, 2, 1), group=4)(x, d)
    functional = ops.conv2d(x, w, padding=1, pad_mode="pad", stride=(1, 2))
    return y, z, grouped, functional


def pools(x: Any) -> Any:
    y = ops.MaxPool(3, 2, "same")(x)
    z = ops.AvgPool(3, 2, "same")(x)
    v = ops.AvgPool((2, 3), 1, "valid")(x)
    return y, z, v, ops.max_pool2d(x, 2), ops.avg_pool2d(x, 3, 1, 1)


def adaptive(x: Any) -> Any:
    return ops.AdaptiveAvgPool2D((None, 3))(x), ops.adaptive_avg_pool2d(x, 1)


def activations(x: Any, slopes: Any) -> Any:
    y = ops.relu(x) + ops.relu6(4 * x) + ops.sigmoid(x) + ops.tanh(x) + ops.elu(x) + ops.silu(x)
    y = y + ops.hardswish(x) + ops.hardsigmoid(x) + ops.leaky_relu(x, 0.1) + ops.gelu(x)
    y = y + ops.gelu(x, "none") + ops.mish(x) + ops.softplus(x) + ops.selu(x) + ops.prelu(x, slopes)
    return y, ops.softmax(x), ops.log_softmax(x, 1), ops.softsign(x), ops.hardtanh(x, -0.5, 0.5)


def arithmetic(x: Any, y: Any) -> Any:
    z = ops.abs(x) + 1.5
    a = (x + y) * (x - y) / z + ops.pow(z, 2) + ops.sqrt(z) + ops.rsqrt(z) + ops.exp(x) + ops.log(z)
    b = ops.neg(x) + ops.square(x) + ops.maximum(x, y) + ops.minimum(x, 0.5) + ops.erf(x) + ops.reciprocal(z)
    c = ops.floor(x) + ops.ceil(y) + ops.round(x * 3) + ops.sin(x) + ops.cos(x) + ops.sign(y) + ops.log1p(z)
    d = ops.floor_div(x, z) + ops.floor_mod(x, z) + z**x + 2.0**y + 3 / z + 1 - x
    return a, b, c, d, ops.clamp(x, -0.5, 0.7), ops.clip_by_value(x, -0.1, 0.2), ops.expm1(x)


def compares(x: Any, y: Any) -> Any:
    a = ops.logical_and(x > y, x < 1.0)
    b = ops.logical_or(ops.logical_not(a), x == y)
    c = ops.select(x >= y, x, y)
    return a, b, c, ops.where(x != y, x, 2.0), ops.masked_fill(x, x <= 0.0, -5.0)


def reductions(x: Any) -> Any:
    a = ops.ReduceMean(True)(x, 1), ops.ReduceSum()(x, (0, 2)), ops.ReduceMax()(x, -1), ops.ReduceMin()(x)
    b = ops.mean(x, 1), ops.sum(x, -1, True), x.mean(), x.sum(0), ops.prod(x, 1), x.max(1), x.min()
    c = ops.ReduceAll()(x > -9.0, 1), ops.ReduceAny()(x > 1.0, 1), ops.cumsum(x, 1)
    return a + b + c


def moves(x: Any) -> Any:
    """x: [2, 4, 6]"""
    a = ops.reshape(x, (4, -1)), ops.flatten(x), ops.transpose(x, (2, 0, 1)), ops.expand_dims(x, -1)
    b = ops.squeeze(x[:1], 0), ops.concat((x, x), 1), ops.stack((x, x), 1), ops.tile(x, (1, 2, 1))
    c = ops.split(x, 2, 1) + ops.split(x, (1, 5), 2) + ops.chunk(x, 2, 2) + ops.unstack(x, 1)
    d = x[:, 1:3, ::2], x[..., -1], x[:, None, 1], x[1, -2:], ops.broadcast_to(x[:, :1], (2, 4, 6))
    e = ops.swapaxes(x, 0, 1), ops.flip(x, (1,)), ops.slice(x, (0, 1, 2), (2, 2, 3)), x.view(2, 24)
    return a + b + c + d + e


def pads(x: Any) -> Any:
    a = ops.pad(x, (1, 2, 0, 1)), ops.pad(x, (1, 1), "constant", 2.0)
    return (*a, ops.pad(x, (1, 2), "reflect"), ops.Pad(((0, 0), (1, 1), (0, 2)))(x))


def gathers(x: Any, i: Any) -> Any:
    a = ops.gather(x, i, 0), ops.gather(x, i, 1), ops.gather_elements(x, 1, ops.expand_dims(i, 1))
    b = ops.one_hot(i, 5, 1.0, 0.0), ops.gather_nd(x, ops.stack((i, i), 1)), ops.index_select(x, 1, i)
    return a + b + (ops.argmax(x, 1), ops.topk(x, 2)[0], ops.topk(x, 2)[1], ops.max(x, 1)[1])


def casts(x: Any, i: Any) -> Any:
    a = ops.cast(x * 4, ms.int32), ops.cast(i, ms.float32), ops.cast(x > 0.0, ms.float32)
    return (*a, ops.cast(x, ms.float16), x.astype(ms.float64), ops.ones_like(x), ops.zeros_like(i))


def products(a: Any, b: Any, w: Any, bias: Any) -> Any:
    x = ops.MatMul(transpose_b=True)(a[0], b[0]), ops.BatchMatMul(transpose_a=True)(a, a)
    y = ops.matmul(a, ops.swapaxes(b, -1, -2)), ops.bmm(a, b.swapaxes(1, 2)), ops.dense(a, w, bias)
    return x + y + (ops.addmm(bias, a[0], w.T), mint.matmul(a, w.T), mint.nn.functional.linear(a, w, bias))


def normalisations(x: Any, gamma: Any, beta: Any) -> Any:
    return ops.LayerNorm(-1, -1, 1e-5)(x, gamma, beta)[0], ops.L2Normalize(1)(x), ops.norm(x, dim=1)


def resizes(x: Any) -> Any:
    a = ops.interpolate(x, size=(9, 12), mode="bilinear"), ops.interpolate(x, (10, 6), mode="nearest")
    b = ops.interpolate(x, size=(9, 12), mode="bilinear", align_corners=True), ops.DepthToSpace(2)(x)
    return a + b + (ops.SpaceToDepth(2)(x), ops.pixel_shuffle(x, 2), ops.lrn(x))


def scaled(x: Any) -> Any:
    """Shapes and numbers computed from the input."""
    b, c, n = x.shape
    y = ops.reshape(x, (b, c // 2, 2, n)).sum(2) / (n**0.5)
    return ops.triu(y[0]), ops.arange(0, n) + y[0, 0], ops.full((b, n), 1.5), ops.zeros((b, 2), ms.float32)


def functions() -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    x = normal(2, 4, 8, 6)
    rows = normal(2, 4, 6)
    index = np.array([1, 0, 2], np.int32)
    return {
        "activations": (activations, [rows, np.array([0.1, 0.2, 0.3, 0.4], np.float32)]),
        "adaptive": (adaptive, [normal(2, 3, 8, 9)]),
        "arithmetic": (arithmetic, [rows, normal(4, 1)]),
        "casts": (casts, [normal(3, 4), index]),
        "compares": (compares, [normal(3, 4), normal(1, 4)]),
        "convolutions": (convolutions, [x, normal(6, 4, 3, 3), normal(4, 1, 3, 3)]),
        "gathers": (gathers, [normal(3, 4), index]),
        "moves": (moves, [rows]),
        "normalisations": (normalisations, [rows, normal(6), normal(6)]),
        "pads": (pads, [rows]),
        "pools": (pools, [x]),
        "products": (products, [normal(2, 3, 5), normal(2, 4, 5), normal(4, 5), normal(4)]),
        "reductions": (reductions, [rows]),
        "resizes": (resizes, [x]),
        "scaled": (scaled, [rows]),
    }


class Of(nn.Cell):
    """A function as a network."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, *values: Any) -> Any:
        return self.function(*values)
