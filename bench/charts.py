"""Results of the bench as drawings: SVG that stands alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from tables import mean, ratios

Results = Mapping[str, Any]
Box = tuple[float, float, float, float]
LEFT = 64
"""Where the plot begins; numbers stand to the left of it."""

INK, SOFT, GRID = "#37474f", "#78909c", "#dde3e6"
OURS, MORE, PEER = "#1f4e79", "#8ab4d8", "#c77700"
FONT = "Verdana, 'DejaVu Sans', Arial, sans-serif"


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
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" stroke="#ffffff" stroke-width="3" '
        f'paint-order="stroke"{extra}>{escape(text)}</text>'
    )


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
    ticks = 1 if most > 4 else 2
    for tick in range(0, math.floor(most * ticks) + 1):
        x = left + tick / ticks * scale
        body.append(_line(x, top - 6, x, bottom, INK if tick == ticks else GRID))
        body.append(_text(x, top - 12, f"{tick / ticks:g}", "middle", SOFT))
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


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for p in powers for tick in (10.0**p, 2 * 10.0**p, 5 * 10.0**p) if low <= tick <= high]


def _label(name: str, x: float, y: float, taken: list[Box]) -> str:
    """The name of a point, beside it where nothing else lies; adds the place to `taken`."""
    wide = 6.2 * len(name)
    places = [
        (left, y + shift - 6, left + wide, y + shift + 5)
        for shift in (0, -11, 11, -22, 22, -33, 33)
        for left in (x + 7, x - 7 - wide)
    ]

    def free(box: Box) -> bool:
        return box[0] > LEFT and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
            for other in taken
        )

    place = next(filter(free, places), places[0])
    taken.append(place)
    return _text(place[0], place[3] - 1, name, fill=OURS, extra=' font-size="10"')


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
    cache = max(report["bandwidth_gbytes"] for *_, report in points)
    width, height, left, right, top, bottom = 900, 560, LEFT, 24, 56, 512
    rates = [rate for _, _, ours, best, _ in points for rate in (ours, best) if rate]
    low, high = min([peak / memory / 4, *(p[1] for p in points)]) / 2, max(p[1] for p in points) * 3
    slow, fast = min([peak / 4, *rates]) / 1.5, max([peak, *rates]) * 1.5

    def x_at(intensity: float) -> float:
        return left + math.log(intensity / low) / math.log(high / low) * (width - left - right)

    def y_at(rate: float) -> float:
        return bottom - math.log(rate / slow) / math.log(fast / slow) * (bottom - top)

    body = []
    for tick in _ticks(low, high):
        body.append(_line(x_at(tick), top, x_at(tick), bottom, GRID))
        body.append(_text(x_at(tick), bottom + 18, f"{tick:g}", "middle", SOFT))
    for tick in _ticks(slow, fast):
        body.append(_line(left, y_at(tick), width - right, y_at(tick), GRID))
        body.append(_text(left - 8, y_at(tick) + 4, f"{tick:g}", "end", SOFT))
    for speed, words, style in (
        (memory, "from memory", ' stroke-width="2"'),
        (cache, "from cache, where all fits", ' stroke-width="1.5" stroke-dasharray="5 4"'),
    ):
        foot = max(low, slow / speed)
        if foot < peak / speed:
            body.append(_line(x_at(foot), y_at(foot * speed), x_at(peak / speed), y_at(peak), INK, style))
            x, y = x_at(peak / speed), y_at(peak)
            angle = math.degrees(math.atan2(y - y_at(foot * speed), x - x_at(foot)))
            turned = f' transform="rotate({angle:.1f} {x:.1f} {y:.1f})"'
            body.append(_text(x - 12, y - 6, f"{speed:.0f} GB/s {words}", "end", SOFT, turned))
    body += [
        _line(x_at(max(low, peak / cache)), y_at(peak), width - right, y_at(peak), INK, ' stroke-width="2"'),
        _text(x_at(peak / memory) + 8, y_at(peak) + 16, f"{peak:.0f} GFLOP/s in registers", fill=SOFT),
        _text(width - right, bottom + 36, "operations a byte of weights, inputs and outputs", "end", SOFT),
        _text(
            left,
            bottom + 36,
            "Convolutions count as direct sums: Winograd may lie above the line.",
            fill=SOFT,
        ),
        _text(left - 48, top - 12, "GFLOP/s", fill=SOFT),
        f'<circle cx="{left + 90}" cy="{top - 16}" r="4" fill="{OURS}"/>',
        _text(left + 100, top - 12, "ingot"),
        f'<circle cx="{left + 160}" cy="{top - 16}" r="4" fill="none" stroke="{PEER}" stroke-width="1.5"/>',
        _text(left + 170, top - 12, "the best other runtime"),
    ]
    taken: list[Box] = []
    for _, intensity, ours, best, _ in points:
        x, y = x_at(intensity), y_at(ours)
        if best:
            body.append(_line(x, y, x, y_at(best), SOFT))
            body.append(
                f'<circle cx="{x:.1f}" cy="{y_at(best):.1f}" r="4" fill="#ffffff" stroke="{PEER}" stroke-width="1.5"/>'
            )
            taken.append((x - 4, y_at(best) - 4, x + 4, y_at(best) + 4))
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{OURS}"/>')
        taken.append((x - 4, y - 4, x + 4, y + 4))
    for name, intensity, ours, *_ in sorted(points, key=lambda p: -p[1]):
        body.append(_label(name, x_at(intensity), y_at(ours), taken))
    about = "; ".join(f"{name} {ours:.1f} GFLOP/s at {x:.1f} a byte" for name, x, ours, *_ in points)
    return _svg(width, height, f"Roofline, {threads} thread{'s' if threads != '1' else ''}", about, body)
