"""What a file is, told from its first bytes and its name."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Format(NamedTuple):
    """name: with its article, fit for "the file is ...". remedy: how to come from there to ONNX.

    importer: what reads it, a key of `importers.IMPORTERS` or `process.FRAMEWORKS`; "" where nothing does.
    """

    name: str
    remedy: str
    importer: str = ""


_EXPORT = "export the model to ONNX with its own framework"
_DOWNLOAD = "download the model again; its address probably gave a page instead of the file"

CAFFE = Format("a Caffe network", "give its prototxt", "caffe")
TFLITE = Format("a TFLite model", "give the .tflite file", "tflite")
TORCH = Format("a PyTorch program", "give the .pt2 file that torch.export.save wrote", "torch")
TENSORFLOW = Format("a TensorFlow graph", "give the SavedModel, or the frozen graph (.pb)", "tensorflow")
KERAS = Format("a Keras model", "give the .keras or .h5 file that model.save wrote", "tensorflow")
PADDLE = Format("a Paddle program", "give the .json or .pdmodel file of an inference model", "paddle")
MINDIR = Format("a MindIR model", "give the .mindir file that mindspore.export wrote", "mindir")
_CHECKPOINT = "convert it with `ingot convert MODULE:FACTORY --weights CHECKPOINT --shape x:1x3x224x224`"
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"version https://git-lfs", Format("a Git LFS pointer, not the model itself", "run `git lfs pull`")),
    (b"\x89HDF\r\n\x1a\n", KERAS),
    (b"\x1f\x8b", Format("a gzip archive", "unpack it and give the .onnx file inside")),
    (b"BZh", Format("a bzip2 archive", "unpack it and give the .onnx file inside")),
    (b"\xfd7zXZ\x00", Format("an xz archive", "unpack it and give the .onnx file inside")),
    (b"\x28\xb5\x2f\xfd", Format("a zstd archive", "unpack it and give the .onnx file inside")),
    (b"7z\xbc\xaf\x27\x1c", Format("a 7z archive", "unpack it and give the .onnx file inside")),
    (b"\x93NUMPY", Format("a NumPy array", "give a model")),
    (b"GGUF", Format("a GGUF model", _EXPORT)),
    (b"RKNN", Format("an RKNN model", "give the ONNX model that it was converted from")),
    (b"ftrt", Format("a TensorRT engine", "give the ONNX model that it was built from")),
    (b"\x7fELF", Format("an ELF binary", "give a model")),
    (b"MZ", Format("a Windows binary", "give a model")),
    (b"\x89PNG", Format("a PNG picture", "give a model")),
    (b"\xff\xd8\xff", Format("a JPEG picture", "give a model")),
    (b"%PDF", Format("a PDF document", _DOWNLOAD)),
    (b"7767517", Format("an ncnn parameter file", "give the ONNX model that it was converted from")),
)

_TEXT_KINDS: tuple[tuple[tuple[str, ...], Format], ...] = (
    (("<!doctype html", "<html"), Format("an HTML page", _DOWNLOAD)),
    (("<?xml", "<net "), Format("an XML file (an OpenVINO model?)", _EXPORT)),
    (("layer {", "layers {", "layer{", "layers{", "input_shape {", "input_dim:"), CAFFE),
    (
        ("ir_version:",),
        Format("ONNX in its text form", "convert it with onnx.parser or onnx.load, then onnx.save"),
    ),
)


def recognise(head: bytes, name: str = "") -> Format | None:
    """The format that the first bytes of a file show, or None when they may well be ONNX.

    head: the first 4 KiB or so. name: the file's name, which decides for formats without a mark of their own.
    """
    if name.endswith((".prototxt", ".caffemodel")):
        return CAFFE
    if name.endswith(".pdmodel") or head.startswith(b'{"base_code":{"magic":"pir"'):
        return PADDLE
    if name.endswith(".pdiparams"):
        return Format("the weights of a Paddle model", PADDLE.remedy)
    if head[4:8] == b"TFL3" or name.endswith(".tflite"):
        return TFLITE
    if b"\x12\x09MindSpore" in head[:64] or name.endswith(".mindir"):
        return MINDIR
    if head.startswith(b"PK\x03\x04"):
        return _zip(head, name)
    if len(head) >= 4 and head[0] == 0x80 and 2 <= head[1] <= 5:
        legacy = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" in head[:32]
        kind = (
            "a legacy PyTorch checkpoint, which holds weights and no network"
            if legacy or name.endswith((".pt", ".pth", ".th"))
            else "a Python pickle"
        )
        return Format(kind, _CHECKPOINT)
    for magic, found in _MAGIC:
        if head.startswith(magic):
            return found
    if len(head) >= 9 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < 1 << 27:
        return Format("a safetensors file, which holds weights and no network", _EXPORT)
    if name == "saved_model.pb" or (name.endswith(".pb") and head.startswith(b"\n")):
        return TENSORFLOW
    return _text(head)


def _zip(head: bytes, name: str) -> Format:
    if name.endswith(".pt2") or b"archive_format" in head:
        return TORCH
    if b"data.pkl" in head or name.endswith((".pt", ".pth", ".ckpt")):
        return Format("a PyTorch checkpoint, which holds weights and no network", _CHECKPOINT)
    if b"metadata.json" in head and (b"config.json" in head or name.endswith(".keras")):
        return KERAS
    return Format("a zip archive", "unpack it and give the .onnx file inside")


def _text(head: bytes) -> Format | None:
    sample = head[:4096]
    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 3:
            return None
        text = sample[: error.start].decode()
    if any(not (c.isprintable() or c in "\t\n\r\f") for c in text.lstrip("\ufeff")):
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    for marks, found in _TEXT_KINDS:
        if any(start.startswith(mark) or (mark.endswith(("{", ":")) and mark in start) for mark in marks):
            return found
    if start.startswith("{"):
        return Format("a JSON file", _EXPORT)
    return Format("a text file", "give a binary .onnx file")
