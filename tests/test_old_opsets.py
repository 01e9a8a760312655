"""Models of operator sets 1 to 6: what they mean, and what cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from ingot.errors import IngotError
from ingot.frontends import load_model
from ingot.testing import Array, reference

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 11


def old(body: str, inputs: str = "float[2, 3, 4] x", opset: int = 6, **constants: Any) -> onnx.ModelProto:
    """Constants become initializers, which in those days were inputs too."""
    extra = "".join(
        f", {'float' if a.dtype == np.float32 else 'int64'}{list(a.shape)} {name}"
        for name, a in ((n, np.asarray(a)) for n, a in constants.items())
    )
    header = f'<ir_version: 3, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(f"{header} g ({inputs}{extra}) => (float[] y) {{ {body} }}")
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    return model


def run(model: onnx.ModelProto, x: Array = X) -> Array:
    """What the converted model gives in ONNX Runtime; the model itself is left as it was."""
    before = model.SerializeToString(deterministic=True)
    loaded = load_model(model)
    assert model.SerializeToString(deterministic=True) == before
    assert loaded.opset_imports[""] == 7
    return reference(ir.to_proto(loaded), {"x": x})[0]


B = np.array([1, 10, 100], np.float32)


@pytest.mark.parametrize(
    ("attributes", "other", "shape"),
    [
        ("broadcast=1, axis=1", B, (3, 1)),
        ("broadcast=1, axis=-2", B, (3, 1)),
        ("broadcast=1, axis=0", B[:2], (2, 1, 1)),
        ("broadcast=1, axis=2", np.tile(B, 2)[:4], (4,)),
        ("broadcast=1", np.tile(B, 2)[:4], (4,)),
        ("broadcast=1, axis=0", X[:, :, 0], (2, 3, 1)),
        ("broadcast=1", B[0], ()),
        ("", X, (2, 3, 4)),
    ],
)
def test_broadcasting_by_axis(attributes: str, other: Array, shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(
        run(old(f"y = Mul<{attributes}>(x, b)" if attributes else "y = Mul(x, b)", b=other)),
        X * np.reshape(other, shape),
    )


def test_operators_one_by_one() -> None:
    np.testing.assert_array_equal(run(old("y = Relu<consumed_inputs=[0]>(x)", opset=1)), np.maximum(X, 0))
    np.testing.assert_array_equal(run(old("y = PRelu(x, s)", s=B)), np.where(X < 0, X * B.reshape(3, 1), X))
    np.testing.assert_array_equal(run(old("y = PRelu(x, s)", s=B[1:2])), np.where(X < 0, X * 10, X))
    np.testing.assert_array_equal(run(old("y = Reshape<shape=[4, 0, -1]>(x)", opset=1)), X.reshape(4, 3, 2))
    np.testing.assert_array_equal(run(old('i = Cast<to="INT32">(x) y = Cast<to="FLOAT">(i)', opset=1)), X)
    np.testing.assert_array_equal(run(old("y = Concat(x, x)", opset=1)), np.concatenate([X, X], 1))
    np.testing.assert_array_equal(
        run(old("y = Pad<paddings=[0, 0, 1, 0, 0, 2]>(x)", opset=1)), np.pad(X, ((0, 0), (0, 0), (1, 2)))
    )
    np.testing.assert_array_equal(run(old("y, m = Dropout<is_test=1>(x)")), X)
    image = X.reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(
        run(
            old('y = Upsample<height_scale=2.0, width_scale=1.0, mode="nearest">(x)', "float[1,2,3,4] x", 1),
            image,
        ),
        image.repeat(2, 2),
    )
    np.testing.assert_allclose(
        run(old("y = LpPool<p=2.0, kernel_shape=[4]>(x)", opset=1)),
        np.sqrt((X * X).sum(2, keepdims=True)),
        rtol=1e-6,
    )


def test_gemm_and_batch_normalization() -> None:
    a = X.reshape(6, 4)
    model = old("y = Gemm<broadcast=1>(x, w, c)", "float[6, 4] x", w=X.reshape(4, 6), c=np.float32(2))
    np.testing.assert_array_equal(run(model, a), a @ X.reshape(4, 6) + 2)
    parts = {"s": B, "b": B, "m": B, "v": B * B}
    norm = old("y = BatchNormalization<is_test=1, epsilon=0.0>(x, s, b, m, v)", **parts)
    column = B.reshape(3, 1)
    np.testing.assert_allclose(run(norm), (X - column) + column, rtol=1e-5)


def test_inside_subgraphs_and_in_memory() -> None:
    body = (
        "z = Identity(x) y = If(c) <then_branch = t () => (float[] a) { a = Add<broadcast=1, axis=1>(x, b) }, "
        "else_branch = e () => (float[] d) { d = Neg(z) }>"
    )
    model = old(body, c=np.array([1], np.int64), b=B)
    for tensor in model.graph.initializer:
        if tensor.name == "c":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(True), "c"))
    for value in model.graph.input:
        if value.name == "c":
            value.CopyFrom(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []))
    np.testing.assert_array_equal(run(model), X + B.reshape(3, 1))
    loaded = load_model(ir.from_proto(model))
    assert loaded.opset_imports[""] == 7


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("y = BatchNormalization<consumed_inputs=[0, 0, 0, 1, 1]>(x, b, b, b, b)", "as in training"),
        ('y = Cast<to="HALF">(x)', "'HALF'"),
        ("y = Tile(x, b, b)", "one axis"),
        ("y = Split(x, b)", "its parts"),
        ("y = GlobalLpPool<p=1.5>(x)", "1.5"),
        ("a = custom.Odd(x) y = Add<broadcast=1, axis=1>(a, b)", "the rank of 'a'"),
    ],
)
def test_what_cannot_be_told(body: str, cause: str) -> None:
    model = old(body, opset=1, b=B)
    model.opset_import.append(onnx.helper.make_opsetid("custom", 1))
    with pytest.raises(IngotError) as caught:
        load_model(model)
    assert caught.value.code == "model-opset"
    assert cause in caught.value.cause
    assert "version_converter" in caught.value.remedy
