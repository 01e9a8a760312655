"""What a node of an ONNX graph has to do, and an estimate of the energy of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import onnx_ir as ir

from ingot.ir.work import Work

Shape = Sequence[int]

ENERGY_SOURCE = (
    "M. Horowitz, “Computing's energy problem (and what we can do about it)”, ISSCC 2014, pp. 10–14, "
    "doi:10.1109/ISSCC.2014.6757323, for 45 nm at 0.9 V: a float32 multiplication 3.7 pJ and addition 0.9 pJ, of float16 "
    "1.1 and 0.4 pJ; 64 bits from a cache of 8 KB 10 pJ, of 32 KB 20 pJ, of 1 MB 100 pJ, from DRAM 1.3 to 2.6 nJ"
)
MULTIPLY_PJ = {"f32": 3.7, "bf16": 1.1}
ADD_PJ = 0.9
"""Picojoules of a float multiplication (of 16 bits for bf16) and of a float32 addition, in which sums stay."""
CACHE_PJ_PER_BYTE = 100 / 8
DRAM_PJ_PER_BYTE = 1300 / 8
"""Of an access to 64 bits: in a cache of 1 MB, and the least of what is given for DRAM."""


def energy(works: Iterable[Work], precision: str) -> dict[str, float]:
    """Joules of a run, estimated: "arithmetic", and the bytes that move if a cache of 1 MB ("cache") or DRAM ("dram") has them.

    Every operation other than a multiply-add counts as an addition. Control, instruction fetch and leakage, which a
    real processor spends most of its energy on, are left out.
    """
    macs = others = moved = 0
    for work in works:
        macs += work.macs
        others += work.flops - 2 * work.macs
        moved += work.bytes
    picojoules = {
        "arithmetic": macs * (MULTIPLY_PJ[precision] + ADD_PJ) + others * ADD_PJ,
        "cache": moved * CACHE_PJ_PER_BYTE,
        "dram": moved * DRAM_PJ_PER_BYTE,
    }
    return {name: value * 1e-12 for name, value in picojoules.items()}


def node_macs(node: ir.Node, shape: Callable[[ir.Value], Shape | None]) -> int | None:
    """Multiply-adds of a node's sums of products as ONNX defines it; 0 of operators that have none.

    shape: of a value. None where a shape that it takes is not known.
    """
    formula = _FORMULAS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if formula is None:
        return 0

    def known(value: ir.Value | None) -> Shape:
        found = () if value is None else shape(value)
        if found is None:
            raise LookupError
        return found

    try:
        return formula(node, known)
    except LookupError:
        return None


Shapes = Callable[[ir.Value | None], Shape]
Formula = Callable[[ir.Node, Shapes], int]
"""A node and what gives the shape of a value, or raises LookupError where it is not known."""


def _conv(weight: int) -> Formula:
    """Weights (features, channels of a group, taps…): each output element sums over all but the first."""
    return lambda node, shape: math.prod(shape(node.outputs[0])) * math.prod(shape(node.inputs[weight])[1:])


def _conv_transpose(node: ir.Node, shape: Shapes) -> int:
    return math.prod(shape(node.inputs[0])) * math.prod(shape(node.inputs[1])[1:])


def _matmul(node: ir.Node, shape: Shapes) -> int:
    return math.prod(shape(node.outputs[0])) * shape(node.inputs[0])[-1]


def _gemm(node: ir.Node, shape: Shapes) -> int:
    axis = 1 if node.attributes.get_int("transB", 0) else 0
    return math.prod(shape(node.outputs[0])) * shape(node.inputs[1])[axis]


def _recurrent(node: ir.Node, shape: Shapes) -> int:
    """x (steps, batch, size), W and R: each step multiplies every weight once."""
    x, w, r = (shape(value) for value in node.inputs[:3])
    return math.prod(x[:2]) * (math.prod(w) + math.prod(r))


def _einsum(node: ir.Node, shape: Shapes) -> int:
    """The product of all labels' extents, once for each operand after the first."""
    terms = node.attributes.get_string("equation", "").replace(" ", "").split("->")[0].split(",")
    extents: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=True):
        dims = shape(value)
        head, _, tail = term.partition("...")
        extents |= zip(head, dims, strict=False)
        extents |= zip(reversed(tail), reversed(dims), strict=False)
        inner = dims[len(head) : len(dims) - len(tail)]
        extents["..."] = max(extents.get("...", 1), math.prod(inner))
    return math.prod(extents.values()) * (len(node.inputs) - 1)


_RECURRENT = ("LSTM", "GRU", "RNN")
_FORMULAS: dict[str, Formula] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "DeformConv": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    **dict.fromkeys(_RECURRENT, _recurrent),
}
