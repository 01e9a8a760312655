"""Cases of `ingot.lower.random`, whose numbers are those of SplitMix64 in NumPy."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from case import Case, case, weights

from ingot.testing import EXACT, Array

STEP = np.uint64(0x9E3779B97F4A7C15)


def mixed(z: Array) -> Array:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def drawn(size: int, *, seed: float, dtype: Any = np.float32) -> Array:
    """The first uniform numbers of a node's stream."""
    (key,) = struct.unpack("<I", struct.pack("<f", seed))
    counts = np.arange(1, size + 1, dtype=np.uint64) * STEP
    bits = mixed(counts + mixed(np.array([key], np.uint64)))
    kept = 53 if dtype == np.float64 else 24
    return (bits >> np.uint64(64 - kept)).astype(dtype) * dtype(2.0**-kept)


def gaussian(size: int, **how: Any) -> Array:
    u = drawn(2 * size, **how)
    one = u.dtype.type(1)
    angle = u[1::2] * u.dtype.type(2 * np.pi)
    return np.asarray(np.sqrt(-2 * np.log(one - u[::2])) * np.cos(angle))


def made(
    name: str, inputs: str, body: str, kind: str, wanted: Callable[[], Array], outputs: str = "", **how: Any
) -> Case:
    return case(
        f"random_{name}", inputs, body, outputs or f"{kind}[] y", expected=([np.asarray(wanted())],), **how
    )


P = np.abs(np.tanh(weights("p", 40))).astype(np.float32)
LOGITS = weights("logits", 2, 5)


def sampled(count: int, dtype: Any) -> Array:
    u = drawn(2 * count * 5, seed=3.0, dtype=np.float64).reshape(2, count, 5) + 2.0**-54
    return np.argmax(LOGITS[:, None].astype(np.float64) - np.log(-np.log(u)), axis=2).astype(dtype)


KEPT = drawn(40, seed=1.0) >= np.float32(0.25)
SCALED = weights("x", 40)

CASES = [
    made("uniform", "float[1] x", "y = RandomUniform<shape=[3,7],seed=2.0,low=-1.0,high=3.0>()", "float",
         lambda: drawn(21, seed=2.0).reshape(3, 7) * 4 - 1),
    made("uniform_double", "float[1] x", "y = RandomUniform<shape=[5],seed=2.0,dtype=11>()", "double",
         lambda: drawn(5, seed=2.0, dtype=np.float64), level=EXACT),
    made("uniform_half", "float[1] x", "y = RandomUniform<shape=[5],seed=2.0,dtype=10>()", "float16",
         lambda: drawn(5, seed=2.0).astype(np.float16)),
    made("uniform_scalar", "float[1] x", "y = RandomUniform<shape=[1],seed=0.5>()", "float", lambda: drawn(1, seed=0.5), level=EXACT),
    made("uniform_empty", "float[1] x", "y = RandomUniform<shape=[0,3],seed=0.5>()", "float", lambda: np.zeros((0, 3), np.float32)),
    made("uniform_like", "float[2,9] x", "y = RandomUniformLike<seed=2.0>(x)", "float", lambda: drawn(18, seed=2.0).reshape(2, 9), level=EXACT),
    made("uniform_like_integer", "int32[2,9] x", "y = RandomUniformLike<seed=2.0,dtype=1>(x)", "float",
         lambda: drawn(18, seed=2.0).reshape(2, 9), level=EXACT),
    made("uniform_like_batch", "float[n,9] x", "y = RandomUniformLike<seed=2.0>(x)", "float", lambda: drawn(18, seed=2.0).reshape(2, 9),
         level=EXACT, sizes=({"n": 2},)),
    made("normal", "float[1] x", "y = RandomNormal<shape=[4,33],seed=2.0,mean=1.0,scale=0.5>()", "float",
         lambda: gaussian(132, seed=2.0).reshape(4, 33) * np.float32(0.5) + 1, reduction=64),
    made("normal_double", "float[1] x", "y = RandomNormal<shape=[9],seed=2.0,dtype=11>()", "double",
         lambda: gaussian(9, seed=2.0, dtype=np.float64), reduction=64),
    made("normal_like", "float[33] x", "y = RandomNormalLike<seed=7.0>(x)", "float", lambda: gaussian(33, seed=7.0), reduction=64),
    made("bernoulli", "float[40] p", "y = Bernoulli<seed=1.0>(p)", "float", lambda: (drawn(40, seed=1.0) < P).astype(np.float32),
         feed={"p": P}, level=EXACT),
    made("bernoulli_bool", "float[40] p", "y = Bernoulli<seed=1.0,dtype=9>(p)", "bool", lambda: drawn(40, seed=1.0) < P, feed={"p": P}, level=EXACT),
    made("multinomial", "float[2,5] x", "y = Multinomial<seed=3.0,sample_size=9>(x)", "int32", lambda: sampled(9, np.int32), feed={"x": LOGITS},
         level=EXACT),
    made("multinomial_int64", "float[2,5] x", "y = Multinomial<seed=3.0,sample_size=2,dtype=7>(x)", "int64", lambda: sampled(2, np.int64),
         feed={"x": LOGITS}, level=EXACT),
    case("dropout_trained", "float[40] x, float r, bool t", "y, m = Dropout<seed=1>(x, r, t)", "float[] y, bool[] m",
         feed={"x": SCALED, "r": np.float32(0.25), "t": np.array(True)},
         expected=([np.where(KEPT, SCALED / np.float32(0.75), np.float32(0)), KEPT],)),
    case("dropout_untrained", "float[40] x, bool t", "y, m = Dropout<seed=1>(x, r, t)", "float[] y, bool[] m", level=EXACT,
         constants={"r": np.float32(0.25)}, feed={"t": np.array(False)}),
    case("dropout_opset10", "float[3,5] x", "y = Dropout<ratio=0.3>(x)", opset=10, oracle="onnxruntime", level=EXACT),
    case("dropout_mask", "float[3,5] x", "y, m = Dropout(x)", "float[] y, bool[] m", level=EXACT),
    case("dropout_mask_opset7", "float[3,5] x", "y, m = Dropout(x)", "float[] y, float[] m", opset=7, level=EXACT,
         feed={"x": np.ones((3, 5), np.float32)}, expected=([np.ones((3, 5), np.float32)] * 2,)),
]  # fmt: skip
