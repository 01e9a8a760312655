"""Cases of sizes that only a run tells: `Context.measure` and the operators that take integers from data."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case

from ingot.testing import EXACT, ulp


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def runs(
    name: str,
    inputs: str,
    body: str,
    feeds: dict[str, dict[str, Any]],
    outputs: str = "float[] y",
    **how: Any,
) -> list[Case]:
    """A case for each feed, of one model."""
    how = {"level": EXACT, **how}
    return [case(f"{name}_{label}", inputs, body, outputs, feed=feed, **how) for label, feed in feeds.items()]


RESHAPE = [
    *runs("reshape_by_input", "float[2,3,4] x, int64[3] s", "a = Relu(x)  b = Reshape(a, s)  y = Neg(b)",
          {"plain": {"s": ints(4, 3, 2)}, "hole": {"s": ints(-1, 6, 2)}, "zero": {"s": ints(0, -1, 1)}}),
    *runs("reshape_declared", "float[2,3,4] x, int64[2] s", "y = Reshape(x, s)", {"hole": {"s": ints(-1, 4)}}, "float[6,4] y"),
    *runs("reshape_allowzero_by_input", "float[0,3] x, int64[2] s", "y = Reshape<allowzero=1>(x, s)", {"zero": {"s": ints(0, 0)}}),
    *runs("reshape_batch", "float[n,6] x, int64[2] s", "y = Reshape(x, s)", {"hole": {"s": ints(3, -1)}},
          sizes=({"n": 1}, {"n": 4})),
    *runs("squeeze_by_input", "float[1,3,1,5] x, int64[2] a", "y = Squeeze(x, a)",
          {"outer": {"a": ints(0, 2)}, "negative": {"a": ints(-2, 0)}}),
    *runs("unsqueeze_by_input", "float[3,5] x, int64[2] a", "y = Unsqueeze(x, a)",
          {"ends": {"a": ints(0, 3)}, "inner": {"a": ints(1, 2)}, "negative": {"a": ints(-1, 1)}}),
    *runs("expand_by_input", "float[1,3] x, int64[2] s", "y = Expand(x, s)", {"up": {"s": ints(4, 1)}, "same": {"s": ints(4, 3)}}, "float[4,3] y"),
    *runs("tile_by_input", "float[2,3] x, int64[2] r", "y = Tile(x, r)", {"both": {"r": ints(2, 2)}}, "float[4,6] y"),
    *runs("constant_of_shape_by_input", "int64[2] s", "y = ConstantOfShape<value = float[1] {2.0}>(s)", {"both": {"s": ints(4, 6)}}, "float[4,6] y"),
]  # fmt: skip

WINDOWS = [
    *runs("slice_by_input", "float[9,7] x, int64[2] s, int64[2] e", "a = Slice(x, s, e)  y = Relu(a)",
          {"inside": {"s": ints(2, 1), "e": ints(5, 6)}, "negative": {"s": ints(-4, 0), "e": ints(-1, -2)},
           "far": {"s": ints(-99, 3), "e": ints(99, 99)}, "empty": {"s": ints(5, 6), "e": ints(5, 2)}}),
    *runs("slice_all_by_input", "float[9,7,3] x, int64[2] s, int64[2] e, int64[2] a, int64[2] p", "y = Slice(x, s, e, a, p)",
          {"two": {"s": ints(8, 0), "e": ints(0, 7), "a": ints(0, 1), "p": ints(-2, 3)},
           "back": {"s": ints(-1, 6), "e": ints(-99, -99), "a": ints(-1, 1), "p": ints(-1, -4)}}),
    *runs("slice_batch", "float[n,5] x, int64[1] s, int64[1] e", "y = Slice(x, s, e)", {"middle": {"s": ints(1), "e": ints(-1)}},
          sizes=({"n": 1}, {"n": 2}, {"n": 9})),
    *runs("slice_then_sum", "float[9,7] x, int64[1] s, int64[1] e", "a = Slice(x, s, e)  y = ReduceSum<keepdims=0>(a, z)",
          {"part": {"s": ints(2), "e": ints(5)}}, constants={"z": ints(0)}, level=ulp(4), whole=True),
    *runs("slice_of_shape", "float[9,7] x, int64[1] s, int64[1] e", "a = Slice(x, s, e)  b = Shape(a)  y = Identity(b)",
          {"part": {"s": ints(2), "e": ints(5)}}, "int64[] y"),
    *runs("split_by_input", "float[7,3] x, int64[2] s", "y, z = Split(x, s)", {"uneven": {"s": ints(2, 5)}, "all": {"s": ints(7, 0)}},
          "float[] y, float[] z"),
    *runs("pad_by_input", "float[2,3] x, int64[4] p, float v", "y = Pad(x, p, v)",
          {"both": {"p": ints(1, 0, 2, 1), "v": np.float32(7)}}, "float[5,4] y"),
    *runs("pad_crops_by_input", "float[5,6] x, int64[4] p", "y = Pad(x, p)", {"both": {"p": ints(-1, 2, -2, -3)}}, "float[2,5] y", oracle="onnxruntime"),
    *runs("pad_edge_by_input", "float[4,3] x, int64[4] p", "y = Pad<mode=\"edge\">(x, p)", {"both": {"p": ints(1, 0, 2, 1)}}, "float[7,4] y"),
    *runs("pad_fill_by_input", "float[2,3] x, float v", "y = Pad(x, p, v)", {"seven": {"v": np.float32(7)}}, constants={"p": ints(1, 0, 0, 2)}),
    *runs("center_crop_pad_by_input", "float[5,6,3] x, int64[3] s", "y = CenterCropPad(x, s)", {"both": {"s": ints(8, 3, 3)}},
          "float[8,3,3] y", opset=18),
    *runs("affine_grid_by_input", "float[2,2,3] t, int64[4] s", "y = AffineGrid(t, s)", {"plane": {"s": ints(2, 1, 4, 5)}},
          "float[2,4,5,2] y", opset=20, level=ulp(16)),
    *runs("pad_axes_by_input", "float[4,3] x, int64[2] p, int64[1] a", "y = Pad(x, p, , a)", {"last": {"p": ints(1, 2), "a": ints(-1)}},
          "float[4,6] y", opset=18, oracle="onnxruntime"),
]  # fmt: skip

OTHERS = [
    *runs("trilu_by_input", "float[5,7] x, int64 k", "y = Trilu(x, k)", {"up": {"k": np.array(2)}, "down": {"k": np.array(-3)}}),
    *runs("range_by_input", "int64 a, int64 b, int64 d", "y = Range(a, b, d)",
          {"up": {"a": np.array(1), "b": np.array(8), "d": np.array(2)}, "down": {"a": np.array(9), "b": np.array(1), "d": np.array(-2)}},
          "int64[4] y"),
    *runs("range_float_by_input", "float a, float b, float d", "y = Range(a, b, d)",
          {"up": {"a": np.float32(1), "b": np.float32(2.9), "d": np.float32(0.5)}}, "float[4] y"),
    *runs("one_hot_by_input", "int64[3] i, int64 d, float[2] v", "y = OneHot(i, d, v)", {"four": {"i": ints(1, 3, -2), "d": np.array(4)}}, "float[3,4] y"),
    *runs("reduce_axes_by_input", "float[3,4,5] x, int64[2] a", "y = ReduceSum<keepdims=0>(x, a)",
          {"ends": {"a": ints(0, 2)}, "negative": {"a": ints(-2, 0)}}, whole=True),
    *runs("reduce_axes_kept_by_input", "float[3,4,5] x, int64[1] a", "y = ReduceMean(x, a)",
          {"middle": {"a": ints(1)}, "last": {"a": ints(-1)}}, opset=18, level=ulp(4)),
    *runs("log_sum_exp_axes_by_input", "float[3,4,5] x, int64[1] a", "y = ReduceLogSumExp<keepdims=0>(x, a)",
          {"middle": {"a": ints(1)}}, opset=18, level=ulp(8)),
    *runs("axes_given_but_none", "float[3,4] x, int64[0] a", "y = ReduceSum(x, a)", {"all": {}}, whole=True),
]  # fmt: skip

TIED = [
    *runs("range_tied_by_output", "int32 n", "f = Cast<to=1>(n)  r = Range(a, f, d)  s = Mul(r, r)  t = Sub(s, r)  y = Div(t, f)",
          {"four": {"n": np.int32(4)}}, "float[4] y", constants={"a": np.float32(0), "d": np.float32(1)}, level=ulp(2)),
    *runs("range_tied_by_input", "float[m] x, int64 n", "r = Range(a, n, d)  f = Cast<to=1>(r)  y = Add(f, x)", {"five": {"n": np.array(5)}},
          "float[k] y", constants={"a": np.array(0), "d": np.array(1)}, sizes=({"m": 5},)),
    *runs("expand_tied_by_reshape", "float[1,3] x, int64[2] s", "e = Expand(x, s)  a = Neg(e)  y = Reshape(a, t)", {"four": {"s": ints(4, 3)}},
          "float[u,v] y", constants={"t": ints(2, 6)}),
    *runs("fill_tied_by_product", "int64[2] s", "c = ConstantOfShape(s)  y = Reshape(c, t)", {"both": {"s": ints(4, 3)}}, "float[u,v] y",
          constants={"t": ints(2, 6)}),
    *runs("moved_sizes_are_one", "int64[4] s", "n, c, h = Split<axis=0>(s, l)  g = Concat<axis=0>(h, k)  e = Expand(o, g)  z = Concat<axis=0>(n, h)  "
          "f = ConstantOfShape(z)  i = Shape(e)  y = Concat<axis=0>(i, h)  w = Expand(f, z)",
          {"some": {"s": ints(2, 1, 3, 4)}}, "int64[5] y, float[2,3,4] w", constants={"l": ints(1, 1, 2), "k": ints(5), "o": np.ones((1, 1, 1), np.float32)}),
    *runs("loop_rows_tied_by_output", "float[3] x, int64 m",
          "y, z = Loop(m, , x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w, float[3] s) "
          "{ h = Identity(g)  w = Neg(v)  s = Abs(v) }>  u = Cast<to=11>(z)", {"two": {"m": np.array(2)}}, "float[3] y, double[2,3] u", oracle="onnxruntime"),
    *runs("loop_growth_tied_by_output", "float[2] x, int64 m",
          "z = Loop(m, , x) <body = b (int64 i, bool g, float[l] v) => (bool h, float[o] w) { h = Identity(g)  w = Concat<axis=0>(v, x) }>  y = Neg(z)",
          {"three": {"m": np.array(3)}}, "float[8] y", oracle="onnxruntime"),
]  # fmt: skip

ARITHMETIC = [
    case("max_of_three_shapes", "float[n,3] x, float[m,2] z", "s = Shape(x)  t = Shape(z)  u = Max(s, t, k)  v = Min(u)  y = Max(k, k, v)", "int64[2] y",
         constants={"k": ints(2, 2)}, sizes=({"n": 1, "m": 1}, {"n": 3, "m": 5}), level=EXACT),
    case("reduce_no_axes_of_shape", "float[n,3] x", "s = Shape(x)  y = ReduceMax<keepdims=0,noop_with_empty_axes=1>(s)", "int64[2] y",
         opset=18, sizes=({"n": 1}, {"n": 3}), level=EXACT, oracle="onnxruntime"),
    case("quotients_of_large_integers", "int64[3] x", "q = Div(k, d)  y = Add(q, x)", "int64[3] y", level=EXACT,
         constants={"k": ints(2**62 + 1, -(2**62) - 1, 2**62 + 1), "d": ints(3, 3, -1)}),
]  # fmt: skip

CASES = [*RESHAPE, *WINDOWS, *OTHERS, *TIED, *ARITHMETIC]
