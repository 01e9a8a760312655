"""Long transforms: right to the rounding of a transform in O(n log n), beside NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from case import case

import ingot
from ingot.runtime import load
from ingot.testing import CLOSE, assert_close

LENGTHS = (256, 1000, 1009, 2 * 131, 4096, 61 * 67, 3 * 3 * 5 * 7 * 11)


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_long(length: int, inverse: int) -> None:
    model = case(f"dft_{length}", f"float[3,{length},2] x", f"y = DFT<inverse={inverse}>(x)", opset=20)
    x = model.feeds[0]["x"]
    (y,) = load(ingot.compile(model.model)).run(None, {"x": x})
    numbers = x[..., 0].astype(np.float64) + 1j * x[..., 1]
    wanted = np.fft.ifft(numbers) if inverse else np.fft.fft(numbers)
    parts = np.stack([wanted.real, wanted.imag], -1).astype(np.float32)
    assert_close(y, parts, CLOSE, reduction=16 * length.bit_length())
