"""Compile the benchmark models, time them against other runtimes and hold them to the project's marks.

    python bench/bench.py [NAME...] [--against onnxruntime] [--threads 1] [--cold] [--json F]

Names are those of `models.py` and `ingot.testing.SHARED_MODELS`; shared models that are absent are named and left out.
Exits with 1 where a mark is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
from rich.console import Console
from rich.table import Table

import ingot
from ingot.errors import IngotError
from ingot.report.bench import BenchReport, bench
from ingot.testing import SHARED_MODELS, data_root, shared_inputs

MARKS: dict[str, float] = {
    "resnet50": 0.8,
    "mobilenetv2": 0.8,
    "bert_base": 0.8,
    "squeezenet": 1.0,
    "resnet20": 1.0,
    "mnist": 1.0,
    "ultraface": 1.0,
}
"""Least speed as a multiple of ONNX Runtime's, on one thread."""

COMPILE_MARKS: dict[str, float] = {"resnet50": 30.0, "mobilenetv2": 30.0, "squeezenet": 15.0}
"""Most seconds of a compilation with an empty cache on two cores."""

LIBRARY_MARK = 1 << 20
ARENA_MARK = 1.15


def source(name: str) -> tuple[Path, dict[str, np.ndarray]] | None:
    """The model's file and its inputs at batch 1; None for a shared model that is not here."""
    if name in models.MODELS:
        return models.path(name), models.inputs(name)
    root = data_root()
    if root is None:
        return None
    return root / SHARED_MODELS[name].file, shared_inputs(name)


@contextlib.contextmanager
def build_cache(cold: bool) -> Iterator[None]:
    """The usual build cache, or an empty one that goes away."""
    if not cold:
        yield
        return
    usual = os.environ.get("INGOT_CACHE")
    with tempfile.TemporaryDirectory(prefix="ingot-bench-") as folder:
        os.environ["INGOT_CACHE"] = folder
        try:
            yield
        finally:
            del os.environ["INGOT_CACHE"]
            if usual is not None:
                os.environ["INGOT_CACHE"] = usual


def measure(
    path: Path, feed: dict[str, np.ndarray], options: argparse.Namespace
) -> tuple[dict[str, Any], BenchReport]:
    """What compiling the model told, with its "compile_seconds", and its times."""
    shapes = {key: array.shape for key, array in feed.items()}
    with build_cache(options.cold):
        start = time.perf_counter()
        package = ingot.compile(path, shapes=shapes)
        seconds = time.perf_counter() - start
    against = options.against.split(",") if options.against else []
    report = bench(
        package, against, model=path, inputs=feed, threads=options.threads, seconds=options.seconds
    )
    return {"compile_seconds": seconds, **package.report}, report


def missed(name: str, built: dict[str, Any], report: BenchReport, options: argparse.Namespace) -> list[str]:
    """The marks that a model does not reach, in words."""
    found = []
    ratio = report.ratios.get("onnxruntime")
    if options.threads == 1 and ratio is not None and ratio < MARKS.get(name, 0.0):
        found.append(f"speed {ratio:.2f} < {MARKS[name]}")
    if options.cold and built["compile_seconds"] > COMPILE_MARKS.get(name, float("inf")):
        found.append(f"compiles in {built['compile_seconds']:.1f} s > {COMPILE_MARKS[name]:.0f} s")
    if built["library_bytes"] > LIBRARY_MARK:
        found.append(f"library of {built['library_bytes']} bytes > {LIBRARY_MARK}")
    if built["arena_bytes"] > ARENA_MARK * built["arena_lower_bound"]:
        found.append(
            f"arena {built['arena_bytes'] / built['arena_lower_bound']:.2f} x its lower bound > {ARENA_MARK}"
        )
    return found


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="models to measure (default: all)")
    parser.add_argument("--against", default="onnxruntime", help="runtimes, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for the runs of one model")
    parser.add_argument("--cold", action="store_true", help="compile with an empty cache")
    parser.add_argument("--json", type=Path, help="write every report to this file")
    options = parser.parse_args()
    known = [*models.MODELS, *SHARED_MODELS]
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    options.names = options.names or known
    return options


def main() -> int:
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 140)
    columns = ("compile", "library", "arena", "bound", "median", "GFLOP/s", "of peak")
    table = Table("model", *columns, *(f"x {name}" for name in options.against.split(",") if name), "missed")
    reports: dict[str, Any] = {}
    misses = 0
    for name in options.names:
        found = source(name)
        if found is None:
            console.print(f"{name}: left out, {SHARED_MODELS[name].file} is not here")
            continue
        console.print(f"{name} ...")
        try:
            built, report = measure(*found, options)
        except IngotError as error:
            misses += 1
            reports[name] = {"error": str(error)}
            console.print(f"{name}: {error}", style="red", markup=False)
            continue
        marks = missed(name, built, report, options)
        misses += len(marks)
        reports[name] = {"build": built, "bench": report.to_dict(), "missed": marks}
        flops = report.flops
        table.add_row(
            name,
            f"{built['compile_seconds']:.1f} s",
            f"{built['library_bytes'] / 1024:.0f} K",
            f"{built['arena_bytes'] / 1024:.0f} K",
            f"{built['arena_lower_bound'] / 1024:.0f} K",
            f"{report.ours.median * 1e3:.3f} ms",
            "" if flops is None else f"{flops / 1e9:.1f}",
            "" if flops is None else f"{flops / report.peak_flops:.0%}",
            *(f"{ratio:.2f}" for ratio in report.ratios.values()),
            "; ".join(marks),
        )
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(reports, indent=2, sort_keys=True) + "\n")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
