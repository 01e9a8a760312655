"""`ingot compare`: does a compiled model give what ONNX Runtime gives?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingot.cli.options import Inputs, Model, Precision, PrecisionName, Shapes, Target
from ingot.cli.output import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ingot.report.compare import Comparison


def command(
    model: Model,
    inputs: Inputs = None,
    arrays: Annotated[
        Path | None,
        typer.Option(
            "--inputs",
            help="File of arrays by input name, .npz, or the test_data_set_0 of a reproducer.",
            show_default=False,
        ),
    ] = None,
    shape: Shapes = None,
    target: Target = "native",
    precision: Precision = PrecisionName.f32,
    reproducer: Annotated[
        Path | None,
        typer.Option(help="Folder for a small model that shows the first departure.", show_default=False),
    ] = None,
    json_output: Annotated[
        Path | None,
        typer.Option(
            "--json", help="File for the report as JSON; - for standard output.", show_default=False
        ),
    ] = None,
) -> None:
    """Compare a compiled model with ONNX Runtime, its optimisations off. Exits with 1 where an output departs.

    Names the graph rule, the precision and the first node that is to blame.
    """
    import ingot
    from ingot.report.inputs import parse_shapes, read_arrays

    with progress_bar() as progress:
        result = ingot.compare(
            model,
            inputs or () if arrays is None else read_arrays(arrays, inputs or ()),
            shapes=parse_shapes(shape or ()),
            target=target,
            precision=precision.value,
            reproducer=reproducer,
            progress=progress,
        )
    if json_output is not None:
        print_json(result.to_dict(), json_output)
    if str(json_output) != "-":
        _show(result)
    if not result.equal:
        raise typer.Exit(1)


def _show(result: Comparison) -> None:
    rows = [
        [one.name, f"{one.relative:.3g}", f"{one.largest:.3g}", "departs" if one.problem else "equal"]
        for one in result.outputs
    ]
    columns = ["output", "relative error", "largest error", f"within {result.tolerance}"]
    print_table(f"compared with {result.reference}", columns, rows)
    for output in result.outputs:
        if output.problem:
            print(f"{output.name}: {output.problem}")
    for suspect in result.suspects:
        print(f"right without: {suspect}")
    if result.departure is not None:
        first = result.departure
        print(f"first departure: {first.operator} {first.node}, value {first.value}: {first.problem}")
        print(f"nodes that show it: {first.nodes}")
        if first.reproducer:
            folder = first.reproducer
            print(f"reproducer: ingot compare {folder}/model.onnx --inputs {folder}/test_data_set_0")
