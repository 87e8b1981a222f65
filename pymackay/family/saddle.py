"""Loader's saddle-point terms: deviances and Stirling errors that keep their digits."""

from __future__ import annotations

import numpy as np

from pymackay.late import special

_NEAR = 0.1  # |x − m| / (x + m) under which the series is taken: its terms fall by 1/100 each
_TERMS = 9  # of the series, after which 1e-18 of the sum is missing
_STIRLING = 15.0  # from here on five terms of the asymptotic series are exact in float64
_HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


def deviance_part(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return ``x log(x / m) + m − x``, element by element, without cancellation where x is near m.

    Parameters
    ----------
    x : numpy.ndarray
        Not negative.
    m : numpy.ndarray
        Positive, of the same shape.

    References
    ----------
    Loader 2000, Fast and accurate computation of binomial probabilities, eq. 5 (bd0).
    """
    x, m = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(m, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        value = np.where(x > 0.0, x * np.log(x / m), 0.0) + m - x
        near = np.abs(x - m) < _NEAR * (x + m)
    if near.any():
        value[near] = _series(x[near], m[near])
    return value


def _series(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return ``(x − m) v + 2 x Σ_k v^(2k+1) / (2k + 1)``, v = (x − m) / (x + m), (n,)."""
    v = (x - m) / (x + m)
    square = v * v
    total = np.zeros_like(v)
    for k in range(_TERMS, 0, -1):
        total = square * (total + 1.0 / (2.0 * k + 1.0))
    return (x - m) * v + 2.0 * x * v * total


def stirling_error(x: np.ndarray) -> np.ndarray:
    """Return ``log x! − (x + ½) log x + x − ½ log 2π``, the error of Stirling's formula; 0 at 0.

    Parameters
    ----------
    x : numpy.ndarray
        Not negative; it need not be whole.

    References
    ----------
    Loader 2000, as above, table 1 (stirlerr).
    """
    x = np.asarray(x, dtype=np.float64)
    small = np.where(x > 0.0, np.minimum(x, _STIRLING), 1.0)
    direct = special.gammaln(small + 1.0) - (small + 0.5) * np.log(small) + small - _HALF_LOG_2PI
    large = np.maximum(x, _STIRLING)
    s = 1.0 / (large * large)
    series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / large
    return np.where(x > 0.0, np.where(x > _STIRLING, series, direct), 0.0)
