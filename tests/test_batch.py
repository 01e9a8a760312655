"""Which operations run one sample at a time, and that it changes no result."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import ingot
from ingot.frontends import load_model
from ingot.graph.pipeline import optimize
from ingot.ir.index import ix
from ingot.ir.program import Attention, Dense, Loop, Program
from ingot.ir.verify import verify
from ingot.lower import lowering
from ingot.schedule.batch import split_batch
from ingot.schedule.fuse import fuse
from ingot.testing import CLOSE, Array, assert_close, reference

CACHE = 1 << 20
CONVS = (
    "a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, w)  d = Add(c, b)  "
    "e = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)"
)
MAPS = CONVS.replace("e = ", "y = ")
ATTENTION = (
    "heads = Constant<value_ints=[0, 8, 400, 16]>()  maps = Constant<value_ints=[0, 8, 80, 80]>()  "
    "a = Conv<pads=[1,1,1,1]>(x, w)  s = Reshape(a, heads)  t = Transpose<perm=[0,1,3,2]>(s)  m = MatMul(s, t)  "
    "p = Softmax<axis=-1>(m)  q = MatMul(p, s)  r = Reshape(q, maps)  y = Conv<pads=[1,1,1,1]>(r, w)"
)
HEAD = f"{CONVS}  f = GlobalAveragePool(e)  g = Flatten(f)  y = MatMul(g, v)"


def model_of(body: str, batch: int | str = 4, outputs: str = "float[] y") -> onnx.ModelProto:
    inputs = f"float[{batch},8,80,80] x"
    text = f'<ir_version: 8, opset_import: ["" : 17]> net ({inputs}) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (8, 8, 3, 3)), ("v", (8, 5))):
        array = (rng.standard_normal(shape) / 8).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def split(body: str, batch: int | str = 4, cache: int = CACHE) -> tuple[Program, int]:
    graph = load_model(model_of(body, batch))
    optimize(graph)
    program = fuse(lowering.lower(graph, "net"))
    count = split_batch(program, cache)
    verify(program)
    return program, count


@pytest.mark.parametrize("batch", [4, "n"])
def test_convolutions_become_a_loop_over_samples(batch: int | str) -> None:
    program, count = split(HEAD, batch)
    assert count == 1
    inside = [o for o in program.operations if o.guard]
    assert sum(isinstance(o, Dense) and bool(o.taps) for o in inside) == 2
    (loop,) = {g for o in inside for g in o.guard}
    assert isinstance(loop, Loop)
    assert loop.trips == program.inputs[0].shape[0]
    assert all(o.output.shape[0] == ix(1) for o in inside)


def alone(body: str, x: Array) -> Array:
    """The results of each sample in a run of its own, by a library for one sample."""
    session = ingot.load(ingot.compile(model_of(body, 1)))
    return np.concatenate([session.run(None, {"x": x[i : i + 1]})[0] for i in range(len(x))])


def pictures(samples: int) -> Array:
    return np.random.default_rng(samples).standard_normal((samples, 8, 80, 80)).astype(np.float32)


@pytest.mark.parametrize("batch", [3, "n"])
@pytest.mark.parametrize("body", [HEAD, MAPS, ATTENTION], ids=["head", "maps", "attention"])
def test_results_are_those_of_each_sample_alone(batch: int | str, body: str) -> None:
    package = ingot.compile(model_of(body, batch), emit="source")
    assert re.search(rb"sample\w* < ", package.files["net.c"])
    session = ingot.load(ingot.compile(model_of(body, batch)))
    for samples in (3,) if batch == 3 else (1, 2, 5):
        x = pictures(samples)
        assert_close(session.run(None, {"x": x})[0], alone(body, x), CLOSE, reduction=144)


@pytest.mark.parametrize(
    "body",
    [
        MAPS.replace("Relu(a)", "Softmax<axis=0>(a)"),
        "zero = Constant<value_int=0>()  " + MAPS.replace("Relu(a)", "CumSum(a, zero)"),
    ],
    ids=["normalised over the batch", "summed along the batch"],
)
def test_what_mixes_samples_is_in_no_loop(body: str) -> None:
    program, _ = split(body)
    mixing = [o for o in program.operations if any(n.startswith(("Softmax", "CumSum")) for n in o.nodes)]
    assert mixing
    assert not any(o.guard for o in mixing)
    x = pictures(4)
    (got,) = ingot.load(ingot.compile(model_of(body))).run(None, {"x": x})
    assert_close(got, reference(model_of(body), {"x": x})[0], CLOSE, reduction=144)


@pytest.mark.parametrize(
    ("batch", "cache"), [(1, CACHE), (4, 1 << 30)], ids=["one sample", "a batch that fits the cache"]
)
def test_nothing_to_gain(batch: int, cache: int) -> None:
    assert split(HEAD, batch, cache)[1] == 0


def test_a_large_layer_on_one_vector_stays_outside() -> None:
    model = model_of(HEAD.replace("Flatten(f)", "Flatten(e)"))
    wide = np.random.default_rng(2).standard_normal((8 * 40 * 40, 64)).astype(np.float32)
    del model.graph.initializer[1]
    model.graph.initializer.append(numpy_helper.from_array(wide, "v"))
    graph = load_model(model)
    optimize(graph)
    program = fuse(lowering.lower(graph, "net"))
    assert split_batch(program, CACHE) == 1
    last = program.operations[-1]
    assert isinstance(last, Dense)
    assert not last.guard


def test_attention_is_in_the_loop() -> None:
    program, count = split(ATTENTION)
    assert count == 1
    assert any(isinstance(o, Attention) and o.guard for o in program.operations)
