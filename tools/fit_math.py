"""Fit the polynomials of `ingot.isa.math` and print them with their errors: python tools/fit_math.py"""

import numpy as np
from scipy.special import erf, erfc, log_ndtr

from ingot.isa.math import GELU_END


def chebyshev_fit(f, low: float, high: float, degree: int, weight=None) -> np.ndarray:
    """Power-basis coefficients (constant first) of a near-minimax fit at Chebyshev nodes."""
    k = np.arange(400)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (k + 0.5) / 400)
    w = np.ones_like(x) if weight is None else weight(x)
    return np.polynomial.polynomial.polyfit(x, f(x), degree, w=w)


def gelu_tail(degree: int = 8) -> np.ndarray:
    """The fit to log(erfc(y / sqrt 2) / 2) whose largest error is least, by Lawson's reweighted least squares.

    An error of e there is one of e of the tail y erfc(y / sqrt 2) / 2, and is weighed as a part of x.
    """
    y = np.concatenate([np.linspace(0, 5, 3000), np.linspace(5, GELU_END, 1500)])
    wanted = log_ndtr(-y)
    allowed = np.clip(3e-8 / np.maximum(np.exp(wanted), 1e-30), 6e-8, 5e-3)
    powers = np.polynomial.chebyshev.chebvander(2 * y / y[-1] - 1, degree)
    weight = np.ones_like(y)
    for _ in range(300):
        by = np.sqrt(weight) / allowed
        found = np.linalg.lstsq(powers * by[:, None], wanted * by, rcond=None)[0]
        weight *= np.abs(powers @ found - wanted) / allowed
        weight /= weight.sum()
    return np.polynomial.chebyshev.Chebyshev(found, [0, y[-1]]).convert(kind=np.polynomial.Polynomial).coef


def main() -> None:
    small = chebyshev_fit(lambda t: erf(np.sqrt(t)) / np.sqrt(t), 1e-12, 1.0, 6)
    large = chebyshev_fit(lambda x: np.log(erfc(x)), 1.0, 4.0, 8, weight=lambda x: erfc(x))
    x = np.linspace(1e-4, 4.0, 400_001).astype(np.float32)

    def horner(c: np.ndarray, t: np.ndarray) -> np.ndarray:
        total = np.full_like(t, np.float32(c[-1]))
        for a in c[-2::-1]:
            total = total * t + np.float32(a)
        return total

    got = np.where(x < 1, x * horner(small, x * x), 1 - np.exp(horner(large, x)))
    error = np.abs(got.astype(np.float64) - erf(x.astype(np.float64)))
    print("ERF_SMALL =", [float(np.float32(c)) for c in small])
    print("ERF_LARGE =", [float(np.float32(c)) for c in large])
    tail = gelu_tail()
    got = np.maximum(x, 0) - x * np.exp(horner(tail, x))
    wanted = x.astype(np.float64) * (1 - erfc(x.astype(np.float64) / np.sqrt(2)) / 2)
    print("GELU_TAIL =", [float(np.float32(c)) for c in tail])
    print(f"gelu: largest error, relative to x, {np.max(np.abs(got - wanted) / x):.2e}")
    print(
        f"erf: largest absolute error {error.max():.2e}, relative {np.max(error / erf(x.astype(np.float64))):.2e}"
    )


if __name__ == "__main__":
    main()
