"""The polynomials of `src/throughtime/scans/compiled/runtime/vectors.h`, and how good they are.

Least maximum relative error by Lawson's iteration: least squares, weighted ever more where the
error is large. `python scripts/fit.py` prints the coefficients that stand in the header.
"""

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]


def fit(
    f: Function, weight: Function, low: float, high: float, degree: int
) -> tuple[np.ndarray, float]:
    """Coefficients of the polynomial nearest to f, rising; the greatest weighted error."""
    x = np.cos(np.linspace(0, np.pi, 4000)) * (high - low) / 2 + (high + low) / 2
    powers, target = (
        np.vander(x, degree + 1, increasing=True) * weight(x)[:, None],
        f(x) * weight(x),
    )
    importance = np.full(len(x), 1 / len(x))
    for _ in range(60):
        root = np.sqrt(importance)
        coefficients = np.linalg.lstsq(powers * root[:, None], target * root, rcond=None)[0]
        error = np.abs(powers @ coefficients - target)
        importance *= error / error.max() + 1e-6
        importance /= importance.sum()
    return coefficients, float(error.max())


def expm1_rest(r: np.ndarray) -> np.ndarray:
    """q of e^r - 1 = r + r² q(r)."""
    near = np.abs(r) < 1e-3
    series = 1 / 2 + r / 6 + r**2 / 24 + r**3 / 120
    return np.where(near, series, (np.expm1(r) - r) / np.where(near, 1, r) ** 2)


def log1p_rest(f: np.ndarray) -> np.ndarray:
    """q of log(1 + f) = f - f²/2 + f³ q(f)."""
    near = np.abs(f) < 2e-2
    series = sum((-f) ** k / (k + 3) for k in range(9))
    return np.where(near, series, (np.log1p(f) - f + f**2 / 2) / np.where(near, 1, f) ** 3)


def show(name: str, coefficients: np.ndarray, error: float) -> None:
    """As C++ reads them."""
    print(name, ", ".join(f"{np.float32(c):.8g}f" for c in coefficients), f"error {error:.1e}")


if __name__ == "__main__":
    half = np.log(2) / 2 * 1.002
    show(
        "exp", *fit(expm1_rest, lambda r: r**2 / np.maximum(abs(np.expm1(r)), 1e-9), -half, half, 4)
    )
    low, high = np.sqrt(0.5) - 1 - 1e-4, np.sqrt(2) - 1 + 1e-4
    weight = lambda f: abs(f) ** 3 / np.maximum(abs(np.log1p(f)), 1e-12)  # noqa: E731
    show("log", *fit(log1p_rest, weight, low, high, 7))
