"""Random small graphs: valid, typed, of operators that ingot lowers, with constants and inputs of every awkward shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from control_nodes import if_, loop, scan, sequence
from elementwise_nodes import (
    binary,
    clip,
    comparison,
    convert,
    division,
    integer_unary,
    logical,
    unary,
    where,
)
from graph import Graph, Rng
from movement_nodes import (
    concat,
    expand,
    flatten,
    gather,
    gather_elements,
    gather_nd,
    one_hot,
    pad,
    reshape,
    scatter_elements,
    shape_arithmetic,
    slice_,
    split,
    squeeze,
    tile,
    transpose,
    trilu,
    unsqueeze,
)  # fmt: skip
from reducing_nodes import (
    arg,
    convolution,
    cumulative,
    gemm,
    matmul,
    normalisation,
    pooling,
    reduction,
    rows,
)  # fmt: skip
from storage_nodes import (
    bytes_arithmetic,
    dequantize,
    dynamic_quantize,
    half_arithmetic,
    integer_product,
    narrow,
    quantize,
    quantized_product,
    widen,
)  # fmt: skip

MAKERS: tuple[Callable[[Graph], None], ...] = (
    unary, unary, integer_unary, logical, binary, binary, binary, division, comparison, where, convert, clip, reduction,
    reduction, arg, rows, cumulative, transpose, transpose, reshape, reshape, flatten, unsqueeze, squeeze, concat, split,
    slice_, slice_, expand, tile, pad, gather, gather_elements, scatter_elements, gather_nd, trilu, one_hot,
    shape_arithmetic, matmul, matmul, gemm, convolution, convolution, pooling, normalisation, quantize, quantize, dequantize,
    quantized_product, dynamic_quantize, integer_product, narrow, widen, widen, bytes_arithmetic, half_arithmetic, if_, if_,
    loop, loop, scan, scan, sequence, sequence,
)  # fmt: skip


def random_graph(rng: Rng) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model and its inputs."""
    g = Graph(rng, MAKERS)
    g.grow(8)
    model = g.model()
    return model, {v.name: g.inputs[v.name] for v in model.graph.input}


def at_other_sizes(model: onnx.ModelProto, feed: dict[str, np.ndarray], rng: Rng) -> dict[str, np.ndarray]:
    """The inputs with other values for some of the model's symbols, their elements repeated."""
    dims = {v.name: v.type.tensor_type.shape.dim for v in model.graph.input}
    symbols = sorted({d.dim_param for shape in dims.values() for d in shape if d.dim_param})
    some = {s: int(rng.choice((1, 2, 3, 6, 9, 18))) for s in symbols if rng.random() < 0.6}
    return {
        name: np.resize(
            array, [some.get(d.dim_param, n) for d, n in zip(dims[name], array.shape, strict=True)]
        )
        for name, array in feed.items()
    }
