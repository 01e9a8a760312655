"""Time ingot and every other runtime that takes a model, in turns, and hold ingot to the project's marks.

    python bench/bench.py [--models a,b@8] [--threads 1,2] [--against onnxruntime,...] [--target avx2]
                          [--precision bf16] [--quick]

Models are those of `catalogue.py`; absent ones are named and left out. Results of the models that ran are added to
OUTPUT/<precision>-<target>.json, from which table.md, ratios.svg and roofline.svg are drawn. Exits with 1 where a mark is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import catalogue
import charts
import marks
import tables
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import ingot
from ingot.report.doctor import cpu_name
from ingot.report.peers import PEERS, require_peer
from ingot.target import resolve

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1200
"""Seconds that one step of one model may take."""

HELD = {"avx2": {"openvino": {"ONEDNN_MAX_CPU_ISA": "AVX2"}}}
"""How a peer is held to a smaller target than the machine's; those that cannot be are left out there."""


class StepError(Exception):
    """A worker failed; the text says how."""


def step(*arguments: str, environment: dict[str, str]) -> dict[str, Any]:
    """What a worker says. Raises StepError."""
    command = [sys.executable, str(ROOT / "bench" / "worker.py"), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LIMIT, env=environment
        )
    except subprocess.TimeoutExpired:
        raise StepError(f"took more than {LIMIT} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise StepError(f"ended with {done.returncode}: {last}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def run_model(name: str, options: argparse.Namespace, progress: Progress, task: Any) -> dict[str, Any] | None:
    """Everything about one model: "build", "start" by contender, "times" by threads; None where its file is absent.

    Raises StepError where ingot itself fails.
    """
    environment = {**os.environ}
    for settings in HELD.get(options.target, {}).values():
        environment |= settings
    with tempfile.TemporaryDirectory(prefix="ingot-bench-") as folder:
        progress.update(task, description=f"{name}: compile, convert")
        peers = ",".join(options.against)
        cold = ["--cold"] if options.cold else []
        build = step(
            "build", name, folder, options.target, options.precision, peers, *cold, environment=environment
        )
        if build.get("absent"):
            return None
        skipped = dict(build.pop("refused"))
        starts: dict[str, Any] = {}
        for contender in ("ingot", *(peer for peer in options.against if peer not in skipped)):
            progress.update(task, description=f"{name}: start {contender}")
            try:
                told = [
                    step("start", folder, contender, environment=environment) for _ in range(options.starts)
                ]
            except StepError as error:
                if contender == "ingot":
                    raise
                told = [{"refused": f"{contender} {error}"}]
            if "refused" in told[0]:
                skipped[contender] = told[0]["refused"]
            else:
                starts[contender] = {key: statistics.median(one[key] for one in told) for key in told[0]}
        times = {}
        able = ",".join(peer for peer in options.against if peer not in skipped)
        for threads in options.threads:
            progress.update(task, description=f"{name}: {threads} thread{'s' if threads > 1 else ''}")
            seconds = str(options.seconds)
            report = step("time", folder, str(threads), seconds, able, environment=environment)
            report["skipped"] = {**skipped, **report["skipped"]}
            times[str(threads)] = report
    return {"build": build, "start": starts, "times": times}


def machine(target: str) -> dict[str, Any]:
    """What the results hold for: kind of processor, cores, target."""
    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "target": target,
        "system": f"{platform.system()} {platform.machine()}",
    }


def merged(path: Path, models: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The results in the file, with those of this run in their place."""
    old = json.loads(path.read_text()) if path.exists() else {}
    kept = {name: model for name, model in old.get("models", {}).items() if catalogue.known(name)}
    for name, model in models.items():
        model["times"] = {**kept.get(name, {}).get("times", {}), **model["times"]}
        kept[name] = model
    order = [*catalogue.KNOWN, *kept]
    held = HELD.get(options.target, {})
    peers = {
        name: {
            "version": PEERS[name].version,
            "library_bytes": PEERS[name].library_bytes,
            "settings": ", ".join(
                [
                    PEERS[name].settings.format(threads="N", precision=options.precision),
                    *(f"{key}={value}" for key, value in held.get(name, {}).items()),
                ]
            ),
        }
        for name in options.against
    }
    return {
        "version": ingot.__version__,
        "machine": machine(options.target),
        "precision": options.precision,
        "peers": {**old.get("peers", {}), **peers},
        "models": dict(sorted(kept.items(), key=lambda item: order.index(item[0]))),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--models", nargs="+", metavar="A,B@8", help="models, with a batch after @ (default: all at batch 1)"
    )
    parser.add_argument("--threads", default="1,2", help="numbers of threads, each a run of its own")
    parser.add_argument("--against", help="other runtimes (default: all that are installed)")
    parser.add_argument("--target", default="native", help="what ingot compiles for")
    parser.add_argument(
        "--precision", choices=list(marks.RATIOS), default="f32", help="what all of them compute in"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few runs, to build/bench unless --output says else"
    )
    parser.add_argument("--cold", action="store_true", help="compile with an empty cache")
    parser.add_argument("--output", type=Path, help="folder of the results (default: bench/results)")
    options = parser.parse_args()
    words = [name for word in options.models or () for name in word.split(",") if name]
    options.models = words or list(catalogue.NAMES if options.precision == "f32" else marks.RATIOS["bf16"])
    if unknown := [name for name in options.models if not catalogue.known(name)]:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(catalogue.KNOWN)}")
    if not all(word.isdecimal() and int(word) > 0 for word in options.threads.split(",")):
        parser.error("--threads takes numbers with commas between them")
    options.threads = [int(word) for word in options.threads.split(",")]
    native = resolve("native", options.precision).name
    options.target = resolve(options.target, options.precision).name
    if options.against is None:
        options.against = [
            name for name, peer in PEERS.items() if peer.installed and options.precision in peer.precisions
        ]
    else:
        options.against = [name for name in options.against.split(",") if require_peer(name)]
    options.suffix = "" if options.target == native else f"-{options.target}"
    if options.precision != "f32":
        options.suffix += f"-{options.precision}"
    if options.target in HELD and options.target != native:
        options.against = [name for name in options.against if name in HELD[options.target]]
    options.seconds, options.starts = (0.2, 1) if options.quick else (1.0, 3)
    options.output = options.output or ROOT / ("build/bench" if options.quick else "bench/results")
    return options


def main() -> int:
    options = parse()
    console = Console(width=None if sys.stdout.isatty() else 140)
    columns = (TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    models: dict[str, Any] = {}
    failed = False
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(options.models))
        for name in options.models:
            try:
                model = run_model(name, options, progress, task)
            except StepError as error:
                failed = True
                console.print(f"{name}: {error}", style="red", markup=False)
            else:
                if model is None:
                    console.print(f"{name}: left out, its file is not here")
                else:
                    models[name] = model
                    console.print(tables.line(name, model), markup=False, highlight=False)
            progress.advance(task)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{options.precision}-{options.target}.json"
    results = merged(path, models, options)
    for name, model in models.items():
        model["missed"] = marks.missed(name, model, options.target, options.precision, options.cold)
        for mark in model["missed"]:
            failed = True
            console.print(f"{name}: {mark}", style="red", markup=False, highlight=False)
    if set(models) >= set(catalogue.NAMES) and 1 in options.threads:
        mean = tables.mean(tables.ratios(results, "1"))
        if mean < marks.MEAN:
            failed = True
            console.print(f"the mean ratio is {mean:.2f}, wanted {marks.MEAN}", style="red", highlight=False)
    path.write_text(json.dumps(results, indent=1) + "\n")
    (options.output / f"table{options.suffix}.md").write_text(tables.table(results))
    (options.output / f"ratios{options.suffix}.svg").write_text(charts.ratio_chart(results))
    (options.output / f"roofline{options.suffix}.svg").write_text(charts.roofline(results))
    console.print(f"written: {path} and what is drawn from it", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
