"""The proof that a rule changed nothing: the model runs before and after each one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from ingot.graph.edit import Array
from ingot.graph.pipeline import COMPILE, PassReport, optimize
from ingot.testing import CLOSE, Level, assert_close, lengths, reference


@dataclass(frozen=True)
class Verdict:
    """One application of a rule that fired. problem: what differs from the model before it, "" when nothing does."""

    name: str
    fired: int
    problem: str


class _BrokenError(Exception):
    pass


def verify(
    model: ir.Model,
    inputs: Mapping[str, Array] | None = None,
    *,
    level: Level = CLOSE,
    disable: Collection[str] = (),
    rules: Collection[str] = COMPILE,
    on_pass: Callable[[PassReport], None] | None = None,
) -> list[Verdict]:
    """`optimize(model, disable, on_pass, rules=rules)` in place, with all outputs compared to within `level` after each rule that fired.

    inputs: an array for every input, `random_inputs` when left out. Runs on ONNX Runtime with its optimisations off;
    where that is not installed or cannot run the model as given, on onnx.reference.
    Returns a verdict an application, in order. The first with a problem is the last: the rules after it did not run.
    """
    feed = dict(inputs) if inputs is not None else random_inputs(model)
    verdicts: list[Verdict] = []
    proto = ir.to_proto(model)
    runner: Callable[[onnx.ModelProto, Mapping[str, Array]], list[Array]] = reference
    try:
        before = runner(proto, feed)
    except Exception:
        runner = _evaluate
        before = runner(proto, feed)

    def check(report: PassReport) -> None:
        nonlocal before
        if on_pass is not None:
            on_pass(report)
        if not report.fired:
            return
        after = ir.to_proto(model)
        try:
            got = runner(after, feed)
            _compare(got, before, level, after)
        except Exception as error:
            verdicts.append(Verdict(report.name, report.fired, str(error) or type(error).__name__))
            raise _BrokenError from error
        before = got
        verdicts.append(Verdict(report.name, report.fired, ""))

    with contextlib.suppress(_BrokenError):
        optimize(model, disable, check, rules=rules)
    return verdicts


def _compare(got: list[Array], expected: list[Array], level: Level, model: onnx.ModelProto) -> None:
    reduction = lengths(model)["reduction"]
    for info, actual, wanted in zip(model.graph.output, got, expected, strict=True):
        try:
            assert_close(actual, wanted, level, reduction=reduction, scale=_scale(model.graph, info.name))
        except AssertionError as error:
            raise AssertionError(f"output {info.name}: {error}") from None


MOVES = frozenset(
    {
        "Concat",
        "Flatten",
        "Gather",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Operators that only move elements of their inputs."""
_PROBABILITIES = frozenset({"Sigmoid", "Softmax"})


def _scale(graph: onnx.GraphProto, name: str) -> float:
    """1 for an output of probabilities, however small they are: they are accurate to the spacing at 1. 0 for others."""
    producers = {out: node for node in graph.node for out in node.output}
    node = producers.get(name)
    while node is not None and node.op_type in MOVES and not node.domain:
        node = producers.get(node.input[0])
    return 1.0 if node is not None and node.op_type in _PROBABILITIES and not node.domain else 0.0


def _evaluate(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, dict(inputs))]


def random_inputs(
    model: ir.Model, symbols: Mapping[str, int] | None = None, seed: int = 0
) -> dict[str, Array]:
    """An array for every input of `model`: normal floats, integers and booleans of 0 and 1.

    symbols: sizes of symbolic dimensions, 2 for those left out.
    """
    rng = np.random.default_rng(seed)
    feed: dict[str, Array] = {}
    for value in model.graph.inputs:
        shape = [_size(dim, symbols or {}) for dim in value.shape or ()]
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        whole = value.dtype is not None and not value.dtype.is_floating_point()
        array = rng.integers(0, 2, shape) if whole else rng.standard_normal(shape)
        feed[str(value.name)] = np.asarray(array).astype(dtype)
    return feed


def _size(dim: int | ir.SymbolicDim, symbols: Mapping[str, int]) -> int:
    return dim if isinstance(dim, int) else symbols.get(dim.value or "", 2)
