"""Conv<[h, w]>(x, W)  ->  Conv<[1, w]>(Conv<[h, 1]>(x, U), V), or columns first: W is a product of U and V of low rank

Of any group count: depthwise filters that are a column times a row, such as those that blur or find edges, and dense weights
whose matrix of (input channel, row) by (output channel, column) has few independent columns, such as those of networks that were
trained as two layers. Refuses weights of a higher rank than what saves a third of the products, weights that are not constant
finite floats, that others use too and that are large, weights too large to be decomposed in seconds, and automatic pads. Scheme
2 of Jaderberg et al., "Speeding up Convolutional Neural Networks with Low Rank Expansions" (2014), without a loss.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ingot.graph import edit, trace
from ingot.graph.writer import Writer

_LARGEST = 1536
"""Largest matrix of weights, on its shorter side, that is decomposed, which takes seconds."""

_REFUSED = "its weights are of no low rank between rows and columns"
_FULL = "full rank"
"""Under this, a constant of weights remembers that they were refused, and for what, as later rounds would find out again."""

Factors = tuple[edit.Array, edit.Array]


def apply(model: ir.Model) -> int:
    fired, names = 0, edit.Names(model)
    for node in edit.nodes(model, "Conv"):
        dims = edit.static_dims(edit.input_at(node, 1))
        if dims is None or len(dims) != 4 or min(dims) < 1 or min(dims[2:]) < 2:
            continue
        if _group(node) < 1 or dims[0] % _group(node):
            continue
        if max(_most(node, dims, first) for first in (0, 1)) > 0:
            fired += trace.outcome(node, _split(model, node, names))
    return fired


def _group(node: ir.Node) -> int:
    return node.attributes.get_int("group", 1)


def _most(node: ir.Node, dims: list[int], first: int) -> int:
    """The highest rank that saves a third of the products. first: the spatial axis that is summed over first."""
    outputs, inputs = dims[0] // _group(node), dims[1]
    sizes = [edit.static_dims(value) or [] for value in (node.inputs[0], node.outputs[0])]
    if len(sizes[0]) == len(sizes[1]) == 4 and sizes[1][3 - first]:
        wider = sizes[0][3 - first] / sizes[1][3 - first]
    else:
        wider = node.attributes.get_ints("strides", (1, 1))[1 - first]
    once = inputs * dims[2 + first] * wider + outputs * dims[3 - first]
    return math.floor(2 * inputs * outputs * dims[2] * dims[3] / (3 * once))


def _split(model: ir.Model, node: ir.Node, names: edit.Names) -> str | None:
    value = node.inputs[1]
    weights = edit.constant(value)
    if (
        value is None
        or weights is None
        or weights.dtype not in (np.float32, np.float64)
        or not np.all(np.isfinite(weights))
    ):
        return "its weights are not constant floats, all finite"
    if edit.pads_itself(node):
        return "it has automatic pads"
    if edit.only_user(value) is not node and weights.nbytes > edit.MAX_GROWTH:
        return "its weights are shared and large"
    shape, found = list(weights.shape), list[tuple[float, int, Factors]]()
    if min(shape[1] * max(shape[2:]), shape[0] // _group(node) * max(shape[2:])) > _LARGEST:
        return "its weights take long to decompose"
    most = tuple(_most(node, shape, first) for first in (0, 1))
    if value.meta.get(_FULL) == (id(value.const_value), _group(node), most):
        return _REFUSED
    for first in (0, 1):
        turned = weights if first == 0 else weights.swapaxes(2, 3)
        factors = _factors(turned, _group(node), most[first])
        if factors is not None:
            found.append((factors[1].shape[1] / most[first], first, factors))
    if not found:
        value.meta[_FULL] = (id(value.const_value), _group(node), most)
        return _REFUSED
    _, first, factors = min(found, key=lambda one: one[:2])
    pads = list(node.attributes.get_ints("pads", (0, 0, 0, 0)))
    lists = {name: list(node.attributes.get_ints(name, (1, 1))) for name in ("strides", "dilations")}
    writer = Writer(node, names, edit.opset(model))
    y, bias = node.inputs[0], edit.input_at(node, 2)
    assert y is not None
    for axis, factor in zip((first, 1 - first), factors, strict=True):
        sizes = {name: [values[0], 1] if axis == 0 else [1, values[1]] for name, values in lists.items()}
        own = [pads[0], 0, pads[2], 0] if axis == 0 else [0, pads[1], 0, pads[3]]
        kernel = factor if first == 0 else factor.swapaxes(2, 3)
        y = writer.op(
            "Conv", y, writer.constant(kernel, value.dtype, "weights"), bias if axis != first else None,
            group=_group(node), pads=own, kernel_shape=list(kernel.shape[2:]), **sizes,
        )  # fmt: skip
    edit.replace(node.outputs[0], y)
    edit.remove(node)
    return None


def _factors(weights: edit.Array, group: int, most: int) -> Factors | None:
    """U [group * rank, inputs, rows, 1] and V [outputs, rank, 1, columns] of at most rank `most`, equal to the weights to a rounding."""
    outputs, inputs, rows, columns = weights.shape
    split = weights.reshape(group, outputs // group, inputs, rows, columns)
    eps = float(np.finfo(weights.dtype).eps)
    if most < 1 or not np.any(weights) or not _may_be_low(split, most, eps):
        return None
    matrices = split.astype(np.float64).transpose(0, 2, 3, 1, 4).reshape(group, inputs * rows, -1)
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    rank = max(1, int((values > 4 * eps * values[:, :1]).sum(axis=1).max()))
    if rank > most:
        return None
    roots = np.sqrt(values[:, None, :rank])
    u = (left[:, :, :rank] * roots).astype(weights.dtype)
    v = (right[:, :rank].swapaxes(1, 2) * roots).astype(weights.dtype)
    error = u.astype(np.float64) @ v.swapaxes(1, 2).astype(np.float64) - matrices
    off, largest = (
        np.abs(a).reshape(group, inputs * rows, -1, columns).max(axis=(1, 3)) for a in (error, matrices)
    )
    if np.any(off > 4 * eps * np.maximum(largest, eps * largest.max())):
        return None
    first = u.reshape(group, inputs, rows, rank).transpose(0, 3, 1, 2).reshape(group * rank, inputs, rows, 1)
    return first, v.reshape(outputs, columns, rank).swapaxes(1, 2)[:, :, None]


def _may_be_low(split: edit.Array, most: int, eps: float) -> bool:
    """Whether the largest channels of each group, a few more rows and columns than `most`, have no higher rank.

    split: [group, outputs, inputs, rows, columns]. A full decomposition takes far longer, and the threads of the linear
    algebra behind NumPy more than one for matrices of this size.
    """
    size, (_, _, _, rows, columns) = most + 8, split.shape
    energy = np.einsum("goirc,goirc->goi", split, split)
    part = split
    for axis, taken in ((1, -(-size // columns)), (2, -(-size // rows))):
        order = np.argsort(-energy.sum(axis=3 - axis), axis=1)[:, :taken]
        part = np.take_along_axis(part, np.expand_dims(order, [a for a in range(1, 5) if a != axis]), axis)
    part = part.transpose(0, 2, 3, 1, 4).reshape(len(part), part.shape[2] * rows, -1)[:, :size, :size]
    return all(_rank(matrix.copy(), 32 * eps * size) <= most for matrix in part)


def _rank(matrix: edit.Array, noise: float) -> int:
    """How many columns are independent of those before them, by elimination; noise: what is none, relative to the largest element."""
    rank, least = 0, noise * np.abs(matrix).max(initial=0)
    for column in range(matrix.shape[1]):
        if rank == len(matrix):
            break
        pivot = rank + int(np.abs(matrix[rank:, column]).argmax())
        if abs(matrix[pivot, column]) <= least:
            continue
        matrix[[rank, pivot]] = matrix[[pivot, rank]]
        factors = matrix[rank + 1 :, column] / matrix[rank, column]
        matrix[rank + 1 :, column:] -= np.multiply.outer(factors, matrix[rank, column:])
        rank += 1
    return rank
