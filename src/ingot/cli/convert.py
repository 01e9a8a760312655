"""`ingot convert`: from any framework to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ingot.cli.options import Json, Shapes
from ingot.cli.output import print_json, print_table, shape_text


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A Caffe prototxt, a TFLite model, a PyTorch program (.pt2), a TensorFlow SavedModel or frozen graph "
            "(.pb), a Keras model (.keras, .h5), a Paddle inference model (.json, .pdmodel), an ONNX model, or "
            "MODULE:FACTORY, a Python function that returns a torch.nn.Module or, with a checkpoint of MindSpore, a mindspore.nn.Cell.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The ONNX file; MODEL.onnx in the current folder by default."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="The caffemodel or .pdiparams, where it is not beside the model; a checkpoint for FACTORY's module.",
            show_default=False,
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="The interpreter that has the model's framework (TensorFlow, Paddle, MindSpore); the one that runs ingot by default.",
            show_default=False,
        ),
    ] = None,
    shape: Shapes = None,
    json_output: Json = False,
) -> None:
    """Convert a model of another framework to ONNX. The weights' file runs no code."""
    import ingot
    from ingot.report.inputs import parse_shapes

    file = output or Path(f"{Path(model).stem.rpartition(':')[2]}.onnx")
    shapes = parse_shapes(shape or ()) or None
    report = ingot.convert(model, file, weights=weights, shapes=shapes, python=python).to_dict()
    if json_output:
        print_json(report)
        return
    print_table(f"{file}", ["", "", ""], _rows(report))


def _rows(report: dict[str, Any]) -> list[list[str]]:
    rows = [
        [kind, port["name"], f"{port['dtype']} {shape_text(port['shape'])}"]
        for kind in ("input", "output")
        for port in report[f"{kind}s"]
    ]
    operators = ", ".join(f"{name} {count}" for name, count in report["operators"].items())
    rows.append(["nodes", str(report["nodes"]), operators])
    rows.append(["parameters", str(report["parameters"]), ""])
    rows.append(["opset", str(report["opset"]), ""])
    return rows
