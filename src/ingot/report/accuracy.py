"""What a lower precision costs: the outputs of a compiled model beside those of the same model compiled in f32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import ingot
from ingot.emit.package import Package
from ingot.errors import IngotError
from ingot.report.inputs import Array, Shapes, make_inputs, parse_inputs, typical_shapes
from ingot.target import resolve, runs_here

RUNS = 8
"""Runs on random inputs."""


@dataclass(frozen=True)
class Loss:
    """Of one output, over all runs. relative: the norm of the difference as a share of the norm. largest: difference as a
    share of the largest value. top1: the share of rows with their largest value in the same place, None where the
    output is no table of (row, class).
    """

    name: str
    relative: float
    largest: float
    top1: float | None


@dataclass(frozen=True)
class Accuracy:
    """losses: an output each. runs: how many were compared. reason: why none was, otherwise empty."""

    losses: tuple[Loss, ...]
    runs: int
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        if self.reason:
            return {"reason": self.reason}
        return {"runs": self.runs, "outputs": [vars(loss) for loss in self.losses]}


def accuracy(
    model: Any,
    package: Package,
    *,
    inputs: Iterable[str] = (),
    shapes: Shapes | None = None,
    cc: str | None = None,
) -> Accuracy:
    """Compiles `model` in f32 as well and compares the float outputs of the package with its outputs.

    inputs: as for `infer`; others are random, another draw each run. Symbols that nothing else sets have the values that
    the manifest calls typical. Raises IngotError where the inputs cannot be read; where the package cannot run here, the
    result says so.
    """
    target, precision = package.manifest["target"]["name"], package.manifest["precision"]
    if not runs_here(resolve(target)):
        return Accuracy((), 0, f"this machine cannot run {target}")
    if not any(name.endswith(".so") for name in package.files):
        package = ingot.compile(model, shapes=shapes, target=target, precision=precision, cc=cc)
    exact = ingot.load(ingot.compile(model, shapes=shapes, target=target, cc=cc))
    session = ingot.load(package)
    ports = session.get_inputs()
    given = parse_inputs(inputs, [port.name for port in ports])
    sizes = typical_shapes(ports, given, package.manifest)
    runs = RUNS if sizes else 1
    pairs: list[tuple[list[Array], list[Array]]] = []
    for seed in range(runs):
        feed = make_inputs(ports, given, sizes, seed=seed)
        try:
            pairs.append((exact.run(None, feed), session.run(None, feed)))
        except IngotError as error:
            if error.code != "run-failed":
                raise
            return Accuracy((), 0, f"the model cannot run on these inputs: {error.cause}")
    losses = [
        _loss(port.name, [a[i] for a, _ in pairs], [b[i] for _, b in pairs])
        for i, port in enumerate(session.get_outputs())
        if np.issubdtype(pairs[0][0][i].dtype, np.floating)
    ]
    return Accuracy(tuple(losses), runs)


def _loss(name: str, exact: list[Array], found: list[Array]) -> Loss:
    a = np.concatenate([x.reshape(-1).astype(np.float64) for x in exact])
    b = np.concatenate([x.reshape(-1).astype(np.float64) for x in found])
    real = np.isfinite(a) & np.isfinite(b)
    wrong = not np.array_equal(a[~real], b[~real], equal_nan=True)
    a, b = a[real], b[real]
    top1 = None
    if exact[0].ndim == 2 and exact[0].shape[1] > 1 and exact[0].size:
        same = [x.argmax(1) == y.argmax(1) for x, y in zip(exact, found, strict=True)]
        top1 = float(np.concatenate(same).mean())
    difference = np.abs(a - b)
    relative = float(np.linalg.norm(difference) / max(float(np.linalg.norm(a)), 1e-30))
    largest = float(difference.max(initial=0.0) / max(float(np.abs(a).max(initial=0.0)), 1e-30))
    return Loss(name, np.inf if wrong else relative, np.inf if wrong else largest, top1)
