from __future__ import annotations

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

import ingot
from ingot.frontends import load_model
from ingot.graph import trace
from ingot.graph.rules import expand_gradient
from ingot.oracle import interpret_model
from ingot.runtime import load

POINT = {"a": np.array([[0.5, 1.25, 2.0], [0.75, 1.5, 0.25]]), "b": np.array([1.5, 0.5, 2.25])}


def parsed(inputs: str, body: str, outputs: str, opset: int = 17) -> onnx.ModelProto:
    imports = f'["" : {opset}, "{expand_gradient.DOMAIN}" : 1]'
    return onnx.parser.parse_model(
        f"<ir_version: 8, opset_import: {imports}> g ({inputs}) => ({outputs}) {{ {body} }}"
    )


def gradient(outputs: str, xs: str, y: str, given: str) -> str:
    names = ", ".join(f'"{x}"' for x in xs)
    return f'{outputs} = {expand_gradient.DOMAIN}.Gradient<xs=[{names}],y="{y}">({given})'


def differences(model: onnx.ModelProto, name: str) -> np.ndarray:
    """The derivatives of the sum of the first output, by central differences."""
    run, step = interpret_model(model), 1e-5
    found = np.zeros_like(POINT[name])
    for at in np.ndindex(found.shape):
        sides = []
        for sign in (1, -1):
            feed = {k: v.copy() for k, v in POINT.items()}
            feed[name][at] += sign * step
            sides.append(np.sum(run(feed)[0]))
        found[at] = (sides[0] - sides[1]) / (2 * step)
    return found


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    "body",
    [
        "y = Add(a, b)", "y = Sub(b, a)", "y = Mul(a, b)", "y = Div(a, b)", "y = Div(b, a)", "y = Pow(a, b)", "y = Sum(a, b, a)",
        "c = Mul(a, a)  d = Exp(b)  e = Add(c, d)  y = Mul(e, a)", "c = Log(a)  d = Sqrt(c2)  c2 = Abs(b)  y = Mul(c, d)",
        "c = Neg(a)  d = Tanh(c)  e = Sigmoid(b)  y = Mul(d, e)", "c = Sin(a)  d = Cos(b)  e = Reciprocal(b)  f = Mul(d, e)  y = Add(c, f)",
        "c = Sub(a, b)  d = Relu(c)  e = Softplus(b)  f = Identity(e)  y = Mul(d, f)", "t = Transpose(a)  y = Add(a, b)",
    ],
)  # fmt: skip
def test_equals_differences(body: str, opset: int) -> None:
    text = f"{body}  {gradient('da, db', 'ab', 'y', 'a, b')}"
    model = parsed("double[2,3] a, double[3] b", text, "double[2,3] y, double[2,3] da, double[3] db", opset)
    _, *found = interpret_model(model)(POINT)
    for name, value in zip("ab", found, strict=True):
        np.testing.assert_array_less(np.abs(value - differences(model, name)), 1e-7)


def test_matrices_and_other_values() -> None:
    """The gradient of the squares of a w, taken at p."""
    text = f"t = Transpose(a)  c = MatMul(a, w)  y = Mul(c, c)  {gradient('da', 'a', 'y', 'p')}"
    model = parsed("float[2,3] a, float[3,2] w, float[2,3] p", text, "float[2,2] y, float[2,3] da")
    rng = np.random.default_rng(1)
    a, w, p = (rng.integers(-3, 4, s).astype(np.float32) for s in ((2, 3), (3, 2), (2, 3)))
    y, da = load(ingot.compile(model)).run(None, {"a": a, "w": w, "p": p})
    assert np.array_equal(y, (a @ w) ** 2)
    assert np.array_equal(da, 2 * (p @ w) @ w.T)


def test_second_order_and_independent_values() -> None:
    text = f"y = Mul(c, a)  {gradient('da, db', 'ab', 'y', 'a, b')}  {gradient('dda', 'a', 'da', 'a')}"
    model = parsed(
        "float[3] a, float[3] b", f"c = Mul(a, a)  {text}", "float[3] da, float[3] db, float[3] dda"
    )
    a = np.array([1, 2, -3], np.float32)
    da, db, dda = load(ingot.compile(model)).run(None, {"a": a, "b": a})
    assert np.array_equal(da, 3 * a * a)
    assert not db.any()
    assert np.array_equal(dda, 6 * a)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Erf(a)", "Erf on the way to its y has no derivative here"),
        ("y = MatMul(a, b)", "MatMul on the way to its y is of no two matrices"),
        ("c = Add(a, b)  y = Cast<to=6>(c)", "its y is of no known float type"),
        ("other = Add(a, b)", "it names values that the graph has not"),
    ],
)
def test_refuses(body: str, reason: str) -> None:
    text = f"{body}  {gradient('da', 'a', 'y', 'a')}"
    model = parsed("float[2,3] a, float[3] b", text, "float[2,3] da")
    graph = load_model(model)
    with trace.recording() as events:
        assert expand_gradient.apply(graph) == 0
    assert [event.reason for event in events] == [reason]
    with pytest.raises(ingot.IngotError) as caught:
        ingot.compile(ir.to_proto(graph))
    assert caught.value.code == "unsupported"
    assert "Gradient" in caught.value.cause
