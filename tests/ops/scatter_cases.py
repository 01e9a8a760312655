"""Cases of `ingot.lower.scatter`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case

from ingot.testing import EXACT

REDUCTIONS = ("none", "add", "mul", "max", "min")


def whole(name: str, inputs: str, body: str, outputs: str = "float[] y", **how: Any) -> Case:
    """On whole numbers, so that no order of the updates rounds."""
    return case(name, inputs, body, outputs, level=EXACT, whole=True, opset=how.pop("opset", 18), **how)


def indices(name: str, low: int, high: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(name)).integers(low, high, shape)


ELEMENTS = [
    *(
        whole(f"scatter_elements_axis_{label}", "float[4,3,5] x, int64[2,3,4] i, float[2,3,4] u", f"y = ScatterElements<axis={axis}>(x, i, u)",
              feed={"i": (np.arange(24) % size).reshape(2, 3, 4)})
        for axis, size, label in ((0, 4, "zero"), (1, 3, "one"), (2, 5, "two"), (-1, 5, "negative"))
    ),
    *(
        whole(f"scatter_elements_{reduction}", "float[6,3] x, int64[9,2] i, float[9,2] u",
              f'y = ScatterElements<reduction="{reduction}">(x, i, u)', feed={"i": indices("duplicates", -6, 6, 9, 2)})
        for reduction in REDUCTIONS
    ),
    whole("scatter_elements_nan", "float[4] x, int64[6] i, float[6] u", 'y = ScatterElements<reduction="max">(x, i, u)',
          feed={"x": np.array([1, np.nan, 2, -1], np.float32), "i": np.array([0, 1, 2, 2, 3, 3]),
                "u": np.array([np.nan, 1, 3, np.nan, 2, 5], np.float32)},
          expected=([np.array([np.nan, np.nan, np.nan, 5], np.float32)],)),
    whole("scatter_elements_int32_index", "int64[5] x, int32[3] i, int64[3] u", "y = ScatterElements(x, i, u)", "int64[] y",
          feed={"i": np.array([-1, 0, 2], np.int32)}),
    whole("scatter_elements_bool", "bool[5] x, int64[3] i, bool[3] u", "y = ScatterElements(x, i, u)", "bool[] y",
          feed={"i": np.array([4, 0, 2])}),
    whole("scatter_elements_nothing", "float[5] x, int64[0] i, float[0] u", "y = ScatterElements(x, i, u)"),
    whole("scatter_elements_nothing_of_rank_three", "float[1,1,1] x, int64[0,0,0] i, float[0,0,0] u", "y = ScatterElements(x, i, u)",
          expected=([np.ones((1, 1, 1), np.float32)],), feed={"x": np.ones((1, 1, 1), np.float32)}),
    whole("scatter_elements_into_nothing", "float[0,3] x, int64[0,3] i, float[0,3] u", "y = ScatterElements(x, i, u)"),
    whole("scatter_elements_batch", "float[n,12] x, int64[n,3] i, float[n,3] u", 'y = ScatterElements<axis=1, reduction="add">(x, i, u)',
          sizes=({"n": 1}, {"n": 4}, {"n": 9})),
    whole("scatter_opset10", "float[4,3] x, int64[2,3] i, float[2,3] u", "y = Scatter<axis=0>(x, i, u)", opset=10,
          feed={"i": np.array([[0, 1, 2], [3, 2, 0]])}, oracle="onnxruntime"),
    whole("scatter_elements_of_computed", "float[4,3] x, int64[2,3] i, float[2,3] u", "a = Neg(x)  b = ScatterElements(a, i, u)  y = Abs(b)",
          feed={"i": np.array([[0, 1, 2], [3, 2, 0]])}),
    whole("scatter_elements_leaves_its_data", "float[4,3] x, int64[2,3] i, float[2,3] u",
          "a = Neg(x)  c = Neg(u)  b = ScatterElements(a, i, u)  y = Sub(b, a)  z = ScatterElements(b, i, c)", "float[] y, float[] z",
          feed={"i": np.array([[0, 1, 2], [3, 2, 0]])}),
    whole("scatter_elements_into_a_part", "float[4,3] x, int64[2,3] i, float[2,3] u",
          "a = Neg(x)  c = Concat<axis=0>(a, x)  b = ScatterElements(c, i, u)  y = Abs(b)  z = Mul(a, a)", "float[] y, float[] z",
          feed={"i": np.array([[0, 1, 2], [3, 2, 0]])}),
]  # fmt: skip

ND = [
    *(
        whole(f"scatter_nd_{reduction}", "float[4,3,5] x, int64[6,2] i, float[6,5] u", f'y = ScatterND<reduction="{reduction}">(x, i, u)',
              feed={"i": indices("pairs", -3, 3, 6, 2)})
        for reduction in REDUCTIONS
    ),
    whole("scatter_nd_elements", "float[4,3] x, int64[2,3,2] i, float[2,3] u", "y = ScatterND(x, i, u)", feed={"i": indices("elements", 0, 3, 2, 3, 2)}),
    whole("scatter_nd_slices", "float[4,3,2,2] x, int64[2,1] i, float[2,3,2,2] u", "y = ScatterND(x, i, u)", feed={"i": np.array([[3], [-3]])}),
    whole("scatter_nd_one_place", "float[4,3] x, int64[1] i, float[3] u", "y = ScatterND(x, i, u)", feed={"i": np.array([2])}),
    whole("scatter_nd_everything", "float[2,3] x, int64[2,0] i, float[2,2,3] u", 'y = ScatterND<reduction="add">(x, i, u)'),
    whole("scatter_nd_nothing", "float[2,3] x, int64[0,1] i, float[0,3] u", "y = ScatterND(x, i, u)"),
    whole("scatter_nd_rows", "float[n,3,4] x, int64[m,1] i, float[m,3,4] u", "y = ScatterND(x, i, u)",
          sizes=({"n": 20, "m": 1}, {"n": 30, "m": 3})),
]  # fmt: skip

TENSOR = [
    *(
        whole(f"tensor_scatter_{mode}", "float[3,2,4,5] x, float[3,2,2,5] u, int64[3] w", f'y = TensorScatter<mode="{mode}">(x, u, w)',
              opset=24, feed={"w": np.array(starts)})
        for mode, starts in (("linear", [0, 2, 1]), ("circular", [3, 2, 0]))
    ),
    whole("tensor_scatter_from_the_start", "float[3,4,5] x, float[3,2,5] u", "y = TensorScatter(x, u)", opset=24),
    whole("tensor_scatter_axis", "float[3,4,5] x, float[3,4,2] u, int64[3] w", "y = TensorScatter<axis=2>(x, u, w)", opset=24,
          feed={"w": np.array([0, 3, 1])}),
]  # fmt: skip

CASES = [*ELEMENTS, *ND, *TENSOR]
