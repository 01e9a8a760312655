"""Cases of `ingot.lower.loops`: trip counts and conditions, what is carried, what is stacked, and loops in loops."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import CLOSE, EXACT

TRUE, FALSE = np.array(True), np.array(False)
SUM = ("y, z = Loop(m, c, x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w, float[3] s) "
       "{ h = Identity(g)  f = Cast<to=1>(i)  a = Add(v, f)  w = Mul(a, a)  s = Neg(w) }>")  # fmt: skip


def trips(
    name: str, inputs: str, body: str, outputs: str, counts: tuple[int, ...] = (0, 1, 4), **how: Any
) -> list[Case]:
    """The case with the trip count `m` constant."""
    return [
        case(
            f"{name}_{n}",
            inputs,
            body,
            outputs,
            **{**how, "constants": {"m": np.int64(n), "c": TRUE, **how.get("constants", {})}},
        )
        for n in counts
    ]


CASES = [
    *trips("loop", "float[3] x", SUM, "float[3] y, float[n,3] z", whole=True, oracle="onnxruntime", level=EXACT),
    *(
        case(f"loop_run_time_{n}", "float[3] x, int64 m, bool c", SUM, f"float[3] y, float[{n},3] z",
             feed={"m": np.int64(n), "c": TRUE}, whole=True, oracle="onnxruntime", level=EXACT)
        for n in (0, 1, 3)
    ),
    case("loop_that_does_not_start", "float[3] x, int64 m, bool c", SUM, "float[3] y, float[0,3] z", feed={"m": np.int64(2), "c": FALSE},
         oracle="onnxruntime", level=EXACT),
    *trips("loop_without_rows", "float[2,3] x", "y = Loop(m, c, x) <body = b (int64 i, bool g, float[2,3] v) => (bool h, float[2,3] w) "
           "{ h = Identity(g)  w = MatMul(v, k) }>", "float[2,3] y", constants={"k": weights("k", 3, 3, whole=True)}, whole=True, level=EXACT),
    *(
        case(f"loop_until_{limit}", "float[1] x, float[1] t",
             "y, n = Loop( , c, x, k) <body = b (int64 i, bool g, float[1] v, int64 a) => (bool h, float[1] w, int64 d) "
             "{ w = Add(v, v)  d = Add(a, o)  l = Less(w, t)  h = Squeeze(l) }>", "float[1] y, int64 n",
             constants={"c": TRUE, "k": np.int64(0), "o": np.int64(1)}, feed={"x": np.ones(1, np.float32), "t": np.full(1, limit, np.float32)},
             oracle="onnxruntime", level=EXACT)
        for limit in (1, 100)
    ),
    case("loop_until_with_rows", "float[1] x",
         "y, z = Loop(m, c, x) <body = b (int64 i, bool g, float[1] v) => (bool h, float[1] w, float[1] s) "
         "{ w = Add(v, v)  s = Neg(v)  l = Less(w, t)  h = Squeeze(l) }>", "float[1] y, float[n,1] z",
         constants={"t": np.full(1, 9, np.float32), "m": np.int64(6), "c": TRUE}, feed={"x": np.ones(1, np.float32)}, oracle="onnxruntime", level=EXACT),
    *trips("loop_swap", "float[3] x, float[3] z", "y, u = Loop(m, c, x, z) <body = b (int64 i, bool g, float[3] v, float[3] a) => "
           "(bool h, float[3] w, float[3] d) { h = Identity(g)  w = Identity(a)  d = Identity(v) }>", "float[3] y, float[3] u", level=EXACT,
           oracle="onnxruntime"),
    *trips("loop_fibonacci", "float[3] x, float[3] z", "y, u, r = Loop(m, c, x, z) <body = b (int64 i, bool g, float[3] v, float[3] a) => "
           "(bool h, float[3] w, float[3] d, float[3] p) { h = Identity(g)  w = Identity(a)  d = Add(a, v)  p = Identity(v) }>",
           "float[3] y, float[3] u, float[n,3] r", whole=True, level=EXACT, oracle="onnxruntime"),
    *trips("loop_that_keeps_a_value", "float[3] x, float[3] z", "y, u = Loop(m, c, x, z) <body = b (int64 i, bool g, float[3] v, float[3] a) => "
           "(bool h, float[3] w, float[3] d) { h = Identity(g)  w = Add(v, a)  d = Identity(a) }>", "float[3] y, float[3] u", whole=True, level=EXACT,
           oracle="onnxruntime"),
    *trips("loop_slices", "float[8,2] x", "y, n = Loop(m, c, o, k) <body = b (int64 i, bool g, float[2] v, int64[1] p) => (bool h, float[2] w, int64[1] q) "
           "{ h = Identity(g)  q = Add(p, e)  s = Slice(x, p, q, e0)  r = ReduceSum<keepdims=0>(s, e0)  w = Add(v, r) }>", "float[2] y, int64[1] n",
           constants={"o": np.zeros(2, np.float32), "k": np.array([1]), "e": np.array([2]), "e0": np.array([0])}, counts=(0, 1, 3), whole=True,
           level=EXACT, oracle="onnxruntime"),
    *trips("loop_growing", "float[2,n] x", "y = Loop(m, c, x) <body = b (int64 i, bool g, float[2,k] v) => (bool h, float[2,l] w) "
           "{ h = Identity(g)  f = Cast<to=1>(i)  a = Expand(f, e)  u = Concat<axis=1>(v, a)  w = Neg(u) }>", "float[2,o] y",
           constants={"e": np.array([2, 2])}, sizes=({"n": 1}, {"n": 3}), level=EXACT, oracle="onnxruntime"),
    *trips("loop_cache", "float[2,4] x, float[n,4] p",
           "y, s = Loop(m, c, x, p) <body = b (int64 i, bool g, float[2,4] v, float[k,4] a) => (bool h, float[2,4] w, float[l,4] d) "
           "{ h = Identity(g)  q = MatMul(v, u)  d = Concat<axis=0>(a, q)  t = Transpose(d)  e = MatMul(v, t)  r = Softmax<axis=-1>(e)  w = MatMul(r, d) }>",
           "float[2,4] y, float[o,4] s", constants={"u": weights("u", 4, 4) / np.float32(4)}, sizes=({"n": 1}, {"n": 3}), reduction=64, level=CLOSE,
           scale=1.0, oracle="onnxruntime"),
    *trips("loop_nested", "float[3] x", "y, z = Loop(m, c, x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w, float[k,3] s) "
           "{ h = Identity(g)  w, s = Loop(m2, c, v) <body = bb (int64 ii, bool gg, float[3] vv) => (bool hh, float[3] ww, float[3] ss) "
           "{ hh = Identity(gg)  j = Add(i, ii)  f = Cast<to=1>(j)  ww = Add(vv, f)  ss = Add(ww, v) }> }>", "float[3] y, float[n,l,3] z",
           counts=(1, 4), constants={"m2": np.int64(3)}, whole=True, level=EXACT, oracle="onnxruntime"),
    *(
        case(f"loop_in_if_{label}", "bool f, float[3] x",
             "y = If(f) <then_branch = t () => (float[3] p) { p = Loop(m, c, x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w) "
             "{ h = Identity(g)  w = Add(v, x) }> }, else_branch = e () => (float[3] q) { q = Neg(x) }>",
             constants={"m": np.int64(3), "c": TRUE}, feed={"f": value}, whole=True, level=EXACT, oracle="onnxruntime")
        for label, value in (("yes", TRUE), ("no", FALSE))
    ),
    *trips("loop_of_if", "float[3] x", "y = Loop(m, c, x) <body = b (int64 i, bool g, float[3] v) => (bool h, float[3] w) "
           "{ h = Identity(g)  r = Mod(i, k)  f = Cast<to=9>(r)  w = If(f) <then_branch = t () => (float[3] p) { p = Add(v, x) }, "
           "else_branch = e () => (float[3] q) { q = Neg(v) }> }>", "float[3] y", constants={"k": np.int64(2)}, whole=True, level=EXACT,
           oracle="onnxruntime"),
    *trips("loop_of_gather", "float[5,2] x", "z = Loop(m, c) <body = b (int64 i, bool g) => (bool h, float[2] s) "
           "{ h = Identity(g)  r = Gather<axis=0>(x, i)  s = Relu(r) }>", "float[n,2] z", level=EXACT, oracle="onnxruntime"),
    case("loop_of_batch", "float[n,2] x, float[2] a",
         "k = Shape<start=0,end=1>(x)  m = Squeeze(k)  y, z = Loop(m, c, a) <body = b (int64 i, bool g, float[2] v) => (bool h, float[2] w, float[2] s) "
         "{ h = Identity(g)  r = Gather<axis=0>(x, i)  w = Add(v, r)  s = Identity(w) }>", "float[2] y, float[n,2] z",
         constants={"c": TRUE}, sizes=({"n": 1}, {"n": 4}), whole=True, level=EXACT, oracle="onnxruntime"),
    *trips("loop_over_sequence", "float[3] x", "e = SequenceEmpty()  q = Loop(m, c, e) <body = b (int64 i, bool g, seq(float[3]) v) => (bool h, seq(float[3]) w) "
           "{ h = Identity(g)  f = Cast<to=1>(i)  a = Add(x, f)  w = SequenceInsert(v, a) }>  y = ConcatFromSequence<axis=0,new_axis=1>(q)",
           "float[k,3] y", counts=(1, 3), level=EXACT, oracle="onnxruntime"),
    case("scan_moved", "float[2] s, float[5,2] x", "y, z = Scan<num_scan_inputs=1, body = b (float[2] v, float[2] e) => (float[2] w, float[4] r) "
         "{ w = Identity(e)  r = Concat<axis=0>(v, e) }>(s, x)", "float[2] y, float[5,4] z", level=EXACT, oracle="onnxruntime"),
    case("scan", "float[2] s, float[5,2] x", "y, z = Scan<num_scan_inputs=1, body = b (float[2] v, float[2] e) => (float[2] w, float[2] r) "
         "{ w = Add(v, e)  r = Mul(w, e) }>(s, x)", "float[2] y, float[5,2] z", whole=True, level=EXACT, oracle="onnxruntime"),
    case("scan_symbolic", "float[2] s, float[n,2] x", "y, z = Scan<num_scan_inputs=1, body = b (float[2] v, float[2] e) => (float[2] w, float[2] r) "
         "{ w = Add(v, e)  r = Mul(w, e) }>(s, x)", "float[2] y, float[n,2] z", sizes=({"n": 1}, {"n": 6}), whole=True, level=EXACT, oracle="onnxruntime"),
    case("scan_axes", "float[2] s, float[2,5] x, float[3,5,2] u",
         "y, z, r = Scan<num_scan_inputs=2, scan_input_axes=[1,-2], scan_output_axes=[1,-1], body = b (float[2] v, float[2] e, float[3,2] f) => "
         "(float[2] w, float[2] p, float[3,2] q) { w = Add(v, e)  p = Neg(w)  q = Mul(f, w) }>(s, x, u)", "float[2] y, float[2,5] z, float[3,2,5] r",
         whole=True, level=EXACT, oracle="onnxruntime"),
    case("scan_backward", "float[2] s, float[4,2] x, float[4,2] u",
         "y, z, r = Scan<num_scan_inputs=2, scan_input_directions=[1,0], scan_output_directions=[0,1], body = b (float[2] v, float[2] e, float[2] f) => "
         "(float[2] w, float[2] p, float[2] q) { w = Add(v, e)  p = Sub(w, f)  q = Mul(f, w) }>(s, x, u)", "float[2] y, float[4,2] z, float[4,2] r",
         whole=True, level=EXACT, oracle="onnxruntime"),
    case("scan_without_state", "float[4,2] x", "z = Scan<num_scan_inputs=1, body = b (float[2] e) => (float[2] r) { r = Relu(e) }>(x)", "float[4,2] z",
         level=EXACT, oracle="onnxruntime"),
    case("scan_states", "float[2] s, float t, float[4,2] x", "y, u, z = Scan<num_scan_inputs=1, body = b (float[2] v, float a, float[2] e) => "
         "(float[2] w, float d, float r) { w = Add(v, e)  g = ReduceSum<keepdims=0>(w)  d = Add(a, g)  r = Neg(a) }>(s, t, x)",
         "float[2] y, float u, float[4] z", whole=True, level=EXACT, oracle="onnxruntime"),
    case("scan_batched", "float[3,2] s, float[3,4,2] x", "y, z = Scan<num_scan_inputs=1, directions=[1], body = b (float[2] v, float[2] e) => (float[2] w, float[2] r) "
         "{ w = Add(v, e)  r = Mul(w, e) }>( , s, x)", "float[3,2] y, float[3,4,2] z", opset=8, whole=True, level=EXACT, oracle="onnxruntime"),
]  # fmt: skip
