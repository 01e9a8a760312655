from __future__ import annotations

import numpy as np
from graphcase import apply

from ingot.graph.rules import deduplicate_initializers

TEXT = """g (float[64] x, {kind}[{n}] a, {kind}[{n}] b) => (float[64] y)
{{ u = Gather(a, i) v = Gather(b, i) p = Cast<to = 1>(u) q = Cast<to = 1>(v) s = Add(x, p) y = Add(s, q) }}"""
INDEX = np.arange(64)


def fire(a: np.ndarray, b: np.ndarray) -> int:
    kind = {np.float32: "float", np.int32: "int32"}[a.dtype.type]
    text = TEXT.format(kind=kind, n=a.size).replace("float[64] x,", "float[64] x, int64[64] i,")
    return apply(deduplicate_initializers, text, {"a": a, "b": b, "i": INDEX}).fired


def test_small_and_large() -> None:
    rng = np.random.default_rng(0)
    for size in (64, 100_000):
        a = rng.standard_normal(size).astype(np.float32)
        assert fire(a, a.copy()) == 1
        for index in (0, size // 2 + 1, size - 1):
            b = a.copy()
            b[index] += 1
            assert fire(a, b) == 0


def test_bytes_decide() -> None:
    zero = np.zeros(64, np.float32)
    assert fire(zero, -zero) == 0
    nan = np.full(64, np.nan, np.float32)
    assert fire(nan, nan.copy()) == 1


def test_dtype_and_shape_differ() -> None:
    got = apply(
        deduplicate_initializers,
        """g (float[2] x) => (float[2] y) <float[2] a = {0, 0}, float[1, 2] b = {0, 0}, int32[2] c = {0, 0}>
        { s = Add(x, a) t = Add(s, b) u = Cast<to = 1>(c) v = Add(t, u) w = Squeeze(v) y = Identity(w) }""",
    )
    assert got.fired == 0


def test_keeps_outputs() -> None:
    got = apply(
        deduplicate_initializers,
        "g (float[2] x) => (float[2] y, float[2] a) <float[2] a = {1, 2}, float[2] b = {1, 2}> { y = Add(x, b) }",
        run=False,
    )
    assert got.fired == 0
