"""Operators that `ingot optimize`, ONNX Runtime and onnxslim leave of the bench models.

    python bench/optimizer.py [NAME...] [--json FILE]

Counts leave constants out and subgraphs in. ONNX Runtime is its level extended, saved to a file. That file has operators
of its own; "in standard ONNX" counts for each the fewest standard operators that do its work. So does ingot's with
`--for onnxruntime`; without it ingot writes standard operators only.
"error" is the largest difference of any output of ingot's models from the original's, all in ONNX Runtime with its
optimisations off, relative to the largest element. Exits with 1 where ingot leaves more than one of the others of its
kind, or takes longer than its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import onnx
import onnxruntime
import onnxslim
from rich.console import Console
from rich.table import Table

import ingot
from ingot.testing import reference

NAMES = (
    "resnet50", "mobilenetv2", "bert_base", "squeezenet", "resnet20", "ultraface", "yolox_nano", "yunet", "silero",
    "stories260k_1",
)  # fmt: skip
LIMITS = {"resnet50": 3.0, "bert_base": 6.0}
"""Seconds that optimising may take."""


def standard(node: onnx.NodeProto) -> int:
    """How few operators of standard ONNX do the work of one node as ONNX Runtime saves it."""
    attributes = {a.name: a for a in node.attribute}
    present = [bool(name) for name in node.input]
    if node.op_type == "FusedConv":
        return 2 + (len(present) > 3 and present[3])
    if node.op_type == "FusedMatMul":
        turned = sum(attributes[name].i for name in ("transA", "transB") if name in attributes)
        return 1 + turned + ("alpha" in attributes and attributes["alpha"].f != 1)
    if node.op_type == "SkipLayerNormalization":
        return 2 + (len(present) > 4 and present[4])
    if node.op_type in ("BiasGelu", "FusedGemm"):
        return 2
    return 1


def count(model: onnx.ModelProto) -> tuple[int, int]:
    """All operators, and all in standard ONNX."""
    nodes = [node for node in _nodes(model.graph) if node.op_type != "Constant"]
    return len(nodes), sum(map(standard, nodes))


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                found += _nodes(inner)
    return found


def onnxruntime_extended(path: Path) -> tuple[int, int, float]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "extended.onnx")
        start = time.perf_counter()
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        seconds = time.perf_counter() - start
        return *count(onnx.load(options.optimized_model_filepath)), seconds


def slimmed(path: Path) -> tuple[int, float]:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        model = onnxslim.slim(str(path))
    return count(model)[0], time.perf_counter() - start


def difference(expected: list[Any], got: list[Any]) -> float:
    """The largest, relative to the largest element."""
    pairs = zip(expected, got, strict=True)
    return max(float(np.abs(a - b).max(initial=0) / np.abs(a).max(initial=1e-30)) for a, b in pairs)


def measure(name: str) -> dict[str, Any] | None:
    source = catalogue.source(name)
    if source is None:
        return None
    expected, errors = reference(source.model, source.feed), []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.onnx"
        own = ingot.optimize(source.model, out, runtime="onnxruntime")
        errors.append(difference(expected, reference(out, source.feed)))
        result = ingot.optimize(source.model, out)
        errors.append(difference(expected, reference(out, source.feed)))
        onnx.checker.check_model(str(out), full_check=True)
    extended, extended_standard, extended_seconds = onnxruntime_extended(source.model)
    slim, slim_seconds = slimmed(source.model)
    return {
        "before": count(onnx.load(str(source.model)))[0],
        "ingot": result.operators_after,
        "ingot_onnxruntime": own.operators_after,
        "onnxruntime": extended,
        "onnxruntime_standard": extended_standard,
        "onnxslim": slim,
        "error": max(errors),
        "ingot_seconds": max(result.seconds, own.seconds),
        "onnxruntime_seconds": extended_seconds,
        "onnxslim_seconds": slim_seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if not catalogue.known(name)]
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    columns = (
        "model",
        "before",
        "ingot",
        "onnxslim",
        "ORT in standard ONNX",
        "ingot --for onnxruntime",
        "ORT extended",
        "error",
        "seconds",
        "",
    )
    table, results = Table(*columns), {}
    for name in arguments.names or NAMES:
        row = measure(name)
        if row is None:
            print(f"{name}: not here", file=sys.stderr)
            continue
        results[name] = row
        met = row["ingot"] <= min(row["onnxruntime_standard"], row["onnxslim"])
        met = met and row["ingot_onnxruntime"] <= min(row["onnxruntime"], row["onnxslim"])
        row["met"] = met and row["ingot_seconds"] <= LIMITS.get(name, float("inf"))
        numbers = (
            "before", "ingot", "onnxslim", "onnxruntime_standard", "ingot_onnxruntime", "onnxruntime",
        )  # fmt: skip
        cells = [str(row[key]) for key in numbers] + [f"{row['error']:.1e}", f"{row['ingot_seconds']:.2f}"]
        table.add_row(name, *cells, "" if row["met"] else "MISSED")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if all(row["met"] for row in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
