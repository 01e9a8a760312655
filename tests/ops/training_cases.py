"""Cases of `ingot.lower.training`."""

from __future__ import annotations

from typing import Any

import numpy as np
from case import Case, case

from ingot.lower.training import DOMAIN


def optimizer(
    operator: str, name: str, attributes: str = "", *, tensors: int = 1, time: int = 3, dtype: str = "float", **how: Any
) -> Case:  # fmt: skip
    """A step on tensors of several shapes; what is accumulated is not negative."""
    each = {"Adagrad": 3, "Adam": 4, "Momentum": 3}[operator]
    shapes = ["3,17", "5", "2,1,3"][:tensors]
    names = [f"{letter}{n}" for letter in "xgvh"[:each] for n in range(tensors)]
    sizes = shapes * each
    inputs = [f"{dtype} r, int64 t", *(f"{dtype}[{s}] {n}" for s, n in zip(sizes, names, strict=True))]
    made = [f"y{i}" for i in range(tensors * (each - 1))]
    body = f"{', '.join(made)} = {DOMAIN}.{operator}<{attributes}>(r, t, {', '.join(names)})"
    kind = np.float64 if dtype == "double" else np.float32
    rng = np.random.default_rng(len(name))
    last = {
        n: np.abs(rng.standard_normal([int(d) for d in s.split(",")])).astype(kind)
        for s, n in zip(sizes[-tensors:], names[-tensors:], strict=True)
    }
    return case(
        f"{operator.lower()}_{name}", ", ".join(inputs), body, ", ".join(f"{dtype}[] {o}" for o in made),
        domains={DOMAIN: 1}, feed={"r": kind(0.1), "t": np.int64(time), **last}, reduction=64, scale=1.0, **how,
    )  # fmt: skip


A, B = (np.arange(6, dtype=np.float32).reshape(2, 3), np.array([2, -1, 3], np.float32))
CASES = [
    optimizer("Adagrad", "plain", "epsilon=0.00001"),
    optimizer("Adagrad", "regularized", "norm_coefficient=0.01,decay_factor=0.1", tensors=3),
    optimizer("Adagrad", "double", "decay_factor=0.1", dtype="double"),
    optimizer("Adam", "plain", "alpha=0.95,beta=0.85", dtype="double"),
    optimizer("Adam", "first", "alpha=0.95,beta=0.85", time=0),
    optimizer(
        "Adam", "regularized", "norm_coefficient=0.01,norm_coefficient_post=0.02,epsilon=0.001", tensors=2
    ),
    optimizer("Momentum", "standard", 'norm_coefficient=0.001,alpha=0.95,beta=0.1,mode="standard"'),
    optimizer("Momentum", "first", 'norm_coefficient=0.001,alpha=0.95,beta=0.1,mode="standard"', time=0),
    optimizer("Momentum", "nesterov", 'norm_coefficient=0.0,alpha=0.95,beta=0.9,mode="nesterov"', tensors=2),
    case(
        "gradient",
        "float[2,3] a, float[3] b",
        f'y = Mul(a, b)  da, db = {DOMAIN}.Gradient<xs=["a","b"],y="y">(a, b)',
        "float[2,3] y, float[2,3] da, float[3] db",
        domains={DOMAIN: 1},
        feed={"a": A, "b": B},
        expected=([A * B, np.broadcast_to(B, (2, 3)), A.sum(0)],),
    ),
]
