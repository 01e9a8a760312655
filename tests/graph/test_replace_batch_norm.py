from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from graphcase import apply, parse

from ingot.graph.pipeline import OPTIMIZE, optimize
from ingot.graph.rules import replace_batch_norm
from ingot.testing import CLOSE, assert_close, lengths, reference

RNG = np.random.default_rng(4)
ONE, ZERO = np.ones(3, np.float32), np.zeros(3, np.float32)
GIVEN = {name: np.abs(RNG.standard_normal(3)).astype(np.float32) + 0.5 for name in "stmv"}
SHIFTS = {"s": ONE, "t": GIVEN["t"], "m": GIVEN["m"], "v": ONE}
SCALES = {"s": GIVEN["s"], "t": ZERO, "m": ZERO, "v": GIVEN["v"]}
NORM = "BatchNormalization<epsilon = 0.0>({}, s, t, m, v)"


def text(body: str, x: str = "float[2, 3, 4]") -> str:
    return f"g ({x} x, float[3] s, float[3] t, float[3] m, float[3] v) => (float[A, B, C] y) {{ {body} }}"


@pytest.mark.parametrize(
    ("constants", "left"),
    [
        (SHIFTS, ["Add"]),
        (SCALES, ["Mul"]),
        ({"s": ONE, "t": ZERO, "m": ZERO, "v": ONE}, []),
    ],
)
def test_one_operator(constants: dict[str, np.ndarray], left: list[str]) -> None:
    got = apply(
        replace_batch_norm, text(f"r = Relu(x) n = {NORM.format('r')} y = Neg(n)"), constants, level=CLOSE
    )
    assert (got.fired, got.ops) == (1, ["Relu", *left, "Neg"])


def test_between_transposes() -> None:
    """Of x [N, L, C], whose features a BatchNormalization wants on axis 1: all three go into the product before them."""
    body = f"p = MatMul(x, w) a = Transpose<perm = [0, 2, 1]>(p) n = {NORM.format('a')} r = Relu(n) y = Transpose<perm = [0, 2, 1]>(r)"
    whole = text(body, "float[N, L, 5]").replace("float[3] s", "float[5, 3] w, float[3] s")
    constants = GIVEN | {"w": RNG.standard_normal((5, 3)).astype(np.float32)}
    got = apply(replace_batch_norm, whole, constants, level=CLOSE)
    assert got.ops == ["MatMul", "Transpose", "Mul", "Add", "Relu", "Transpose"]

    model = parse(whole, constants)
    feed = {"x": RNG.standard_normal((2, 4, 5)).astype(np.float32)}
    before = reference(ir.to_proto(model), feed)[0]
    optimize(model, rules=OPTIMIZE)
    assert [node.op_type for node in model.graph] == ["MatMul", "Add", "Relu"]
    after = ir.to_proto(model)
    assert_close(reference(after, feed)[0], before, CLOSE, reduction=lengths(after)["reduction"])


@pytest.mark.parametrize(
    ("body", "constants", "reason"),
    [
        (f"y = {NORM.format('x')}", GIVEN, "two operators would do what one does"),
        (f"a = Relu(x) y = {NORM.format('a')}", GIVEN | {"s": ONE, "t": ZERO, "m": ZERO, "v": ONE}, None),
        (f"k = Neg(s) y = {NORM.format('x').replace('s,', 'k,')}", GIVEN, "its statistics are not constants of one number a channel"),
        (f"y = {NORM.format('x')}", SCALES | {"v": ZERO}, "its scale is not finite"),
        (f"y = {NORM.format('x')}", SCALES | {"s": 3e38 * ONE, "v": 1e-10 * ONE}, "a constant would leave the range of its dtype"),
        ("y = BatchNormalization<training_mode = 1>(x, s, t, m, v)", SHIFTS, "it is in training mode"),
    ],
)  # fmt: skip
def test_refuses(body: str, constants: dict[str, np.ndarray], reason: str | None) -> None:
    got = apply(replace_batch_norm, text(body), constants, run=False)
    assert (got.fired, got.refused) == ((0, [reason]) if reason else (1, []))


def test_refuses_halves_and_unknown_channels() -> None:
    halves = text(f"y = {NORM.format('x')}").replace("float[", "float16[")
    got = apply(replace_batch_norm, halves, {k: v.astype(np.float16) for k, v in SHIFTS.items()})
    assert got.refused == ["its channels are not known, or it is not of floats"]
    got = apply(
        replace_batch_norm,
        text(f"y = {NORM.format('x')}", "float[2, C, 4]"),
        SHIFTS,
        infer=False,
        symbols={"C": 3},
    )
    assert got.refused == ["its channels are not known, or it is not of floats"]
