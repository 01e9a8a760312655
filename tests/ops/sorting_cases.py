"""Cases of `ingot.lower.sorting`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case

from ingot.testing import EXACT

NAN, INF = np.nan, np.inf
UNIQUE = "float[] y, int64[] i, int64[] v, int64[] c"
TIES = np.array([3, 1, 2, 1, 3, 3, 0, 2, 2, 1], np.float32)
ODD = np.array([1, NAN, -INF, 2, NAN, INF, -1, 0], np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def exact(name: str, inputs: str, body: str, outputs: str = "float[] y, int64[] i", **how: Any) -> Case:
    return case(name, inputs, body, outputs, level=EXACT, **{"opset": 17, **how})


TOP_K = [
    *(
        exact(f"top_k_{label}_of_{n}_{order}", f"float[2,{n}] x", f"y, i = TopK<largest={largest}>(x, k)", constants={"k": ints(k)})
        for n, k, label in ((7, 3, "few"), (40, 33, "sorted"), (5, 5, "all"), (6, 0, "none"), (33, 33, "all_sorted"), (64, 64, "power"))
        for largest, order in ((1, "largest"), (0, "smallest"))
    ),
    *(
        exact(f"top_k_{k}_{label}_{largest}", f"float[{len(x)}] x", f"y, i = TopK<largest={largest}>(x, k)", constants={"k": ints(k)}, feed={"x": x})
        for label, x in (("ties", TIES), ("ties_sorted", np.tile(TIES, 5)), ("nan", ODD), ("nan_sorted", np.tile(ODD, 5)))
        for k in (1, len(x) - 1)
        for largest in (0, 1)
    ),
    *(
        exact(f"top_k_axis_{label}", "float[3,5,4] x", f"y, i = TopK<axis={axis}>(x, k)", constants={"k": ints(2)})
        for label, axis in (("zero", 0), ("one", 1), ("negative", -2))
    ),
    exact("top_k_axis_sorted", "float[2,40,3] x", "y, i = TopK<axis=1>(x, k)", constants={"k": ints(35)}),
    exact("top_k_int64", "int64[9] x", "y, i = TopK(x, k)", "int64[] y, int64[] i", constants={"k": ints(4)}),
    exact("top_k_uint8", "uint8[50] x", "y, i = TopK<largest=0>(x, k)", "uint8[] y, int64[] i", constants={"k": ints(40)}),
    exact("top_k_rows", "float[n,12] x", "y, i = TopK(x, k)", constants={"k": ints(5)}, sizes=({"n": 1}, {"n": 3}, {"n": 7})),
    exact("top_k_length", "float[2,n] x", "y, i = TopK(x, k)", constants={"k": ints(3)}, sizes=({"n": 3}, {"n": 9}, {"n": 70})),
    exact("top_k_length_sorted", "float[2,n] x", "y, i = TopK(x, k)", constants={"k": ints(33)}, sizes=({"n": 33}, {"n": 70})),
    exact("top_k_no_rows", "float[0,4] x", "y, i = TopK(x, k)", constants={"k": ints(2)}),
    *(
        exact(f"top_k_by_input_{k}", "float[3,9] x, int64[1] k", "a = Neg(x)  y, i = TopK(a, k)  z = Neg(y)", "float[] z, int64[] i",
              feed={"k": ints(k)})
        for k in (0, 1, 4, 9)
    ),
    exact("top_k_opset1", "float[3,9] x", "y, i = TopK<k=4>(x)", opset=8, oracle="onnxruntime"),
]  # fmt: skip

UNIQUES = [
    *(
        exact(f"unique_{label}_{order}", f"float[{','.join(map(str, x.shape))}] x", f"y, i, v, c = Unique<sorted={sorted_}>(x)", UNIQUE, feed={"x": x})
        for label, x in (("ties", TIES), ("matrix", TIES.reshape(2, 5)), ("one", TIES[:1]), ("same", np.ones(6, np.float32)),
                         ("many", np.tile(TIES, 5) + np.arange(50, dtype=np.float32) // 20))
        for sorted_, order in ((1, "sorted"), (0, "as_they_come"))
        if sorted_ or x.ndim == 1
    ),
    *(
        exact(f"unique_slices_{label}", "float[4,3,2] x", f"y, i, v, c = Unique<axis={axis}>(x)", UNIQUE,
              feed={"x": np.array([0, 1, 1, 0, 0, 1] * 4, np.float32).reshape(4, 3, 2)})
        for label, axis in (("zero", 0), ("one", 1), ("last", -1))
    ),
    exact("unique_int64", "int64[12] x", "y, i, v, c = Unique(x)", "int64[] y, int64[] i, int64[] v, int64[] c"),
    exact("unique_values_alone", "float[12] x", "y = Unique(x)", "float[] y", whole=True),
    exact("unique_then_sum", "float[12] x", "a = Unique(x)  y = ReduceSum<keepdims=0>(a)", "float y", whole=True),
    exact("unique_length", "float[n] x", "y, i, v, c = Unique(x)", UNIQUE, whole=True, sizes=({"n": 1}, {"n": 5}, {"n": 40})),
    exact("unique_of_nothing", "float[0] x", "y, i, v, c = Unique(x)", UNIQUE),
]  # fmt: skip

CASES = [*TOP_K, *UNIQUES]
