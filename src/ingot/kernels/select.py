"""Which generator makes the kernel of an operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingot.ir.index import ix, product
from ingot.ir.program import (
    Attention,
    Dense,
    Fill,
    Map,
    MatMul,
    Measure,
    Operation,
    Recurrent,
    Reduce,
    Routine,
    Row,
    Tensor,
    WinogradInput,
    WinogradOutput,
)
from ingot.kernels.attention import build_attention
from ingot.kernels.builder import Builder, Built, View
from ingot.kernels.dense import build_dense
from ingot.kernels.elementwise import build_fill, build_map
from ingot.kernels.matmul import build_matmul
from ingot.kernels.recurrent import build_recurrent
from ingot.kernels.reduce import build_reduce
from ingot.kernels.routine import build_routine
from ingot.kernels.row import build_row
from ingot.kernels.winograd import build_winograd_input, build_winograd_output
from ingot.schedule.layout import Layout
from ingot.target import Target

GENERATORS: dict[type[Operation], Callable[..., Built]] = {
    Map: build_map,
    Fill: build_fill,
    Reduce: build_reduce,
    Row: build_row,
    Dense: build_dense,
    WinogradInput: build_winograd_input,
    WinogradOutput: build_winograd_output,
    MatMul: build_matmul,
    Attention: build_attention,
    Recurrent: build_recurrent,
    Routine: build_routine,
}


def build(
    operation: Operation,
    layouts: Mapping[Tensor, Layout],
    target: Target,
    wanted: str | None = None,
    ahead: int = 0,
) -> Built:
    """The kernel of an operation in the chosen layouts; one without tasks where what it computes has no elements.

    wanted: the name of a candidate, where the generator has several; by default their first. ahead: how many bytes before
    their use weights are asked for, as `bytes_ahead` says of the program.
    """
    builder = Builder(target, layouts, wanted, ahead)
    if isinstance(operation, Measure):
        return builder.finish("measure", builder.fresh_var(0), ix(0), 0.0)
    results = operation.writes() if isinstance(operation, Recurrent | Routine) else [operation.output]
    if all(product(result.shape) == ix(0) for result in results):
        builder.buffer(View(operation.output.root()[0], 0), written=True)
        return builder.finish("nothing", builder.fresh_var(0), ix(0), 0.0)
    return GENERATORS[type(operation)](builder, operation)
