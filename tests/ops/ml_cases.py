"""Cases of `ingot.lower.ml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from case import Case, case, weights
from onnx import numpy_helper

from ingot.lower.ml import DOMAIN
from ingot.testing import EXACT

BATCHES = ({"n": 1}, {"n": 5})
SAMPLE = weights("sample", 7, 4)


def model(
    operator: str, name: str, inputs: str, attributes: Mapping[str, Any], outputs: str = "float[] y", *, version: int = 3, **how: Any
) -> Case:  # fmt: skip
    """attributes: as onnx.helper takes them; arrays become tensors."""
    made = ", ".join(o.split()[-1] for o in outputs.split(", "))
    names = ", ".join(i.split()[-1] for i in inputs.split(", "))
    found = case(
        f"{operator.lower()}_{name}", inputs, f"{made} = {DOMAIN}.{operator}({names})", outputs,
        domains={DOMAIN: version}, **{"oracle": "onnxruntime", **how},
    )  # fmt: skip
    for key, value in attributes.items():
        given = numpy_helper.from_array(value, key) if isinstance(value, np.ndarray) else value
        found.model.graph.node[0].attribute.append(onnx.helper.make_attribute(key, given))
    return found


def floats(array: np.ndarray) -> list[float]:
    return list(map(float, array.reshape(-1)))


def forest(
    prefix: str, trees: int, depth: int, targets: int, modes: Sequence[str], *, votes: int = 1
) -> dict[str, Any]:
    """Full trees, each node's number that of its place in a heap, with several votes a leaf."""
    rng = np.random.default_rng([trees, depth, targets, len(modes)])
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1
    found: dict[str, list[Any]] = {
        f"nodes_{n}": []
        for n in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    }
    found |= {f"{prefix}_{n}": [] for n in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(trees):
        for number in range(size):
            leaf = number >= inner
            values = (
                tree, number, 0 if leaf else int(rng.integers(4)), "LEAF" if leaf else modes[int(rng.integers(len(modes)))],
                0.0 if leaf else float(rng.integers(-8, 9) / 8), 0 if leaf else 2 * number + 1, 0 if leaf else 2 * number + 2,
            )  # fmt: skip
            for key, value in zip(list(found)[:7], values, strict=True):
                found[key].append(value)
            for vote in range(votes if leaf else 0):
                row = (
                    tree,
                    number,
                    int((rng.integers(targets) + vote) % targets),
                    float(rng.integers(-16, 17) / 16),
                )
                for key, value in zip(list(found)[7:], row, strict=True):
                    found[key].append(value)
    return found


LEQ = ("BRANCH_LEQ",)
ALL = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
EIGHTHS = np.round(SAMPLE * 8) / 8
POSITIVE = forest("class", 3, 2, 2, LEQ)
POSITIVE |= {
    "class_ids": [1] * len(POSITIVE["class_ids"]),
    "class_weights": [abs(w) / 4 for w in POSITIVE["class_weights"]],
}
SIGNED = {**POSITIVE, "class_weights": [w - 0.125 for w in POSITIVE["class_weights"]]}
MEMBERS = {
    "n_targets": 2, "tree_roots": [0], "nodes_featureids": [0, 0, 0], "nodes_modes": np.array([6, 6, 0], np.uint8),
    "nodes_splits": np.array([0, 0, 9], np.float32), "nodes_truenodeids": [0, 1, 2], "nodes_trueleafs": [1, 1, 1],
    "nodes_falsenodeids": [1, 2, 3], "nodes_falseleafs": [0, 0, 1], "leaf_targetids": [0, 1, 0, 1],
    "leaf_weights": np.array([1, 10, 1000, 100], np.float32),
}  # fmt: skip
LABELED = "int64[] y, float[] z"
NAMED = "string[] y, float[] z"
CASES = [
    model("ArrayFeatureExtractor", "rows", "float[3,5] x, int64[2] i", {}, feed={"i": np.array([4, 1])}, level=EXACT),
    model("ArrayFeatureExtractor", "cube", "int64[2,3,5] x, int64[1,3] i", {}, "int64[] y", feed={"i": np.array([[0, 0, 3]])}, level=EXACT),
    *(model("Binarizer", dtype, f"{dtype}[3,17] x", {"threshold": 0.5}, f"{dtype}[] y", level=EXACT, oracle="reference") for dtype in ("float", "int64")),
    model("Scaler", "each", "float[3,4] x", {"offset": floats(weights("o", 4)), "scale": floats(weights("s", 4))}),
    model("Scaler", "one", "int64[3,4] x", {"offset": [0.5], "scale": [2.0]}),
    model("Scaler", "double", "double[3,4] x", {"offset": [0.5], "scale": [2.0]}),
    *(model("Normalizer", norm.lower(), "float[n,9] x", {"norm": norm}, reduction=9, sizes=BATCHES) for norm in ("MAX", "L1", "L2")),
    model("Normalizer", "zeros", "float[2,3] x", {"norm": "L2"}, feed={"x": np.array([[0, 0, 0], [3, 4, 0]], np.float32)}),
    model("Imputer", "nan", "float[2,3] x", {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": float("nan")}, level=EXACT,
          feed={"x": np.array([[1, np.nan, 3], [np.nan, 0, np.nan]], np.float32)}),
    model("Imputer", "float", "float[2,3] x", {"imputed_value_floats": [1.0, 2.0, 3.0], "replaced_value_float": 0.0}, level=EXACT,
          feed={"x": np.array([[1, 0, 3], [0, 0, 2]], np.float32)}),
    model("Imputer", "int", "int64[2,3] x", {"imputed_value_int64s": [7], "replaced_value_int64": -1}, "int64[] y", level=EXACT,
          feed={"x": np.array([[1, -1, 3], [-1, 0, 2]])}),
    model("FeatureVectorizer", "floats", "float[3,2] a, float[3,4] b", {"inputdimensions": [2, 4]}, level=EXACT),
    model("FeatureVectorizer", "ints", "int64[n,2] a, int64[n,1] b", {"inputdimensions": [2, 1]}, level=EXACT, sizes=BATCHES),
    model("LinearRegressor", "one", "float[n,4] x", {"coefficients": floats(weights("c", 4)), "intercepts": [0.5]}, sizes=BATCHES, reduction=4, scale=4.0),
    model("LinearRegressor", "three", "float[5,4] x", {"coefficients": floats(weights("c3", 3, 4)), "targets": 3}, reduction=4, scale=4.0),
    model("LinearRegressor", "vector", "float[1,4] x", {"coefficients": floats(weights("cv", 2, 4)), "targets": 2, "post_transform": "LOGISTIC"}, reduction=16,
          scale=1.0),
    *(model("LinearClassifier", f"three_{t.lower()}", "float[7,4] x", {"coefficients": floats(weights("lc", 3, 4)), "intercepts": [0.5, 0.25, -0.5],
            "classlabels_ints": [3, 5, 9], "post_transform": t}, LABELED, reduction=64, scale=1.0)
      for t in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")),
    model("LinearClassifier", "two", "float[7,4] x", {"coefficients": floats(weights("l2", 2, 4)), "intercepts": [0.5, -0.5],
          "classlabels_ints": [0, 1], "post_transform": "LOGISTIC"}, LABELED, reduction=64, scale=1.0),
    model("LinearClassifier", "three_names", "float[7,4] x", {"coefficients": floats(weights("lc", 3, 4)), "intercepts": [0.5, 0.25, -0.5],
          "classlabels_strings": ["no", "", "yes"]}, NAMED, reduction=64, scale=1.0),
    model("LinearClassifier", "two_names", "float[n,4] x", {"coefficients": floats(weights("l1", 1, 4)), "intercepts": [0.25],
          "classlabels_strings": ["no", "ja"]}, "string[n] y, float[n,2] z", sizes=BATCHES, reduction=16, scale=4.0),
    model("LinearClassifier", "single", "float[7,4] x", {"coefficients": floats(weights("l1", 1, 4)), "intercepts": [0.25],
          "classlabels_ints": [0, 1]}, LABELED, reduction=16, scale=4.0),
    *(model("TreeEnsembleRegressor", f"{aggregate.lower()}_{trees}", "float[7,4] x",
            {**forest("target", trees, 3, 2, LEQ, votes=2), "n_targets": 2, "aggregate_function": aggregate}, reduction=64, scale=4.0)
      for aggregate in ("SUM", "AVERAGE", "MIN", "MAX") for trees in (1, 5)),
    model("TreeEnsembleRegressor", "modes", "float[7,4] x", {**forest("target", 4, 3, 1, ALL), "n_targets": 1, "base_values": [0.5]},
          feed={"x": EIGHTHS}, reduction=64, scale=4.0),
    model("TreeEnsembleRegressor", "missing", "float[n,4] x", {**forest("target", 4, 2, 1, LEQ), "n_targets": 1,
          "nodes_missing_value_tracks_true": [1, 0, 1, 1, 1, 0, 0] * 4}, sizes=({"n": 3},), reduction=64, scale=4.0,
          feed={"x": np.array([[np.nan] * 4, [0, np.nan, 1, 2], [1, 2, 3, np.nan]], np.float32)}),
    model("TreeEnsembleRegressor", "one_leaf", "float[5,4] x", {**forest("target", 1, 0, 1, LEQ), "n_targets": 1}),
    *(model("TreeEnsembleClassifier", f"three_{t.lower()}", "float[7,4] x",
            {**forest("class", 5, 3, 3, LEQ, votes=2), "classlabels_int64s": [4, 5, 6], "post_transform": t}, LABELED, reduction=64, scale=2.0)
      for t in ("NONE", "SOFTMAX", "LOGISTIC")),
    model("TreeEnsembleClassifier", "two", "float[n,4] x", {**forest("class", 4, 2, 2, LEQ, votes=2), "classlabels_int64s": [0, 1]}, LABELED,
          sizes=BATCHES, reduction=64, scale=2.0),
    model("TreeEnsembleClassifier", "first_class", "float[7,4] x", {**POSITIVE, "class_ids": [0] * len(POSITIVE["class_ids"]),
          "classlabels_int64s": [0, 1]}, LABELED, reduction=64, scale=2.0),
    *(model("TreeEnsembleClassifier", f"first_class_signed_{t.lower()}", "float[7,4] x", {**SIGNED, "class_ids": [0] * len(SIGNED["class_ids"]),
            "classlabels_int64s": [0, 1], "post_transform": t}, LABELED, reduction=64, scale=2.0) for t in ("NONE", "LOGISTIC")),
    model("TreeEnsembleClassifier", "positive", "float[7,4] x", {**POSITIVE, "classlabels_int64s": [0, 1]}, LABELED, reduction=64, scale=2.0),
    *(model("TreeEnsembleClassifier", f"signed_{t.lower()}", "float[7,4] x", {**SIGNED, "classlabels_int64s": [0, 1], "post_transform": t}, LABELED,
            reduction=64, scale=2.0) for t in ("NONE", "LOGISTIC")),
    model("TreeEnsembleClassifier", "three_names", "float[7,4] x", {**forest("class", 5, 3, 3, LEQ, votes=2), "classlabels_strings": ["a", "ü", ""]},
          NAMED, reduction=64, scale=2.0),
    model("TreeEnsembleClassifier", "two_names", "float[7,4] x", {**POSITIVE, "classlabels_strings": ["no", "yes"]}, NAMED, reduction=64, scale=2.0),
    model("ArrayFeatureExtractor", "strings", "string[2,3] x, int64[1,2] i", {}, "string[] y", level=EXACT, feed={"i": np.array([[2, 0]])},
          version=1),
    model("TreeEnsemble", "sets", "float[6,1] x", {**MEMBERS, "membership_values": np.array([1.2, 3.7, 8, 9, np.nan, 12, 7, np.nan], np.float32)},
          version=5, oracle="reference", feed={"x": np.array([[1.2], [3.4], [-0.12], [np.nan], [12], [7]], np.float32)}),
    model("TreeEnsemble", "double", "double[5,2] x",
          {"n_targets": 2, "aggregate_function": 1, "tree_roots": [0], "nodes_featureids": [0, 0, 1], "nodes_modes": np.zeros(3, np.uint8),
           "nodes_splits": np.array([3.14, 1.2, 4.2]), "nodes_truenodeids": [1, 0, 1], "nodes_trueleafs": [0, 1, 1],
           "nodes_falsenodeids": [2, 2, 3], "nodes_falseleafs": [0, 1, 1], "leaf_targetids": [0, 1, 0, 1],
           "leaf_weights": np.array([5.23, 12.12, -12.23, 7.21])}, "double[] y", version=5, oracle="reference"),
]  # fmt: skip
