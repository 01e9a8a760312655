"""`ingot compile`: from a model to a package."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ingot.cli.options import Inputs, Json, Model, Precision, PrecisionName, Shapes
from ingot.cli.output import bytes_text, print_json, print_table, progress_bar, seconds_text


class Emit(StrEnum):
    """What a package holds: a shared library, a static one, or the C."""

    library = "library"
    static = "static"
    source = "source"


def command(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the package; MODEL.ingot by default. With several targets each adds its name.",
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(help="What to compile for, separated by commas; `ingot targets` lists them.")
    ] = "native",
    shape: Shapes = None,
    precision: Precision = PrecisionName.f32,
    inputs: Inputs = None,
    emit: Annotated[
        Emit, typer.Option(help="A shared library, a static one, or the C sources.")
    ] = Emit.library,
    cc: Annotated[
        str | None, typer.Option(help="C compiler to use instead of $CC or the bundled one.")
    ] = None,
    tune: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Seconds to spend on timing other tiles and methods on this machine.",
            show_default=False,
        ),
    ] = None,
    tuning: Annotated[
        Path | None,
        typer.Option(
            help="File of tuning results to use; --tune adds to it, or to $INGOT_TUNING.", show_default=False
        ),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Fail if one context needs more memory than this, such as 512K or 64M.")
    ] = None,
    winograd_error: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The most that Winograd's transforms may add to a convolution, relative to its largest output; 0: none. "
            "By default 1.5e-5.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="HTML file to write: the graph before and after each rule, costs, memory. With several targets each adds its "
            "name.",
            show_default=False,
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Compile a model to a package: a native library with a C API, its weights, a header and an example."""
    from ingot.report.build import build

    with progress_bar() as progress:
        start = time.perf_counter()
        builds = build(
            model,
            output,
            targets=target.split(","),
            shapes=shape or (),
            precision=precision.value,
            inputs=inputs or (),
            emit=emit.value,
            cc=cc,
            tune=tune,
            tuning=tuning,
            max_memory=max_memory,
            winograd_error=winograd_error,
            report=report,
            progress=progress,
        )
        seconds = time.perf_counter() - start
    if json_output:
        print_json({"packages": [one.to_dict() for one in builds], "seconds": seconds})
        return
    for one in builds:
        print_table(f"{one.folder}", ["", ""], _rows(one.report))
    print(f"compiled in {seconds_text(seconds)}")


def _accuracy(report: dict[str, Any]) -> list[list[str]]:
    if "reason" in report:
        return [["accuracy", f"not measured: {report['reason']}"]]
    rows = []
    for output in report.get("outputs", ()):
        text = (
            f"{output['name']} differs from f32 by {output['relative']:.2g}, at most {output['largest']:.2g}"
        )
        if output["top1"] is not None:
            text += f", top 1 equal in {output['top1']:.0%}"
        rows.append(["accuracy", f"{text} ({report['runs']} runs)"])
    return rows


def _precision(report: dict[str, Any]) -> str:
    error = report["winograd_error"]
    return f"{report['precision']}" + (f", Winograd's error up to {error:.1e}" if error else "")


def _sizes(symbols: dict[str, dict[str, int]]) -> str:
    """The sizes that the arena is told for."""
    words = [f"{name} = {symbol['typical']}" for name, symbol in symbols.items()]
    most = "at most " if words and all("most" in symbol for symbol in symbols.values()) else ""
    return f" {most}({', '.join(words)})" if words else ""


def _layout(layout: dict[str, Any]) -> list[list[str]]:
    """What was chosen where there was a choice, what conversions take, and what a single layout would take."""
    if not layout["tensors"]:
        return []
    kinds = ", ".join(f"{count} {kind}" for kind, count in layout["tensors"].items())
    spent = layout["conversion_cycles"] / max(layout["cycles"], 1)
    copies = f", {layout['copies']} copies" if layout["copies"] else ""
    less = "less" if layout["saved"] >= 0 else "more"
    saved = f"{abs(layout['saved']):.1%} {less} than all {layout['best_single']}"
    return [["layouts", f"{kinds}{copies}; conversions take {spent:.1%}; {saved} (estimated)"]]


def _rows(report: dict[str, Any]) -> list[list[str]]:
    rows = [
        ["nodes", f"{report['nodes_before']} in the model, {report['nodes_after']} after the graph passes"],
        ["kernels", str(report["kernels"])],
        [
            "arena",
            f"{bytes_text(report['arena_bytes'])}{_sizes(report['symbols'])}, "
            f"lower bound {bytes_text(report['arena_lower_bound'])}",
        ],
        ["library", bytes_text(report["library_bytes"])],
        ["weights", bytes_text(report["weights_bytes"])],
        ["target", report["target"]],
        ["precision", _precision(report)],
    ]
    rows += _layout(report["layout"])
    rows += _accuracy(report.get("accuracy", {}))
    if report["tuned"]:
        rows.append(["tuned", f"{report['tuned']} choices differ from the default"])
    if "tuned_seconds" in report:
        gain = report["untuned_seconds"] / report["tuned_seconds"]
        text = f"{seconds_text(report['tuned_seconds'])} a run, {gain:.3f}x as fast as untuned"
        rows.append(["tuning", text])
    stages = sorted(report.get("seconds", {}).items(), key=lambda item: -item[1])[:3]
    if stages:
        rows.append(
            ["slowest stages", ", ".join(f"{name} {seconds_text(seconds)}" for name, seconds in stages)]
        )
    return rows
