"""`ingot run`: one inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingot.cli.options import Inputs, Json, Shapes, Source, Target, Threads
from ingot.cli.output import print_json, print_table, progress_bar, seconds_text, shape_text

if TYPE_CHECKING:
    from ingot.report.inference import Inference


def command(
    source: Source,
    inputs: Inputs = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="For pictures: imagenet, caffe_bgr, ultraface, raw255, unit, or a JSON file.",
            show_default="unit",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="File with a class name on each line.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes to print.")] = 5,
    shape: Shapes = None,
    target: Target = "native",
    threads: Threads = 1,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder to write each output to, as .npy.", show_default=False)
    ] = None,
    json_output: Json = False,
) -> None:
    """Run a model or package once: prints the best classes, or the shapes and first values of other outputs."""
    from ingot.report.inference import infer, save_outputs
    from ingot.report.inputs import parse_shapes

    with progress_bar() as progress:
        result = infer(
            source,
            inputs or (),
            shapes=parse_shapes(shape or ()),
            target=target,
            preprocess=preprocess,
            labels=labels,
            top=top,
            threads=threads,
            progress=progress,
        )
    if output_dir is not None:
        save_outputs(result.outputs, output_dir)
    if json_output:
        print_json(result.to_dict())
    else:
        _show(result)


def _show(result: Inference) -> None:
    for name, array in result.outputs.items():
        title = f"{name}: {array.dtype} {shape_text(array.shape)}"
        rows = result.classes.get(name)
        if rows is None:
            values = " ".join(map(value_text, array.ravel()[:8].tolist()))
            print(f"{title}\n  {values}{' ...' if array.size > 8 else ''}")
            continue
        table = [
            [
                *([str(number)] if len(rows) > 1 else []),
                one.label,
                f"{one.score:.6g}",
                f"{one.probability:.2%}",
            ]
            for number, row in enumerate(rows)
            for one in row
        ]
        print_table(title, [*(["row"] if len(rows) > 1 else []), "class", "score", "probability"], table)
    print(f"loaded in {seconds_text(result.load_seconds)}, first run in {seconds_text(result.run_seconds)}")


def value_text(value: object) -> str:
    """A number in six digits, a string as Python writes it."""
    return repr(value) if isinstance(value, str) else f"{value:.6g}"
