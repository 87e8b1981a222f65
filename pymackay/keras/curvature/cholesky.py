"""`held_cholesky`: a factor in which undetermined weights are held; inverses from factors."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

_FLOOR = 1e-11  # of a weight's own curvature: a pivot below it is zero
_HELD = 1e-8  # of it: what is then added


def inverse_of(factor: np.ndarray) -> np.ndarray:
    """Return (LL')⁻¹."""
    if not len(factor):
        return factor
    lower = lapack.dpotri(factor, lower=1)[0]
    return np.tril(lower) + np.tril(lower, -1).T


def diagonal_sum(matrix: np.ndarray, q: int) -> np.ndarray:
    """Return the sum of the q x q blocks on the diagonal of a square matrix."""
    if q == 1:
        return np.trace(matrix).reshape(1, 1)
    rows = len(matrix) // q
    return np.einsum("jajb->ab", matrix.reshape(rows, q, rows, q))


def held_cholesky(
    matrix: np.ndarray, scale: np.ndarray, penalised: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return the lower factor; where weights without a prior are undetermined, they are held.

    A pivot below `_FLOOR` of the weight's own curvature (`scale`) counts as zero; the weight's
    curvature is then added to the diagonal, so that a Newton step leaves the weight where it is
    and its uncertainty enters no other.
    """
    if not len(matrix):
        return matrix, 0
    factor, failed = lapack.dpotrf(matrix, lower=1, clean=1)
    weak = np.diag(factor) ** 2 <= _FLOOR * scale
    if not failed and not weak.any():
        return factor, 0
    free = np.flatnonzero(~penalised)
    unit = np.where(scale > 0.0, scale, 1.0)
    raised = matrix.copy()
    raised[free, free] += np.where(scale[free] > 0.0, _HELD * unit[free], 1.0)
    factor, failed = lapack.dpotrf(raised, lower=1, clean=1)
    small = np.diag(factor)[free] ** 2 <= 10.0 * _HELD * unit[free]
    extra = _HELD
    while failed:
        extra *= 10.0
        held = raised + np.diag(extra * unit)
        factor, failed = lapack.dpotrf(held, lower=1, clean=1)
    return factor, int(np.count_nonzero(small | (scale[free] == 0.0)))
