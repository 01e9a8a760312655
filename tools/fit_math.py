"""Fit the polynomials of `ingot.isa.math` and print them with their errors: python tools/fit_math.py"""

import numpy as np
from scipy.special import erf, erfc


def chebyshev_fit(f, low: float, high: float, degree: int, weight=None) -> np.ndarray:
    """Power-basis coefficients (constant first) of a near-minimax fit at Chebyshev nodes."""
    k = np.arange(400)
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (k + 0.5) / 400)
    w = np.ones_like(x) if weight is None else weight(x)
    return np.polynomial.polynomial.polyfit(x, f(x), degree, w=w)


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
    print(
        f"erf: largest absolute error {error.max():.2e}, relative {np.max(error / erf(x.astype(np.float64))):.2e}"
    )


if __name__ == "__main__":
    main()
