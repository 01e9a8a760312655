"""Real files of other formats: what is imported agrees with their ONNX twins, or with LiteRT."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import ingot
from ingot.report.pictures import Preprocess, load_picture
from ingot.testing import (
    CLOSE,
    QUANTIZED,
    Array,
    Feed,
    assert_close,
    data_root,
    lengths,
    reference,
    shared_inputs,
)

ROOT = data_root()
pytestmark = pytest.mark.skipif(ROOT is None, reason="no real models: set INGOT_TEST_DATA to their folder")
TINY = ("ad01_fp32", "pretrainedResnet", "ad01_int8", "kws_ref_model")
MOBILENETS = {"0.25_128": 128, "0.5_160": 160, "0.75_192": 192}


def models() -> Path:
    assert ROOT is not None
    return ROOT / "models"


@cache
def proto_of(name: str) -> onnx.ModelProto:
    proto = ir.to_proto(ingot.convert(models() / name).model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def assert_agree(proto: onnx.ModelProto, twin: str, feed: Feed) -> None:
    """A model gives what its ONNX twin gives, whose outputs may stand in another order."""
    expected = reference(models() / twin, feed)
    found = reference(proto, {proto.graph.input[0].name: next(iter(feed.values()))})
    for got in found:
        wanted = next(x for x in expected if x.shape == got.shape)
        assert_close(got, wanted, CLOSE, scale=1, **lengths(proto))


def test_squeezenet_of_caffe() -> None:
    proto = proto_of("squeezenet/squeezenet_v1.0_deploy.prototxt")
    assert_agree(proto, "squeezenet/squeezenet_v1.0_dc.onnx", shared_inputs("squeezenet"))


def test_resnet20_of_a_legacy_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    weights = models() / "cifar10_resnet20" / "resnet20-12fca82f.th"
    made = ingot.convert("networks:ResNet20", weights=weights, shapes={"input": ("N", 3, 32, 32)})
    feed = shared_inputs("resnet20", 3)
    assert_agree(ir.to_proto(made.model), "cifar10_resnet20/resnet20_cifar10.onnx", feed)


def ultraface(name: str) -> onnx.ModelProto:
    if not name.endswith(".pth"):
        return proto_of(f"ultraface/{name}")
    made = ingot.convert(
        "networks:UltraFace", weights=models() / "ultraface" / name, shapes={"input": (1, 3, 240, 320)}
    )
    return ir.to_proto(made.model)


@pytest.mark.parametrize("name", ["RFB-320.prototxt", "RFB-320.pth"])
def test_ultraface(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert_agree(ultraface(name), "ultraface/RFB-320_raw.onnx", shared_inputs("ultraface"))


def test_ultraface_of_tflite() -> None:
    """Its first convolutions pad at the end where the others pad on both sides, so LiteRT is what it has to equal."""
    feed = shared_inputs("ultraface")["input"].transpose(0, 2, 3, 1).copy()
    proto, expected = proto_of("ultraface/RFB-320_raw.tflite"), litert("ultraface/RFB-320_raw.tflite", [feed])
    for got, wanted in zip(reference(proto, {"input_1": feed}), expected[0], strict=True):
        assert_close(got, wanted, CLOSE, scale=1, **lengths(proto))
    heads = 8
    assert sum(node.op_type == "Transpose" for node in proto.graph.node) == heads + 1


# TFLite against LiteRT


def litert(name: str, feeds: list[Array]) -> list[list[Array]]:
    interpreter = Interpreter(str(models() / name))
    interpreter.allocate_tensors()
    (port,) = interpreter.get_input_details()
    found = []
    for feed in feeds:
        interpreter.set_tensor(port["index"], feed)
        interpreter.invoke()
        found.append([np.array(interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()])
    return found


def in_integers(proto: onnx.ModelProto, feeds: list[Array]) -> list[Array]:
    """ONNX Runtime with its optimisations, which make integer operators of those between DequantizeLinear and QuantizeLinear.

    On x86 it leaves most convolutions of int8 as floats unless it is told otherwise.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(session.run(None, {proto.graph.input[0].name: feed})[0]) for feed in feeds]


def assert_a_step_apart(found: list[Array], expected: list[list[Array]]) -> None:
    """At most one step, and none in 99 of 100."""
    pairs = zip(found, expected, strict=True)
    differences = np.abs(np.concatenate([(a.astype(int) - b[0].astype(int)).ravel() for a, b in pairs]))
    assert differences.max() <= 1
    assert np.mean(differences == 0) >= 0.99


def tiny_inputs(proto: onnx.ModelProto, name: str) -> list[Array]:
    """Smooth pictures or features in the range of the model's input."""
    tensor = proto.graph.input[0].type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    shape = [1, *(dim.dim_value for dim in tensor.shape.dim[1:])]
    made = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x: Any = rng.normal(size=[n if n < 4 else -(-n // 4) for n in shape])
        for axis, n in enumerate(shape):
            x = x.repeat(4, axis)[(slice(None),) * axis + (slice(0, n),)] if n >= 4 else x
        x = x + rng.normal(size=shape) * 0.2
        if dtype == np.float32:
            made.append(
                np.clip(128 + 50 * x, 0, 255).astype(np.float32) if "Resnet" in name else x.astype(np.float32)
            )
        else:
            made.append(np.clip(50 * x, -128, 127).round().astype(dtype))
    return made


@pytest.mark.parametrize("name", TINY)
def test_mlperf_tiny(name: str) -> None:
    file = f"mlperf_tiny/{name}.tflite"
    proto = proto_of(file)
    feeds = tiny_inputs(proto, name)
    expected = litert(file, feeds)
    assert sum(node.op_type == "Transpose" for node in proto.graph.node) <= 1
    if expected[0][0].dtype != np.float32:
        assert_a_step_apart(in_integers(proto, feeds), expected)
        return
    for feed, (wanted,) in zip(feeds, expected, strict=True):
        (got,) = reference(proto, {proto.graph.input[0].name: feed})
        assert_close(got, wanted, CLOSE, scale=1, **lengths(proto))


def cifar_pictures(step: int) -> list[Array]:
    """Every `step`-th of 2,500 pictures of CIFAR-10, int8."""
    assert ROOT is not None
    with zipfile.ZipFile(ROOT / "images" / "cifar10" / "test_even2500.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))][::step]
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    return [(x.astype(np.int16) - 128).astype(np.int8)[None] for x in pictures]


def test_residual_additions_of_integers() -> None:
    """LiteRT adds with factors of 21 bits; the real sums round to the same steps."""
    file = "mlperf_tiny/pretrainedResnet_quant.tflite"
    feeds = cifar_pictures(5)
    assert_a_step_apart(in_integers(proto_of(file), feeds), litert(file, feeds))


TFLITE = [
    "ultraface/RFB-320_raw",
    *(f"mlperf_tiny/{name}" for name in (*TINY, "kws_ref_model_float32", "pretrainedResnet_quant")),
    *(f"mobilenet_v1_tflite/mobilenet_v1_{name}_quant" for name in MOBILENETS),
]
WINDOWS = {"AveragePool", "Conv", "ConvTranspose", "MaxPool"}


@pytest.mark.parametrize("name", TFLITE)
def test_no_transpose_inside(name: str) -> None:
    """Transposes stand before the first layer or after the last one that needs a layout."""
    converted = ingot.convert(models() / f"{name}.tflite").model
    for model in (converted, ingot.optimize(converted).model):
        for node in model.graph:
            if node.op_type == "Transpose":
                before, after = around(node, forward=False), around(node, forward=True)
                assert not (WINDOWS & before and WINDOWS & after), node.name


def around(node: ir.Node, *, forward: bool) -> set[str]:
    """The operators that a node's results go into, or that its inputs come from."""
    found: set[ir.Node] = set()
    left = [node]
    while left:
        at = left.pop()
        near = at.successors() if forward else at.predecessors()
        left += [other for other in near if other not in found]
        found.update(near)
    return {other.op_type for other in found}


def test_weights_alone_in_integers() -> None:
    """LiteRT rounds the activations too where only the weights are quantised; the imported model does not."""
    file = "mlperf_tiny/kws_ref_model_float32.tflite"
    proto = proto_of(file)
    feeds = tiny_inputs(proto, file)
    for feed, (wanted,) in zip(feeds, litert(file, feeds), strict=True):
        (got,) = reference(proto, {proto.graph.input[0].name: feed})
        assert_close(got, wanted, QUANTIZED, scale=1, **lengths(proto))


@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenet(name: str) -> None:
    assert ROOT is not None
    file, size = f"mobilenet_v1_tflite/mobilenet_v1_{name}_quant.tflite", MOBILENETS[name]
    proto = proto_of(file)
    assert sum(node.op_type == "Transpose" for node in proto.graph.node) == 1
    pictures = sorted((ROOT / "images" / "imagenet500").glob("*.jp*g"))[::50]
    feeds = [picture(path, size) for path in pictures]
    assert_a_step_apart(in_integers(proto, feeds), litert(file, feeds))


def picture(path: Path, size: int) -> Array:
    """Bytes [1, size, size, 3]."""
    scaled = round(size / 0.875)
    how = Preprocess(size=(scaled, scaled), resize="short_side", crop="model", layout="nhwc")
    return load_picture(path, how, (1, size, size, 3)).round().astype(np.uint8)


# Compiled


@pytest.mark.parametrize("name", ["mlperf_tiny/pretrainedResnet.tflite", "ultraface/RFB-320_raw.tflite"])
def test_a_compiled_tflite_model(name: str) -> None:
    """With a batch of two, where LiteRT's file has one."""
    session = ingot.load(ingot.compile(models() / name))
    (port,) = session.get_inputs()
    assert port.shape[0] == "N"
    rng = np.random.default_rng(0)
    feed = rng.uniform(-1, 1, (2, *port.shape[1:])).astype(np.float32)
    found = session.run(None, {port.name: feed})
    for picture, one in enumerate(litert(name, [feed[:1], feed[1:]])):
        for got, wanted in zip(found, one, strict=True):
            assert_close(got[picture : picture + 1], wanted, CLOSE, scale=1, **lengths(proto_of(name)))


def compiled(file: str, feeds: list[Array]) -> list[Array]:
    session = ingot.load(ingot.compile(models() / file))
    (port,) = session.get_inputs()
    return [session.run(None, {port.name: feed})[0] for feed in feeds]


def assert_equal(found: list[Array], expected: list[list[Array]]) -> None:
    for a, (b,) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model"])
def test_a_compiled_quantised_model(name: str) -> None:
    file = f"mlperf_tiny/{name}.tflite"
    feeds = tiny_inputs(proto_of(file), file)
    assert_equal(compiled(file, feeds), litert(file, feeds))


def test_a_compiled_quantised_network_with_residuals() -> None:
    file = "mlperf_tiny/pretrainedResnet_quant.tflite"
    feeds = cifar_pictures(10)
    assert_equal(compiled(file, feeds), litert(file, feeds))


@pytest.mark.parametrize("name", MOBILENETS)
def test_a_compiled_quantised_mobilenet(name: str) -> None:
    file = f"mobilenet_v1_tflite/mobilenet_v1_{name}_quant.tflite"
    size = MOBILENETS[name]
    rng = np.random.default_rng(0)
    coarse = rng.normal(128, 60, (4, 1, size // 8, size // 8, 3)).repeat(8, 2).repeat(8, 3)
    feeds = list(np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8))
    assert_equal(compiled(file, feeds), litert(file, feeds))


def test_a_compiled_caffe_network() -> None:
    session = ingot.load(ingot.compile(models() / "squeezenet" / "squeezenet_v1.0_deploy.prototxt"))
    feed = shared_inputs("squeezenet")
    twin = models() / "squeezenet" / "squeezenet_v1.0_dc.onnx"
    assert_close(session.run(None, feed)[0], reference(twin, feed)[0], CLOSE, **lengths(twin))
