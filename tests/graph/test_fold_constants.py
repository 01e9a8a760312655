from __future__ import annotations

import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest
from graphcase import apply, parse

from ingot.graph import edit, evaluate
from ingot.graph.rules import fold_constants
from ingot.testing import CLOSE, assert_close, reference, ulp

RNG = np.random.default_rng(3)
F = RNG.standard_normal((2, 3, 4)).astype(np.float32)
P = np.array([[7, -7, 5], [-5, 3, 1]])
Q = np.array([[2, 2, -3], [3, 3, 1]])
B = np.array([[True, False, True], [False, False, True]])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[np.ndarray]]] = [
    *[(f"{op}(a, b)", [F, F[:1] + 3]) for op in ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum")],
    *[(f"{op}(a, b)", [P, Q]) for op in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max")],
    ("Mod<fmod = 1>(a, b)", [F, F[:1]]),
    *[(f"{op}(a, b)", [B, B[:1]]) for op in ("And", "Or", "Xor")],
    *[(f"{op}(a, b)", [P, Q]) for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")],
    *[
        (f"{op}(a)", [F])
        for op in (
            "Abs",
            "Neg",
            "Exp",
            "Ceil",
            "Floor",
            "Reciprocal",
            "Relu",
            "Sign",
            "Tanh",
            "Erf",
            "Sigmoid",
            "Cos",
        )
    ],
    *[(f"{op}(a)", [np.abs(F)]) for op in ("Sqrt", "Log")],
    ("Not(a)", [B]),
    ("Where(a, b, c)", [B, F[0, :, :1].T, F[0, :2, :1]]),
    ("Cast<to = 7>(a)", [F * 5]),
    ("Cast<to = 9>(a)", [P]),
    ("Cast<to = 10>(a)", [F]),
    ("Reshape(a, b)", [F, ints(0, -1, 2)]),
    ("Flatten<axis = 2>(a)", [F]),
    ("Flatten<axis = 0>(a)", [F]),
    ("Transpose(a)", [F]),
    ("Transpose<perm = [1, 2, 0]>(a)", [F]),
    ("Concat<axis = -1>(a, b)", [F, F[..., :1]]),
    ("Gather<axis = 1>(a, b)", [F, ints(0, -1)]),
    ("Gather(a, b)", [F, np.array(1)]),
    ("Slice(a, b, c)", [F, ints(0, 1), ints(1, 99)]),
    ("Slice(a, b, c, d, e)", [F, ints(-1, 5), ints(-99, -4), ints(2, 1), ints(-2, -1)]),
    ("Slice(a, b, c, d, e)", [F, ints(-1), ints(-(2**63)), ints(2), ints(-1)]),
    ("Squeeze(a, b)", [F[:1], ints(0)]),
    ("Squeeze(a)", [F[:1]]),
    ("Unsqueeze(a, b)", [F, ints(0, -1)]),
    ("Expand(a, b)", [F[:, :1], ints(1, 3, 1)]),
    ("Tile(a, b)", [F, ints(1, 2, 2)]),
    ("ConstantOfShape(a)", [ints(2, 3)]),
    ("ConstantOfShape<value = int64[1] {7}>(a)", [ints(2)]),
    ("Range(a, b, c)", [np.array(1), np.array(9), np.array(3)]),
    ("Range(a, b, c)", [np.float32(5), np.float32(0), np.float32(-0.75)]),
    ("Pad(a, b)", [F, ints(0, 1, 0, 0, 0, 2)]),
    ("Pad(a, b, c)", [F, ints(0, 1, 0, 0, 0, 2), np.float32(-1)]),
    ("MatMul(a, b)", [F, F[0].T.copy()]),
    ("ReduceMean<axes = [1]>(a)", [F]),
    ("ArgMax<axis = 1>(a)", [F]),
    ("CumSum(a, b)", [F, np.array(1)]),
    ("Softmax(a)", [F]),
    ("Trilu(a)", [F]),
    ("NonZero(a)", [B]),
]


@pytest.mark.parametrize(("call", "arrays"), CASES, ids=[f"{i}-{call}" for i, (call, _) in enumerate(CASES)])
def test_values_equal_onnx_runtime(call: str, arrays: list[np.ndarray]) -> None:
    names = "abcde"[: len(arrays)]
    kinds = [ir.DataType.from_numpy(np.asarray(a).dtype).name.lower() for a in arrays]
    inputs = ", ".join(
        f"{k}{list(np.shape(a)) or ''} {n}" for n, a, k in zip(names, arrays, kinds, strict=True)
    )
    model = parse(
        f"g ({inputs}) => (float y) {{ r = {call} y = Identity(r) }}", dict(zip(names, arrays, strict=True))
    )
    model.graph.outputs[0].type, model.graph.outputs[0].shape = None, None
    node = model.graph[0]
    got = evaluate.evaluate(node, [edit.constant(value) for value in node.inputs], 17, 1 << 20)
    assert got is not None
    kind = ir.DataType.from_numpy(got[0].dtype)
    model.graph.outputs[0].type = ir.TensorType(kind)
    expected = reference(ir.to_proto(model), {})[0]
    assert_close(got[0], expected, ulp(8) if kind == ir.DataType.FLOAT else ulp(0))
    assert fold_constants.apply(model) == 1
    assert_close(reference(ir.to_proto(model), {})[0], got[0], ulp(0))


def test_chains_fold_at_once_and_inside_subgraphs() -> None:
    got = apply(
        fold_constants,
        """g (bool c, float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
          a = Exp(w) b = Neg(a) u = Add(x, b)
          y = If(c) <then_branch = t () => (float[2] p) { k = Abs(b) p = Mul(u, k) },
                     else_branch = e () => (float[2] q) { q = Neg(u) }>
        }""",
        level=CLOSE,
    )
    assert got.fired == 3
    assert sorted(got.ops) == ["Add", "If", "Mul", "Neg"]


def test_split_gives_all_outputs() -> None:
    got = apply(
        fold_constants,
        "g (float[2] x) => (float[2] y) <float[4] w = {1, 2, 3, 4}> { a, b = Split(w) t = Add(x, a) y = Add(t, b) }",
    )
    assert got.ops == ["Add", "Add"]


@pytest.mark.parametrize(
    "text",
    [
        "g (float[1] x) => (float[K] y) <int64[2] s = {100000, 100000}> { a = ConstantOfShape(s) y = Add(x, a) }",
        "g (float[1] x) => (float[K] y) <float[1] w = {1}, int64[2] s = {100000, 100000}> { a = Expand(w, s) y = Add(x, a) }",
        "g (float[1] x) => (float[K] y) <float[1] w = {1}, int64[1] s = {10000000000}> { a = Tile(w, s) y = Add(x, a) }",
        "g (int64[1] x) => (int64[K] y) <int64 b = {0}, int64 e = {10000000000}, int64 d = {1}> { a = Range(b, e, d) y = Add(x, a) }",
        "g (float[1] x) => (float[K] y) <float[1] w = {1}, int64[2] s = {0, 100000000000}> { a = Pad(w, s) y = Add(x, a) }",
    ],
)
def test_refuses_large_outputs_before_it_makes_them(text: str) -> None:
    got = apply(fold_constants, text, run=False, infer=False)
    assert got.refused == ["its outputs are too large or cannot be computed"]


def test_refuses_outer_products_of_small_constants() -> None:
    column, row = np.ones((50_000, 1), np.float32), np.ones((1, 50_000), np.float32)
    got = apply(
        fold_constants,
        "g (float[1] x, float[50000, 1] a, float[1, 50000] b) => (float[K] y) { m = Add(a, b) y = Add(x, m) }",
        {"a": column, "b": row},
        run=False,
    )
    assert got.fired == 0


def test_growth_is_bounded_over_the_model() -> None:
    count, size = 8, edit.MAX_GROWTH // 4 // 4
    body = " ".join(f"a{i} = Expand(w, s{i})" for i in range(count))
    total = " ".join(f"y{i} = Mul(x, a{i})" for i in range(count))
    shapes = ", ".join(f"int64[1] s{i} = {{{size}}}" for i in range(count))
    outputs = ", ".join(f"float[K] y{i}" for i in range(count))
    got = apply(
        fold_constants,
        f"g (float[1] x) => ({outputs}) <float[1] w = {{2}}, {shapes}> {{ {body} {total} }}",
        run=False,
    )
    assert got.fired == 4
    assert len(got.refused) == 4


def test_refuses_random_quantised_and_unknown_operators() -> None:
    got = apply(
        fold_constants,
        """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}, float s = {0.5}> {
          r = RandomNormalLike(w) q = QuantizeLinear(w, s) d = DequantizeLinear(q, s)
          a = Add(x, r) y = Add(a, d)
        }""",
        run=False,
    )
    assert got.refused == ["RandomNormalLike is never folded", "QuantizeLinear is never folded"]
    got = apply(
        fold_constants,
        "g (float[1] x) => (float[1] y) <float[1] w = {1}> { a = custom.Mystery(w) y = Add(x, a) }",
        run=False,
    )
    assert got.fired == 0


def test_refuses_a_reduction_of_no_axes() -> None:
    """onnx.reference reduces all of them."""
    got = apply(
        fold_constants,
        "g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}> { r = ReduceMin<noop_with_empty_axes = 1>(w) y = Add(x, r) }",
        opset=18,
    )
    assert got.refused == ["its outputs are too large or cannot be computed"]


def test_refuses_division_by_zero_and_outputs() -> None:
    got = apply(
        fold_constants,
        "g (int64[1] x) => (int64[1] y, int64[1] z) <int64[1] a = {1}, int64[1] b = {0}> { q = Div(a, b) y = Add(x, q) z = Neg(a) }",
        run=False,
    )
    assert got.refused == ["its outputs are too large or cannot be computed", "it is an output of its graph"]


def test_large_weights_may_be_transposed() -> None:
    weights = RNG.standard_normal((1024, 5120)).astype(np.float32)
    got = apply(
        fold_constants,
        "g (float[1, 5120] x, float[1024, 5120] w) => (float[1, 1024] y) { t = Transpose(w) y = MatMul(x, t) }",
        {"w": weights},
        level=CLOSE,
    )
    assert got.fired == 1
    assert got.constant("t").flags.c_contiguous


def test_every_operator_of_the_table_has_a_case() -> None:
    tested = {call.split("(")[0].split("<")[0] for call, _ in CASES}
    assert set(evaluate._OPERATORS) - tested == {"Identity", "Split"}
    assert not evaluate._REFERENCE & set(evaluate._OPERATORS)
    for name in evaluate._REFERENCE:
        assert onnx.defs.has(name), name
