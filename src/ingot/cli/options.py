"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A model: ONNX, Caffe (.prototxt), TFLite, PyTorch (.pt2), TensorFlow, Keras or Paddle.",
        show_default=False,
    ),
]
Source = Annotated[
    Path,
    typer.Argument(
        metavar="PACKAGE|MODEL",
        help="A package folder, or a model, which is compiled first.",
        show_default=False,
    ),
]
Target = Annotated[str, typer.Option("--target", help="What to compile for; `ingot targets` lists them.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        help="Shape of an input: x:1x3x224x224, x:1..8x3x224x224, or x:batch,3,224,224 with symbols. A range for a value "
        "inside the model bounds a size that only a run tells. Repeatable.",
        show_default=False,
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        help="NAME=picture.jpg, NAME=array.npy or NAME=random (which others get). Repeatable.",
        show_default=False,
    ),
]
Threads = Annotated[
    int,
    typer.Option("--threads", min=0, help="Threads that one run uses; 0: as many as the process may use."),
]


class PrecisionName(StrEnum):
    """What the model computes in."""

    f32 = "f32"
    bf16 = "bf16"


Precision = Annotated[
    PrecisionName,
    typer.Option("--precision", help="f32, or bf16 for products on a target that has them; sums stay f32."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
