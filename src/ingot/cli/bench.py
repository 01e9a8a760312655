"""`ingot bench`: time a model against other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingot.cli.options import Inputs, Shapes, Source, Target, Threads
from ingot.cli.output import print_json, print_table, progress_bar, seconds_text, shape_text

if TYPE_CHECKING:
    from ingot.report.bench import BenchReport


def command(
    source: Source,
    against: Annotated[
        str | None,
        typer.Option(
            help="Runtimes to compare with, separated by commas; none: only ingot.",
            show_default="onnxruntime",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The model that the others run, when a package is given.", show_default=False),
    ] = None,
    inputs: Inputs = None,
    shape: Shapes = None,
    target: Target = "native",
    threads: Threads = 1,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many runs of each.", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Stop after this time in all.")] = 5.0,
    json_output: Annotated[
        Path | None,
        typer.Option("--json", help="Write the report to this file; - prints it.", show_default=False),
    ] = None,
) -> None:
    """Time a model or package against other runtimes, in turns and in one process, after comparing the outputs."""
    from ingot.report.bench import bench
    from ingot.report.inputs import parse_shapes

    with progress_bar() as progress:
        report = bench(
            source,
            _names(against),
            model=model,
            inputs=inputs or (),
            shapes=parse_shapes(shape or ()),
            target=target,
            threads=threads,
            runs=runs,
            seconds=seconds,
            progress=progress,
        )
    if json_output is not None:
        print_json(report.to_dict(), json_output)
    if json_output is None or str(json_output) != "-":
        _show(report)


def _names(against: str | None) -> list[str] | None:
    if against is None:
        return None
    return [] if against == "none" else [name.strip() for name in against.split(",")]


def _show(report: BenchReport) -> None:
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in report.shapes.items())
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    rows = []
    for name, timing in {"ingot": report.ours, **report.peers}.items():
        ratio, difference = report.ratios.get(name), report.differences.get(name)
        rows.append(
            [
                f"{name} {report.versions.get(name, '')}".strip(),
                seconds_text(timing.median),
                seconds_text(timing.p10),
                seconds_text(timing.p90),
                str(timing.runs),
                "" if ratio is None else f"{ratio:.2f}x",
                "" if difference is None else f"{difference:.1g}",
            ]
        )
    title = f"{report.name} on {report.target}, {threads}, {shapes}"
    print_table(title, ["", "median", "p10", "p90", "runs", "speed-up", "difference"], rows)
    peak = f"peak {report.peak_flops / 1e9:.1f} GFLOP/s, reads {report.read_bandwidth / 1e9:.1f} GB/s"
    if report.flops is not None:
        print(
            f"{report.flops / 1e9:.1f} GFLOP/s, {report.flops / report.peak_flops:.0%} of the measured peak ({peak})"
        )
    else:
        print(f"measured: {peak}")
