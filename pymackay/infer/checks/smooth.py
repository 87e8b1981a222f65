"""`Smooth`: a curve through points, with the band of its mean, from grouped points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

_KNOTS = 4  # inner knots of the cubic splines
_POINTS = 60  # of the curve


@dataclass(frozen=True, eq=False)
class Smooth:
    """A least-squares spline through points.

    Attributes
    ----------
    x, mean, half : numpy.ndarray, shape (points,)
        The curve, and the half width of its pointwise 95 % band.
    p_curve : float
        F test of the spline against a straight line.
    p_any : float
        F test of the spline against a constant.
    """

    x: np.ndarray
    mean: np.ndarray
    half: np.ndarray
    p_curve: float
    p_any: float


def smooth(x: np.ndarray, y: np.ndarray) -> Smooth | None:
    """Fit a natural cubic spline with knots at quantiles of x; None where x hardly varies.

    Parameters
    ----------
    x, y : numpy.ndarray, shape (n,)
    """
    knots = np.unique(np.quantile(x, np.linspace(0.05, 0.95, _KNOTS + 2)))
    if len(knots) < 4 or len(x) < 4 * len(knots):
        return None
    B = _natural(x, knots)
    coefficients, rss, sizes = _least_squares(B, y)
    n, k = B.shape
    variance = rss / (n - k)
    low, high = np.quantile(x, [0.005, 0.995])
    at = np.linspace(low, high, _POINTS)
    A = _natural(at, knots)
    error = np.sqrt(variance * np.einsum("ia,ab,ib->i", A, sizes, A))
    line, flat = _least_squares(B[:, :2], y)[1], float(np.sum((y - y.mean()) ** 2))
    return Smooth(
        x=at,
        mean=A @ coefficients,
        half=float(stats.norm.ppf(0.975)) * error,
        p_curve=_f_test(line, rss, k - 2, n - k),
        p_any=_f_test(flat, rss, k - 1, n - k),
    )


def _natural(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the natural cubic spline's basis (Hastie, Tibshirani, Friedman 2009, eq. 5.4)."""
    low, width = knots[0], knots[-1] - knots[0]
    z, t = (x - low) / width, (knots - low) / width

    def d(k: int) -> np.ndarray:
        cubes = np.maximum(z - t[k], 0.0) ** 3 - np.maximum(z - t[-1], 0.0) ** 3
        return np.asarray(cubes / (t[-1] - t[k]))

    last = d(len(t) - 2)
    return np.column_stack([np.ones(len(x)), z, *(d(k) - last for k in range(len(t) - 2))])


def _least_squares(B: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Return coefficients, (k,), the residual sum of squares, and ``(B'B)⁻¹``."""
    inverse = np.linalg.pinv(B.T @ B, hermitian=True)
    coefficients = inverse @ (B.T @ y)
    return coefficients, float(np.sum((y - B @ coefficients) ** 2)), inverse


def _f_test(larger: float, rss: float, df: int, rest: int) -> float:
    if not rss > 0.0:
        return float("nan")
    return float(stats.f.sf(max(larger - rss, 0.0) / df / (rss / rest), df, rest))
