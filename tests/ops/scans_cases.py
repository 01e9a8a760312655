"""Cases of `ingot.lower.scans`."""

from __future__ import annotations

import numpy as np
from case import case, weights

from ingot.testing import CLOSE, EXACT, ulp

SCAN = [
    *(
        case(f"{operator.lower()}_{label}_{reverse}{exclusive}", "float[3,4,5] x",
             f"y = {operator}<reverse={reverse}, exclusive={exclusive}>(x, a)", opset=opset, constants={"a": np.int64(axis)},
             level=CLOSE, reduction=5, whole=operator == "CumSum", **how)
        for operator, opset, how in (("CumSum", 14, {}), ("CumProd", 26, {}))
        for label, axis in (("first", 0), ("middle", 1), ("last", -1))
        for reverse in (0, 1)
        for exclusive in (0, 1)
    ),
    *(
        case(f"cumsum_by_input_{label}_{reverse}", "float[3,4,5] x, int64 a", f"y = CumSum<reverse={reverse}>(x, a)", opset=14,
             feed={"a": np.int64(axis)}, whole=True, level=EXACT)
        for label, axis in (("first", 0), ("middle", 1), ("last", -1), ("negative", -3))
        for reverse in (0, 1)
    ),
    case("cumsum_by_input_exclusive", "float[6] x, int32 a", "y = CumSum<exclusive=1>(x, a)", opset=14, feed={"a": np.int32(0)}, whole=True, level=EXACT),
    case("cumsum_int32", "int32[7] x", "y = CumSum(x, a)", "int32[] y", opset=14, constants={"a": np.int64(0)}, level=EXACT),
    case("cumsum_of_nothing", "float[2,0] x", "y = CumSum(x, a)", opset=14, constants={"a": np.int64(1)}),
]  # fmt: skip

CUMSUM = [
    case(f"cumsum_{name}", f"float[{shape}] x", f"y = CumSum<{attributes}>(x, a)", constants={"a": np.array(axis)}, whole=True, level=ulp(0))
    for name, shape, axis, attributes in (
        ("last", "3,17", 1, "exclusive=0"),
        ("first", "9,5", 0, "exclusive=0"),
        ("negative", "2,3,9", -1, "exclusive=0"),
        ("exclusive", "3,9", 1, "exclusive=1"),
        ("reverse", "3,9", 1, "reverse=1"),
        ("both", "3,9", 1, "exclusive=1,reverse=1"),
        ("one", "1", 0, "exclusive=0"),
    )
] + [
    case("cumsum_int64", "int64[3,9] x", "y = CumSum(x, a)", "int64[] y", constants={"a": np.int64(1)}, level=EXACT),
    case("cumsum_batch", "float[n,m] x", "y = CumSum(x, a)", constants={"a": np.int64(1)}, whole=True, level=ulp(0),
         sizes=({"n": 1, "m": 1}, {"n": 2, "m": 17})),
    case("cumsum_mask_positions", "int64[2,7] x", "c = Cast<to=6>(x)  s = CumSum(c, a)  m = Mul(s, c)  y = Cast<to=7>(m)", "int64[] y",
         constants={"a": np.int64(1)}, level=EXACT),
]  # fmt: skip

REVERSE = [
    case("reverse_sequence_time", "float[4,3,2] x, int64[3] l", "y = ReverseSequence<time_axis=0, batch_axis=1>(x, l)", feed={"l": np.array([4, 1, 0])}, level=EXACT),
    case("reverse_sequence_batch", "float[3,4] x, int64[3] l", "y = ReverseSequence<time_axis=1, batch_axis=0>(x, l)", feed={"l": np.array([2, 4, 3])}, level=EXACT),
]  # fmt: skip

DET = [
    *(
        case(f"det_{n}", "float[2,3,{0},{0}] x".replace("{0}", str(n)), "y = Det(x)", reduction=n * n, scale=1.0)
        for n in (1, 2, 3, 5)
    ),
    case("det_of_matrix", "float[3,3] x", "y = Det(x)", "float y", reduction=9, scale=1.0),
    case("det_of_singular", "float[3,3] x", "y = Det(x)", "float y", feed={"x": np.zeros((3, 3), np.float32)}),
    case("det_of_turned", "float[3,3] x", "y = Det(x)", "float y", feed={"x": np.eye(3, dtype=np.float32)[[1, 2, 0]] * weights("turned", 3, 1)}),
    case("det_batch", "float[n,2,2] x", "y = Det(x)", reduction=4, scale=1.0, sizes=({"n": 1}, {"n": 5})),
]  # fmt: skip

CASES = [*SCAN, *CUMSUM, *REVERSE, *DET]
