"""Damaged and hostile files of the formats that are imported end in an IngotError with a code, a cause and a remedy."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caffe_file import caffemodel, message, normal, varint
from mindir_file import Graph, Node
from mindir_file import model as mindir
from networks import small
from tflite_file import Operator, Tensor, model

import ingot
from ingot.errors import CODES, IngotError
from ingot.frontends import load_model

PROTOTXT = """
name: "net"  # a comment
input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "f" type: "InnerProduct" bottom: "p" top: "f" inner_product_param { num_output: 5 } }
layer { name: "s" type: "Softmax" bottom: "f" top: "s" }
"""
WEIGHTS = {"c": [normal(4, 3, 3, 3), normal(4)], "f": [normal(5, 64), normal(5)]}


@cache
def tflite_bytes() -> bytes:
    options = {"Padding": 0, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    tensors = [
        Tensor("x", (1, 6, 6, 3), "int8", scale=[0.1], zero=[2]), Tensor("b", (4,), data=normal(4)),
        Tensor("w", (4, 3, 3, 3), "int8", np.ones((4, 3, 3, 3), np.int8), [0.1, 0.2, 0.3, 0.4], [0] * 4),
        Tensor("c", (1, 6, 6, 4), "int8", scale=[0.2], zero=[0]), Tensor("n", (2,), "int32", np.array([-1, 4], np.int32)),
        Tensor("y", (36, 4), "int8", scale=[0.2], zero=[0]),
    ]  # fmt: skip
    steps = [
        Operator("CONV_2D", ["x", "w", ""], ["c"], "Conv2DOptions", options),
        Operator("RESHAPE", ["c", "n"], ["y"], "ReshapeOptions", {"NewShape": [-1, 4]}),
    ]
    return model(tensors, steps, ["x"], ["y"])


@cache
def mindir_bytes() -> bytes:
    """A convolution, and a loop whose turns are counted by an input."""
    port, count = ((1, 4, 3, 3), "float32"), ((), "int32")
    weights = {"w": normal(4, 4, 3, 3), "one": np.array(1, np.int32), "zero": np.array(0, np.int32)}
    conv = {"stride": (1, 1, 1, 1), "dilation": 1, "pad_mode": "pad", "pad": (1, 1, 1, 1), "group": 1}
    main = Graph("main", {"x": port, "n": count}, [Node("f", ["x", "n"], "y", calls=True)], "y", weights)
    head = [
        Node("Greater", ["m", "zero"], "goes"),
        Node("Partial", ["g", "v", "m"], "turn"),
        Node("Partial", ["h", "v"], "rest"),
        Node("Switch", ["goes", "turn", "rest"], "next"),
        Node("next", [], "r", calls=True),
    ]
    body = [
        Node("Conv2D", ["u", "w"], "c", conv),
        Node("StridedSlice", ["c", (0, 0), (1, 4), (1, 1), 0, 0, 0, 0, 0], "s"),
        Node("Sub", ["k", "one"], "less"),
        Node("f", ["s", "less"], "z", calls=True),
    ]
    end = Graph("h", {"e": port}, [Node("ReLU", ["e"], "o")], "o")
    loop = Graph("f", {"v": port, "m": count}, head, "r")
    return mindir(main, loop, Graph("g", {"u": port, "k": count}, body, "z"), end)


@cache
def program_bytes() -> bytes:
    data = io.BytesIO()
    torch.export.save(torch.export.export(small(), (torch.zeros(1, 3, 8, 8),)), data)
    return data.getvalue()


def load(folder: Path, name: str, data: bytes) -> Any:
    path = folder / name
    path.write_bytes(data)
    return load_model(path)


def fails(action: Callable[[], Any], *codes: str, word: str = "") -> None:
    with pytest.raises(IngotError) as caught:
        action()
    error = caught.value
    assert error.code in (codes or CODES), str(error)
    assert error.cause
    assert error.remedy
    assert word in str(error), str(error)


def tolerates(action: Callable[[], Any]) -> None:
    """Nothing but an IngotError comes out, if anything does."""
    with contextlib.suppress(IngotError):
        action()


def damaged(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(rng.choice([1, 2, 5, 20])):
        changed[rng.randrange(len(changed))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed)


# Bytes that are cut off or changed


def test_every_prefix_of_a_prototxt(tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(WEIGHTS))
    for length in range(len(PROTOTXT)):
        tolerates(lambda n=length: load(tmp_path, "net.prototxt", PROTOTXT[:n].encode()))


def test_changed_prototxts(tmp_path: Path) -> None:
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(WEIGHTS))
    words = PROTOTXT.split(" ")
    for seed in range(400):
        rng = random.Random(seed)
        some = list(words)
        for _ in range(rng.choice([1, 2, 3])):
            place = rng.randrange(len(some))
            some[place] = rng.choice(["", "{", "}", "-1", "0", "999999999999", "1e99", '"x"', "nan", *words])
        text = " ".join(some).encode()
        tolerates(lambda data=text: load(tmp_path, "net.prototxt", data))


@pytest.mark.parametrize("v1", [False, True])
def test_damaged_caffemodels(v1: bool, tmp_path: Path) -> None:
    data = caffemodel(WEIGHTS, v1=v1)
    (tmp_path / "net.prototxt").write_text(PROTOTXT)
    for length in [*range(0, 200), *range(200, len(data), 37)]:
        (tmp_path / "net.caffemodel").write_bytes(data[:length])
        fails(
            lambda: load_model(tmp_path / "net.prototxt"),
            "model-truncated",
            "weights-missing",
            "weights-differ",
        )
    for seed in range(300):
        (tmp_path / "net.caffemodel").write_bytes(damaged(data, seed))
        tolerates(lambda: load_model(tmp_path / "net.prototxt"))


@pytest.mark.parametrize(
    ("name", "make", "seeds"), [("m.mindir", mindir_bytes, 600), ("m.tflite", tflite_bytes, 1500)]
)
def test_damaged_models(name: str, make: Callable[[], bytes], seeds: int, tmp_path: Path) -> None:
    data = make()
    assert load(tmp_path, name, data).graph.outputs
    for length in range(0, len(data) - 8, 7):
        tolerates(lambda n=length: load(tmp_path, name, data[:n]))
    for seed in range(seeds):
        tolerates(lambda s=seed: load(tmp_path, name, damaged(data, s)))


def test_damaged_programs(tmp_path: Path) -> None:
    data = program_bytes()
    for length in range(0, len(data), len(data) // 12):
        fails(lambda n=length: load(tmp_path, "m.pt2", data[:n]), "model-invalid", "model-empty")
    for seed in range(6):
        tolerates(lambda s=seed: load(tmp_path, "m.pt2", damaged(data, s)))


# Files that mean harm


def test_nested_prototxt(tmp_path: Path) -> None:
    fails(lambda: load(tmp_path, "n.prototxt", b"layer {" * 100_000), "model-invalid", word="nested")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('input: "x" input_dim: 1 input_dim: 3 input_dim: 9999999 input_dim: 9999999 layer { name: "r" type: "ReLU" bottom: "x" top: "y" }', "model-too-large"),
        ('input: "x" input_dim: 1 input_dim: -3 input_dim: 9 input_dim: 9 layer { name: "r" type: "ReLU" bottom: "x" top: "y" }', "model-invalid"),
        ('input: "x" input_dim: 1 input_dim: 3 layer { name: "r" type: "ReLU" bottom: "x" top: "y" }', "model-invalid"),
        ('layer { name: "a" type: "ReLU" bottom: "b" top: "a" } layer { name: "b" type: "ReLU" bottom: "a" top: "b" }', "model-invalid"),
        ('input: "x" input_shape { dim: 1 dim: 1 dim: 8 dim: 8 } layer { name: "t" type: "Tile" bottom: "x" top: "y" tile_param { axis: 1 tiles: 99999999999 } }', "model-too-large"),
        ('input: "x" input_shape { dim: 1 dim: 1 dim: 30000 dim: 30000 } layer { name: "p" type: "PriorBox" bottom: "x" bottom: "x" top: "p" prior_box_param { min_size: 3 } }', "model-too-large"),
        ('input: "x" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 } layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 90 } }', "model-invalid"),
        ('input: "x" input_shape { dim: 1 dim: 4 dim: 8 dim: 8 }', "model-invalid"),
        ('net: "train_val.prototxt" base_lr: 0.01', "model-invalid"),
        ('layers { layer { name: "conv" type: "conv" } }', "model-invalid"),
        ('input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9 layer { name: "d" type: "Data" top: "x" }', "unsupported"),
    ],
)  # fmt: skip
def test_hostile_prototxts(text: str, code: str, tmp_path: Path) -> None:
    fails(lambda: load(tmp_path, "n.prototxt", text.encode()), code)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PROTOTXT)
    fails(lambda: load_model(path), "weights-missing", word="none beside")
    for weights, code in (
        ({"c": WEIGHTS["c"]}, "weights-missing"),
        (WEIGHTS | {"f": [normal(5, 63), normal(5)]}, "weights-differ"),
        (WEIGHTS | {"c": WEIGHTS["c"][:1]}, "weights-missing"),
    ):
        path.with_suffix(".caffemodel").write_bytes(caffemodel(weights))
        fails(lambda: load_model(path), code)
    (tmp_path / "other.caffemodel").write_bytes(caffemodel(WEIGHTS))
    assert ingot.convert(path, weights=tmp_path / "other.caffemodel").model.graph.outputs
    path.with_suffix(".caffemodel").rename(tmp_path / "third.caffemodel")
    fails(lambda: load_model(path), "weights-missing", word="2 beside")


def test_blobs_that_declare_too_much(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(PROTOTXT)
    shape = message(7, message(1, varint(2**62) + varint(2**62)))
    layer = message(1, b"c") + message(7, shape + message(5, bytes(8)))
    path.with_suffix(".caffemodel").write_bytes(message(100, layer) + caffemodel({"f": WEIGHTS["f"]}))
    fails(lambda: load_model(path), "weights-differ")


@pytest.mark.parametrize(
    ("tensors", "steps", "code"),
    [
        ([Tensor("x", (2**20, 2**20)), Tensor("y", (2**20, 2**20))], [Operator("RELU", ["x"], ["y"])], "model-too-large"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), data=normal(3)), Tensor("y", (2, 2))], [Operator("ADD", ["x", "k"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2), "int8", scale=[0.0], zero=[0]), Tensor("y", (2, 2))], [Operator("DEQUANTIZE", ["x"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2), "int8", scale=[0.1], zero=[900]), Tensor("y", (2, 2))], [Operator("DEQUANTIZE", ["x"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2), "int8", scale=[0.1] * 3, zero=[0] * 3, axis=1), Tensor("y", (2, 2))], [Operator("DEQUANTIZE", ["x"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("y", (2, 2))], [Operator("ADD", ["x"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("y", (2, 2))], [Operator("CONV_2D", ["x", "x"], ["y"], "Conv2DOptions")], "unsupported"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), "int32", np.array([0, 7], np.int32)), Tensor("y", (2, 2))], [Operator("TRANSPOSE", ["x", "k"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("y", (2, 2))], [Operator("MAX_POOL_2D", ["x"], ["y"], "Pool2DOptions", {"StrideH": 1, "StrideW": 1, "FilterHeight": 1, "FilterWidth": 1})], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), data=normal(2)), Tensor("y", (2, 2))], [Operator("FULLY_CONNECTED", ["x", "k", ""], ["y"], "FullyConnectedOptions")], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), data=np.float32([np.nan, 1])), Tensor("y", (2, 2))], [Operator("TRANSPOSE", ["x", "k"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), "int32", np.array([1, 2], np.int32)), Tensor("y", (2, 2))], [Operator("ADD", ["x", "k"], ["y"])], "model-invalid"),
        ([Tensor("x", (2, 2)), Tensor("k", (2,), "int32", np.array([2**30, 2**30], np.int32)), Tensor("y", (2, 2))], [Operator("TILE", ["x", "k"], ["y"])], "model-too-large"),
    ],
)  # fmt: skip
def test_hostile_tflite_models(
    tensors: list[Tensor], steps: list[Operator], code: str, tmp_path: Path
) -> None:
    fails(lambda: load(tmp_path, "m.tflite", model(tensors, steps, ["x"], ["y"])), code)


def test_a_tflite_name_with_other_bytes(tmp_path: Path) -> None:
    fails(lambda: load(tmp_path, "m.tflite", b"nothing of the kind"), "model-not-onnx")
    fails(lambda: load(tmp_path, "m.tflite", b"abc"), "model-truncated")
    fails(lambda: load(tmp_path, "m.onnx", b"\x1c\0\0\0TFL3" + bytes(40)), "model-invalid")


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_checkpoint_runs_no_code(legacy: bool, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "w.pth"
    torch.save({"conv.weight": Evil(str(trap))}, path, _use_new_zipfile_serialization=not legacy)
    fails(lambda: ingot.convert(small(), weights=path, shapes={"x": (1, 3, 8, 8)}), "model-invalid")
    path.write_bytes(pickle.dumps(Evil(str(trap))))
    fails(lambda: ingot.convert(small(), weights=path, shapes={"x": (1, 3, 8, 8)}), "model-invalid")
    assert not trap.exists()


def changed_program(change: Callable[[str, bytes], bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program_bytes())) as source, zipfile.ZipFile(data, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
    return data.getvalue()


def test_a_program_runs_no_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"

    def operator(name: str, data: bytes) -> bytes:
        return data.replace(b"torch.ops.aten.relu.default", b"torch.os.mkdir")

    def expression(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        text = f"__import__('os').mkdir({str(trap)!r})"
        tree = json.loads(data)
        sizes = tree["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0] = {"as_expr": {"expr_str": text, "hint": {"as_int": 1}}}
        return json.dumps(tree).encode()

    def weights(name: str, data: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        if not name.rpartition("/")[2].startswith("weight_"):
            return data
        made = io.BytesIO()
        torch.save(Evil(str(trap)), made)
        return made.getvalue()

    for change, code in ((operator, "unsupported"), (expression, "unsupported"), (weights, "model-invalid")):
        fails(lambda change=change: load(tmp_path, "m.pt2", changed_program(change)), code)
        assert not trap.exists()
    assert load(tmp_path, "m.pt2", changed_program(lambda name, data: data)).graph.outputs


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    shapes = {"x": (1, 3, 8, 8)}
    for state, word in (
        ({}, "no conv.weight"),
        (small(channels=5).state_dict(), "size mismatch"),
        (small().state_dict() | {"more": torch.zeros(1)}, "more"),
    ):
        torch.save(state, path)
        fails(lambda: ingot.convert(small(), weights=path, shapes=shapes), "weights-differ", word=word)
    torch.save([1, 2], path)
    fails(lambda: ingot.convert(small(), weights=path, shapes=shapes), "model-invalid")
    fails(lambda: ingot.convert(small(), weights=tmp_path / "none.pth", shapes=shapes), "weights-missing")
