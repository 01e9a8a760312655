"""Cases of `ingot.lower.control`: both branches of an If."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import EXACT, ulp

YES, NO = np.array(True), np.array(False)


def branches(name: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any) -> list[Case]:
    """The case twice, with the input `c` true and false."""
    return [
        case(
            f"if_{name}_{label}",
            f"bool c, {inputs}",
            body,
            outputs,
            feed={"c": value},
            **{"level": ulp(0), **how},
        )
        for label, value in (("yes", YES), ("no", NO))
    ]


CASES = [
    *branches("simple", "float[2,9] x", "y = If(c) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = Neg(x) }>"),
    *branches("two_outputs", "float[2,9] x",
              "y, z = If(c) <then_branch = t () => (float[] a, float[] d) { a = Relu(x)  d = Abs(x) }, "
              "else_branch = e () => (float[] b, float[] f) { b = Neg(x)  f = Identity(x) }>", "float[] y, float[] z"),
    *branches("passing_through", "float[2,9] x",
              "y = If(c) <then_branch = t () => (float[] a) { a = Identity(x) }, else_branch = e () => (float[] b) { b = Identity(x) }>"),
    *branches("constant", "float[2,9] x",
              "r = Relu(x)  y = If(c) <then_branch = t () => (float[] a) { a = Add(r, k) }, else_branch = e () => (float[] b) { b = Mul(r, k) }>",
              constants={"k": np.float32(3)}, level=EXACT),
    *branches("used_after", "float[2,9] x",
              "i = If(c) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = Neg(x) }>  y = Add(i, x)"),
    *branches("nested", "float[2,9] x, bool d",
              "y = If(c) <then_branch = t () => (float[] a) { a = If(d) <then_branch = tt () => (float[] p) { p = Relu(x) }, "
              "else_branch = te () => (float[] q) { q = Abs(x) }> }, else_branch = e () => (float[] b) { b = Neg(x) }>"),
    *branches("conv", "float[1,3,5,5] x",
              "y = If(c) <then_branch = t () => (float[] a) { v = Conv<strides=[2,2]>(x, w)  a = Relu(v) }, "
              "else_branch = e () => (float[] b) { b = MaxPool<kernel_shape=[3,3],strides=[2,2]>(x) }>",
              constants={"w": weights("w", 3, 3, 3, 3, whole=True)}, whole=True, oracle="onnxruntime"),
    *branches("pad_shared", "float[1,3,5,5] x",
              "y = If(c) <then_branch = t () => (float[] a) { a = Conv<strides=[2,2],pads=[1,1,1,1]>(x, w) }, "
              "else_branch = e () => (float[] b) { b = Conv<strides=[2,2],pads=[1,1,1,1]>(x, v) }>",
              constants={"w": weights("w", 3, 3, 3, 3, whole=True), "v": weights("v", 3, 3, 3, 3, whole=True)}, whole=True),
    *branches("batch", "float[n,9] x",
              "y = If(c) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = Neg(x) }>",
              sizes=({"n": 1}, {"n": 5})),
    *branches("recurrent", "float[2,1,4] x",
              "y = If(c) <then_branch = t () => (float[] a) { a, ah = GRU<hidden_size=4>(x, w, r) }, "
              "else_branch = e () => (float[] b) { b = Unsqueeze(x, k) }>",
              constants={"w": weights("w", 1, 12, 4), "r": weights("r", 1, 12, 4), "k": np.array([1])}, oracle="onnxruntime",
              level=ulp(64)),
    *branches("integers", "int64[5] x",
              "y = If(c) <then_branch = t () => (int64[] a) { a = Add(x, x) }, else_branch = e () => (int64[] b) { b = Mul(x, x) }>",
              "int64[] y", level=EXACT),
    *branches("sizes", "float[2,9] x",
              "y = If(c) <then_branch = t () => (float[2,n] a) { a = Relu(x) }, else_branch = e () => (float[2,n] b) { b = Concat<axis=1>(x, x) }>  z = Neg(y)",
              "float[2,n] y, float[2,n] z"),
    *branches("sizes_of_batch", "float[n,3] x",
              "y = If(c) <then_branch = t () => (float[m,3] a) { a = Concat<axis=0>(x, x, x) }, else_branch = e () => (float[m,3] b) { b = Neg(x) }>",
              "float[m,3] y", sizes=({"n": 1}, {"n": 4})),
    case("if_of_constant", "float[2,9] x",
         "y = If(k) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = Concat<axis=0>(x, x) }>",
         constants={"k": YES}, level=ulp(0)),
    *(
        case(f"if_of_computed_{label}", "float[3] x, float[2,9] z",
             "s = ReduceSum<keepdims=0>(x)  c = Greater(s, k)  "
             "y = If(c) <then_branch = t () => (float[] a) { a = Relu(z) }, else_branch = e () => (float[] b) { b = Neg(z) }>",
             constants={"k": np.float32(0)}, feed={"x": np.full(3, value, np.float32)}, level=ulp(0))
        for label, value in (("yes", 1), ("no", -1))
    ),
    case("if_of_rank", "float[n,9] x",
         "s = Shape(x)  r = Size(s)  c = Equal(r, k)  "
         "y = If(c) <then_branch = t () => (float[] a) { a = Relu(x) }, else_branch = e () => (float[] b) { b = Neg(x) }>",
         constants={"k": np.int64(2)}, sizes=({"n": 1}, {"n": 3}), level=ulp(0)),
]  # fmt: skip
