"""Turn a picture file into the array that a vision model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ingot.errors import IngotError


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes an array: (pixel * scale - mean) / std, channel by channel, in `channels` order.

    size: (height, width) to resize to. crop: (height, width) to cut from the centre afterwards; "model" stands for
    the model's own input size, or 224 where that is open; None keeps everything. Where both are None the picture is resized
    to the model's input size. resize: "stretch" ignores the aspect, "short_side" keeps
    it and makes the picture cover `size`, "letterbox" keeps it and fills the rest with `fill`. filter: how pixels are mixed. mean, std: one value, or one
    a channel.
    """

    size: tuple[int, int] | None = None
    crop: tuple[int, int] | Literal["model"] | None = None
    resize: Literal["stretch", "short_side", "letterbox"] = "stretch"
    filter: Literal["nearest", "bilinear", "bicubic"] = "bilinear"
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Literal["nchw", "nhwc"] = "nchw"
    fill: int = 114


PRESETS: dict[str, Preprocess] = {
    "caffe_bgr": Preprocess(size=(256, 256), crop="model", channels="bgr", mean=(104.0, 117.0, 123.0)),
    "imagenet": Preprocess(
        size=(256, 256),
        crop="model",
        resize="short_side",
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    "raw255": Preprocess(),
    "ultraface": Preprocess(mean=(127.0,), std=(128.0,)),
    "unit": Preprocess(scale=1 / 255),
}
_CHOICES = {
    "resize": ("stretch", "short_side", "letterbox"),
    "filter": ("nearest", "bilinear", "bicubic"),
    "channels": ("rgb", "bgr", "grey"),
    "layout": ("nchw", "nhwc"),
}


def preprocess_of(spec: str | Mapping[str, Any] | Preprocess | None) -> Preprocess:
    """The preprocessing that `spec` names: a preset, a JSON file, JSON text, a mapping of `Preprocess` fields, or None for
    "unit". Raises IngotError option-invalid.
    """
    if isinstance(spec, Preprocess):
        return spec
    if spec is None:
        return PRESETS["unit"]
    if isinstance(spec, Mapping):
        return _from_mapping(spec)
    if spec in PRESETS:
        return PRESETS[spec]
    try:
        table = json.loads(spec if spec.lstrip().startswith("{") else Path(spec).read_text())
    except (OSError, ValueError) as error:
        raise IngotError(
            "option-invalid",
            f"{spec!r} is neither a preset nor readable JSON: {error}",
            where="--preprocess",
            remedy=f"use a JSON file, or one of: {', '.join(PRESETS)}",
        ) from error
    if not isinstance(table, dict):
        raise _bad("it is not a JSON object")
    return _from_mapping(table)


def load_picture(
    path: str | Path, preprocess: Preprocess, shape: Sequence[int | str] | None = None
) -> NDArray[np.float32]:
    """The picture in `path` as float32 of shape (1, C, H, W), or (1, H, W, C) for layout "nhwc".

    shape: the model's input shape; its H and W, where they are known, stand in for a missing size. The orientation that a
    camera wrote is applied. Raises IngotError input-unreadable.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("L" if preprocess.channels == "grey" else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise IngotError(
            "input-unreadable",
            f"not a readable picture: {error}",
            where=str(path),
            remedy="give a whole PNG, JPEG, BMP, WebP or PPM file",
        ) from error
    size = preprocess.size
    if size is None and preprocess.crop is None:
        size = _model_size(shape, preprocess.layout)
    if size is not None:
        picture = _resize(picture, size, preprocess)
    crop = preprocess.crop
    if crop is not None:
        picture = _crop(
            picture, _model_size(shape, preprocess.layout) or (224, 224) if crop == "model" else crop
        )
    pixels = np.asarray(picture, np.float32)
    pixels = pixels[:, :, None] if preprocess.channels == "grey" else pixels
    if preprocess.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.array(values, np.float32) for values in (preprocess.mean, preprocess.std))
    values = (pixels * np.float32(preprocess.scale) - mean) / std
    if preprocess.layout == "nchw":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None], np.float32)


def layout_of(shape: Sequence[int | str]) -> Literal["nchw", "nhwc"]:
    """Where a rank-4 input shape has its channels: last when only the last dimension can be 1, 3 or 4 channels."""
    return "nhwc" if len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else "nchw"


def for_input(preprocess: Preprocess, shape: Sequence[int | str]) -> Preprocess:
    """`preprocess` in the layout of a model input of `shape`, and grey where the input has one channel."""
    layout = layout_of(shape)
    if len(shape) == 4 and shape[1 if layout == "nchw" else 3] == 1:
        preprocess = replace(preprocess, channels="grey")
    return replace(preprocess, layout=layout)


def _from_mapping(table: Mapping[str, Any]) -> Preprocess:
    known = {field.name for field in fields(Preprocess)}
    if unknown := sorted(set(table) - known):
        raise _bad(f"it has unknown keys {', '.join(unknown)}; the known ones are {', '.join(sorted(known))}")
    values: dict[str, Any] = dict(table)
    for key, choices in _CHOICES.items():
        if key in values and values[key] not in choices:
            raise _bad(f"{key} is {values[key]!r}; it can be {', '.join(choices)}")
    try:
        for key in ("size", "crop"):
            if values.get(key) is not None and (key, values[key]) != ("crop", "model"):
                side = values[key]
                height, width = (side, side) if isinstance(side, int) else side
                values[key] = (int(height), int(width))
                if min(values[key]) < 1:
                    raise ValueError(f"{key} must be positive")
        for key in ("mean", "std"):
            if key in values:
                numbers = np.atleast_1d(np.asarray(values[key], np.float64))
                if numbers.shape not in ((1,), (3,)):
                    raise ValueError(f"{key} must be one number or three")
                values[key] = tuple(map(float, numbers))
        values["scale"] = float(values.get("scale", 1.0))
        values["fill"] = int(values.get("fill", 114))
    except (TypeError, ValueError) as error:
        raise _bad(str(error)) from error
    if 0.0 in values.get("std", ()):
        raise _bad("std is 0")
    return Preprocess(**values)


def _bad(cause: str) -> IngotError:
    return IngotError(
        "option-invalid", cause, where="--preprocess", remedy=f"presets are: {', '.join(PRESETS)}"
    )


def _model_size(shape: Sequence[int | str] | None, layout: str) -> tuple[int, int] | None:
    if shape is None or len(shape) != 4:
        return None
    height, width = shape[2:4] if layout == "nchw" else shape[1:3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _resize(picture: Image.Image, size: tuple[int, int], preprocess: Preprocess) -> Image.Image:
    height, width = size
    how = Image.Resampling[preprocess.filter.upper()]
    if preprocess.resize == "stretch":
        return picture.resize((width, height), how)
    ratios = (height / picture.height, width / picture.width)
    ratio = max(ratios) if preprocess.resize == "short_side" else min(ratios)
    inner = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    scaled = picture.resize(inner, how)
    if preprocess.resize == "short_side":
        return scaled
    fill = preprocess.fill if picture.mode == "L" else (preprocess.fill,) * 3
    canvas = Image.new(picture.mode, (width, height), fill)
    canvas.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _crop(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))
