"""Cases of types of storage in operators of every family: computed with as float32 or as bytes, rounded once an operator."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from case import Case, case

from ingot.testing import EXACT, REDUCED, Array, Level, ulp

NEWEST = 25
NEAR = ulp(1)
BF16 = ml_dtypes.bfloat16
BYTES = (
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "float4e2m1",
    "int4",
    "uint4",
    "int2",
    "uint2",
)


def brain(name: str, inputs: str, body: str, outputs: str = "bfloat16[] y", **how: Any) -> Case:
    return case(f"bfloat16_{name}", inputs, body, outputs, **{"opset": NEWEST, "level": EXACT} | how)


def rounded(name: str, inputs: str, body: str, wanted: Any, level: Level = NEAR, **feed: Array) -> Case:
    """A case whose right result is that of NumPy in float32, rounded."""
    feed = {k: v.astype(BF16) for k, v in feed.items()}
    result = wanted(**{k: v.astype(np.float32) for k, v in feed.items()}).astype(BF16)
    return brain(name, inputs, body, feed=feed, expected=([result],), level=level)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal(shape).astype(np.float32) for shape in ((5, 24), (24, 18)))
ARITHMETIC = [
    brain("add", "bfloat16[n,33] a, bfloat16[33] b", "y = Add(a, b)", sizes=({"n": 2}, {"n": 3})),
    brain("chain", "bfloat16[40] a, bfloat16[40] b", "t = Mul(a, b)  u = Add(t, a)  v = Sub(u, b)  y = Mul(v, t)"),
    brain("shared", "bfloat16[40] a, bfloat16[40] b", "t = Mul(a, b)  y = Add(t, a)  z = Sub(t, b)", "bfloat16[] y, bfloat16[] z"),
    brain("with_constant", "bfloat16[3,7] a", "y = Add(a, c)", constants={"c": np.linspace(-1, 1, 7).astype(BF16)}),
    brain("max", "bfloat16[40] a, bfloat16[40] b", "y = Max(a, b)"),
    brain("clip", "bfloat16[40] a", "y = Clip(a, l, h)", constants={"l": np.array(-1, BF16), "h": np.array(1.5, BF16)}),
    brain("less", "bfloat16[40] a, bfloat16[40] b", "y = Less(a, b)", "bool[] y"),
    brain("where", "bool[40] c, bfloat16[40] a, bfloat16[1] b", "y = Where(c, a, b)"),
    brain("sqrt", "bfloat16[40] a", "t = Abs(a)  y = Sqrt(t)"),
    brain("fans_out_to_float", "bfloat16[40] a", "t = Add(a, a)  f = Cast<to=1>(t)  y = Mul(f, f)", "float[] y"),
    brain("subnormal", "bfloat16[4] a", "y = Identity(a)", feed={"a": np.array([1e-40, -1e-39, 0, 1], BF16)}),
]  # fmt: skip
SUMS = [
    rounded("matmul", "bfloat16[5,24] a, bfloat16[24,18] b", "y = MatMul(a, b)", lambda a, b: a @ b, a=A, b=B),
    rounded("matmul_then_add", "bfloat16[5,24] a, bfloat16[24,18] b, bfloat16[18] c", "t = MatMul(a, b)  y = Add(t, c)",
            lambda a, b, c: (a @ b).astype(BF16).astype(np.float32) + c, a=A, b=B, c=B[0]),
    rounded("matmul_scaled", "bfloat16[5,24] a, bfloat16[24,18] b", "t = Add(a, a)  y = MatMul(t, b)", lambda a, b: 2 * a @ b, a=A, b=B),
    rounded("reduce", "bfloat16[5,24] a", "i = Constant<value_ints=[1]>()  y = ReduceSum<keepdims=0>(a, i)", lambda a: a.sum(1), a=A),
    rounded("softmax", "bfloat16[5,24] a", "y = Softmax(a)", lambda a: softmax(a), a=A),
    brain("reduce_max", "bfloat16[5,24] a", "y = ReduceMax<keepdims=0>(a, i)", constants={"i": np.array([0])}),
    brain("gemm_constant", "bfloat16[5,24] a", "y = MatMul(a, b)", feed={"a": A.astype(BF16)}, constants={"b": B.astype(BF16)}, level=ulp(1),
          expected=([(A.astype(BF16).astype(np.float32) @ B.astype(BF16).astype(np.float32)).astype(BF16)],)),
    brain("conv", "bfloat16[1,3,8,8] x", "y = Conv<pads=[1,1,1,1]>(x, w)", feed={"x": (np.arange(192).reshape(1, 3, 8, 8) % 5).astype(BF16)},
          constants={"w": (np.arange(16 * 27).reshape(16, 3, 3, 3) % 3 - 1).astype(BF16)}),
    rounded("attention", "bfloat16[5,24] q, bfloat16[24,18] k, bfloat16[18,24] v", "s = MatMul(q, k)  p = Softmax(s)  y = MatMul(p, v)",
            lambda q, k, v: softmax((q @ k).astype(BF16).astype(np.float32)).astype(BF16).astype(np.float32) @ v, REDUCED, q=A, k=B, v=B.T),
]  # fmt: skip
MOVED = [
    brain("transpose", "bfloat16[33,18] a", "y = Transpose(a)"),
    brain("concat", "bfloat16[3,7] a, bfloat16[3,5] b", "t = Add(a, a)  y = Concat<axis=1>(t, b)"),
    brain("pad", "bfloat16[3,7] a", "y = Pad(a, p)", constants={"p": np.array([1, 0, 0, 2])}),
    brain("gather", "bfloat16[9,5] a, int64[3] i", "y = Gather(a, i)", feed={"i": np.array([8, -9, 3])}),
    brain("if", "bfloat16[7] a, bool c",
          "y = If(c) <then_branch = t () => (bfloat16[7] u) { u = Add(a, a) }, else_branch = e () => (bfloat16[7] v) { v = Neg(a) }>",
          feed={"c": np.array(True)}),
    *(
        case(f"{name}_moved", f"{name}[3,17] x", "t = Transpose(x)  y = Concat<axis=1>(t, t)", f"{name}[] y", opset=NEWEST, level=EXACT)
        for name in BYTES
    ),
    *(case(f"{name}_same", f"{name}[40] x", "y = Identity(x)", f"{name}[] y", opset=NEWEST, level=EXACT) for name in BYTES),
    case("int4_constant", "float[3] x", "f = Cast<to=1>(c)  y = Mul(x, f)", opset=NEWEST, level=EXACT,
         constants={"c": np.array([-8, 3, 7], ml_dtypes.int4)}),
]  # fmt: skip
CASES = [*ARITHMETIC, *SUMS, *MOVED]
