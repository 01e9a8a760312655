"""What a compiled model means: its kernels run by the interpreter that defines kernel IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ingot.compiler import schedule
from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph.pipeline import RULES, optimize
from ingot.ir.index import Ix, evaluate
from ingot.ir.interpret import interpret
from ingot.ir.nodes import DTYPES
from ingot.ir.program import Loop, Measure, Operation, Program, Tensor, loop_locals, tests
from ingot.ir.verify import verify_kernel
from ingot.kernels.builder import SPARE, Built, Packed
from ingot.lower.registry import REGISTRY
from ingot.schedule.layout import Layout
from ingot.target import resolve
from ingot.testing import Array, Feed


def interpret_model(
    model: str | Path | onnx.ModelProto,
    target: str = "generic",
    *,
    optimise: bool = True,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    precision: str = "f32",
) -> Callable[[Feed], list[Array]]:
    """What a compiled model computes, by the interpreter that defines kernel IR: for inputs, all outputs.

    optimise: whether the graph rules apply; those that lowering cannot do without always do. Every buffer has its
    exact size and, where nothing was written, NaN or a large integer, so that an index outside a buffer is an error
    and a read of what nobody wrote shows. Raises IngotError as `ingot.compile` does.
    """
    graph = load_model(model, shapes)
    needed = {"expand_gradient", "inline_functions", "lift_constants", "infer_shapes", "expand_operators"}
    optimize(graph, () if optimise else RULES.keys() - needed, keep=REGISTRY)
    program, assigned, scheduled = schedule(graph, "model", resolve(target, precision), precision=precision)
    steps = [(step.operation, step.built) for step in scheduled]
    for _, built in steps:
        verify_kernel(built.kernel)
    return lambda feed: _interpret(program, assigned.layouts, steps, feed)


def _interpret(
    program: Program,
    layouts: Mapping[Tensor, Layout],
    steps: Sequence[tuple[Operation, Built]],
    feed: Mapping[str, Array],
) -> list[Array]:
    symbols: dict[str, int] = {}
    for tensor in program.inputs:
        for dim, size in zip(tensor.shape, feed[tensor.name].shape, strict=True):
            if dim.is_const:
                assert dim.value == size, f"{tensor.name} has a dimension {dim.value}, not {size}"
            else:
                symbols[next(iter(dim.variables())).name] = size

    def require() -> None:
        for a, b in program.requires:
            if {v.name for v in a.variables() | b.variables()} <= symbols.keys():
                assert evaluate(a, symbols) == evaluate(b, symbols), f"the sizes {a} and {b} differ"

    require()
    buffers: dict[Tensor, Array] = {}

    def buffer(tensor: Tensor) -> Array:
        if tensor not in buffers:
            made = _unwritten(evaluate(layouts[tensor].size(tensor.shape), symbols), DTYPES[tensor.dtype])
            if tensor.kind == "input" and tensor.dtype == "str":
                made[:] = [w.encode() if isinstance(w, str) else w for w in feed[tensor.name].reshape(-1)]
            elif tensor.kind == "input":
                made[:] = feed[tensor.name].reshape(-1)
            elif tensor.data is not None:
                spare = _unwritten(SPARE // made.itemsize, made.dtype)
                made = np.concatenate([tensor.data.reshape(-1), spare])
            buffers[tensor] = made
        return buffers[tensor]

    own = {loop: names for loop, (_, _, names) in loop_locals([o for o, _ in steps]).items()}

    def holds(guard: Sequence[tuple[Tensor, bool]]) -> bool:
        return all(bool(buffer(flag)[0]) == wanted for flag, wanted in guard)

    def goes_on(loop: Loop) -> bool:
        below = loop.trips is None or symbols[loop.counter.name] < evaluate(loop.trips, symbols)
        return below and (loop.condition is None or bool(buffer(loop.condition)[0]))

    def run(steps: Sequence[tuple[Operation, Built]], depth: int) -> None:
        """Steps inside as many loops, each of which is in a turn."""
        for path, group in groupby(steps, key=lambda pair: pair[0].loops()[depth : depth + 1]):
            members = list(group)
            if not path:
                for operation, built in members:
                    step(operation, built)
                continue
            loop = path[0][-1]
            assert isinstance(loop, Loop)
            while holds(tests(path[0])) and goes_on(loop):
                for tensor in own[loop]:
                    buffers.pop(tensor, None)
                run(members, depth + 1)
                symbols[loop.counter.name] += 1

    def step(operation: Operation, built: Built) -> None:
        if holds(operation.tests()):
            arguments = [
                a.data.reshape(-1) if isinstance(a, Packed) else buffer(a.root)[a.start :]
                for a in built.arguments
            ]
            interpret(built.kernel, arguments, symbols)
            if operation.demand and not buffer(operation.output)[0]:
                raise IngotError("index-range", operation.demand)
            if isinstance(operation, Measure):
                source = operation.source
                found = (
                    evaluate(source, symbols)
                    if isinstance(source, Ix)
                    else int(buffer(source.root()[0])[operation.position])
                )
                bound = None if operation.most is None else evaluate(operation.most, symbols)
                assert bound is None or 0 <= found <= bound, (
                    f"{operation.symbol.name} is {found}, at most {bound}"
                )
                symbols[operation.symbol.name] = found
                require()

    run(steps, 0)
    return [_read(buffer(t)).reshape([evaluate(d, symbols) for d in t.shape]) for t in program.outputs]


def _read(elements: Array) -> Array:
    """Elements as a session gives them: strings as `str`."""
    if elements.dtype.kind != "O":
        return elements
    return np.array([word.decode() for word in elements] or [], object)


def _unwritten(size: int, dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "O":
        return np.full(size, None)
    return np.full(size, np.nan if dtype.kind in "fV" else 1 if dtype.kind == "b" else 0x55, dtype)
