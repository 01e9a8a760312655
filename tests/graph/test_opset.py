"""Models that are raised to a newer operator set compute what they did."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from graphcase import parse

from ingot.graph.guard import random_inputs
from ingot.graph.opset import NEWEST, raise_to
from ingot.graph.rules import infer_shapes
from ingot.testing import EXACT, assert_close, reference


@pytest.mark.parametrize(
    ("opset", "body"),
    [
        (9, "a = Clip<min = -0.5, max = 0.5>(x) y = Pad<pads = [0, 1, 0, 0, 0, 1], value = 2.0>(a)"),
        (9, "a = Slice<starts = [0], ends = [2], axes = [1]>(x) y = Softmax<axis = 2>(a)"),
        (9, "a = Unsqueeze<axes = [0]>(x) b = Squeeze<axes = [0]>(a) y = ReduceSum<axes = [1]>(b)"),
        (11, "a, b = Split<axis = 2>(x) y = Mul(a, b)"),
        (12, "a, b = Split<axis = 2, split = [1, 3]>(x) y = ReduceMax<axes = [2]>(b)"),
        (13, "a, b = Split<axis = 2>(x) c = ReduceMean<axes = [1], keepdims = 0>(a) y = LogSoftmax(c)"),
        (8, "a = BatchNormalization(x, s, s, s, s) y = Dropout<ratio = 0.3>(a)"),
        (7, "a = Reshape(x, t) y = LeakyRelu(a)"),
    ],
)
def test_what_can_be_raised(opset: int, body: str) -> None:
    text = f"g (float[2, 3, 4] x) => (float[A, B, C] y) <float[3] s = {{1, 2, 3}}, int64[3] t = {{4, 3, 2}}> {{ {body} }}"
    if "keepdims = 0" in body:
        text = text.replace("[A, B, C]", "[A, B]")
    model = parse(text, opset=opset)
    infer_shapes.apply(model)
    feed = random_inputs(model)
    before = reference(ir.to_proto(model), feed)
    assert raise_to(model, NEWEST) is None
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    assert after.opset_import[0].version == NEWEST
    for got, expected in zip(reference(after, feed), before, strict=True):
        assert_close(got, expected, EXACT)


@pytest.mark.parametrize(
    ("opset", "body", "word"),
    [
        (11, "y = Softmax<axis = 1>(x)", "Softmax"),
        (9, "y = Upsample(x, s)", "Upsample"),
        (18, "y = GroupNormalization<num_groups = 1>(x, s, s)", "GroupNormalization"),
        (11, "y = AveragePool<kernel_shape = [2], strides = [2], ceil_mode = 1>(x)", "AveragePool"),
    ],
)
def test_what_cannot(opset: int, body: str, word: str) -> None:
    model = parse(
        f"g (float[2, 3, 4] x) => (float[A, B, C] y) <float[3] s = {{1, 1, 2}}> {{ {body} }}", opset=opset
    )
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert word in (raise_to(model, NEWEST) or "")
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_no_set_past_the_newest() -> None:
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    assert raise_to(model, NEWEST + 1) == f"it needs operator set {NEWEST + 1}"
    assert raise_to(model, 13) is None
    assert model.opset_imports[""] == 17
