"""`probability_inside`: of a box around zero, for the multivariate t distribution."""

from __future__ import annotations

import functools

import numpy as np
from scipy import special, stats

_SEED = 20231127  # of the scrambling: the same answer each time
_POINTS = 2**14
_SINGULAR = 1e-10  # of the unit variances: what is left of a variable that others determine
_EDGE = 1e-16  # probabilities are kept this far from 0 and 1


def probability_inside(limit: float, df: float, correlation: np.ndarray) -> float:
    """Return ``P(|T_i| < limit for all i)`` by quasi-Monte-Carlo, with an error below 1e-4.

    With T = C z / s, where C C' is the correlation, z standard normal and ``df s²`` chi-square,
    the box bounds z₁, then z₂ given z₁, and so on. A variable that others determine bounds the last
    z that it depends on, so that the correlation may be singular, as that of all pairs is.

    Parameters
    ----------
    limit : float
    df : float
        Infinity for the normal distribution.
    correlation : numpy.ndarray, shape (m, m)

    References
    ----------
    Genz, Bretz 2002, J. Comput. Graph. Stat. 11; Genz, Kwong 2000, J. Stat. Comput. Simul. 68.
    """
    C, last = _pivoted_factor(correlation)
    points = _points(C.shape[1] + 1)
    scale = np.ones(len(points))
    if np.isfinite(df):
        scale = np.sqrt(stats.chi2.ppf(points[:, -1], df) / df)
    z = np.zeros((len(points), C.shape[1]))
    inside = np.ones(len(points))
    for j in range(C.shape[1]):
        rows = C[last == j]
        centre = z[:, :j] @ rows[:, :j].T
        ends = (np.array([-1.0, 1.0])[:, None, None] * limit * scale[:, None] - centre) / rows[:, j]
        low, high = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
        below, above = special.ndtr(low), special.ndtr(np.maximum(low, high))
        inside *= above - below
        at = below + points[:, j] * (above - below)
        z[:, j] = special.ndtri(np.clip(at, _EDGE, 1.0 - _EDGE))
    return float(inside.mean())


@functools.lru_cache(maxsize=16)
def _points(dimensions: int) -> np.ndarray:
    points = stats.qmc.Sobol(dimensions, seed=_SEED).random(_POINTS)
    return np.asarray(np.clip(points, _EDGE, 1.0 - _EDGE))


def _pivoted_factor(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return C, (m, rank), with ``C C'`` the correlation, and each row's last column, (m,)."""
    rest = np.array(correlation, dtype=np.float64)
    columns = []
    while np.diag(rest).max() > _SINGULAR:
        pivot = int(np.argmax(np.diag(rest)))
        column = rest[:, pivot] / np.sqrt(rest[pivot, pivot])
        rest = rest - np.outer(column, column)
        columns.append(column)
    C = np.column_stack(columns)
    C[np.abs(C) < np.sqrt(_SINGULAR)] = 0.0
    last = C.shape[1] - 1 - np.argmax(C[:, ::-1] != 0.0, axis=1)
    return C, last
