from __future__ import annotations

import numpy as np
import onnx_ir as ir
from graphcase import apply, parse

from ingot.graph.rules import infer_shapes

TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 4, K, K] y) <float[9, 9] stale>
{ a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Relu(a) y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(b) }"""


def test_from_the_inputs() -> None:
    model = parse(
        TEXT.replace(" <float[9, 9] stale>", "").replace("x)", "x, float[4, 3, 3, 3] w)"),
        {"w": np.ones((4, 3, 3, 3), np.float32)},
    )
    assert infer_shapes.apply(model) == 3
    shapes = {out.name: [str(dim) for dim in out.shape or ()] for node in model.graph for out in node.outputs}
    assert shapes == {"a": ["N", "4", "8", "8"], "b": ["N", "4", "8", "8"], "y": ["N", "4", "4", "4"]}
    assert {out.dtype for node in model.graph for out in node.outputs} == {ir.DataType.FLOAT}


def test_recorded_shapes_are_not_believed() -> None:
    model = parse("g (float[2, 3] x) => (float[N, 3] y) { a = Neg(x) y = Exp(a) }")
    model.graph[0].outputs[0].shape = ir.Shape([7, 3])
    infer_shapes.apply(model)
    assert model.graph[0].outputs[0].shape == [2, 3]
    assert model.graph.outputs[0].shape == [2, 3]


def test_weights_are_untouched_and_shared_shapes_survive() -> None:
    weights = np.arange(2048, dtype=np.float32).reshape(2, 1024)
    model = parse(
        "g (float[N, 2] x, float[2, 1024] w) => (float[N, 1024] y) { y = MatMul(x, w) }", {"w": weights}
    )
    tensor = model.graph.initializers["w"].const_value
    infer_shapes.apply(model)
    assert model.graph.initializers["w"].const_value is tensor
    assert [v.name for v in model.graph.inputs] == ["x"]


def test_what_inference_does_not_know_is_no_error() -> None:
    got = apply(
        infer_shapes,
        "g (float[2] x) => (float[K] y) { a = custom.Mystery(x) y = Neg(a) }",
        run=False,
        infer=False,
    )
    assert got.fired == 0
    wrong = parse("g (float[2] x) => (float[K] y) { y = Transpose<perm = [5, 6]>(x) }")
    infer_shapes.apply(wrong)


def test_sequences_keep_their_type() -> None:
    text = """g (float[2] x) => (float[A] y) { e = SequenceEmpty() i = Identity(e) s = SequenceInsert(i, x)
        n = Constant<value_int = 0>() y = SequenceAt(s, n) }"""
    got = apply(infer_shapes, text)
    assert all(got.node(op).outputs[0].type is None for op in ("SequenceEmpty", "Identity", "SequenceInsert"))
    assert got.node("SequenceAt").outputs[0].dtype is not None


def test_sizes_of_tensors_do_not_count_as_data_that_is_inferred() -> None:
    layers = " ".join(
        f"s{i} = Shape(x{i}) t{i} = Concat<axis = 0>(s{i}, s{i}) u{i} = Slice(t{i}, zero, two) x{i + 1} = Reshape(x{i}, u{i})"
        for i in range(24)
    )
    text = f"g (float[2, 3] x0) => (float[A, B] y) <int64[1] zero = {{0}}, int64[1] two = {{2}}> {{ {layers} y = Relu(x24) }}"
    got = apply(infer_shapes, text, infer=False)
    assert list(got.model.graph.outputs[0].shape or ()) == [2, 3]
