"""The files of a Caffe network, its layers in the TEST phase, and the graph that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ingot.errors import IngotError
from ingot.frontends import wire
from ingot.frontends.builder import Array, Builder
from ingot.frontends.caffe.text import Message, parse_text
from ingot.frontends.check import read_bytes

V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HINGE_LOSS": "HingeLoss",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}
DROPPED = {
    "Accuracy",
    "ContrastiveLoss",
    "DetectionEvaluate",
    "EuclideanLoss",
    "HingeLoss",
    "InfogainLoss",
    "MultiBoxLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "SmoothL1Loss",
    "SoftmaxWithLoss",
}
"""Layers that compute a loss or a score from labels, and have no place in inference."""
_WEIGHTED = {
    "BatchNorm",
    "Convolution",
    "ConvolutionDepthwise",
    "Deconvolution",
    "DepthwiseConvolution",
    "InnerProduct",
    "Normalize",
    "PReLU",
}
_DATA = {"AnnotatedData", "Data", "HDF5Data", "ImageData", "MemoryData", "WindowData"}


@dataclass
class Layer:
    """A layer of the TEST phase. where: how errors name it. blobs: its weights."""

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    message: Message
    where: str
    blobs: list[Array] = field(default_factory=list)

    def unsupported(self, cause: str, remedy: str = "replace the layer in the prototxt") -> IngotError:
        return IngotError("unsupported", cause, where=self.where, remedy=remedy)

    def weights(self, place: int, shape: Sequence[int]) -> Array:
        """A blob in that shape, float32. Raises IngotError weights-missing, and weights-differ for another size."""
        if place >= len(self.blobs):
            raise IngotError(
                "weights-missing",
                f"the layer has {len(self.blobs)} blobs and needs {place + 1}",
                where=self.where,
                remedy="give the caffemodel that belongs to the prototxt",
            )
        blob = self.blobs[place]
        if blob.size != math.prod(shape):
            raise IngotError(
                "weights-differ",
                f"blob {place} has the shape {list(blob.shape)} and the layer needs {list(shape)}",
                where=self.where,
                remedy="give the caffemodel that belongs to the prototxt",
            )
        return blob.reshape(tuple(shape))


Handler = Callable[[Builder, Layer, list[ir.Value]], list[ir.Value]]
"""Adds a layer's nodes and gives its tops."""

LAYERS: dict[str, Handler] = {}
"""Every layer type that can be converted; `layers.py`, `arrays.py` and `detection.py` fill it."""


def layer(*types: str, bottoms: int = 1) -> Callable[[Handler], Handler]:
    """Registers a function for these layer types, which need at least so many bottoms."""

    def register(function: Handler) -> Handler:
        def checked(b: Builder, it: Layer, x: list[ir.Value]) -> list[ir.Value]:
            if len(x) < bottoms:
                raise b.invalid(f"it has {len(x)} bottoms and needs {bottoms}")
            return function(b, it, x)

        LAYERS.update(dict.fromkeys(types, checked))
        return function

    return register


def read(path: Path, weights: Path | None = None) -> ir.Model:
    """A prototxt, with the caffemodel `weights` or the one beside it: of the same name, or the only one there.

    path may name the caffemodel itself; the prototxt is found likewise. Raises IngotError: model-*, weights-*,
    unsupported.
    """

    if path.suffix == ".caffemodel":
        path, weights = _beside(path, ".prototxt", "model-not-found"), weights or path
    where = str(path)
    net = parse_text(_text(path), where)
    layers = [*_input_layers(net, where), *_layers(net, where)]
    _check_known(layers)
    if any(map(_weighted, layers)):
        _fill(layers, weights or _beside(path, ".caffemodel", "weights-missing"))
    return _build(layers, net.string("name") if "name" in net else path.stem)


def _weighted(it: Layer) -> bool:
    """Whether a layer has weights in the caffemodel."""
    return it.type in _WEIGHTED or (it.type in ("Bias", "Scale") and len(it.bottoms) == 1)


def _build(layers: Sequence[Layer], name: str) -> ir.Model:
    builder = Builder(name)
    blobs: dict[str, ir.Value] = {}
    free: dict[str, bool] = {}  # tops that no layer has read, and whether they are computed from something
    for it in layers:
        builder.where = it.where
        missing = [bottom for bottom in it.bottoms if bottom not in blobs]
        if it.type in DROPPED:
            continue
        if missing:
            cause = f"its bottom {missing[0]!r} is the top of no earlier layer"
            raise builder.invalid(cause, "correct the prototxt; a Caffe network lists its layers in order")
        tops = LAYERS[it.type](builder, it, [blobs[bottom] for bottom in it.bottoms])
        if len(tops) < len(it.tops):
            raise builder.invalid(f"it has {len(it.tops)} tops, a {it.type} layer gives {len(tops)}")
        for bottom in it.bottoms:
            free.pop(bottom, None)
        for top, value in zip(it.tops, tops, strict=False):
            if top in blobs and top not in it.bottoms:
                raise builder.invalid(f"its top {top!r} is the top of an earlier layer too")
            blobs[top] = value
            free[top] = bool(it.bottoms)
    builder.where = "model"
    inputs = {top for it in layers if not it.bottoms for top in it.tops}
    outputs = [
        (f"{top}_output" if top in inputs else top, blobs[top]) for top, computed in free.items() if computed
    ]
    if not outputs:
        raise builder.invalid("the network has no outputs", "add the layers that compute something")
    return builder.finish(outputs, "Caffe")


def _check_known(layers: Sequence[Layer]) -> None:
    """One error that names all layers that cannot be converted."""
    unknown = [it for it in layers if it.type not in LAYERS and it.type not in DROPPED]
    if not unknown:
        return
    kinds = {it.type for it in unknown}
    names = "; ".join(
        f"{kind}: {', '.join(x.name for x in unknown if x.type == kind)}" for kind in sorted(kinds)
    )
    remedy = "replace these layers in the prototxt, or let the calling program compute them"
    if kinds <= _DATA:
        remedy = (
            "give the deploy prototxt, whose input is an Input layer, or put one in place of the data layers"
        )
    elif "Python" in kinds:
        remedy = (
            "end the network before its Python layers, which are programs, and let the caller compute them"
        )
    raise IngotError(
        "unsupported", f"no ONNX for these layers: {names}", where=unknown[0].where, remedy=remedy
    )


def _input_layers(net: Message, where: str) -> Iterator[Layer]:
    """The inputs of the oldest form: `input`, with `input_shape` or four `input_dim` each."""
    names, shapes = net.strings("input"), [shape.ints("dim") for shape in net.messages("input_shape")]
    dims = net.ints("input_dim")
    if names and not shapes:
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if len(shapes) != len(names) or (dims and len(dims) != 4 * len(names)):
        raise IngotError(
            "model-invalid",
            f"{len(names)} inputs have {len(shapes)} shapes",
            where=where,
            remedy="give each input an input_shape, or four input_dim",
        )
    for name, shape in zip(names, shapes, strict=True):
        message, parameters, inner = (Message(1, where) for _ in range(3))
        inner["dim"] = [str(dim) for dim in shape]
        parameters["shape"] = [inner]
        message["input_param"] = [parameters]
        yield Layer(name, "Input", [], [name], message, f"input {name}")


def _layers(net: Message, where: str) -> Iterator[Layer]:
    """The layers of the TEST phase."""
    if not net.get("layer") and not net.get("layers"):
        raise IngotError(
            "model-invalid",
            "the prototxt has no layers",
            where=where,
            remedy="give the prototxt of a network, not of a solver",
        )
    for message in [*net.messages("layer"), *net.messages("layers")]:
        if "layer" in message:
            raise IngotError(
                "model-invalid",
                f"line {message.line}: the network is in Caffe's V0 form",
                where=where,
                remedy="convert it with Caffe's upgrade_net_proto_text",
            )
        if not _in_test(message):
            continue
        kind = message.get("type", [b""])[-1]
        name = message.string("name")
        new = kind.decode(errors="replace") if isinstance(kind, bytes) else V1_TYPES.get(str(kind), str(kind))
        label = f"{new} {name or f'in line {message.line}'}"
        yield Layer(name or new, new, message.strings("bottom"), message.strings("top"), message, label)


def _in_test(message: Message) -> bool:
    include, exclude = message.messages("include"), message.messages("exclude")
    if include:
        return any(_meets(rule) for rule in include)
    return not any(_meets(rule) for rule in exclude)


def _meets(rule: Message) -> bool:
    """Whether a rule holds in phase TEST, at level 0, with no stages."""
    return (
        rule.word("phase", "TEST") in ("TEST", "1")
        and rule.int("min_level") <= 0 <= rule.int("max_level")
        and not rule.get("stage")
    )


# Files


def _text(path: Path) -> str:
    data = read_bytes(path, "give the path of a prototxt")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise IngotError(
            "model-invalid",
            "the prototxt is no text",
            where=str(path),
            remedy="give the prototxt, and the caffemodel as weights",
        ) from None


def _beside(path: Path, suffix: str, code: str) -> Path:
    """The file with that suffix that belongs to `path`."""
    same = path.with_suffix(suffix)
    if same.is_file():
        return same
    others = sorted(path.absolute().parent.glob(f"*{suffix}"))
    if len(others) == 1:
        return others[0]
    found = f"there are {len(others)} beside it" if others else "there is none beside it"
    raise IngotError(
        code,
        f"the {suffix[1:]} file is not named, and {found}",
        where=str(path),
        remedy=f"put {same.name} there, or convert with `ingot convert NET.prototxt --weights NET.caffemodel`",
    )


def _fill(layers: Sequence[Layer], path: Path) -> None:
    """Give the layers their blobs, by name."""
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IngotError(
            "weights-missing",
            error.strerror or str(error),
            where=where,
            remedy="give the path of a caffemodel",
        ) from None
    try:
        blobs = dict(_blobs(data))
    except wire.TruncatedError as error:
        raise IngotError(
            "model-truncated",
            f"the file is cut short: it has {error}",
            where=where,
            remedy="copy or download the file again",
        ) from None
    except (wire.MalformedError, UnicodeDecodeError, ValueError) as error:
        raise IngotError(
            "model-invalid",
            f"the file is no caffemodel: {error}",
            where=where,
            remedy="copy or download the file again",
        ) from None
    for it in layers:
        it.blobs = blobs.get(it.name, [])
    missing = [it.name for it in layers if _weighted(it) and not it.blobs]
    if missing:
        raise IngotError(
            "weights-missing",
            f"it has no weights for {len(missing)} layers: {', '.join(missing[:8])}{' ...' if len(missing) > 8 else ''}",
            where=where,
            remedy="give the caffemodel that belongs to the prototxt",
        )


# Field numbers of caffe.proto: NetParameter.layers 2 (V1), layer 100; V1LayerParameter.name 4, blobs 6;
# LayerParameter.name 1, blobs 7; BlobProto.num, channels, height, width 1 to 4, data 5, shape 7, double_data 8.


def _blobs(data: bytes) -> Iterator[tuple[str, list[Array]]]:
    view = memoryview(data)
    for layer in wire.fields(view, 0, len(view), outermost=True):
        if layer.wire != wire.BYTES or layer.number not in (2, 100):
            continue
        name_field, blob_field = (4, 6) if layer.number == 2 else (1, 7)
        name, blobs = "", []
        for part in wire.fields(view, layer.body, layer.end):
            if part.wire != wire.BYTES:
                continue
            if part.number == name_field:
                name = bytes(view[part.body : part.end]).decode()
            elif part.number == blob_field:
                blobs.append(_blob(view, part))
        yield name, blobs


def _blob(view: memoryview, blob: wire.Field) -> Array:
    """A BlobProto as float32; its shape where it has one that fits, otherwise flat."""
    pieces: list[Array] = []
    shape: list[int] = []
    legacy: dict[int, int] = {}
    for part in wire.fields(view, blob.body, blob.end):
        if part.number in (5, 8):
            kind = "<f4" if part.number == 5 else "<f8"
            pieces.append(np.frombuffer(view[part.body : part.end], kind))
        elif part.number == 7 and part.wire == wire.BYTES:
            shape = list(_shape(view, part))
        elif 1 <= part.number <= 4 and part.wire == wire.VARINT:
            legacy[part.number], _ = wire.read_varint(view, part.body, part.end, outermost=False)
    flat = (np.concatenate(pieces) if len(pieces) != 1 else pieces[0]) if pieces else np.zeros(0, np.float32)
    shape = shape or [legacy.get(axis, 1) for axis in (1, 2, 3, 4)]
    fits = math.prod(shape) == flat.size
    return flat.astype(np.float32, copy=False).reshape(shape if fits else -1)


def _shape(view: memoryview, message: wire.Field) -> Iterator[int]:
    """BlobShape.dim, packed or not."""
    for part in wire.fields(view, message.body, message.end):
        at = part.body
        while part.number == 1 and at < part.end:
            dim, at = wire.read_varint(view, at, part.end, outermost=False)
            yield dim
