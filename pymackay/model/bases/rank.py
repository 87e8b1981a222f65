"""Which columns of a design are kept: R's rank rule, Householder steps with limited pivoting."""

from __future__ import annotations

import numpy as np

__all__ = ["TOLERANCE", "independent_columns"]

TOLERANCE = 1e-7
"""A column is dropped when less than this part of its norm is left; lme4's value."""

_RECOMPUTE = 1e-6
_SURELY_INDEPENDENT = 1e-6


def independent_columns(X: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray:
    """Find the columns that R keeps when it checks the rank of a design.

    Columns are taken from left to right; one whose part orthogonal to those kept before it has
    less than `tolerance` of its norm is passed over.

    Parameters
    ----------
    X : numpy.ndarray, shape (n, p)
    tolerance : float

    Returns
    -------
    numpy.ndarray of int
        Positions of the columns kept, ascending.

    References
    ----------
    The rule is that of dqrdc2, R's variant of LINPACK's dqrdc (Dongarra et al. 1979, LINPACK
    Users' Guide, ch. 9). An orthogonal transformation changes neither norms nor projections, so
    for n > p the rule is applied to the triangular factor of X.

    Examples
    --------
    >>> independent_columns(np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])).tolist()
    [0, 2]
    """
    n, p = X.shape
    if p == 0 or (n >= p and _surely_full_rank(X)):
        return np.arange(p)
    scaled = _scaled(X)
    reduced = np.array(np.linalg.qr(scaled, mode="r") if n > p else scaled, dtype=np.float64)
    return np.asarray(_keep_from_left(reduced, n, tolerance), dtype=np.intp)


def _scaled(X: np.ndarray) -> np.ndarray:
    """Bring each column near 1 by a power of two: the rule looks at shares of norms only."""
    _, exponents = np.frexp(np.abs(X).max(axis=0, initial=0.0))
    return np.ldexp(X, -exponents)


def _surely_full_rank(X: np.ndarray) -> bool:
    """Whether the scaled cross-products alone prove that no column is near dependence.

    Their Cholesky pivots are the squared parts that the rule looks at; rounding moves them by
    far less than the bound, which lies eight orders of magnitude above the squared tolerance.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        products = X.T @ X
    norms = np.sqrt(np.diag(products))
    if not norms.min() > 0.0 or not np.isfinite(products).all():
        return False
    try:
        factor = np.linalg.cholesky(products / np.outer(norms, norms))
    except np.linalg.LinAlgError:
        return False
    return bool(np.min(np.diag(factor)) ** 2 > _SURELY_INDEPENDENT)


def _keep_from_left(a: np.ndarray, n: int, tolerance: float) -> list[int]:
    """Apply the rule to `a`, which is overwritten; `n` is the number of rows of the design."""
    rows, p = a.shape
    norms = np.linalg.norm(a, axis=0)
    original = np.where(norms == 0.0, 1.0, norms)
    kept: list[int] = []
    for j in range(p):
        step = len(kept)
        if step == min(n, p):
            break
        if norms[j] < tolerance * original[j]:
            continue
        kept.append(j)
        if step < n - 1 and step < rows:
            _reflect(a[step:, j:], norms[j + 1 :])
    return kept


def _reflect(block: np.ndarray, norms: np.ndarray) -> None:
    """Reflect the first column of `block` onto its first axis; update the norms of the others.

    A norm is updated by Pythagoras while that is accurate, and recomputed where it is not.
    """
    pivot = block[:, 0]
    length = np.linalg.norm(pivot)
    if length == 0.0 or block.shape[1] == 1:
        return
    direction = pivot / np.copysign(length, pivot[0])
    direction[0] += 1.0
    rest = block[:, 1:]
    rest -= np.outer(direction, direction @ rest / direction[0])
    share = np.zeros_like(norms)
    positive = norms > 0.0
    np.divide(np.abs(rest[0]), norms, out=share, where=positive)
    remaining = np.maximum(1.0 - share**2, 0.0)
    norms *= np.where(positive, np.sqrt(remaining), 1.0)
    again = positive & (remaining < _RECOMPUTE)
    if again.any():
        norms[again] = np.linalg.norm(rest[1:, again], axis=0)
