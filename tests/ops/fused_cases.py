"""Operators together, as models have them: what fusion, layouts, regions and the memory plan make of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE, ulp

BATCHES = ({"n": 1}, {"n": 2}, {"n": 5})
SAME = "pads=[1,1,1,1]"


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def filters(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: weights(name + str(shape), *shape, whole=True) for name, shape in shapes.items()}


def whole(name: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any) -> Case:
    """A case in which nothing rounds."""
    return case(name, inputs, body, outputs, whole=True, **{"level": ulp(0), **how})


CONV = [
    *(
        whole(f"conv_{label}_{c}", f"float[1,3,5,6] x{extra}", f"c = Conv<strides=[2,2],{SAME}>(x, w, b)  {tail}",
              constants=filters(w=(c, 3, 3, 3), b=(c,)) | constants)
        for c in (3, 8, 17)
        for label, extra, tail, constants in (
            ("relu", "", "y = Relu(c)", {}),
            ("relu6", "", "y = Clip(c, low, high)", {"low": np.float32(0), "high": np.float32(6)}),
            ("leaky", "", "y = LeakyRelu<alpha=0.5>(c)", {}),
            ("prelu", "", "y = PRelu(c, s)", {"s": weights("slope", c, 1, 1, whole=True)}),
            ("add", f", float[1,{c},3,3] z", "y = Add(c, z)", {}),
            ("add_relu", f", float[1,{c},3,3] z", "a = Add(z, c)  y = Relu(a)", {}),
            ("relu_add", f", float[1,{c},3,3] z", "a = Relu(c)  y = Add(a, z)", {}),
            ("channel_scale", "", "m = Mul(c, s)  y = Add(m, t)", {"s": weights("s", c, 1, 1, whole=True), "t": weights("t", c, 1, 1, whole=True)}),
            ("two_readers", "", "y = Relu(c)  z = Neg(c)  q = Add(y, z)", {}),
        )
    ),
    case("conv_swish", "float[1,3,5,6] x", f"c = Conv<{SAME}>(x, w)  s = Sigmoid(c)  y = Mul(c, s)", reduction=27,
         constants={"w": weights("w", 17, 3, 3, 3)}),
    case("conv_hardswish_written_out", "float[1,3,5,6] x",
         f"c = Conv<{SAME}>(x, w)  a = Add(c, three)  r = Clip(a, zero, six)  m = Mul(c, r)  y = Div(m, six)", reduction=27,
         constants={"w": weights("w", 16, 3, 3, 3), "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}),
    case("conv_batchnorm_relu", "float[n,3,5,6] x", f"c = Conv<{SAME}>(x, w)  d = BatchNormalization(c, g, b, m, v)  y = Relu(d)", reduction=27,
         constants={"w": weights("w", 17, 3, 3, 3), "g": weights("g", 17), "b": weights("b", 17), "m": weights("m", 17),
                    "v": np.abs(weights("v", 17)) + 0.1}, sizes=BATCHES),
    case("residual_block", "float[n,9,4,5] x",
         f"a = Conv<{SAME}>(x, w1, b1)  r = Relu(a)  c = Conv<{SAME}>(r, w2, b2)  s = Add(c, x)  y = Relu(s)", reduction=81,
         constants={"w1": weights("w1", 9, 9, 3, 3), "b1": weights("b1", 9), "w2": weights("w2", 9, 9, 3, 3), "b2": weights("b2", 9)},
         sizes=BATCHES),
    case("residual_block_projected", "float[1,8,6,6] x",
         f"a = Conv<{SAME},strides=[2,2]>(x, w1)  r = Relu(a)  c = Conv<{SAME}>(r, w2)  p = Conv<strides=[2,2]>(x, w3)  s = Add(c, p)  y = Relu(s)",
         reduction=160, constants={"w1": weights("w1", 17, 8, 3, 3), "w2": weights("w2", 17, 17, 3, 3), "w3": weights("w3", 17, 8, 1, 1)}),
    whole("inverted_residual", "float[1,9,5,5] x",
          f"e = Conv(x, w1)  a = Clip(e, low, high)  d = Conv<{SAME},group=33>(a, w2)  b = Clip(d, low, high)  p = Conv(b, w3)  y = Add(p, x)",
          constants=filters(w1=(33, 9, 1, 1), w2=(33, 1, 3, 3), w3=(9, 33, 1, 1)) | {"low": np.float32(0), "high": np.float32(6)}),
    whole("two_convs_of_one_input", "float[1,5,5,5] x", f"a = Conv<{SAME},strides=[2,2]>(x, w1)  b = Conv<strides=[2,2]>(x, w2)  y = Add(a, b)",
          constants=filters(w1=(17, 5, 3, 3), w2=(17, 5, 1, 1))),
    whole("pad_shared_by_two_convs", "float[1,5,5,5] x",
          f"r = Relu(x)  a = Conv<{SAME},strides=[2,2]>(r, w1)  b = Conv<{SAME},strides=[2,2]>(r, w2)  y = Sub(a, b)",
          constants=filters(w1=(17, 5, 3, 3), w2=(17, 5, 3, 3))),
    whole("pad_and_no_pad_of_one_tensor", "float[1,5,5,5] x",
          f"r = Relu(x)  a = Conv<{SAME}, strides=[2,2]>(r, w1)  b = Conv(r, w2)  c = Conv<pads=[2,2,2,2],strides=[2,2]>(r, w3)",
          "float[] a, float[] b, float[] c", constants=filters(w1=(17, 5, 3, 3), w2=(9, 5, 1, 1), w3=(8, 5, 5, 5))),
    whole("pad_node_then_conv", "float[1,3,6,6] x", "p = Pad(x, pads)  c = Conv<strides=[2,2]>(p, w)  y = Relu(c)",
          constants=filters(w=(17, 3, 3, 3)) | {"pads": ints(0, 0, 0, 0, 0, 0, 1, 1)}),
    whole("conv_then_pool", "float[1,3,8,8] x", f"c = Conv<{SAME},strides=[2,2]>(x, w)  r = Relu(c)  y = MaxPool<kernel_shape=[3,3],strides=[2,2],{SAME}>(r)",
          constants=filters(w=(17, 3, 3, 3)), oracle="onnxruntime"),
    whole("pool_then_conv", "float[1,5,8,8] x", "p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(x)  y = Conv(p, w)",
          constants=filters(w=(17, 5, 1, 1)), oracle="onnxruntime"),
    whole("conv_chain_of_widths", "float[1,3,5,5] x", "a = Conv(x, w1)  b = Conv(a, w2)  c = Conv(b, w3)  y = Conv(c, w4)",
          constants={k: np.sign(v) for k, v in filters(w1=(7, 3, 1, 1), w2=(17, 7, 1, 1), w3=(4, 17, 1, 1), w4=(33, 4, 1, 1)).items()}),
    whole("transposed_conv_then_conv", "float[1,5,3,3] x", "u = ConvTranspose<strides=[2,2]>(x, w1, b1)  r = Relu(u)  y = Conv(r, w2)",
          constants=filters(w1=(5, 9, 2, 2), b1=(9,), w2=(8, 9, 1, 1))),
    whole("convs_by_group_and_shuffle", "float[1,8,4,4] x",
          "a = Conv<group=2>(x, w1)  r = Reshape(a, s1)  t = Transpose<perm=[0,2,1,3,4]>(r)  f = Reshape(t, s2)  d = Conv<group=16,pads=[1,1,1,1]>(f, w2)  "
          "y = Conv<group=2>(d, w3)",
          constants=filters(w1=(16, 4, 1, 1), w2=(16, 1, 3, 3), w3=(8, 8, 1, 1)) | {"s1": ints(1, 2, 8, 4, 4), "s2": ints(1, 16, 4, 4)}),
    whole("depthwise_to_pointwise", "float[n,17,5,5] x", f"d = Conv<group=17,{SAME}>(x, w1)  r = Relu(d)  p = Conv(r, w2)  y = Relu(p)",
          constants=filters(w1=(17, 1, 3, 3), w2=(24, 17, 1, 1)), sizes=BATCHES),
    whole("depthwise_of_odd_to_full", "float[1,3,5,5] x", f"a = Conv(x, w0)  d = Conv<group=7,{SAME},strides=[2,2]>(a, w1)  y = Conv(d, w2)",
          constants=filters(w0=(7, 3, 1, 1), w1=(7, 1, 3, 3), w2=(17, 7, 1, 1))),
]  # fmt: skip

CONCAT = [
    *(
        whole(f"concat_at_{a}_{b}", "float[1,3,4,4] x",
              f"a = Conv(x, w1)  r = Relu(a)  b = Conv<{SAME},strides=[1,1]>(x, w2)  c = Concat<axis=1>(r, b)  y = Conv(c, w3)",
              constants=filters(w1=(a, 3, 1, 1), w2=(b, 3, 3, 3), w3=(8, a + b, 1, 1)), level=CLOSE, reduction=27 * (a + b))
        for a, b in ((8, 8), (16, 16), (58, 58), (17, 15), (24, 8), (3, 1), (1, 7), (32, 5))
    ),
    whole("concat_of_four", "float[1,3,5,5] x",
          "a = Conv(x, w1)  b = Conv<pads=[1,1,1,1]>(a, w2)  p = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x)  d = Conv(p, w3)  "
          "c = Concat<axis=1>(a, b, p, d)  y = Relu(c)",
          constants=filters(w1=(8, 3, 1, 1), w2=(12, 8, 3, 3), w3=(5, 3, 1, 1)), oracle="onnxruntime", level=CLOSE, reduction=72),
    whole("concat_in_two_places", "float[1,3,4,4] x",
          "a = Conv(x, w1)  b = Conv(x, w2)  c = Concat<axis=1>(a, b)  d = Concat<axis=1>(b, a)  y = Conv(c, w3)  z = Conv(d, w3)",
          "float[] y, float[] z", constants=filters(w1=(8, 3, 1, 1), w2=(9, 3, 1, 1), w3=(5, 17, 1, 1))),
    whole("concat_growing", "float[1,4,4,4] x",
          "a = Conv(x, w1)  c = Concat<axis=1>(x, a)  b = Conv(c, w2)  d = Concat<axis=1>(c, b)  e = Conv(d, w3)  y = Concat<axis=1>(d, e)",
          constants={k: np.sign(v) for k, v in filters(w1=(4, 4, 1, 1), w2=(4, 8, 1, 1), w3=(4, 12, 1, 1)).items()}),
    whole("concat_growing_odd", "float[1,5,4,4] x",
          "a = Conv(x, w1)  c = Concat<axis=1>(x, a)  b = Conv(c, w2)  d = Concat<axis=1>(c, b)  y = Conv(d, w3)",
          constants={k: np.sign(v) for k, v in filters(w1=(7, 5, 1, 1), w2=(3, 12, 1, 1), w3=(17, 15, 1, 1)).items()}),
    whole("concat_over_width", "float[1,3,4,5] x", "a = Conv(x, w1)  b = Conv(x, w2)  c = Concat<axis=3>(a, b)  y = Relu(c)",
          constants=filters(w1=(17, 3, 1, 1), w2=(17, 3, 1, 1))),
    whole("concat_over_batch", "float[n,3,4,5] x", "a = Conv(x, w1)  b = Conv(x, w2)  c = Concat<axis=0>(a, b)  y = Relu(c)",
          constants=filters(w1=(17, 3, 1, 1), w2=(17, 3, 1, 1)), sizes=BATCHES),
    whole("concat_of_upsampled", "float[1,5,4,4] x",
          "a = Conv<strides=[2,2]>(x, w1)  u = Resize<mode=\"nearest\",coordinate_transformation_mode=\"asymmetric\",nearest_mode=\"floor\">(a, , s)  "
          "c = Concat<axis=1>(u, x)  y = Conv<pads=[1,1,1,1],strides=[2,2]>(c, w2)",
          constants=filters(w1=(16, 5, 1, 1), w2=(8, 21, 3, 3)) | {"s": np.array([1, 1, 2, 2], np.float32)}),
    whole("concat_of_heads", "float[n,3,4,4] x",
          "a = Conv(x, w1)  p = Transpose<perm=[0,2,3,1]>(a)  q = Reshape(p, s)  b = Conv<strides=[2,2]>(x, w1)  t = Transpose<perm=[0,2,3,1]>(b)  "
          "u = Reshape(t, s)  y = Concat<axis=1>(q, u)",
          constants=filters(w1=(12, 3, 1, 1)) | {"s": ints(0, -1, 4)}, sizes=BATCHES),
    whole("detection_head", "float[n,9,3,4] x",
          "a = Conv(x, w1, b1)  b = Conv(x, w2, b2)  r = Relu(b)  c = Concat<axis=1>(a, r)  f = Reshape(c, s)  y = Transpose<perm=[0,2,1]>(f)",
          constants=filters(w1=(4, 9, 1, 1), b1=(4,), w2=(3, 9, 1, 1), b2=(3,)) | {"s": ints(0, 7, -1)}, sizes=BATCHES),
    *(
        whole(f"detection_heads_of_{a}_{b}_{c}", "float[n,5,3,7] x, float[n,8,2,2] z",
              f"a = Conv(x, w1, b1)  b = Conv<{SAME}>(x, w2)  r = Relu(b)  c = Conv(x, w3)  j = Concat<axis=1>(a, r, c)  k = Reshape(j, s)  "
              "d = Conv(z, v1, b1)  e = Conv(z, v2)  f = Relu(e)  g = Conv(z, v3)  l = Concat<axis=1>(d, f, g)  m = Reshape(l, s)  "
              "o = Concat<axis=2>(k, m)  y = Transpose<perm=[0,2,1]>(o)",
              constants=filters(w1=(a, 5, 1, 1), b1=(a,), w2=(b, 5, 3, 3), w3=(c, 5, 1, 1), v1=(a, 8, 1, 1), v2=(b, 8, 1, 1), v3=(c, 8, 1, 1))
              | {"s": ints(0, a + b + c, -1)}, sizes=BATCHES)
        for a, b, c in ((4, 1, 17), (1, 2, 3), (16, 32, 5))
    ),
    *(
        case(f"anchors_of_{c}", "float[1,5,3,7] x, float[1,5,2,2] z",
             f"a = Conv<{SAME}>(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  p = Reshape(t, s)  b = Conv(z, v)  u = Transpose<perm=[0,2,3,1]>(b)  q = Reshape(u, s)  "
             "o = Concat<axis=1>(p, q)  y = Softmax<axis=-1>(o)  f = Slice(o, lo, hi, last)  e = Exp(f)", "float[] y, float[] e", reduction=45,
             constants={"w": weights("w", c, 5, 3, 3) / 4, "v": weights("v", c, 5, 1, 1), "s": ints(1, -1, 2), "lo": ints(1), "hi": ints(2), "last": ints(2)})
        for c in (2, 6, 12, 24)
    ),
    whole("head_with_an_activation_after", "float[1,5,4,9] x", "a = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(a)  r = Reshape(t, s)  y = Relu(r)",
          constants=filters(w=(17, 5, 1, 1)) | {"s": ints(1, -1, 17)}),
]  # fmt: skip

SPLIT = [
    whole("split_feeding_convs", "float[1,3,4,4] x",
          "c = Conv(x, w0)  a, b = Split<axis=1>(c)  d = Conv(b, w1)  y = Concat<axis=1>(a, d)",
          constants=filters(w0=(16, 3, 1, 1), w1=(8, 8, 1, 1))),
    *(
        whole(f"split_at_{a}_of_{a + b}", "float[1,3,4,4] x",
              "c = Conv(x, w0)  r = Relu(c)  a, b = Split<axis=1>(r, s)  d = Conv<pads=[1,1,1,1],strides=[2,2]>(b, w1)  e = Conv<strides=[2,2]>(a, w2)  "
              "y = Concat<axis=1>(d, e)",
              constants=filters(w0=(a + b, 3, 1, 1), w1=(9, b, 3, 3), w2=(8, a, 1, 1)) | {"s": ints(a, b)})
        for a, b in ((8, 8), (16, 16), (24, 24), (5, 12), (58, 58), (1, 3))
    ),
    whole("shufflenet_unit", "float[1,20,4,4] x",
          "a, b = Split<axis=1>(x)  c = Conv(b, w1)  r = Relu(c)  d = Conv<group=10,pads=[1,1,1,1]>(r, w2)  e = Conv(d, w3)  f = Relu(e)  "
          "j = Concat<axis=1>(a, f)  k = Reshape(j, s1)  t = Transpose<perm=[0,2,1,3,4]>(k)  y = Reshape(t, s2)",
          constants={k: np.sign(v) for k, v in filters(w1=(10, 10, 1, 1), w2=(10, 1, 3, 3), w3=(10, 10, 1, 1)).items()}
          | {"s1": ints(1, 2, 10, 4, 4), "s2": ints(1, 20, 4, 4)}),
    whole("slice_of_channels_feeding_conv", "float[1,3,4,4] x", "c = Conv(x, w0)  a = Slice(c, b, e, ax)  y = Conv(a, w1)",
          constants=filters(w0=(24, 3, 1, 1), w1=(5, 11, 1, 1)) | {"b": ints(5), "e": ints(16), "ax": ints(1)}),
    whole("focus_then_conv", "float[1,3,6,8] x",
          "a = Slice(x, z, far, h, two)  b = Slice(x, o, far, h, two)  p = Slice(a, z, far, w, two)  q = Slice(b, z, far, w, two)  "
          "r = Slice(a, o, far, w, two)  s = Slice(b, o, far, w, two)  c = Concat<axis=1>(p, q, r, s)  y = Conv<pads=[1,1,1,1],strides=[2,2]>(c, k)",
          constants=filters(k=(17, 12, 3, 3)) | {"z": ints(0), "o": ints(1), "far": ints(2**31 - 1), "h": ints(2), "w": ints(3), "two": ints(2)}),
    whole("spacetodepth_then_conv", "float[1,3,6,8] x", "a = SpaceToDepth<blocksize=2>(x)  y = Conv(a, k)", constants=filters(k=(17, 12, 1, 1)),
          oracle="onnxruntime"),
    whole("conv_then_depthtospace", "float[1,3,4,5] x", "c = Conv<pads=[1,1,1,1],strides=[2,2]>(x, k)  y = DepthToSpace<blocksize=2>(c)",
          constants=filters(k=(12, 3, 3, 3))),
]  # fmt: skip

GATES = [
    case("squeeze_and_excite", "float[n,9,4,4] x",
         "p = GlobalAveragePool(x)  a = Conv(p, w1, b1)  r = Relu(a)  b = Conv(r, w2, b2)  s = Sigmoid(b)  y = Mul(x, s)", reduction=25,
         constants={"w1": weights("w1", 4, 9, 1, 1), "b1": weights("b1", 4), "w2": weights("w2", 9, 4, 1, 1), "b2": weights("b2", 9)}, sizes=BATCHES),
    case("squeeze_and_excite_of_conv", "float[1,3,5,5] x",
         "c = Conv<pads=[1,1,1,1]>(x, w0)  h = HardSwish(c)  p = ReduceMean<axes=[2,3]>(h)  a = Conv(p, w1)  r = Relu(a)  b = Conv(r, w2)  s = HardSigmoid(b)  "
         "m = Mul(s, h)  y = Conv(m, w3)", reduction=200,
         constants={"w0": weights("w0", 17, 3, 3, 3), "w1": weights("w1", 5, 17, 1, 1), "w2": weights("w2", 17, 5, 1, 1),
                    "w3": weights("w3", 8, 17, 1, 1)}),
    case("squeeze_by_gemm", "float[n,17,3,3] x",
         "p = GlobalAveragePool(x)  f = Flatten(p)  a = Gemm<transB=1>(f, w1, b1)  r = Relu(a)  b = Gemm<transB=1>(r, w2, b2)  s = Sigmoid(b)  "
         "u = Unsqueeze(s, axes)  y = Mul(x, u)", reduction=30,
         constants={"w1": weights("w1", 5, 17), "b1": weights("b1", 5), "w2": weights("w2", 17, 5), "b2": weights("b2", 17), "axes": ints(2, 3)},
         sizes=BATCHES),
    case("spatial_gate", "float[1,9,4,5] x",
         "a = ReduceMean<axes=[1]>(x)  m = ReduceMax<axes=[1]>(x)  c = Concat<axis=1>(a, m)  d = Conv<pads=[1,1,1,1]>(c, w)  s = Sigmoid(d)  y = Mul(x, s)",
         reduction=30, constants={"w": weights("w", 1, 2, 3, 3)}),
    case("classifier", "float[n,3,6,6] x",
         "c = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w1)  r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)  g = Gemm<transB=1>(f, w2, b2)  y = Softmax(g)",
         reduction=100, scale=1.0, constants={"w1": weights("w1", 17, 3, 3, 3), "w2": weights("w2", 10, 17), "b2": weights("b2", 10)}, sizes=BATCHES),
    case("classifier_flattened", "float[n,3,4,4] x",
         "c = Conv(x, w1)  r = Relu(c)  p = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r)  f = Flatten(p)  y = Gemm(f, w2, b2)", oracle="onnxruntime",
         reduction=100, constants={"w1": weights("w1", 17, 3, 1, 1), "w2": weights("w2", 68, 10), "b2": weights("b2", 10)}, sizes=BATCHES),
    case("mean_and_normalise", "float[2,9,4] x", "m = ReduceMean<axes=[1]>(x)  s = Sub(x, m)  n = ReduceL2<axes=[1]>(s)  y = Div(s, n)", reduction=20),
    case("l2_normalised", "float[3,17] x", "n = ReduceL2<axes=[-1]>(x)  c = Clip(n, e)  y = Div(x, c)", reduction=20,
         constants={"e": np.float32(1e-12)}),
]  # fmt: skip

LINEAR = {name: weights(name, 8, 8) for name in ("wq", "wk", "wv", "wo")} | {
    f"b{c}": weights(f"b{c}", 8) for c in "qkvo"
}
HEADS = {"split": ints(0, 0, 2, 4), "join": ints(0, 0, 8), "scale": np.float32(0.5)}
PROJECT = (
    "q0 = MatMul(x, wq)  q1 = Add(q0, bq)  k0 = MatMul(x, wk)  k1 = Add(k0, bk)  v0 = MatMul(x, wv)  v1 = Add(v0, bv)  "
    "q2 = Reshape(q1, split)  q = Transpose<perm=[0,2,1,3]>(q2)  k2 = Reshape(k1, split)  k = Transpose<perm=[0,2,3,1]>(k2)  "
    "v2 = Reshape(v1, split)  v = Transpose<perm=[0,2,1,3]>(v2)  "
)
CLOSE_OUT = "o1 = Transpose<perm=[0,2,1,3]>(o)  o2 = Reshape(o1, join)  o3 = MatMul(o2, wo)  y = Add(o3, bo)"
DEEP = {"reduction": 400}
ATTENTION = [
    case("attention", "float[n,m,8] x", PROJECT + "s = MatMul(q, k)  t = Mul(s, scale)  p = Softmax(t)  o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS, sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7}, {"n": 3, "m": 17}), **DEEP),
    case("attention_fixed", "float[2,5,8] x", PROJECT + "s = MatMul(q, k)  t = Mul(s, scale)  p = Softmax(t)  o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS, **DEEP),
    case("attention_mask_added", "float[n,m,8] x, float[n,1,1,m] mask",
         PROJECT + "s = MatMul(q, k)  t = Mul(s, scale)  u = Add(t, mask)  p = Softmax(u)  o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS, sizes=({"n": 1, "m": 1}, {"n": 2, "m": 9}), **DEEP),
    case("attention_mask_where", "float[2,6,8] x, bool[6,6] mask",
         PROJECT + "s = MatMul(q, k)  t = Div(s, two)  u = Where(mask, t, low)  p = Softmax(u)  o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS | {"two": np.float32(2), "low": np.float32(-1e9)}, **DEEP),
    case("attention_causal", "float[1,m,8] x",
         PROJECT + "s = MatMul(q, k)  t = Mul(s, scale)  z = Mul(t, nought)  a = Add(z, minus)  c = Trilu<upper=1>(a, one)  u = Add(t, c)  p = Softmax(u)  "
         "o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS | {"nought": np.float32(0), "minus": np.float32(-1e4), "one": np.int64(1)}, sizes=({"m": 1}, {"m": 6}, {"m": 19}), **DEEP),
    case("attention_causal_constant", "float[n,m,8] x",
         PROJECT + "s = MatMul(q, k)  t = Mul(s, scale)  z = Shape<start=1, end=2>(x)  mz = Concat<axis=0>(z, z)  "
         "c = Slice(mask, nought, mz, axes)  u = Add(t, c)  p = Softmax(u)  o = MatMul(p, v)  " + CLOSE_OUT,
         constants=LINEAR | HEADS | {"mask": np.triu(np.full((40, 40), -np.inf, np.float32), 1), "nought": ints(0, 0), "axes": ints(0, 1)},
         sizes=({"n": 1, "m": 1}, {"n": 2, "m": 17}, {"n": 1, "m": 40}), **DEEP),
    case("attention_scores_kept", "float[2,5,8] x", PROJECT + "s = MatMul(q, k)  p = Softmax(s)  o = MatMul(p, v)", "float[] o, float[] p",
         constants=LINEAR | HEADS, **DEEP),
    *(
        case(f"attention_{m}_by_{n}_of_{d}", f"float[2,{m},{d}] q, float[2,{n},{d}] k, float[2,{n},{e}] v",
             "t = Transpose<perm=[0,2,1]>(k)  s = MatMul(q, t)  c = Mul(s, scale)  p = Softmax(c)  y = MatMul(p, v)",
             constants={"scale": np.float32(0.3)}, **DEEP)
        for m, n, d, e in ((1, 1, 4, 4), (1, 9, 8, 8), (3, 16, 4, 17), (7, 33, 3, 5), (13, 4, 9, 16), (15, 17, 8, 33), (29, 8, 4, 4))
    ),
    case("attention_without_transpose", "float[2,5,8] q, float[2,8,9] k, float[2,9,4] v", "s = MatMul(q, k)  p = Softmax(s)  y = MatMul(p, v)", **DEEP),
    case("attention_of_features", "float[2,5,16] x",
         "t = Transpose<perm=[0,2,1]>(x)  s = MatMul(t, x)  p = Softmax(s)  y = MatMul(x, p)", **DEEP),
    case("transformer_block", "float[n,m,8] x",
         "l = LayerNormalization(x, g1, h1)  q0 = MatMul(l, wq)  k0 = MatMul(l, wk)  v0 = MatMul(l, wv)  "
         "q2 = Reshape(q0, split)  q = Transpose<perm=[0,2,1,3]>(q2)  k2 = Reshape(k0, split)  k = Transpose<perm=[0,2,3,1]>(k2)  "
         "v2 = Reshape(v0, split)  v = Transpose<perm=[0,2,1,3]>(v2)  s = MatMul(q, k)  t = Mul(s, scale)  p = Softmax(t)  o = MatMul(p, v)  "
         "o1 = Transpose<perm=[0,2,1,3]>(o)  o2 = Reshape(o1, join)  o3 = MatMul(o2, wo)  a = Add(o3, bo)  r = Add(x, a)  "
         "l2 = LayerNormalization(r, g2, h2)  f0 = MatMul(l2, w1)  f1 = Add(f0, b1)  e0 = Div(f1, root)  e1 = Erf(e0)  e2 = Add(e1, one)  "
         "e3 = Mul(f1, e2)  e4 = Mul(e3, half)  f2 = MatMul(e4, w2)  f3 = Add(f2, b2)  y = Add(r, f3)",
         constants=LINEAR | HEADS | {"g1": weights("g1", 8), "h1": weights("h1", 8), "g2": weights("g2", 8), "h2": weights("h2", 8),
                                     "w1": weights("w1", 8, 17), "b1": weights("b1", 17), "w2": weights("w2", 17, 8), "b2": weights("b2", 8),
                                     "root": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5)},
         sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7}), reduction=1000),
    case("rotary_embedding", "float[n,m,16] x, float[m,4] cosine, float[m,4] sine",
         "r = Reshape(x, pairs)  e0 = Gather<axis=4>(r, first)  o0 = Gather<axis=4>(r, second)  e = Squeeze(e0, last)  o = Squeeze(o0, last)  "
         "c = Unsqueeze(cosine, one)  s = Unsqueeze(sine, one)  ec = Mul(e, c)  os = Mul(o, s)  a = Sub(ec, os)  es = Mul(e, s)  oc = Mul(o, c)  "
         "b = Add(es, oc)  a1 = Unsqueeze(a, last)  b1 = Unsqueeze(b, last)  y = Concat<axis=4>(a1, b1)",
         constants={"pairs": ints(0, 0, 2, 4, 2), "first": ints(0), "second": ints(1), "last": ints(4), "one": ints(1)}, sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7})),
    case("patches_to_tokens", "float[n,3,8,8] x",
         "c = Conv<strides=[4,4]>(x, w, b)  r = Reshape(c, s)  t = Transpose<perm=[0,2,1]>(r)  y = Add(t, p)", reduction=48,
         constants={"w": weights("w", 17, 3, 4, 4), "b": weights("b", 17), "s": ints(0, 17, -1), "p": weights("p", 1, 4, 17)}, sizes=BATCHES),
    case("class_token", "float[n,4,9] x",
         "s = Shape<start=0,end=1>(x)  k = Concat<axis=0>(s, tail)  e = Expand(c, k)  j = Concat<axis=1>(e, x)  a = Add(j, p)  l = LayerNormalization(a, g)  "
         "y = Gather<axis=1>(l, zero)", reduction=20,
         constants={"tail": ints(1, 9), "c": weights("c", 1, 1, 9), "p": weights("p", 1, 5, 9), "g": weights("g", 9), "zero": np.int64(0)}, sizes=BATCHES),
    case("rotary", "float[1,m,2,8] x, int64[m] at",
         "c0 = Gather(cos, at)  s0 = Gather(sin, at)  c = Unsqueeze(c0, axes)  s = Unsqueeze(s0, axes)  a, b = Split<axis=-1>(x)  n = Neg(b)  "
         "r = Concat<axis=-1>(n, a)  p = Mul(x, c)  q = Mul(r, s)  y = Add(p, q)", reduction=2,
         constants={"cos": np.cos(weights("cos", 12, 8)), "sin": np.sin(weights("sin", 12, 8)), "axes": ints(0, 2)},
         feed={}, sizes=({"m": 1}, {"m": 5})),
    case("gated_feed_forward", "float[n,m,8] x", "a = MatMul(x, w1)  s = Sigmoid(a)  w = Mul(a, s)  b = MatMul(x, w3)  p = Mul(w, b)  y = MatMul(p, w2)",
         constants={"w1": weights("w1", 8, 17), "w3": weights("w3", 8, 17), "w2": weights("w2", 17, 8)}, sizes=({"n": 1, "m": 1}, {"n": 2, "m": 9}),
         reduction=200),
    case("embedding_sum", "int64[n,m] ids, int64[n,m] kinds",
         "a = Gather(w, ids)  b = Gather(k, kinds)  s = Add(a, b)  t = Add(s, p)  y = LayerNormalization(t, g, h)", reduction=20,
         constants={"w": weights("w", 19, 8), "k": weights("k", 19, 8), "p": weights("p", 1, 1, 8), "g": weights("g", 8), "h": weights("h", 8)},
         sizes=({"n": 1, "m": 1}, {"n": 2, "m": 7})),
]  # fmt: skip

TRANSPOSES = [
    whole("transposes_between_products", "float[2,3,4] a, float[2,4,9] b, float[2,3,5] c",
          "p = MatMul(a, b)  t = Transpose<perm=[0,2,1]>(p)  y = MatMul(t, c)"),
    whole("product_after_conv", "float[1,3,4,4] x", "c = Conv(x, w)  r = Reshape(c, s)  t = Transpose<perm=[0,2,1]>(r)  y = MatMul(t, v)",
          constants=filters(w=(17, 3, 1, 1), v=(17, 5)) | {"s": ints(1, 17, 16)}),
    whole("conv_after_product", "float[1,16,5] x", "p = MatMul(x, v)  t = Transpose<perm=[0,2,1]>(p)  r = Reshape(t, s)  y = Conv(r, w)",
          constants=filters(v=(5, 9), w=(8, 9, 1, 1)) | {"s": ints(1, 9, 4, 4)}),
    whole("nhwc_island", "float[1,3,4,4] x", "c = Conv(x, w)  t = Transpose<perm=[0,2,3,1]>(c)  a = Add(t, b)  r = Relu(a)  u = Transpose<perm=[0,3,1,2]>(r)  y = Conv(u, v)",
          constants=filters(w=(17, 3, 1, 1), b=(17,), v=(8, 17, 1, 1))),
    whole("nhwc_input", "float[1,4,4,3] x", "t = Transpose<perm=[0,3,1,2]>(x)  y = Conv<pads=[1,1,1,1],strides=[2,2]>(t, w)", constants=filters(w=(17, 3, 3, 3))),
    whole("bytes_to_conv", "uint8[1,4,4,3] x", "f = Cast<to=1>(x)  t = Transpose<perm=[0,3,1,2]>(f)  y = Conv(t, w)", constants=filters(w=(8, 3, 1, 1))),
    case("normalised_picture", "float[1,3,4,4] x", "s = Sub(x, m)  d = Div(s, v)  y = Conv<pads=[1,1,1,1]>(d, w)", reduction=27,
         constants={"m": weights("m", 3, 1, 1), "v": np.abs(weights("v", 3, 1, 1)) + 1, "w": weights("w", 16, 3, 3, 3)}),
    whole("reshape_between_blocks", "float[1,3,4,4] x", "c = Conv(x, w)  r = Reshape(c, s)  a = Relu(r)  b = Reshape(a, t)  y = Conv(b, v)",
          constants=filters(w=(24, 3, 1, 1), v=(8, 6, 1, 1)) | {"s": ints(1, 6, 64), "t": ints(1, 6, 8, 8)}),
    whole("unused_parts", "float[1,3,4,4] x, float[2] z", "c = Conv(x, w)  d = Relu(c)  a, b = Split<axis=1>(d)  e = Exp(a)  y = Neg(b)", constants=filters(w=(16, 3, 1, 1))),
    whole("output_inside", "float[1,3,4,4] x", "y = Conv(x, w)  z = Relu(y)  q = Conv(z, v)", "float[] y, float[] z, float[] q",
          constants=filters(w=(16, 3, 1, 1), v=(9, 16, 1, 1))),
    whole("output_is_a_part", "float[1,3,4,4] x", "a = Conv(x, w)  b = Conv(x, v)  y = Concat<axis=1>(a, b)", "float[] y, float[] a",
          constants=filters(w=(16, 3, 1, 1), v=(8, 3, 1, 1))),
]  # fmt: skip

WINOGRAD = [
    case(f"winograd_{c}_to_{k}_{h}x{w}", f"float[{n},{c},{h},{w}] x",
         f"a = Conv<{pads}>(x, w, b)  y = Relu(a)", reduction=36 * c, constants={"w": weights(f"w{c}{k}", k, c, 3, 3), "b": weights(f"b{k}", k)},
         sizes=BATCHES[:2] if n == "n" else ({},))
    for n, c, k, h, w, pads in (
        ("1", 16, 16, 12, 12, SAME), ("1", 17, 20, 9, 14, SAME), ("1", 24, 33, 10, 11, SAME), ("1", 16, 16, 14, 9, "pads=[0,1,1,2]"),
        ("n", 16, 16, 12, 10, SAME), ("2", 16, 16, 9, 9, SAME), ("1", 16, 17, 16, 16, "pads=[0,0,0,0]"), ("2", 16, 32, 16, 16, SAME),
    )
] + [
    case(f"winograd_5x5_{c}_to_{k}", f"float[2,{c},11,14] x", "a = Conv<pads=[2,2,2,2]>(x, w, b)  y = Relu(a)", reduction=64 * c,
         constants={"w": weights(f"w{c}{k}", k, c, 5, 5), "b": weights(f"b{k}", k)})
    for c, k in ((8, 16), (12, 20), (16, 8))
] + [
    case("winograd_few_channels", "float[1,12,20,20] x", f"a = Conv<{SAME}>(x, w)  y = Relu(a)", reduction=500,
         constants={"w": weights("w", 16, 12, 3, 3)}),
    case("winograd_twice_with_residual", "float[1,16,12,12] x",
         f"a = Conv<{SAME}>(x, w1, b1)  r = Relu(a)  c = Conv<{SAME}>(r, w2)  s = Add(c, x)  y = Relu(s)", reduction=2000,
         constants={"w1": weights("w1", 16, 16, 3, 3) / 12, "b1": weights("b1", 16), "w2": weights("w2", 16, 16, 3, 3) / 12}),
    case("winograd_into_concat", "float[1,16,12,12] x",
         f"a = Conv<{SAME}>(x, w1)  b = Conv<{SAME}>(x, w2)  c = Concat<axis=1>(a, b)  y = Conv(c, w3)", reduction=2000,
         constants={"w1": weights("w1", 24, 16, 3, 3), "w2": weights("w2", 17, 16, 3, 3), "w3": weights("w3", 9, 41, 1, 1)}),
]  # fmt: skip

CASES = [*CONV, *CONCAT, *SPLIT, *GATES, *ATTENTION, *TRANSPOSES, *WINOGRAD]
