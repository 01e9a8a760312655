"""Cases of `ingot.lower.signal`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case, weights

BATCHES = ({"n": 1}, {"n": 3})


def dft(
    name: str, shape: str, attributes: str = "", *, length: int | None = None, axis: int | None = None, computed: str = "",
    outputs: str = "float[] y", dtype: str = "float", opset: int = 20, reduction: int = 64, **how: Any,
) -> Case:  # fmt: skip
    """length and axis are inputs where `computed` names them, else constants."""
    given = {k: np.int64(v) for k, v in (("length", length), ("axis", axis)) if v is not None}
    fed = {k: v for k, v in given.items() if k in computed}
    inputs = [f"{dtype}[{shape}] x", *(f"int64 {k}" for k in fed)]
    names = ", ".join(["x", *(k if k in given else "" for k in ("length", "axis"))]).rstrip(", ")
    return case(
        f"dft_{name}", ", ".join(inputs), f"y = DFT<{attributes}>({names})" if attributes else f"y = DFT({names})",
        outputs.replace("float", dtype, 1), opset=opset, constants={k: v for k, v in given.items() if k not in fed}, feed=fed,
        reduction=reduction, scale=4.0, **how,
    )  # fmt: skip


def stft(name: str, inputs: str, text: str, outputs: str = "float[] y", **how: Any) -> Case:
    return case(
        f"stft_{name}",
        inputs,
        f"y = STFT{text}",
        outputs,
        opset=17,
        **{"reduction": 64, "scale": 4.0, **how},
    )


STEP = {"s": np.int64(3)}
WINDOW = {"w": np.hanning(10).astype(np.float32)}
MELS = {
    "m": np.int64(8),
    "n": np.int64(32),
    "r": np.int64(8192),
    "lo": np.float32(50),
    "hi": np.float32(4000),
}
CASES = [
    *(dft(f"of_{n}", f"2,{n},2", axis=1) for n in (1, 2, 3, 8, 17, 33)),
    dft("real", "2,9,5,1", axis=1),
    dft("last_axis", "2,9,5,1"),
    dft("first_axis", "7,3,2", axis=0),
    dft("negative_axis", "7,3,2", axis=-3),
    dft("vector", "12,2"),
    dft("inverse", "2,9,5,2", "inverse=1", axis=1),
    dft("onesided", "2,9,5,1", "onesided=1", axis=1),
    dft("onesided_even", "2,8,1", "onesided=1"),
    dft("inverse_onesided", "2,5,3,2", "inverse=1,onesided=1", axis=1),
    dft("inverse_onesided_odd", "2,5,3,2", "inverse=1,onesided=1", axis=1, length=9),
    dft("inverse_onesided_short", "2,9,2", "inverse=1,onesided=1", length=8),
    dft("padded", "2,5,2", length=9),
    dft("cut", "2,9,2", length=5),
    dft("onesided_padded", "2,5,1", "onesided=1", length=8),
    dft("double", "2,9,2", dtype="double"),
    dft("half", "2,9,2", dtype="float16"),
    dft("opset17", "2,9,5,1", "axis=2", opset=17),
    dft("opset17_default", "2,9,5,1", opset=17),
    dft("batch", "n,9,2", sizes=BATCHES),
    dft("long", "1,144,2", reduction=200),
    dft("long_real", "2,130,1", reduction=200),
    dft("long_prime", "1,131,2", reduction=400),
    dft("long_inverse", "1,160,2", "inverse=1", reduction=200),
    dft("long_onesided", "1,144,1", "onesided=1", reduction=200),
    dft("long_inverse_onesided", "1,73,2", "inverse=1,onesided=1", reduction=200),
    dft("long_padded", "1,100,2", length=144, reduction=200),
    dft("size", "2,m,2", sizes=({"m": 1}, {"m": 12})),
    dft("size_onesided", "2,m,1", "onesided=1", sizes=({"m": 2}, {"m": 7})),
    dft("size_inverse", "2,m,2", "inverse=1", sizes=({"m": 2}, {"m": 7})),
    dft("size_inverse_onesided", "2,m,2", "inverse=1,onesided=1", sizes=({"m": 4}, {"m": 5})),
    dft("computed_axis", "2,6,3,1", axis=1, computed="axis"),
    dft("computed_axis_onesided", "2,6,3,1", "onesided=1", axis=-2, computed="axis", outputs="float[2,6,2,2] y"),
    dft("computed_length", "2,6,2", length=8, computed="length", outputs="float[2,8,2] y"),
    dft("computed_length_onesided", "2,6,1", "onesided=1", length=8, computed="length", outputs="float[2,5,2] y"),
    stft("plain", "float[2,31,1] x", "(x, s, , l)", constants=STEP | {"l": np.int64(8)}),
    stft("window", "float[2,31,1] x", "(x, s, w)", constants=STEP | WINDOW),
    stft("two_sided", "float[2,31,1] x", "<onesided=0>(x, s, w)", constants=STEP | WINDOW),
    stft("complex", "float[2,31,2] x", "<onesided=0>(x, s, w, l)", constants=STEP | WINDOW | {"l": np.int64(10)}),
    stft("computed_window", "float[2,31,1] x, float[10] w", "(x, s, w)", constants=STEP),
    stft("batch", "float[n,31,1] x", "(x, s, w)", constants=STEP | WINDOW, sizes=BATCHES),
    stft("length", "float[1,m,1] x", "(x, s, w)", constants=STEP | WINDOW, sizes=({"m": 10}, {"m": 40})),
    stft("computed_step", "float[1,31,1] x, int64 s", "(x, s, w)", constants=WINDOW, feed={"s": np.int64(4)}),
    stft("computed_lengths", "float[1,31,1] x, int64 s, int64 l", "(x, s, , l)", "float[1,8,5,2] y",
         feed={"s": np.int64(3), "l": np.int64(8)}),
    case("mel_weights", "float[1] x", "y = MelWeightMatrix(m, n, r, lo, hi)", constants=MELS),
    case("mel_weights_wide", "float[1] x", "y = MelWeightMatrix<output_datatype=11>(m, n, r, lo, hi)", "double[] y",
         constants=MELS | {"n": np.int64(512), "m": np.int64(3)}, reduction=16),
    case("mel_weights_computed", "int64 m, int64 n, int64 r, float lo, float hi", "y = MelWeightMatrix(m, n, r, lo, hi)", "float[17,8] y",
         feed=MELS),
    case("spectrogram", "float[1,64,1] x", "a = STFT(x, s, w)  b = Mul(a, a)  y = ReduceSum<keepdims=0>(b, axes)",
         constants=STEP | WINDOW | {"axes": np.array([3])}, reduction=64, scale=16.0),
    case("dft_of_product", "float[2,9,1] x", "a = Mul(x, w)  y = DFT(a)", opset=20, constants={"w": weights("w", 9, 1)}, reduction=64, scale=4.0),
]  # fmt: skip
