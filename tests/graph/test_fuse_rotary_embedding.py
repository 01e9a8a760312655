from __future__ import annotations

import numpy as np
import pytest
from graphcase import apply

from ingot.graph.rules import fuse_rotary_embedding
from ingot.testing import CLOSE

ANGLES = np.linspace(0, 3, 15, dtype=np.float32).reshape(1, 1, 5, 3)
CONSTANTS = {
    "c": np.cos(np.concatenate([ANGLES, ANGLES], -1)),
    "s": np.sin(np.concatenate([ANGLES, ANGLES], -1)),
    "odd": np.cos(np.concatenate([ANGLES, 2 * ANGLES], -1)),
}
ROTATE = "h, k = Split<axis = 3>(x, half) n = Neg(k) t = Concat<axis = -1>(n, h) p = Mul(x, c) q = Mul(t, s) y = Add(p, q)"
WAVES = "j = Concat<axis = -1>(a, a) c0 = Cos(j) s0 = Sin(j) c = Unsqueeze(c0, one) s = Unsqueeze(s0, one)"


def text(
    body: str,
    batch: object = 2,
    given: str = "float[1, 1, 5, 6] c, float[1, 1, 5, 6] s, float[1, 1, 5, 6] odd",
) -> str:
    return f"g (float[{batch}, 4, 5, 6] x, {given}) => (float[{batch}, 4, 5, 6] y) <int64[2] half = {{3, 3}}, int64[1] one = {{1}}> {{ {body} }}"


def test_constant_angles() -> None:
    got = apply(fuse_rotary_embedding, text(ROTATE), CONSTANTS, level=CLOSE)
    assert (got.fired, got.ops) == (1, ["RotaryEmbedding"])
    assert got.model.opset_imports[""] == 23


def test_computed_angles() -> None:
    got = apply(
        fuse_rotary_embedding,
        text(f"{WAVES} {ROTATE}", "N", "float[N, 5, 3] a"),
        level=CLOSE,
        symbols={"N": 2},
    )
    assert got.fired == 1
    assert got.ops[-1] == "RotaryEmbedding"


def test_refuses_angles_of_another_length() -> None:
    got = apply(fuse_rotary_embedding, text(f"{WAVES} {ROTATE}", 2, "float[2, 1, 3] a"))
    assert got.refused == ["its angles are not known to be twice those of a half, for this batch"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ROTATE.replace("Mul(x, c)", "Mul(x, odd)"), "its angles are not known to be twice those of a half, for this batch"),
        (ROTATE.replace("y = Add(p, q)", "z = Add(p, q) y = Add(z, t)"), "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, reason: str) -> None:
    got = apply(fuse_rotary_embedding, text(body), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
