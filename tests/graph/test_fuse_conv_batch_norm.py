from __future__ import annotations

import numpy as np
import pytest
from graphcase import Outcome, apply

from ingot.graph.rules import fuse_conv_batch_norm
from ingot.testing import CLOSE

RNG = np.random.default_rng(5)
NORM = "s, t, m, v"
NORM_INPUTS = ", ".join(f"float[{{c}}] {name}" for name in "stmv")


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def statistics(channels: int) -> dict[str, np.ndarray]:
    return {
        "s": floats(channels),
        "t": floats(channels),
        "m": floats(channels),
        "v": np.abs(floats(channels)) + 0.1,
    }


def fuse(
    before: str,
    channels: int,
    arrays: dict[str, np.ndarray],
    *,
    x: str = "float[2, 4, 5, 5] x",
    tail: str = "",
    **options: object,
) -> Outcome:
    """One model: `before` gives a, BatchNormalization of it is y."""
    constants = arrays | statistics(channels)
    inputs = ", ".join(f"float{list(a.shape)} {name}" for name, a in constants.items())
    outputs = "float[A, B, C, D] y" if "Gemm" not in before and "1, 5]" not in x else "float[A, B] y"
    return apply(
        fuse_conv_batch_norm,
        f"g ({x}, {inputs}) => ({outputs}{tail and ', float[A, B, C, D] z'}) "
        f"{{ {before} y = BatchNormalization<epsilon = 0.01>(a, {NORM}) {tail} }}",
        constants,
        level=CLOSE,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("before", "channels", "shapes"),
    [
        ("a = Conv(x, w)", 6, {"w": (6, 4, 3, 3)}),
        ("a = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w, b)", 6, {"w": (6, 4, 3, 3), "b": (6,)}),
        ("a = Conv<group = 2>(x, w, b)", 6, {"w": (6, 2, 3, 3), "b": (6,)}),
        ("a = Conv<group = 4>(x, w)", 4, {"w": (4, 1, 3, 3)}),
        ("a = ConvTranspose(x, w)", 3, {"w": (4, 3, 2, 2)}),
        ("a = ConvTranspose<strides = [2, 2]>(x, w, b)", 3, {"w": (4, 3, 2, 2), "b": (3,)}),
        ("a = ConvTranspose<group = 2>(x, w, b)", 6, {"w": (4, 3, 2, 2), "b": (6,)}),
        ("a = ConvTranspose<group = 4>(x, w)", 4, {"w": (4, 1, 3, 3)}),
    ],
)
def test_convolutions(before: str, channels: int, shapes: dict[str, tuple[int, ...]]) -> None:
    got = fuse(before, channels, {name: floats(*shape) for name, shape in shapes.items()})
    assert got.fired == 1
    assert len(got.ops) == 1
    assert got.model.graph[0].outputs[0].name == "y"
    assert got.constant("w").dtype == np.float32


@pytest.mark.parametrize(
    ("before", "shapes"),
    [
        ("a = Gemm(x, w)", {"w": (4, 3)}),
        ("a = Gemm<transB = 1>(x, w, b)", {"w": (3, 4), "b": (3,)}),
        ("a = Gemm<alpha = 0.5, beta = 2.0>(x, w, b)", {"w": (4, 3), "b": (1, 3)}),
        ("a = Gemm<transA = 1>(u, w, b)", {"w": (2, 3), "b": (1,)}),
    ],
)
def test_gemm(before: str, shapes: dict[str, tuple[int, ...]]) -> None:
    got = fuse(before, 3, {k: floats(*s) for k, s in shapes.items()}, x="float[2, 4] x, float[2, 5] u")
    assert got.fired == 1
    assert got.ops == ["Gemm"]


def test_weights_are_rounded_once() -> None:
    arrays = {"w": floats(6, 4, 3, 3), "b": floats(6)}
    got = fuse("a = Conv(x, w, b)", 6, dict(arrays))
    c = {name: got.model.graph.initializers[name].const_value for name in ("s", "t", "m", "v")}
    s, t, m, v = (tensor.numpy().astype(np.float64) for tensor in c.values() if tensor is not None)
    factor = s / np.sqrt(v + np.float32(0.01).astype(np.float64))
    np.testing.assert_array_equal(
        got.constant("w"), (arrays["w"] * factor.reshape(6, 1, 1, 1)).astype(np.float32)
    )
    np.testing.assert_array_equal(got.constant("b"), ((arrays["b"] - m) * factor + t).astype(np.float32))


def test_shared_weights_are_copied() -> None:
    got = apply(
        fuse_conv_batch_norm,
        f"""g (float[1, 4, 5, 5] x, float[6, 4, 3, 3] w, {NORM_INPUTS.format(c=6)}) => (float[A, B, C, D] y, float[A, B, C, D] z)
        {{ a = Conv(x, w) y = BatchNormalization(a, {NORM}) z = Conv<dilations = [2, 2]>(x, w) }}""",
        {"w": floats(6, 4, 3, 3)} | statistics(6),
        level=CLOSE,
    )
    assert got.fired == 1
    assert {"w", "w.scaled"} <= got.model.graph.initializers.keys()


def test_half_precision() -> None:
    constants = {
        name: array.astype(np.float16) for name, array in ({"w": floats(6, 4, 3, 3)} | statistics(6)).items()
    }
    inputs = ", ".join(f"float16{list(a.shape)} {name}" for name, a in constants.items())
    got = apply(
        fuse_conv_batch_norm,
        f"g (float16[1, 4, 5, 5] x, {inputs}) => (float16[1, 6, 3, 3] y) {{ a = Conv(x, w) y = BatchNormalization(a, {NORM}) }}",
        constants,
        run=False,
    )
    assert got.fired == 1
    assert got.constant("w").dtype == np.float16
    assert got.model.graph[0].inputs[2].dtype == got.model.graph[0].inputs[1].dtype


def test_refuses_overflow() -> None:
    constants = (
        {"w": np.full((6, 4, 3, 3), 6e4, np.float16)}
        | {k: np.full(6, 2, np.float16) for k in "stm"}
        | {"v": np.full(6, 0.1, np.float16)}
    )
    inputs = ", ".join(f"float16{list(a.shape)} {name}" for name, a in constants.items())
    got = apply(
        fuse_conv_batch_norm,
        f"g (float16[1, 4, 5, 5] x, {inputs}) => (float16[1, 6, 3, 3] y) {{ a = Conv(x, w) y = BatchNormalization(a, {NORM}) }}",
        constants,
        run=False,
    )
    assert got.refused == ["a weight would leave the range of its dtype"]


def test_refuses_other_users() -> None:
    got = fuse("a = Conv(x, w)", 6, {"w": floats(6, 4, 3, 3)}, tail="z = Neg(a)")
    assert got.refused == ["the convolution's output has other users"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = Relu(x) y = BatchNormalization(a, s, t, m, v)", "there is no convolution before it"),
        ("a = Conv(x, u) y = BatchNormalization(a, s, t, m, v)", "its weights are not constant"),
        ("a = Conv(x, w, n) y = BatchNormalization(a, s, t, m, v)", "its bias is not constant"),
        (
            "a = Conv(x, w) y = BatchNormalization(a, n, t, m, v)",
            "its statistics are not constants of one number a channel",
        ),
        (
            "a = Conv(x, w) y, p, q = BatchNormalization<training_mode = 1>(a, s, t, m, v)",
            "it is in training mode",
        ),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    got = apply(
        fuse_conv_batch_norm,
        f"g (float[1, 4, 5, 5] x, float[4, 4, 3, 3] u, float[4] n, float[4, 4, 3, 3] w, {NORM_INPUTS.format(c=4)}) "
        f"=> (float[A, B, C, D] y) {{ {text} }}",
        {"w": floats(4, 4, 3, 3)} | statistics(4),
        run=False,
    )
    assert got.fired == 0
    assert got.refused == [reason]


def test_refuses_a_variance_below_zero() -> None:
    constants = {"w": floats(4, 4, 3, 3)} | statistics(4) | {"v": np.full(4, -1, np.float32)}
    got = apply(
        fuse_conv_batch_norm,
        f"g (float[1, 4, 5, 5] x, float[4, 4, 3, 3] w, {NORM_INPUTS.format(c=4)}) => (float[A, B, C, D] y) "
        f"{{ a = Conv(x, w) y = BatchNormalization(a, {NORM}) }}",
        constants,
        run=False,
    )
    assert got.refused == ["its scale is not finite"]
