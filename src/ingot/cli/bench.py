"""`ingot bench`: time a model against other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingot.cli.options import Inputs, Precision, PrecisionName, Shapes, Source, Target, Threads
from ingot.cli.output import print_json, print_table, progress_bar, seconds_text, shape_text
from ingot.errors import IngotError

if TYPE_CHECKING:
    from ingot.report.bench import BenchReport
    from ingot.report.candidates import Candidates
    from ingot.report.profile import Profile


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
    precision: Precision = PrecisionName.f32,
    threads: Threads = 1,
    runs: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many runs of each.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Stop after this time in all; with --candidates, time each build for so long.",
            show_default="5, or 1",
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Time each kernel instead, of a model, without other runtimes.")
    ] = False,
    candidates: Annotated[
        bool,
        typer.Option(
            "--candidates",
            help="Time each candidate of every kernel that has several instead, of a model.",
        ),
    ] = False,
    json_output: Annotated[
        Path | None,
        typer.Option("--json", help="Write the report to this file; - prints it.", show_default=False),
    ] = None,
) -> None:
    """Time a model or package against other runtimes, in turns and in one process, after comparing the outputs."""
    from ingot.report.inputs import parse_shapes

    shapes = parse_shapes(shape or ())
    if profile and (against not in (None, "none") or model is not None):
        raise IngotError(
            "option-invalid",
            "a profile is of ingot alone",
            where="--profile",
            remedy="leave out --against and --model",
        )
    if candidates and (profile or against is not None or model is not None or inputs or threads != 1):
        raise IngotError(
            "option-invalid",
            "candidates are timed with random inputs on one thread, and nothing else is",
            where="--candidates",
            remedy="leave out the other options but --shape, --target, --seconds and --json",
        )
    report: BenchReport | Profile | Candidates
    with progress_bar() as progress:
        if candidates:
            from ingot.report.candidates import candidates as try_all

            report = try_all(
                source,
                shapes=shapes,
                target=target,
                seconds=1.0 if seconds is None else seconds,
                progress=progress,
            )
        elif profile:
            from ingot.report.profile import profile as measure

            report = measure(
                source,
                inputs=inputs or (),
                shapes=shapes,
                target=target,
                precision=precision.value,
                threads=threads,
                runs=runs,
                seconds=5.0 if seconds is None else seconds,
                progress=progress,
            )
        else:
            from ingot.report.bench import bench

            report = bench(
                source,
                _names(against),
                model=model,
                inputs=inputs or (),
                shapes=shapes,
                target=target,
                precision=precision.value,
                threads=threads,
                runs=runs,
                seconds=5.0 if seconds is None else seconds,
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


def _show(report: BenchReport | Profile | Candidates) -> None:
    from ingot.report.bench import BenchReport
    from ingot.report.candidates import Candidates

    if isinstance(report, Candidates):
        _show_candidates(report)
        return
    shapes = ", ".join(f"{name} {shape_text(shape)}" for name, shape in report.shapes.items())
    threads = f"{report.threads} thread{'s' if report.threads > 1 else ''}"
    title = f"{report.name} on {report.target} in {report.precision}, {threads}, {shapes}"
    if isinstance(report, BenchReport):
        _show_times(report, title)
    else:
        _show_kernels(report, title)


def _show_times(report: BenchReport, title: str) -> None:
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
    print_table(title, ["", "median", "p10", "p90", "runs", "speed-up", "difference"], rows)
    for reason in report.skipped.values():
        print(f"not timed: {reason}")
    for name in report.peers:
        print(f"{name}: {report.settings.get(name, '')}")
    peak = f"peak {report.peak_flops / 1e9:.1f} GFLOP/s, reads {report.read_bandwidth / 1e9:.1f} GB/s"
    if report.flops is not None:
        print(
            f"{report.flops / 1e9:.1f} GFLOP/s, {report.flops / report.peak_flops:.0%} of the measured peak ({peak})"
        )
    else:
        print(f"measured: {peak}")


def _show_kernels(report: Profile, title: str) -> None:
    total = sum(kernel.seconds for kernel in report.kernels) or 1.0
    rows = []
    for kernel in report.kernels:
        rate = None if kernel.flops is None else kernel.flops / max(kernel.seconds, 1e-9)
        moved = None if kernel.bytes is None else kernel.bytes / max(kernel.seconds, 1e-9)
        more = f" and {len(kernel.nodes) - 2} more" if len(kernel.nodes) > 2 else ""
        rows.append(
            [
                kernel.name.removeprefix(f"{report.name}_"),
                kernel.kind,
                str(kernel.calls),
                seconds_text(kernel.seconds),
                f"{kernel.seconds / total:.1%}",
                "" if rate is None else f"{rate / 1e9:.1f}",
                "" if rate is None else f"{rate / report.peak_flops:.0%}",
                "" if moved is None else f"{moved / 1e9:.1f}",
                ", ".join(kernel.nodes[:2]) + more,
            ]
        )
    columns = ["kernel", "kind", "calls", "time", "share", "GFLOP/s", "of peak", "GB/s", "ONNX nodes"]
    print_table(title, columns, rows)
    kinds = ", ".join(f"{kind} {spent / total:.1%}" for kind, spent in report.kinds.items())
    print(f"{seconds_text(report.seconds)} a run, {seconds_text(total)} in kernels: {kinds}")
    print(
        f"measured: peak {report.peak_flops / 1e9:.1f} GFLOP/s, reads {report.read_bandwidth / 1e9:.1f} GB/s"
    )


def _show_candidates(report: Candidates) -> None:
    rows = []
    for choice in report.choices:
        for i, one in enumerate(choice.candidates):
            rows.append(
                [
                    "" if i else choice.name,
                    "" if i else str(choice.uses),
                    one.name,
                    "" if one.seconds is None else seconds_text(one.seconds),
                    "" if one.gflops is None else f"{one.gflops:.1f}",
                    f"{one.predicted:.2f}",
                    " ".join(["<--"] * (one.name == choice.picked) + ["best"] * (one.name == choice.best)),
                ]
            )
    columns = ["choice", "uses", "candidate", "time", "GFLOP/s", "predicted", ""]
    print_table(f"{report.name} on {report.target}, 1 thread", columns, rows)
    print(
        f"{seconds_text(report.default)} a run as picked (<--), {seconds_text(report.best)} with the best of each: "
        f"{report.default / report.best:.3f}x"
    )
