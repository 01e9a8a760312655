from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graphcase import apply, parse

from ingot.graph.pipeline import OPTIMIZE, optimize
from ingot.graph.rules import fuse_interleaved_rotary
from ingot.testing import CLOSE, assert_close, lengths, reference

ANGLES = np.linspace(0, 3, 20, dtype=np.float32).reshape(5, 4)
TWICE = np.repeat(ANGLES, 2, axis=-1).reshape(1, 1, 5, 8)
CONSTANTS = {"c2": np.cos(TWICE), "s2": np.sin(TWICE), "odd": np.sin(np.tile(ANGLES, 2)).reshape(1, 1, 5, 8)}
SLICES = "e = Slice(x, zero, all, last, two) o = Slice(x, one, all, last, two)"
PAIRS = "r = Reshape(x, split) "
SPLIT = PAIRS + "a, b = Split<axis = -1>(r, halves) e = Squeeze(a, last) o = Squeeze(b, last)"
GATHER = PAIRS + "e = Gather<axis = -1>(r, first) o = Gather<axis = 4>(r, second)"
CUTS = (
    PAIRS
    + "a = Slice(r, zero, one, last) b = Slice(r, one, two, last) e = Squeeze(a, last) o = Squeeze(b, last)"
)
STACK = "u = Unsqueeze({}, last) v = Unsqueeze({}, last) k = Concat<axis = -1>(u, v) {} = Reshape(k, whole)"
TURN = "p = Mul(e, c) q = Mul(o, s) d = Sub(p, q) t = Mul(e, s) w = Mul(o, c) m = Add(t, w) " + STACK.format(
    "d", "m", "y"
)
SUM = "n = Neg(o) " + STACK.format("n", "e", "h") + " p = Mul(x, c2) q = Mul(h, s2) y = Add(p, q)"


def text(body: str, x: str = "2, 3, 5, 8", wave: str = "1, 1, 5, 4") -> str:
    return f"""g (float[{x}] x, float[{wave}] c, float[{wave}] s, float[1, 1, 5, 8] c2, float[1, 1, 5, 8] s2, float[1, 1, 5, 8] odd)
    => (float[{x}] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] all = {{9223372036854775807}}, int64[1] last = {{-1}},
    int64[2] halves = {{1, 1}}, int64 first = {{0}}, int64 second = {{1}}, int64[5] split = {{0, 0, 0, 4, 2}}, int64[4] whole = {{0, 0, 0, 8}}> {{ {body} }}"""


@pytest.mark.parametrize("parts", [SLICES, SPLIT, GATHER, CUTS])
@pytest.mark.parametrize(
    ("x", "wave", "length"),
    [
        ("2, 3, 5, 8", "1, 1, 5, 4", 2),
        ("1, 3, 5, 8", "5, 4", 2),
        ("2, 3, 5, 8", "1, 5, 4", 2),
        ("2, 5, 3, 8", "1, 5, 1, 4", 1),
        ("1, 5, 3, 8", "5, 1, 4", 1),
        ("N, L, 3, 8", "1, L, 1, 4", 1),
        ("N, L, 3, 8", "N, L, 1, 4", 1),
        ("1, 1, 3, 8", "1, 4", 1),
    ],
)
def test_pairs(parts: str, x: str, wave: str, length: int) -> None:
    got = apply(
        fuse_interleaved_rotary, text(f"{parts} {TURN}", x, wave), level=CLOSE, symbols={"N": 2, "L": 5}
    )
    turned = got.node("RotaryEmbedding")
    assert (got.fired, turned.attributes.get_int("interleaved")) == (1, 1)
    assert turned.attributes.get_int("num_heads") == (3 if length == 1 else None)
    assert "Sub" not in got.ops


@pytest.mark.parametrize("parts", [SLICES, SPLIT])
def test_sums_with_a_turned_copy(parts: str) -> None:
    got = apply(fuse_interleaved_rotary, text(f"{parts} {SUM}"), CONSTANTS, level=CLOSE)
    assert got.fired == 1
    assert got.ops[-1] == "RotaryEmbedding"


@pytest.mark.parametrize("size", [8, -1])
def test_shapes_that_torch_computes(size: int) -> None:
    """As torch.onnx writes x.flatten(3) of symbolic sizes."""
    flat = "z = Shape(k) f = Slice(z, zero, three, zero) j = Concat<axis = 0>(f, width) y = Reshape(k, j)"
    whole = text(f"{SLICES} {TURN.replace('y = Reshape(k, whole)', flat)}", "N, L, 3, 8", "1, L, 1, 4")
    model = parse(
        whole.replace(
            "<int64[1] zero", f"<int64[1] three = {{3}}, int64[1] width = {{{size}}}, int64[1] zero"
        )
    )
    rng = np.random.default_rng(1)
    feed = {
        "x": rng.standard_normal((2, 5, 3, 8)),
        "c": np.cos(ANGLES)[None, :, None],
        "s": np.sin(ANGLES)[None, :, None],
    }
    feed = {name: array.astype(np.float32) for name, array in feed.items()} | CONSTANTS
    before = reference(ir.to_proto(model), feed)[0]
    optimize(model, rules=OPTIMIZE)
    ops = [node.op_type for node in model.graph]
    assert "RotaryEmbedding" in ops
    assert not {"Mul", "Slice", "Unsqueeze"} & set(ops)
    after = ir.to_proto(model)
    assert_close(reference(after, feed)[0], before, CLOSE, reduction=lengths(after)["reduction"])


@pytest.mark.parametrize(
    ("body", "shapes", "reason"),
    [
        (f"{SLICES} {TURN}", ("2, 3, 5, 8", "1, 3, 5, 4"), "its angles do not lie along the length alone"),
        (f"{SLICES} {TURN}", ("2, 3, 5, 8", "1, 1, 1, 4"), "its angles do not lie along the length alone"),
        (f"{SLICES.replace('zero, all', 'one, all')} {TURN}", ("2, 3, 5, 8", "1, 1, 5, 4"), "its pairs are not those of one value"),
        (f"{SLICES} {SUM.replace('Mul(h, s2)', 'Mul(h, odd)')}", ("2, 3, 5, 8", "1, 1, 5, 4"), "its angles are not constants that come twice"),
        (f"{SLICES} {TURN.replace('y = Reshape(k, whole)', 'g = Reshape(k, whole) y = Add(g, g) g2 = Neg(k)')}", ("2, 3, 5, 8", "1, 1, 5, 4"), "a part of it is used elsewhere"),
    ],
)  # fmt: skip
def test_refuses(body: str, shapes: tuple[str, str], reason: str) -> None:
    got = apply(fuse_interleaved_rotary, text(body, *shapes), CONSTANTS)
    assert (got.fired, got.refused) == (0, [reason])
