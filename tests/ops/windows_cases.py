"""Cases of `ingot.lower.windows`."""

from __future__ import annotations

import numpy as np
from case import case

from ingot.testing import ulp

CASES = [
    *(
        case(f"{name.lower()}_{label}", "float[7] x", f"w = {name}<periodic={label}>(n)  y = Add(x, w)", opset=17,
             constants={"n": np.int64(7)}, level=ulp(8))
        for name in ("HannWindow", "HammingWindow", "BlackmanWindow")
        for label in (0, 1)
    ),
    case("hann_window_by_input", "int64 n", "y = HannWindow(n)", "float[9] y", feed={"n": np.array(9)}, level=ulp(8), scale=1.0),
    case("hamming_window_double", "int64 n", "y = HammingWindow<output_datatype=11>(n)", "double[9] y", feed={"n": np.array(9)}, level=ulp(8)),
]  # fmt: skip
