"""Results of the bench as text: a line for the console, and Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]

_PRECISIONS = {"f32": "float32", "bf16": "bfloat16 products, float32 sums"}


def ratios(results: Results, threads: str) -> list[float]:
    """How many times as fast as the best peer ingot is, for each model that a peer took."""
    found = [model["times"].get(threads, {}).get("ratio") for model in results["models"].values()]
    return [ratio for ratio in found if ratio is not None]


def mean(values: Sequence[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values))


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    scale, unit = (1e6, "µs") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1.0, "s")
    value = seconds * scale
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def size(count: float) -> str:
    """Bytes, in units of 1024."""
    return f"{count / 1024:.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):.1f} MiB"


def line(name: str, model: Mapping[str, Any]) -> str:
    """A model on one line, for the console."""
    parts = []
    for threads, report in model["times"].items():
        text = f"{threads} thread{'s' if threads != '1' else ''} {duration(report['ingot']['median'])}"
        if report["best"]:
            text += f", {report['ratio']:.2f} x {report['best']}"
        parts.append(text)
    start = model["start"].get("ingot")
    if start:
        parts.append(f"starts in {duration(start['start'])}")
    return f"{name}: {'; '.join(parts)}"


def table(results: Results) -> str:
    """Times, starts, and how the peers ran, each as a table, and what was not timed."""
    machine = results["machine"]
    reports = [report for model in results["models"].values() for report in model["times"].values()]
    peaks = "; ".join(
        f"with {threads} thread{'s' if threads > 1 else ''} {max(r['peak_gflops'] for r in mine):.0f} GFLOP/s and "
        f"{max(r['read_gbytes'] for r in mine):.0f} GB/s from memory"
        for threads in sorted({r["threads"] for r in reports})
        if (mine := [r for r in reports if r["threads"] == threads])
    )
    parts = [
        "# Speed",
        f"{_PRECISIONS[results.get('precision', 'f32')]}, ingot {results['version']} for {machine['target']} on {machine['cpu']}, {machine['cores']} cores, "
        f"which reached {peaks}. Medians, with the 10th and the 90th percentile, of runs taken in turns in one "
        "process. The ratio is the best peer's time divided by ingot's. GFLOP/s counts a convolution's direct sum, "
        "and the limit is the time that these peaks allow for it, or for reading weights, inputs and outputs once: "
        "Winograd needs less.",
    ]
    for threads in sorted({r["threads"] for r in reports}):
        parts.append(f"## {threads} thread{'s' if threads > 1 else ''}")
        parts.append(_times(results, str(threads)))
        values = ratios(results, str(threads))
        if values:
            parts.append(f"Geometric mean of the ratios: {mean(values):.2f}.")
    parts += [
        "## Start",
        "From loading to the first result, in a fresh process, files in the page cache, without the import.",
        _starts(results),
        "## Size",
        "ingot's library, its weights and the working memory of a context; then the most memory that a fresh process "
        "takes, Python and NumPy with it.",
        _memory(results),
        "## Peers",
        _settings(results),
    ]
    skipped = _skipped(results)
    if skipped:
        parts += ["Not timed:", "\n".join(f"- {text}" for text in skipped)]
    return "\n\n".join(parts) + "\n"


def _markdown(columns: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> str:
    names = list(columns)
    rule = ["---"] * left + ["---:"] * (len(names) - left)
    lines = [names, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def _times(results: Results, threads: str) -> str:
    peers = list(results["peers"])
    rows = []
    for name, model in results["models"].items():
        report = model["times"].get(threads)
        if report is None:
            continue
        ours = report["ingot"]
        cells = []
        for peer in peers:
            timing = report["peers"].get(peer)
            reason = report["skipped"].get(peer, "")
            text = duration(timing["median"]) if timing else "differs" if "disagree" in reason else "–"
            cells.append(f"**{text}**" if peer == report["best"] else text)
        rows.append(
            [
                name,
                f"{duration(ours['median'])} ({duration(ours['p10'])} – {duration(ours['p90'])})",
                f"**{report['ratio']:.2f}**" if report["ratio"] else "",
                *cells,
                f"{report['gflops']:.1f}" if report["gflops"] else "",
                f"{report['share_of_limit']:.0%}" if report["share_of_limit"] else "",
            ]
        )
    return _markdown(["model", "ingot", "ratio", *peers, "GFLOP/s", "of the limit"], rows)


def _starts(results: Results) -> str:
    peers = list(results["peers"])
    rows = []
    for name, model in results["models"].items():
        starts = model["start"]
        rows.append(
            [name, *(duration(starts[c]["start"]) if c in starts else "–" for c in ("ingot", *peers))]
        )
    return _markdown(["model", "ingot", *peers], rows)


def _memory(results: Results) -> str:
    peers = list(results["peers"])
    rows = []
    for name, model in results["models"].items():
        starts, build = model["start"], model["build"]
        sizes = [size(build[key]) for key in ("library_bytes", "weights_bytes", "arena_bytes")]
        peaks = [size(starts[c]["peak_bytes"]) if c in starts else "–" for c in ("ingot", *peers)]
        rows.append([name, *sizes, *peaks])
    return _markdown(["model", "library", "weights", "arena", "ingot", *peers], rows)


def _settings(results: Results) -> str:
    rows = [
        [peer, about["version"], size(about["library_bytes"]), about["settings"]]
        for peer, about in results["peers"].items()
    ]
    return _markdown(["peer", "version", "libraries", "settings"], rows, left=4)


def _skipped(results: Results) -> list[str]:
    """Reason by reason, with the models it holds for."""
    found: dict[str, dict[str, None]] = {}
    for name, model in results["models"].items():
        for report in model["times"].values():
            for reason in report["skipped"].values():
                found.setdefault(reason, {})[name] = None
    return [f"{', '.join(names)}: {reason}" for reason, names in found.items()]
