"""Cases of `ingot.lower.svm`."""

from __future__ import annotations

from typing import Any

from case import Case, weights
from ml_cases import floats, model

SVM = {
    "coefficients": floats(weights("svm", 5)),
    "support_vectors": floats(weights("vectors", 5, 4)),
    "n_supports": 5,
    "rho": [0.25],
}
NAMES = ["no", "", "ja", "vielleicht"]


def classifier(
    name: str, classes: int, *, proba: bool = False, names: bool = False, linear: bool = False, kernel: str = "RBF", dtype: str = "float",
    positive: bool = False, **attributes: Any,
) -> Case:  # fmt: skip
    """Three support vectors of the first class, two of each other; without any where `linear`."""
    pairs, vectors = classes * (classes - 1) // 2, 2 * classes + 1
    shape = (classes, 4) if linear else (classes - 1, vectors)
    made = weights("coefficients", *shape)
    how: dict[str, Any] = {"coefficients": floats(abs(made) if positive else made), "rho": floats(weights("rho", pairs)), "kernel_type": kernel,
                           "kernel_params": [0.25, 0.5, 2.0]}  # fmt: skip
    if not linear:
        how |= {
            "support_vectors": floats(weights("sv", vectors, 4)),
            "vectors_per_class": [3, *[2] * (classes - 1)],
        }
    if proba:
        how |= {"prob_a": floats(weights("a", pairs)), "prob_b": floats(weights("b", pairs))}
    how |= {"classlabels_strings": NAMES[:classes]} if names else {"classlabels_ints": [3, 5, 9, 1][:classes]}
    return model("SVMClassifier", name, f"{dtype}[n,4] x", {**how, **attributes}, f"{'string' if names else 'int64'}[n] y, float[n,s] z",
                 sizes=({"n": 1}, {"n": 9}), reduction=64, scale=8.0)  # fmt: skip


CASES = [
    *(model("SVMRegressor", kind.lower(), "float[7,4] x", {**SVM, "kernel_type": kind, "kernel_params": [0.25, 0.5, 2.0]}, reduction=64, scale=8.0)
      for kind in ("LINEAR", "POLY", "RBF", "SIGMOID")),
    model("SVMRegressor", "one_class", "float[7,4] x", {**SVM, "kernel_type": "RBF", "kernel_params": [0.25, 0.0, 3.0], "one_class": 1}),
    model("SVMRegressor", "linear_machine", "float[7,4] x", {"coefficients": floats(weights("sl", 4)), "rho": [0.5], "kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 3.0]}, reduction=16, scale=4.0),
    *(classifier(f"{kind.lower()}_{classes}", classes, kernel=kind) for kind in ("LINEAR", "POLY", "RBF", "SIGMOID") for classes in (2, 4)),
    *(classifier(f"proba_{classes}", classes, proba=True) for classes in (2, 3, 4)),
    classifier("proba_names", 4, proba=True, names=True),
    classifier("names", 2, names=True),
    classifier("positive", 2, positive=True),
    *(classifier(f"two_{t.lower()}", 2, post_transform=t) for t in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")),
    *(classifier(f"three_{t.lower()}", 3, post_transform=t) for t in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")),
    classifier("proba_softmax", 3, proba=True, post_transform="SOFTMAX"),
    classifier("proba_probit", 2, proba=True, post_transform="PROBIT"),
    *(classifier(f"{dtype}_input", 3, dtype=dtype) for dtype in ("double", "int64", "int32")),
    *(classifier(f"without_vectors_{classes}", classes, linear=True) for classes in (2, 3)),
    classifier("without_vectors_positive", 2, linear=True, positive=True),
    classifier("without_vectors_logistic", 3, linear=True, post_transform="LOGISTIC"),
]  # fmt: skip
