"""Random nodes that sum or compare many elements: reductions, products, convolutions, normalisations."""

from __future__ import annotations

import numpy as np
from graph import INTEGERS, SIZES, Graph, fits


def reduction(g: Graph) -> None:
    names = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
    x = g.any(("float32", "int32"), nonempty=True) if not g.special else g.any(("int32",), nonempty=True)
    name = g.pick(names if x.dtype == "float32" else names[:1] + names[2:4])
    axes = (
        sorted({int(a) for a in g.rng.integers(0, max(x.rank, 1), int(g.rng.integers(0, x.rank + 1)))})
        if x.rank
        else []
    )
    keep, noop = g.chance(0.5), g.chance(0.3)
    reduced = set(axes) if axes or noop else set(range(x.rank))
    shape = [1 if i in reduced else d for i, d in enumerate(x.shape) if keep or i not in reduced]
    signed = [a - x.rank if g.chance(0.5) else a for a in axes]
    axes_input = [g.constant(signed)] if axes or g.chance(0.5) else []
    g.add(
        name,
        [x.name, *axes_input],
        [(x.dtype, tuple(shape))],
        keepdims=int(keep),
        noop_with_empty_axes=int(noop),
    )


def arg(g: Graph) -> None:
    x = g.any(("int32",) if g.special else ("float32", "int32"), 1, nonempty=True)
    axis, keep = g.axis(x.rank), g.chance(0.5)
    shape = [1 if i == axis % x.rank else d for i, d in enumerate(x.shape) if keep or i != axis % x.rank]
    g.add(
        g.pick(("ArgMax", "ArgMin")), [x.name], [("int64", tuple(shape))],
        axis=axis, keepdims=int(keep), select_last_index=int(g.chance(0.5)),
    )  # fmt: skip


def rows(g: Graph) -> None:
    x = g.any(("float32",), 1, nonempty=True)
    if g.special:
        return
    g.add(g.pick(("Softmax", "LogSoftmax")), [x.name], [(x.dtype, x.shape)], axis=g.axis(x.rank))


def cumulative(g: Graph) -> None:
    x = g.any(INTEGERS if g.special else ("float32", *INTEGERS), 1)
    g.add(
        "CumSum", [x.name, g.constant(g.axis(x.rank))], [(x.dtype, x.shape)],
        exclusive=int(g.chance(0.5)), reverse=int(g.chance(0.5)),
    )  # fmt: skip


def matmul(g: Graph) -> None:
    """ONNX Runtime leaves the result as it is where a sum of a vector's elements is of nothing."""
    if g.special:
        return
    x = g.any(("float32", "int32"), 1)
    k, n = x.shape[-1], int(g.pick(SIZES))
    shape = (k, n) if g.chance(0.6) else (*(int(g.pick((1, d))) for d in x.shape[:-2]), k, n)
    shape = (k,) if g.chance(0.15) else shape
    if not k and 1 in (x.rank, len(shape)):
        return
    y = g.value(x.dtype, tuple(shape))
    result = np.matmul(np.zeros(x.shape), np.zeros(shape)).shape
    if fits(*result):
        g.add("MatMul", [x.name, y.name], [(x.dtype, result)])


def gemm(g: Graph) -> None:
    """ONNX Runtime leaves beta out where the sum is of nothing."""
    if g.special:
        return
    x = g.any(("float32",), 2)
    if x.rank != 2:
        return
    a, b = g.chance(0.5), g.chance(0.5)
    m, k = x.shape[::-1] if a else x.shape
    n = int(g.pick(SIZES))
    y = g.value("float32", (n, k) if b else (k, n))
    extra = [g.value("float32", g.pick(((n,), (1, n), (m, 1), (m, n), ()))).name] if g.chance(0.6) else []
    g.add(
        "Gemm",
        [x.name, y.name, *extra],
        [("float32", (m, n))],
        transA=int(a),
        transB=int(b),
        alpha=0.5,
        beta=2.0 if k else 1.0,
    )


def _strides(g: Graph) -> tuple[int, ...]:
    """Of 1 alone where a size may become less than the window: ONNX Runtime rounds the number of places towards zero."""
    return (1,) if g.symbolic else (1, 1, 2, 3)


def convolution(g: Graph) -> None:
    if g.special:
        return
    dims = int(g.pick((1, 2, 2)))
    group = int(g.pick((1, 1, 2, 3)))
    channels, features = group * int(g.pick((1, 2, 5))), group * int(g.pick((1, 2, 3, 17)))
    size = tuple(int(g.pick((3, 5, 8, 9))) for _ in range(dims))
    x = g.value("float32", (int(g.pick((1, 1, 2))), channels, *size))
    kernel = tuple(int(g.pick((1, 2, 3, 3))) for _ in range(dims))
    strides = [int(g.pick(_strides(g))) for _ in range(dims)]
    dilations = [int(g.pick((1, 1, 2))) for _ in range(dims)]
    pads = [int(g.pick((0, 1, 2))) for _ in range(2 * dims)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if g.chance(0.25):
        weight = g.value("float32", (channels, features // group, *kernel))
        pads = [min(p, r - 1) for p, r in zip(pads, reach * 2, strict=True)]
        out = [
            (s - 1) * t + r - pads[i] - pads[dims + i]
            for i, (s, t, r) in enumerate(zip(size, strides, reach, strict=True))
        ]
        name = "ConvTranspose"
    else:
        weight = g.value("float32", (features, channels // group, *kernel))
        out = [
            (s + pads[i] + pads[dims + i] - r) // t + 1
            for i, (s, t, r) in enumerate(zip(size, strides, reach, strict=True))
        ]
        name = "Conv"
    if min(out) < 1:
        return
    bias = [g.value("float32", (features,)).name] if g.chance(0.5) else []
    g.add(
        name, [x.name, weight.name, *bias], [("float32", (x.shape[0], features, *out))],
        group=group, strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip


def pooling(g: Graph) -> None:
    fit = [v for v in g.values if v.dtype == "float32" and v.rank in (3, 4) and 0 not in v.shape]
    if g.special:
        return
    x = g.pick(fit) if fit else g.value("float32", (1, 3, 8, 9))
    dims = x.rank - 2
    kernel = [int(g.rng.integers(1, min(d, 3) + 1)) for d in x.shape[2:]]
    strides = [int(g.pick(_strides(g))) for _ in range(dims)]
    pads = [int(g.rng.integers(0, k)) for k in kernel * 2]
    out = [
        (d + pads[i] + pads[dims + i] - k) // s + 1
        for i, (d, k, s) in enumerate(zip(x.shape[2:], kernel, strides, strict=True))
    ]
    name = g.pick(("MaxPool", "AveragePool"))
    how = {"count_include_pad": int(g.chance(0.5))} if name == "AveragePool" else {}
    g.add(
        name,
        [x.name],
        [("float32", (*x.shape[:2], *out))],
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        **how,
    )


def normalisation(g: Graph) -> None:
    x = g.any(("float32",), 2, nonempty=True)
    if g.special:
        return
    axis = g.axis(x.rank)
    inner = x.shape[axis % x.rank :]
    inputs = [x.name, g.value("float32", inner).name]
    if g.chance(0.5):
        inputs.append(g.value("float32", inner).name)
    g.add("LayerNormalization", inputs, [("float32", x.shape)], axis=axis, epsilon=0.01)
