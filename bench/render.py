"""Results of the bench as a Markdown table, a bar chart and a roofline plot (SVG, which stands alone)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Results = Mapping[str, Any]

INK, SOFT, GRID = "#37474f", "#78909c", "#dde3e6"
OURS, MORE, PEER = "#1f4e79", "#8ab4d8", "#c77700"
FONT = "Verdana, 'DejaVu Sans', Arial, sans-serif"


def files(results: Results) -> dict[str, str]:
    """File name -> content."""
    return {
        "table.md": table(results),
        "ratios.svg": ratio_chart(results),
        "roofline.svg": roofline(results),
    }


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
        f"float32, ingot {results['version']} for {machine['target']} on {machine['cpu']}, {machine['cores']} cores, "
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


def _svg(width: int, height: int, title: str, about: str, body: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title about" font-family="{FONT}" font-size="12">'
    )
    inside = [
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="about">{escape(about)}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15" font-weight="bold" fill="{INK}">{escape(title)}</text>',
        *body,
    ]
    return "\n".join([head, *(f"  {element}" for element in inside), "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = INK, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{extra}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str, extra: str = "") -> str:
    return f'<path d="M{x1:.1f} {y1:.1f} L{x2:.1f} {y2:.1f}" stroke="{stroke}" fill="none"{extra}/>'


def ratio_chart(results: Results) -> str:
    """A bar for each model and number of threads: how many times as fast as the best peer ingot is."""
    threads = sorted({t for model in results["models"].values() for t in model["times"]}, key=int)
    rows = [
        (name, {t: model["times"][t] for t in threads if model["times"].get(t, {}).get("ratio")})
        for name, model in results["models"].items()
    ]
    rows = [(name, reports) for name, reports in rows if reports]
    most = max([1.5, *(report["ratio"] for _, reports in rows for report in reports.values())])
    left, top, width = 160, 64, 720
    thick = 12
    step = thick * len(threads) + 8
    scale = (width - left - 150) / most
    colours = dict(zip(threads, (OURS, MORE, SOFT, GRID), strict=False))
    bottom = top + step * len(rows)
    body = []
    for tick in range(0, math.floor(most * 2) + 1):
        x = left + tick / 2 * scale
        body.append(_line(x, top - 6, x, bottom, INK if tick == 2 else GRID))
        body.append(_text(x, top - 12, f"{tick / 2:g}", "middle", SOFT))
    for i, (name, reports) in enumerate(rows):
        y = top + i * step
        body.append(_text(left - 8, y + (step - 8) / 2 + 4, name, "end"))
        for k, t in enumerate(threads):
            if t not in reports:
                continue
            ratio = reports[t]["ratio"]
            at = y + k * thick
            body.append(
                f'<rect x="{left}" y="{at}" width="{ratio * scale:.1f}" height="{thick - 1}" fill="{colours[t]}"/>'
            )
            note = f"{ratio:.2f} x {reports[t]['best']}"
            body.append(
                _text(left + ratio * scale + 5, at + thick - 2, note, fill=SOFT, extra=' font-size="10"')
            )
    for k, t in enumerate(threads):
        values = ratios(results, t)
        if values:
            x = left + k * 260
            body.append(f'<rect x="{x}" y="{bottom + 12}" width="12" height="12" fill="{colours[t]}"/>')
            words = f"{t} thread{'s' if t != '1' else ''}, geometric mean {mean(values):.2f}"
            body.append(_text(x + 18, bottom + 22, words))
    title = "How many times as fast as the best other runtime"
    about = "; ".join(
        f"{name} " + ", ".join(f"{r['ratio']:.2f}" for r in reps.values()) for name, reps in rows
    )
    return _svg(width, bottom + 40, title, about, body)


def roofline(results: Results, threads: str = "1") -> str:
    """Operations a second against operations a byte of weights, inputs and outputs, below what the machine reached."""
    points = []
    for name, model in results["models"].items():
        report = model["times"].get(threads)
        if report and report["gflops"] and report["moved_bytes"]:
            flops = 2 * report["macs"]
            best = report["peers"][report["best"]]["median"] if report["best"] else None
            points.append(
                (
                    name,
                    flops / report["moved_bytes"],
                    report["gflops"],
                    flops / best / 1e9 if best else None,
                    report,
                )
            )
    if not points:
        return _svg(720, 60, "Roofline", "Nothing was timed.", [])
    peak = max(report["peak_gflops"] for *_, report in points)
    memory = max(report["read_gbytes"] for *_, report in points)
    width, height, left, right, top, bottom = 900, 560, 64, 24, 56, 512
    rates = [rate for _, _, ours, best, _ in points for rate in (ours, best) if rate]
    x_low = math.floor(math.log10(min([peak / memory / 10, *(p[1] for p in points)])))
    x_high = math.ceil(math.log10(max([peak / memory * 10, *(p[1] for p in points)])))
    y_low = math.floor(math.log10(min([peak / 10, *rates])))
    y_high = math.log10(max([peak, *rates]) * 2)

    def x_at(intensity: float) -> float:
        return left + (math.log10(intensity) - x_low) / (x_high - x_low) * (width - left - right)

    def y_at(rate: float) -> float:
        return bottom - (math.log10(rate) - y_low) / (y_high - y_low) * (bottom - top)

    body = []
    for power in range(x_low, x_high + 1):
        x = x_at(10.0**power)
        body += [_line(x, top, x, bottom, GRID), _text(x, bottom + 18, f"{10.0**power:g}", "middle", SOFT)]
    for power in range(y_low, math.floor(y_high) + 1):
        y = y_at(10.0**power)
        body += [
            _line(left, y, width - right, y, GRID),
            _text(left - 8, y + 4, f"{10.0**power:g}", "end", SOFT),
        ]
    ridge = peak / memory
    foot = max(10.0**x_low, 10.0**y_low / memory)
    thick = ' stroke-width="2"'
    body += [
        _line(x_at(foot), y_at(foot * memory), x_at(ridge), y_at(peak), INK, thick),
        _line(x_at(ridge), y_at(peak), width - right, y_at(peak), INK, thick),
        _text(width - right, y_at(peak) - 6, f"{peak:.0f} GFLOP/s in registers", "end"),
        _text(x_at(ridge) + 8, y_at(peak) + 16, f"{memory:.0f} GB/s from memory, to the left"),
        _text(width - right, bottom + 36, "operations a byte of weights, inputs and outputs", "end", SOFT),
        _text(left - 48, top - 12, "GFLOP/s", fill=SOFT),
        f'<circle cx="{left + 90}" cy="{top - 16}" r="4" fill="{OURS}"/>',
        _text(left + 100, top - 12, "ingot"),
        f'<circle cx="{left + 160}" cy="{top - 16}" r="4" fill="none" stroke="{PEER}" stroke-width="1.5"/>',
        _text(left + 170, top - 12, "the best other runtime"),
    ]
    taken: list[tuple[float, float]] = []
    for name, intensity, ours, best, _ in sorted(points, key=lambda p: -p[2]):
        x, y = x_at(intensity), y_at(ours)
        if best:
            body.append(_line(x, y, x, y_at(best), SOFT))
            body.append(
                f'<circle cx="{x:.1f}" cy="{y_at(best):.1f}" r="4" fill="#ffffff" stroke="{PEER}" stroke-width="1.5"/>'
            )
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{OURS}"/>')
        at = y + 4
        while any(abs(x - other) < 100 and abs(at - height_) < 11 for other, height_ in taken):
            at += 11
        taken.append((x, at))
        body.append(_text(x + 7, at, name, fill=OURS, extra=' font-size="10"'))
    about = "; ".join(f"{name} {ours:.1f} GFLOP/s at {x:.1f} a byte" for name, x, ours, *_ in points)
    return _svg(width, height, f"Roofline, {threads} thread{'s' if threads != '1' else ''}", about, body)
