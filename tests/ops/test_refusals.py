"""What lowering refuses: by name and with a remedy when a model is compiled, all at once when it is checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from case import Case, case, weights

import ingot
from ingot.errors import IngotError
from ingot.lower import lowering
from ingot.oracle import interpret_model

ONES = np.ones(3, np.float32)


def bad(
    name: str, reason: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any
) -> tuple[Case, str]:
    return case(name, inputs, body, outputs, **how), reason


RECURRENT = {
    "w": weights("w", 1, 8, 3),
    "r": weights("r", 1, 8, 2),
}
UNSUPPORTED = [
    bad("lp_norm", "p=3", "float[2,3] x", "y = LpNormalization<p=3>(x)"),
    bad("resize_mode", "mode=area", "float[1,1,4,4] x", 'y = Resize<mode="area">(x, , s)', constants={"s": np.array([1, 1, 2, 2], np.float32)}),
    bad("resize_transform", "coordinate_transformation_mode=middle", "float[1,1,4,4] x",
        'y = Resize<coordinate_transformation_mode="middle">(x, , s)', constants={"s": np.array([1, 1, 2, 2], np.float32)}),
    bad("resize_rounding", "nearest_mode=up", "float[1,1,4,4] x", 'y = Resize<nearest_mode="up">(x, , s)',
        constants={"s": np.array([1, 1, 1.5, 1.5], np.float32)}),
    bad("resize_antialias_symbolic", "antialias=1 of a size known only at run time", "float[1,1,h,4] x",
        'y = Resize<mode="linear",antialias=1>(x, , s)', opset=18, constants={"s": np.array([1, 1, 0.5, 2], np.float32)}, sizes=({"h": 4},)),
    bad("resize_computed_scales", "and no bound", "float[1,1,4,4] x, float[4] s", "y = Resize(x, , s)"),
    bad("lstm_activations", "activation Gelu", "float[4,1,3] x",
        'y, h, c = LSTM<hidden_size=2,activations=["Gelu","Tanh","Tanh"]>(x, w, r)', constants=RECURRENT),
    bad("loop_without_end", "so it never ends", "float[3] x", "y = Loop( , , x) <body = b (int64 i, bool g, float[3] v) => (bool g, float[3] w) { w = Neg(v) }>"),
    bad("loop_unbounded_rows", "the number of turns has no bound", "float[3] x, int64 m",
        "y, z = Loop(m, , x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w, float[3] s) { h = Identity(g)  w = Neg(v)  s = Abs(v) }>",
        "float[] y, float[n,3] z"),
    bad("loop_unbounded_growth", "the number of turns has no bound", "float[k] x, int64 m",
        "y = Loop(m, , x) <body = b (int64 i, bool g, float[l] v) => (bool h, float[o] w) { h = Identity(g)  w = Concat<axis=0>(v, x) }>", "float[p] y",
        sizes=({"k": 2},), feed={"m": np.int64(2)}),
    bad("loop_doubling", "another size along axis 0 after each turn", "float[k] x",
        "y = Loop(m, , x) <body = b (int64 i, bool g, float[l] v) => (bool h, float[o] w) { h = Identity(g)  w = Concat<axis=0>(v, v) }>", "float[p] y",
        sizes=({"k": 2},), constants={"m": np.int64(2)}),
    bad("loop_rows_of_many_shapes", "differ in shape from turn to turn", "float[k] x",
        "y, z = Loop(m, , x) <body = b (int64 i, bool g, float[l] v) => (bool h, float[o] w, float[q] s) { h = Identity(g)  w = Concat<axis=0>(v, x)  s = Neg(v) }>",
        "float[p] y, float[r,s] z", sizes=({"k": 2},), constants={"m": np.int64(2)}),
    bad("loop_changes_type", "comes out as i64", "float[3] x",
        "y = Loop(m, , x) <body = b (int64 i, bool g, float[3] v) => (bool h, int64[3] w) { h = Identity(g)  w = Cast<to=7>(v) }>", "int64[3] y",
        constants={"m": np.int64(2)}),
    bad("scan_lengths", "sequences shorter than the others", "int64[3] l, float[3,2] s, float[3,4,2] x",
        "y, z = Scan<num_scan_inputs=1, body = b (float[2] v, float[2] e) => (float[2] w, float[2] r) { w = Add(v, e)  r = Mul(w, e) }>(l, s, x)",
        "float[3,2] y, float[3,4,2] z", opset=8),
    bad("sequence_of_tensor", "is no sequence", "float[3] x", "y = SequenceLength(x)", "int64 y"),
    bad("tensor_of_sequence", "is a sequence and must be a tensor", "float[3] x", "s = SequenceConstruct(x)  y = Neg(s)"),
    bad("sequence_position", "is outside a sequence of 1", "float[3] x", "s = SequenceConstruct(x)  y = SequenceAt(s, k)", constants={"k": np.int64(1)}),
    bad("optional_without_value", "the optional has no value", "float[3] x", "o = Optional<type = float[3]>()  y = OptionalGetElement(o)", opset=18),
    bad("if_of_different_ranks", "its branches give f32 of rank 2 and f32 of rank 1", "float[2,3] x, bool c",
        "y = If(c) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = ReduceSum<keepdims=0>(x, k) }>",
        constants={"k": np.array([0])}),
    bad("reshape_rank_computed", "it is no short vector of known length", "float[2,3] x, int64[n] s", "y = Reshape(x, s)", sizes=({"n": 2},)),
    bad("tile_without_bound", "and no bound", "float[9] x, int64[1] r", "y = Tile(x, r)"),
    bad("range_without_bound", "and no bound", "int64 n", "y = Range(a, n, d)", "int64[] y",
        constants={"a": np.int64(0), "d": np.int64(1)}),
    bad("nonzero_strings", "strings", "string[3] x", "y = NonZero(x)", "int64[1,n] y", sizes=({"n": 3},)),
    bad("pattern", "(?= in the pattern", "string[3] x", 'y = RegexFullMatch<pattern="a(?=b)">(x)', "bool[3] y", opset=20),
    bad("pattern_too_large", "so many states", "string[3] x", 'y = RegexFullMatch<pattern="(a|b)*a(a|b){14}">(x)', "bool[3] y", opset=20),
    bad("locale", "locale=tr_TR", "string[3] x", 'y = StringNormalizer<case_change_action="LOWER", locale="tr_TR">(x)', "string[n] y", sizes=({"n": 3},)),
    bad("dft_onesided_complex", "onesided=1 of a complex signal", "float[2,9,2] x", "y = DFT<onesided=1>(x)", opset=20),
    bad("dft_parts", "a signal without parts on its last axis", "float[2,9] x", "y = DFT(x)", opset=20),
    bad("random_like_integer", "dtype i32", "int32[3] x", "y = RandomUniformLike(x)", "int32[] y"),
    bad("no_labels", "no classlabels_ints or classlabels_strings", "float[2,3] x",
        'y, z = ai.onnx.ml.LinearClassifier<coefficients=[1.0,2.0,3.0]>(x)', "int64[] y, float[] z",
        domains={"ai.onnx.ml": 1}),
    bad("svm_probit", "post_transform PROBIT of one score", "float[2,1] x",
        "y, z = ai.onnx.ml.SVMClassifier<classlabels_ints=[0,1], coefficients=[1.0,2.0], rho=[0.5], support_vectors=[1.0,2.0], vectors_per_class=[1,1], "
        'post_transform="PROBIT">(x)', "int64[] y, float[] z", domains={"ai.onnx.ml": 1}),
    bad("svm_of_one_class", "a classifier of one class", "float[2,1] x",
        "y, z = ai.onnx.ml.SVMClassifier<classlabels_ints=[0], coefficients=[1.0], rho=[0.5]>(x)", "int64[] y, float[] z", domains={"ai.onnx.ml": 1}),
    bad("map_inside", "operator ai.onnx.ml.ZipMap is not supported", "float[2,2] x",
        "y = ai.onnx.ml.ZipMap<classlabels_int64s=[0,1]>(x)", domains={"ai.onnx.ml": 1}),
    bad("gather_nd_depth", "a size that is known only at run time", "float[3,3] x, int64[2,n] i", "y = GatherND(x, i)", sizes=({"n": 2},)),
    bad("axis_outside", "axis 2 is outside a tensor of rank 2", "float[2,3] x", "y = Softmax<axis=2>(x)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "reason"), UNSUPPORTED, ids=lambda x: x.name if isinstance(x, Case) else ""
)
def test_unsupported(model: Case, reason: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(model.model)
    assert caught.value.code == "unsupported"
    assert reason in caught.value.cause
    assert caught.value.where
    assert caught.value.remedy
    report = ingot.check(model.model)
    assert [gap.reason for gap in report.gaps] == [caught.value.cause]


@pytest.mark.parametrize("made", ["t = StringConcat(s, x)", "f = Shape(s) t = CastLike(f, s)"])
def test_strings_are_not_made_inside_a_loop(made: str) -> None:
    body = f"d = Identity(c) {made}"
    loop = (
        f"y = Loop (n, go, x) <body = b (int64 i, bool c, string[3] s) => (bool d, string[3] t) {{ {body} }}>"
    )
    model = case(
        "loop", "string[3] x, int64 n, bool go", loop, "string[3] y", opset=20, feed={"n": 2, "go": True}
    ).model
    with pytest.raises(IngotError, match="strings that are made inside a loop"):
        ingot.compile(model)


MISMATCHED = [
    bad("add", "cannot broadcast [2, 3] and [2, 4]", "float[2,3] a, float[2,4] b", "y = Add(a, b)"),
    bad("matmul", "sizes 3 and 4 that must be equal", "float[2,3] a, float[4,2] b", "y = MatMul(a, b)"),
    bad("conv", "sizes 3 and 4 that must be equal", "float[1,3,4,4] x", "y = Conv(x, w)", constants={"w": weights("w", 2, 4, 1, 1)}),
    bad("concat", "sizes 3 and 2 that must be equal", "float[2,2] a, float[2,3] b", "y = Concat<axis=0>(a, b)"),
    bad("reshape", "sizes 6 and 8 that must be equal", "float[2,3] x", "y = Reshape(x, s)", constants={"s": np.array([2, 4])}),
    bad("split", "sizes 6 and 7 that must be equal", "float[6] x", "y, z = Split(x, s)", "float[] y, float[] z", constants={"s": np.array([3, 4])}),
]  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), MISMATCHED, ids=lambda x: x.name if isinstance(x, Case) else "")
def test_mismatched_shapes(model: Case, reason: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(model.model)
    assert caught.value.code == "shape-mismatch"
    assert reason in caught.value.cause
    assert caught.value.remedy


MISTYPED = [
    bad("sin", "Sin: input 0 is of dtype int32, and must be of bfloat16, double, float, float16", "int32[3] x", "[here] y = Sin(x)", "int32[] y"),
    bad("later_input", "Slice: input 1 is of dtype float", "float[3] x, float[1] s", "e = Abs(s)  [here] y = Slice(x, s, e)"),
    bad("not_of_numbers", "Not: input 0 is of dtype int64, and must be of bool", "int64[3] x", "[here] y = Not(x)", "bool[] y"),
    bad("one_of_many", "Sum: input 2 is of dtype int64", "float[3] x, int64[3] z", "[here] y = Sum(x, x, z)"),
    bad("other_domain", "Scaler: input 0 is of dtype bool", "bool[3] x", "[here] y = ai.onnx.ml.Scaler<offset=[1.0], scale=[1.0]>(x)", domains={"ai.onnx.ml": 1}),
    bad("two_types", "inputs 0 and 1 are of dtypes f32 and i64", "float[3] x, int64[3] z", "[here] y = Add(x, z)"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "reason"), MISTYPED, ids=lambda x: x.name if isinstance(x, Case) else "")
def test_types_that_no_version_of_an_operator_takes(model: Case, reason: str) -> None:
    with pytest.raises(IngotError) as caught:
        ingot.compile(model.model)
    assert (caught.value.code, caught.value.where) == ("model-invalid", "here")
    assert reason in caught.value.cause
    assert "cast" in caught.value.remedy
    (gap,) = ingot.check(model.model).gaps
    assert (gap.node, gap.reason, gap.remedy) == ("here", caught.value.cause, caught.value.remedy)


def test_a_type_that_only_a_newer_version_takes_is_taken() -> None:
    assert ingot.check(case("old", "int32[3] x", "y = Relu(x)", "int32[] y", opset=13).model).ok


def test_check_tells_all_gaps_at_once() -> None:
    model = case(
        "gaps", "float[1,1,4,4] x",
        'a = Resize<mode="area">(x, , s)  b = Elsewhere(x)  c = Relu(a)  d = Unknown(x)  e = Add(b, c)  y = Add(d, e)',
        constants={"s": np.array([1, 1, 2, 2], np.float32)},
    )  # fmt: skip
    report = ingot.check(model.model)
    assert isinstance(report, lowering.CheckReport)
    assert not report.ok
    assert sorted(gap.operator for gap in report.gaps) == ["Elsewhere", "Resize", "Unknown"]


RUN_TIME = [
    (case("add_two_names", "float[n,3] a, float[m,3] b", "y = Add(a, b)", sizes=({"n": 4, "m": 4},)), {"n": 4, "m": 1}),
    (case("add_name_and_number", "float[n,3] a, float[4,3] b", "y = Add(a, b)", sizes=({"n": 4},)), {"n": 1}),
    (case("matmul_two_names", "float[2,n] a, float[m,3] b", "y = MatMul(a, b)", sizes=({"n": 4, "m": 4},)), {"n": 4, "m": 3}),
    (case("reshape_whole", "float[n,3] x", "y = Reshape(x, s)", constants={"s": np.array([6, 2])}, sizes=({"n": 4},)), {"n": 3}),
    (case("reshape_hole", "float[n,3] x", "y = Reshape(x, s)", constants={"s": np.array([-1, 4])}, sizes=({"n": 4},)), {"n": 5}),
    (case("split", "float[n] x", "y, z = Split(x, s)", "float[] y, float[] z", constants={"s": np.array([3, 4])}, sizes=({"n": 7},)), {"n": 6}),
    (case("concat_two_names", "float[2,n] a, float[2,m] b", "y = Concat<axis=0>(a, b)", sizes=({"n": 4, "m": 4},)), {"n": 4, "m": 5}),
]  # fmt: skip


SIZE = ({"n": 3},)
OPERANDS = [
    (case("layer_norm", "float[2,5] x, float[n] g", "y = LayerNormalization(x, g)", sizes=SIZE), {"n": 4}),
    (case("batch_norm", "float[2,n] x", "y = BatchNormalization(x, c, c, c, c)", constants={"c": ONES}, sizes=SIZE), {"n": 4}),
    (case("instance_norm", "float[2,n,4] x", "y = InstanceNormalization(x, c, c)", constants={"c": ONES}, sizes=SIZE), {"n": 4}),
    (case("group_norm", "float[2,n,4] x", "y = GroupNormalization<num_groups=1>(x, c, c)", opset=21, constants={"c": ONES}, sizes=SIZE), {"n": 4}),
    (case("conv_bias", "float[1,2,4,4] x, float[n] b", "y = Conv(x, w, b)", constants={"w": weights("w", 3, 2, 1, 1)}, sizes=SIZE), {"n": 2}),
    (case("gather_elements", "float[4,n] x, int64[2,3] i", "y = GatherElements(x, i)", sizes=SIZE), {"n": 2}),
    (case("gather_nd", "float[n,3] x, int64[2,1] i", "y = GatherND<batch_dims=1>(x, i)", sizes=SIZE), {"n": 1}),
    (case("scatter_elements", "float[4,n] x, int64[2,3] i, float[2,3] u", "y = ScatterElements(x, i, u)", sizes=SIZE), {"n": 2}),
    (case("scatter_elements_updates", "float[4,3] x, int64[2,3] i, float[2,n] u", "y = ScatterElements(x, i, u)", sizes=SIZE), {"n": 2}),
    (case("scatter_nd_updates", "float[4,3] x, int64[2,1] i, float[2,n] u", "y = ScatterND(x, i, u)", sizes=SIZE), {"n": 2}),
    (case("tensor_scatter", "float[2,4,3] x, float[n,2,3] u", "y = TensorScatter(x, u)", opset=24, sizes=SIZE), {"n": 1}),
    (case("tensor_scatter_length", "float[2,4,3] x, float[2,n,3] u", "y = TensorScatter(x, u)", opset=24, sizes=SIZE), {"n": 5}),
    (case("reverse_sequence", "float[4,2] x, int64[n] l", "y = ReverseSequence(x, l)", sizes=SIZE), {"n": 1}),
    (case("roi_align", "float[1,2,4,4] x, float[2,4] r, int64[n] b", "y = RoiAlign(x, r, b)", sizes=SIZE), {"n": 1}),
    (case("zero_points", "uint8[2,4] a, uint8[n] z", "y = MatMulInteger(a, w, , z)", "int32[] y",
          constants={"w": np.ones((4, 3), np.uint8)}, sizes=SIZE), {"n": 2}),
    (case("rnn_bias", "float[4,1,3] x, float[1,n] b", "y, h, c = LSTM<hidden_size=2>(x, w, r, b)", constants=RECURRENT, sizes=SIZE), {"n": 15}),
    (case("top_k", "float[n] x", "y, i = TopK(x, k)", "float[] y, int64[] i", constants={"k": np.array([3])}, sizes=SIZE), {"n": 2}),
    (case("scaler", "float[2,n] x", "y = ai.onnx.ml.Scaler<offset=[1.0,2.0,3.0],scale=[1.0,1.0,1.0]>(x)", domains={"ai.onnx.ml": 1}, sizes=SIZE), {"n": 4}),
]  # fmt: skip


def zeros(model: Case, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Inputs of these sizes."""
    made = {}
    for value in model.model.graph.input:
        kind = value.type.tensor_type
        dims = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in kind.shape.dim]
        made[value.name] = np.zeros(dims, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return made


@pytest.mark.parametrize(("model", "sizes"), OPERANDS, ids=lambda x: x.name if isinstance(x, Case) else "")
def test_operands_that_are_too_small_are_not_read(model: Case, sizes: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match="differ"):
        interpret_model(model.model)(zeros(model, sizes))


@pytest.mark.parametrize(("model", "sizes"), RUN_TIME, ids=lambda x: x.name if isinstance(x, Case) else "")
def test_sizes_that_must_agree_are_checked_before_a_run(model: Case, sizes: dict[str, int]) -> None:
    session = ingot.load(ingot.compile(model.model, target="generic"))
    model.check([session.run(None, model.feeds[0])])
    wrong = zeros(model, sizes)
    with pytest.raises(IngotError, match="INGOT_E_SHAPE") as caught:
        session.run(None, wrong)
    assert caught.value.code == "input-shape"
    with pytest.raises(AssertionError, match="differ"):
        interpret_model(model.model)(wrong)
    model.check([session.run(None, model.feeds[0])])
