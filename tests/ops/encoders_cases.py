"""Cases of `ingot.lower.encoders`."""

from __future__ import annotations

import numpy as np
from ml_cases import model

from ingot.testing import EXACT

NAMES = np.array([["b", "", "ä"], ["a", "zz", "b"]], object)

CASES = [
    model("OneHotEncoder", "int", "int64[2,3] x", {"cats_int64s": [0, 2, 5], "zeros": 1}, level=EXACT, feed={"x": np.array([[0, 2, 5], [1, 5, 0]])}),
    model("OneHotEncoder", "float", "float[3] x", {"cats_int64s": [0, 2, 5], "zeros": 1}, level=EXACT, feed={"x": np.array([0, 2, 7], np.float32)}),
    model("OneHotEncoder", "strings", "string[2,3] x", {"cats_strings": ["b", "ä", "a"], "zeros": 1}, level=EXACT, feed={"x": NAMES}),
    model("OneHotEncoder", "all_known", "string[2,3] x", {"cats_strings": ["b", "ä", "a", "", "zz"], "zeros": 0}, level=EXACT, feed={"x": NAMES}),
    model("LabelEncoder", "int_to_float", "int64[2,3] x", {"keys_int64s": [1, 3, 1], "values_floats": [0.5, 1.5, 2.5], "default_float": 9.0},
          version=2, level=EXACT, feed={"x": np.array([[0, 1, 3], [3, 2, 1]])}, expected=([np.array([[9, 2.5, 1.5], [1.5, 9, 2.5]], np.float32)],)),
    model("LabelEncoder", "float_to_int", "float[5] x", {"keys_floats": [1.5, 3.0], "values_int64s": [4, 5]}, "int64[] y", version=2, level=EXACT,
          feed={"x": np.array([1.5, 2, 3, np.nan, np.inf], np.float32)}),
    model("LabelEncoder", "tensors", "double[4] x", {"keys_tensor": np.array([1.5, 3.0]), "values_tensor": np.array([7, 8]),
          "default_tensor": np.array([6])}, "int64[] y", version=4, level=EXACT, feed={"x": np.array([3, 1.5, 2, 3])}),
    model("LabelEncoder", "string_to_int", "string[n,3] x", {"keys_strings": ["ä", "b", "a", "b"], "values_int64s": [1, 2, 3, 4], "default_int64": 7}, "int64[n,3] y",
          version=2, level=EXACT, oracle="reference", feed={"x": NAMES}, sizes=({"n": 2},)),
    model("LabelEncoder", "string_to_float", "string[2,3] x", {"keys_strings": ["b"], "values_floats": [0.5]}, version=2, level=EXACT, feed={"x": NAMES}),
    model("LabelEncoder", "string_to_string", "string[2,3] x", {"keys_strings": ["b", ""], "values_strings": ["", "empty"], "default_string": "?"}, "string[] y",
          version=2, level=EXACT, feed={"x": NAMES}),
    model("LabelEncoder", "int_to_string", "int64[4] x", {"keys_int64s": [5, 6], "values_strings": ["five", "six"]}, "string[] y", version=2, level=EXACT,
          feed={"x": np.array([5, 6, 7, 5])}),
    model("CategoryMapper", "to_int", "string[2,3] x", {"cats_strings": ["a", "b"], "cats_int64s": [10, 20], "default_int64": -3}, "int64[] y", version=1, level=EXACT,
          feed={"x": NAMES}),
    model("CategoryMapper", "to_string", "int64[3] x", {"cats_strings": ["a", "b"], "cats_int64s": [10, 20], "default_string": "none"}, "string[] y", version=1,
          level=EXACT, feed={"x": np.array([20, 0, 10])}),
]  # fmt: skip
