"""The graph rules as a tool: ONNX -> ONNX of fewer operators, for any runtime."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.graph import trace
from ingot.graph.explain import explain as explain_rule
from ingot.graph.guard import Verdict
from ingot.graph.guard import verify as run_verified
from ingot.graph.pipeline import COMPILE, OPTIMIZE, RUNTIMES, PassReport, check_names
from ingot.graph.pipeline import optimize as run
from ingot.graph.rules import infer_shapes
from ingot.report.inputs import Array, make_inputs
from ingot.report.sources import Progress
from ingot.runtime.ports import DTYPES, Port

MAX_FILE = (2 << 30) - (64 << 20)
"""Bytes of weights past which they go into a file of their own: a protobuf holds at most 2 GiB."""

_CHOOSE = "choose another file"


@dataclass(frozen=True)
class Optimized:
    """An optimised model and what became of it.

    model: an onnx_ir.Model. before, after: operators by name and how many, in subgraphs too, constants left out.
    opset_before, opset_after: the version of the default operator set. passes: what each rule did, in order; of
    infer_shapes, how many shapes it learned. seconds: reading and writing left out. checks: one for each application
    of a rule, where that was asked for. file: where the model was written.
    """

    model: ir.Model
    before: Mapping[str, int]
    after: Mapping[str, int]
    opset_before: int
    opset_after: int
    passes: Sequence[PassReport]
    seconds: float
    checks: Sequence[Verdict] = ()
    file: Path | None = None

    @property
    def operators_before(self) -> int:
        """How many operators the model had."""
        return sum(self.before.values())

    @property
    def operators_after(self) -> int:
        """How many operators it has now."""
        return sum(self.after.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model, in values that fit JSON."""
        return {
            "operators_before": self.operators_before,
            "operators_after": self.operators_after,
            "before": dict(self.before),
            "after": dict(self.after),
            "opset_before": self.opset_before,
            "opset_after": self.opset_after,
            "passes": [{"name": one.name, "fired": one.fired, "seconds": one.seconds} for one in self.passes],
            "seconds": self.seconds,
            "checks": len(self.checks),
            "file": None if self.file is None else str(self.file),
        }


def optimize(
    model: str | Path | onnx.ModelProto | ir.Model,
    output: str | Path | None = None,
    *,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    disable: Collection[str] = (),
    runtime: str | None = None,
    verify: bool = False,
    inputs: Mapping[str, str | Array] | None = None,
    progress: Progress | None = None,
) -> Optimized:
    """Apply the graph rules to a model: fewer operators of standard ONNX, and the same outputs.

    model: a path or a loaded model, which stays as it is. output: the ONNX file to write, whole or not at all; weights
    of more than 2 GiB go into `<output>.data` beside it. shapes: input name -> dimensions, integers or symbol names, in
    place of the model's. disable: names of rules to leave out; `ingot optimize --list` tells them. runtime: "onnxruntime" for
    operators of its domain com.microsoft too, which other runtimes do not take. verify: run the model
    after each rule that did something, and compare its outputs with those before, within the tolerance of their sums.
    inputs: what it is then run with: arrays, files or "random", which inputs get that are not named. progress: called
    with (stage, done, total).
    Raises IngotError: rule-unknown, option-invalid for a runtime that is not known, outputs-differ where `verify` finds a rule that changes an output, output-unwritable
    and those of bad models.
    """
    check_names(disable)
    stages = _stages(runtime)
    target = None if output is None else destination(Path(output))
    graph = load_model(model, shapes)
    before, opset_before = _operators(graph), graph.opset_imports.get("", 1)
    start = time.perf_counter()
    totals: dict[str, PassReport] = {
        name: PassReport(name) for stage in stages for name in stage if name not in disable
    }
    applied = 0

    def on_pass(report: PassReport) -> None:
        nonlocal applied
        totals[report.name].fired += report.fired
        totals[report.name].seconds += report.seconds
        applied += 1
        if progress is not None:
            progress(report.name, applied, max(applied, 2 * len(totals)))

    checks: list[Verdict] = []
    feed = make_inputs(_ports(graph), inputs, shapes) if verify else {}
    for stage in stages:
        if verify:
            checks += _verified(graph, disable, feed, on_pass, stage)
        else:
            run(graph, disable, on_pass, rules=stage)
        if stage is OPTIMIZE:
            infer_shapes.apply(graph)
    seconds = time.perf_counter() - start
    if target is not None:
        _write(graph, target)
    return Optimized(
        graph, before, _operators(graph), opset_before, graph.opset_imports.get("", 1), list(totals.values()),
        seconds, checks, target,
    )  # fmt: skip


def explain(
    model: str | Path | onnx.ModelProto | ir.Model,
    rule: str,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
) -> list[trace.Event]:
    """Where `rule` fires on a model, and the places where it comes close and why it does not.

    Raises IngotError rule-unknown and those of bad models.
    """
    check_names((rule,))
    own = next((name for name, rules in RUNTIMES.items() if rule in rules), None)
    stages = [COMPILE] if rule in COMPILE and rule not in OPTIMIZE else _stages(own)
    return explain_rule(load_model(model, shapes), rule, stages)


def _stages(runtime: str | None) -> list[Collection[str]]:
    """The rules that work one after the other: those of a runtime last, as no other rule knows its operators."""
    if runtime is None:
        return [OPTIMIZE]
    if runtime not in RUNTIMES:
        raise IngotError(
            "option-invalid",
            f"{runtime!r} has no operators of its own that are known here",
            where="--for",
            remedy=f"choose {', '.join(RUNTIMES)}, or leave it out for standard ONNX",
        )
    return [OPTIMIZE, RUNTIMES[runtime]]


def _operators(model: ir.Model) -> dict[str, int]:
    counts = Counter(
        f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for node in model.graph.all_nodes()
        if node.op_type != "Constant"
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _ports(model: ir.Model) -> list[Port]:
    numbers = {one.number: name for name, one in DTYPES.items()}
    return [
        Port(
            str(value.name),
            numbers.get(int(value.dtype or ir.DataType.FLOAT), "float32"),
            tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape or ()),
        )
        for value in model.graph.inputs
    ]


def _verified(
    model: ir.Model, disable: Collection[str], feed: dict[str, Array], on_pass: Any, rules: Collection[str]
) -> list[Verdict]:
    try:
        checks = run_verified(model, feed, disable=disable, rules=rules, on_pass=on_pass)
    except IngotError:
        raise
    except Exception as error:
        raise IngotError(
            "run-failed",
            f"the model cannot be run as it was given: {str(error).splitlines()[0]}",
            where="--verify",
            remedy="give inputs that it takes with --input, and sizes with --shape",
        ) from error
    broken = next((check for check in checks if check.problem), None)
    if broken is not None:
        raise IngotError(
            "outputs-differ",
            f"the rule {broken.name} changes what the model computes: {broken.problem}",
            where="--verify",
            remedy=f"leave it out with --disable {broken.name}, and report the model",
        )
    return checks


def destination(path: Path) -> Path:
    """Where a file will be written. Raises IngotError output-unwritable where it cannot."""
    target = path.absolute()
    if target.is_dir():
        raise IngotError("output-unwritable", "it is a folder", where=str(path), remedy=_CHOOSE)
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK | os.X_OK):
        cause = "its folder cannot be written" if target.parent.exists() else "its folder does not exist"
        raise IngotError("output-unwritable", cause, where=str(path), remedy=_CHOOSE)
    return target


def _write(model: ir.Model, target: Path) -> None:
    """The model at `target`, made aside and renamed."""
    weights = sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )
    external = f"{target.name}.data" if weights > MAX_FILE else None
    try:
        with _aside(target.parent) as folder:
            ir.save(model, folder / target.name, external_data=external)
            for made in sorted(folder.iterdir(), key=lambda file: file.name == target.name):
                made.replace(target.parent / made.name)
    except OSError as error:
        raise IngotError(
            "output-unwritable",
            f"the model cannot be written: {error.strerror or error}",
            where=str(target),
            remedy=_CHOOSE,
        ) from error


@contextlib.contextmanager
def _aside(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=".ingot-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
