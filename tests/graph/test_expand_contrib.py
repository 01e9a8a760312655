from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from graphcase import Array, Outcome, apply, parse

import ingot
from ingot.graph.rules import expand_contrib
from ingot.testing import CLOSE, QUANTIZED, Level, assert_close, lengths, reference

RNG = np.random.default_rng(3)
HEADER = '<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def expand(
    text: str,
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 13,
    level: Level = CLOSE,
    feed: Mapping[str, Array] | None = None,
) -> Outcome:
    got = apply(expand_contrib, HEADER.format(opset=opset) + text, constants, level=level, feed=feed)
    assert not any(node.domain for node in got.model.graph)
    return got


@pytest.mark.parametrize(
    "body",
    [
        "y = com.microsoft.Gelu(x)",
        "y = com.microsoft.QuickGelu(x)",
        "y = com.microsoft.QuickGelu<alpha = 0.5>(x)",
        "y = com.microsoft.FastGelu(x)",
        "y = com.microsoft.FastGelu(x, b)",
        "y = com.microsoft.BiasGelu(x, b)",
        "y = SimplifiedLayerNormalization<axis = -1, epsilon = 1e-3>(x, b)",
        "y = LayerNormalization<axis = -1>(x, b, c)",
        "y = com.microsoft.SkipLayerNormalization<epsilon = 1e-3>(x, z, b, c)",
        "t, , , u = com.microsoft.SkipLayerNormalization(x, z, b, c, d) y = Add(t, u)",
        "t, , , u = com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 1e-3>(x, z, b, d) y = Add(t, u)",
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_activations_and_norms(body: str, opset: int) -> None:
    constants = {name: normal(8) for name in "bcd"}
    text = f"g (float[2, 3, 8] x, float[2, 3, 8] z, float[8] b, float[8] c, float[8] d) => (float[2, 3, 8] y) {{ {body} }}"
    got = expand(text, constants, opset=opset)
    if "LayerNormalization<axis = -1>" not in body or opset < 17:
        assert got.fired == 1


@pytest.mark.parametrize(
    "attributes",
    [
        'activation = "Relu"',
        'activation = "LeakyRelu", activation_params = [0.3]',
        'activation = "Clip", activation_params = [-0.5, 0.75]',
        'activation = "HardSigmoid", activation_params = [0.3, 0.4]',
        'activation = "Tanh", strides = [2, 1], pads = [1, 0, 1, 2], group = 2',
    ],
)
@pytest.mark.parametrize("rest", ["", ", b"])
def test_convolutions(attributes: str, rest: str) -> None:
    group = 2 if "group" in attributes else 1
    text = f"""g (float[2, 4, 6, 5] x, float[6, {4 // group}, 3, 3] w, float[6] b) => (float[A, B, C, D] y)
    {{ y = com.microsoft.FusedConv<{attributes}>(x, w{rest}) }}"""
    got = expand(text, {"w": normal(6, 4 // group, 3, 3), "b": normal(6)})
    assert got.ops[0] == "Conv"


def test_convolution_with_a_sum() -> None:
    text = """g (float[2, 4, 6, 5] x, float[6, 4, 1, 1] w, float[6] b, float[2, 6, 6, 5] z) => (float[A, B, C, D] y)
    { y = com.microsoft.FusedConv<activation = "Relu">(x, w, b, z) }"""
    assert expand(text, {"w": normal(6, 4, 1, 1), "b": normal(6)}).ops == ["Conv", "Add", "Relu"]


@pytest.mark.parametrize(
    "attributes", ['activation = "LeakyRelu", activation_alpha = 0.2', 'transB = 1, alpha = 0.5, activation = "Relu"', 'activation = "Sigmoid"']
)  # fmt: skip
def test_gemm(attributes: str) -> None:
    shape = (5, 4) if "transB" in attributes else (4, 5)
    text = f"g (float[3, 4] x, float[{shape[0]}, {shape[1]}] w, float[5] b) => (float[3, 5] y) {{ y = com.microsoft.FusedGemm<{attributes}>(x, w, b) }}"
    assert expand(text, {"w": normal(*shape), "b": normal(5)}).ops[0] == "Gemm"


@pytest.mark.parametrize(
    ("a", "b", "attributes"),
    [
        ((2, 3, 4), (2, 4, 5), "alpha = 0.25"),
        ((2, 4, 3), (4, 5), "transA = 1"),
        ((2, 3, 4), (2, 5, 4), "transB = 1, alpha = 2.0"),
        ((3, 2, 4), (2, 4, 5), "transBatchA = 1"),
        ((3, 2, 6, 4), (5, 2, 6, 4), "transBatchA = 1, transBatchB = 1, transB = 1"),
        ((4, 2, 3), (2, 4, 5), "transBatchA = 1, transA = 1"),
    ],
)
def test_products(a: tuple[int, ...], b: tuple[int, ...], attributes: str) -> None:
    text = f"g (float{list(a)} a, float{list(b)} b) => (float[A, B, C] y) {{ y = com.microsoft.FusedMatMul<{attributes}>(a, b) }}"
    if len(a) == 4:
        text = text.replace("[A, B, C]", "[A, B, C, D]")
    assert "MatMul" in expand(text).ops


@pytest.mark.parametrize("positions", ["", ", p"])
@pytest.mark.parametrize("segments", ["s", ""])
def test_embeddings(positions: str, segments: str) -> None:
    table = "kinds" if segments else ""
    text = f"""g (int32[2, 5] ids, int32[2, 5] s, int32[2, 5] m, int32[2, 5] p, float[7, 8] words, float[9, 8] places, float[2, 8] kinds,
    float[8] w, float[8] b) => (float[2, 5, 8] y, int32[2] n, float[2, 5, 8] t)
    {{ y, n, t = com.microsoft.EmbedLayerNormalization(ids, {segments}, words, places, {table}, w, b, m{positions}) }}"""
    shapes = {"words": (7, 8), "places": (9, 8), "kinds": (2, 8), "w": (8,), "b": (8,)}
    expand(text, {name: normal(*shape) for name, shape in shapes.items()})


ATTENTION = """g (float[2, 5, 8] x, float[8, {width}] w, float[{width}] b, int32[2] n, int32[2, {total}] m, int32[2, 5, {total}] f,
float[2, 2, 4, 3, 4] past, float[2, 4, 5, {total}] bias) => (float[A, B, C] y{present}) {{ y{out} = com.microsoft.Attention<{attributes}>({inputs}) }}"""


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ("x, w, b", "num_heads = 4"),
        ("x, w, b", "num_heads = 4, scale = 0.3"),
        ("x, w, b, n", "num_heads = 2"),
        ("x, w, b, m", "num_heads = 2, mask_filter_value = -3.0"),
        ("x, w, b, f", "num_heads = 2"),
        ("x, w, b, , , bias", "num_heads = 4"),
        ("x, w, b, m", "num_heads = 2, unidirectional = 1"),
        ("x, w, b", "num_heads = 2, qkv_hidden_sizes = [8, 8, 4]"),
    ],
)
@pytest.mark.parametrize("opset", [11, 17])
def test_attention(inputs: str, attributes: str, opset: int) -> None:
    width = 20 if "qkv" in attributes else 24
    text = ATTENTION.format(width=width, total=5, present="", out="", inputs=inputs, attributes=attributes)
    feed = _attention_feed(5)
    got = expand(text, {"w": normal(8, width), "b": normal(width)}, feed=feed, opset=opset)
    assert "Softmax" in got.ops


@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention_with_a_past(unidirectional: int) -> None:
    text = ATTENTION.format(
        width=48, total=8, present=", float[2, 2, 4, 8, 4] present", out=", present", inputs="x, w, b, m, past",
        attributes=f"num_heads = 4, unidirectional = {unidirectional}",
    )  # fmt: skip
    expand(text, {"w": normal(8, 48), "b": normal(48)}, feed=_attention_feed(8))


def _attention_feed(total: int) -> dict[str, Array]:
    whole = {"n": np.array([3, 5], np.int32)}
    whole |= {"m": RNG.integers(0, 2, (2, total), np.int32), "f": RNG.integers(0, 2, (2, 5, total), np.int32)}
    whole["m"][:, 0] = 1
    floats = {"x": normal(2, 5, 8), "past": normal(2, 2, 4, 3, 4), "bias": normal(2, 4, 5, total)}
    return {**whole, **floats}


@pytest.mark.parametrize(
    ("inputs", "attributes"),
    [
        ("q, k, v", "num_heads = 2"),
        ("q, k, v, b", "num_heads = 4, scale = 0.2"),
        ("q, k, v, , m", "num_heads = 2, mask_filter_value = -2.0"),
        ("q, k, v, , , bias", "num_heads = 2"),
        ("q, kh, vh", "num_heads = 2"),
    ],
)
def test_multi_head_attention(inputs: str, attributes: str) -> None:
    text = f"""g (float[2, 3, 8] q, float[2, 5, 8] k, float[2, 5, 8] v, float[24] b, int32[2, 5] m, float[1, 2, 3, 5] bias,
    float[2, 2, 5, 4] kh, float[2, 2, 5, 4] vh) => (float[2, 3, 8] y) {{ y = com.microsoft.MultiHeadAttention<{attributes}>({inputs}) }}"""
    feed = {"q": normal(2, 3, 8), "k": normal(2, 5, 8), "v": normal(2, 5, 8), "bias": normal(1, 2, 3, 5)}
    feed |= {
        "kh": normal(2, 2, 5, 4),
        "vh": normal(2, 2, 5, 4),
        "m": np.array([[1, 1, 0, 1, 0]] * 2, np.int32),
    }
    expand(text, {"b": normal(24)}, feed=feed)


def test_multi_head_attention_with_a_past() -> None:
    text = """g (float[2, 3, 8] q, float[2, 3, 8] k, float[2, 3, 8] v, float[2, 2, 4, 4] pk, float[2, 2, 4, 4] pv)
    => (float[2, 3, 8] y, float[2, 2, 7, 4] nk, float[2, 2, 7, 4] nv)
    { y, nk, nv = com.microsoft.MultiHeadAttention<num_heads = 2, unidirectional = 1>(q, k, v, , , , pk, pv) }"""
    expand(text)


@pytest.mark.parametrize("positions", ["int64[1] p", "int64[2, 3] p"])
@pytest.mark.parametrize("shape", [[2, 3, 8], [2, 2, 3, 4]])
@pytest.mark.parametrize("attributes", ["", "<interleaved = 1>", "<num_heads = 2, rotary_embedding_dim = 2>"])
def test_rotary_embedding(positions: str, shape: list[int], attributes: str) -> None:
    half = 1 if "dim" in attributes else 2
    outcome = expand(
        f"g (float{shape} x, {positions}, float[9, {half}] c, float[9, {half}] s) => (float{shape} y) {{ y = com.microsoft.RotaryEmbedding{attributes}(x, p, c, s) }}",
        {"c": normal(9, half), "s": normal(9, half)},
    )
    assert "RotaryEmbedding" in outcome.ops


BYTES = {name: RNG.integers(0, 256, (1, 4, 6, 6), np.uint8) for name in "ab"}
SCALES = {name: np.float32(scale) for name, scale in (("sa", 0.02), ("sb", 0.03), ("sc", 0.07))}
ZEROS = {"za": np.uint8(120), "zb": np.uint8(90), "zc": np.uint8(128)}


@pytest.mark.parametrize(
    "body",
    [
        "QLinearAdd(a, sa, za, b, sb, zb, sc, zc)",
        "QLinearMul(a, sa, za, b, sb, zb, sc, zc)",
        "QLinearSigmoid(a, sa, za, sc, zc)",
        "QLinearLeakyRelu<alpha = 0.2>(a, sa, za, sc, zc)",
        "QLinearSoftmax<axis = -1, opset = 13>(a, sa, za, sc, zc)",
        "QLinearGlobalAveragePool(a, sa, za, sc, zc)",
        "QLinearGlobalAveragePool<channels_last = 1>(a, sa, za, sc, zc)",
        "QLinearAveragePool<kernel_shape = [2, 3], strides = [2, 1], pads = [0, 1, 0, 1]>(a, sa, za, sc, zc)",
        "QLinearConcat<axis = 1>(sc, zc, a, sa, za, b, sb, zb)",
        "QLinearWhere(t, a, sa, za, b, sb, zb, sc, zc)",
    ],
)
def test_quantised(body: str) -> None:
    text = f"""g (uint8[1, 4, 6, 6] a, uint8[1, 4, 6, 6] b, bool[1, 4, 6, 6] t, float sa, float sb, float sc, uint8 za, uint8 zb, uint8 zc)
    => (int32[A, B, C, D] y) {{ r = com.microsoft.{body} y = Cast<to = 6>(r) }}"""
    feed = {**BYTES, "t": BYTES["a"] > 100}
    got = expand(text, {**SCALES, **ZEROS}, feed=feed, level=QUANTIZED)
    assert got.ops[-2:] == ["QuantizeLinear", "Cast"]


@pytest.mark.parametrize("scaled", [True, False])
def test_quantised_gemm(scaled: bool) -> None:
    last = ", sc, zc" if scaled else ""
    out = "r" if scaled else "y"
    text = f"""g (uint8[3, 16] a, uint8[5, 16] w, int32[5] c, float sa, float sb, float sc, uint8 za, uint8 zb, uint8 zc) => ({"int32" if scaled else "float"}[3, 5] y)
    {{ {out} = com.microsoft.QGemm<transB = 1>(a, sa, za, w, sb, zb, c{last}) {"y = Cast<to = 6>(r)" if scaled else ""} }}"""
    constants = {"w": RNG.integers(0, 256, (5, 16), np.uint8), "c": RNG.integers(-900, 900, 5, np.int32)}
    feed = {"a": RNG.integers(0, 256, (3, 16), np.uint8)}
    expand(text, {**constants, **SCALES, **ZEROS}, feed=feed)


@pytest.mark.parametrize(
    "body",
    [
        "DynamicQuantizeMatMul(x, w, sb, zb, b)",
        "DynamicQuantizeMatMul(x, w, sb)",
        "MatMulIntegerToFloat(a, w, sa, sb, za, zb, b)",
        "MatMulIntegerToFloat(a, w, sa, sv)",
    ],
)
def test_integer_products(body: str) -> None:
    text = f"""g (float[3, 16] x, uint8[3, 16] a, uint8[16, 5] w, float[5] b, float[5] sv, float sa, float sb, float sc, uint8 za, uint8 zb, uint8 zc)
    => (float[3, 5] y) {{ y = com.microsoft.{body} }}"""
    constants = {
        "w": RNG.integers(0, 256, (16, 5), np.uint8),
        "b": normal(5),
        "sv": np.abs(normal(5)),
        **SCALES,
        **ZEROS,
    }
    expand(text, constants, feed={"x": normal(3, 16), "a": RNG.integers(0, 256, (3, 16), np.uint8)})


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize(("bits", "width"), [(4, 32), (4, 40), (8, 32)])
def test_weights_of_few_bits(bits: int, width: int, zeros: bool) -> None:
    blocks = -(-width // 16)
    packed = 16 * bits // 8
    constants = {
        "w": RNG.integers(0, 256, (5, blocks, packed), np.uint8),
        "s": np.abs(normal(5 * blocks)) / 100,
        "z": RNG.integers(0, 256, 5 * -(-blocks * bits // 8), np.uint8),
    }
    text = f"""g (float[3, {width}] x, uint8[5, {blocks}, {packed}] w, float[{5 * blocks}] s, uint8[{constants["z"].size}] z) => (float[3, 5] y)
    {{ y = com.microsoft.MatMulNBits<K = {width}, N = 5, bits = {bits}, block_size = 16>(x, w, s{", z" if zeros else ""}) }}"""
    expand(text, constants)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y, m = com.microsoft.SkipLayerNormalization(x, x, b)", "an output is used that standard ONNX has no operator for"),
        ("m = Neg(x) y = com.microsoft.RotaryEmbedding<scale = 0.5>(x, p, c, c)", "it has a scale or packed batches"),
        ("m = Neg(x) y = com.microsoft.MultiHeadAttention<num_heads = 2>(q)", "its input 1 is left out"),
        ("m = Neg(x) y = com.microsoft.MultiHeadAttention(x, x, x)", "its attribute num_heads is left out"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    text = f"g (float[2, 3, 8] x, float[8] b, int64[1] p, float[9, 4] c, float[2, 3, 2, 3, 4] q) => (float[A, B, C] y, float[D, E, F] m) {{ {body} }}"
    got = apply(
        expand_contrib, HEADER.format(opset=13) + text, {"b": normal(8), "c": normal(9, 4)}, run=False
    )
    assert got.refused == [reason]


def test_a_model_that_onnxruntime_optimised_compiles(tmp_path: Path) -> None:
    text = """g (float[2, 3, 8] x, float[8, 8] w, float[8] b, float[8] c) => (float[2, 3, 8] y)
    { p = MatMul(x, w) t = Add(p, b) s = Add(t, x) n = LayerNormalization(s, b, c)
      k = Transpose<perm = [0, 2, 1]>(n) scores = MatMul(n, k) y = MatMul(scores, n) }"""
    proto = ir.to_proto(parse(text, {"w": normal(8, 8), "b": normal(8), "c": normal(8)}))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "extended.onnx")
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    saved = onnx.load(tmp_path / "extended.onnx")
    assert {"FusedMatMul", "SkipLayerNormalization"} <= {node.op_type for node in saved.graph.node}
    feed = {"x": normal(2, 3, 8)}
    (got,) = ingot.load(ingot.compile(saved)).run(None, feed)
    assert_close(got, reference(proto, feed)[0], CLOSE, reduction=lengths(proto)["reduction"])
