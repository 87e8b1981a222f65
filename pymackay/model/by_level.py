"""Sums over the rows of each level of a grouping factor, and rows some at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["chunks", "level_gram", "level_products"]

_ROWS = 1_048_576  # eight megabytes of numbers


def chunks(n: int, size: int | None = None) -> Iterator[slice]:
    """Yield slices that together are the rows 0 to n, about a million rows each.

    What is computed on the way to a sum or a column stays as small as one of them.

    Examples
    --------
    >>> list(chunks(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    step = _ROWS if size is None else size
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def level_gram(codes: np.ndarray, columns: np.ndarray, n_levels: int) -> np.ndarray:
    """Return ``Z_j' Z_j`` of each level j.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row.
    columns : numpy.ndarray, shape (n, q)
        Z.
    n_levels : int
        J.

    Returns
    -------
    numpy.ndarray, shape (J, q, q)
        Exactly symmetric.
    """
    codes = codes.astype(np.intp, copy=False)  # once, not in every bincount
    q = columns.shape[1]
    gram = np.empty((n_levels, q, q))
    for a in range(q):
        for b in range(a + 1):
            gram[:, a, b] = np.bincount(codes, columns[:, a] * columns[:, b], n_levels)
            gram[:, b, a] = gram[:, a, b]
    return gram


def level_products(
    codes: np.ndarray, columns: np.ndarray, others: np.ndarray, n_levels: int
) -> np.ndarray:
    """Return ``Z_j' R_j`` of each level j.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row.
    columns, others : numpy.ndarray, shapes (n, q) and (n, k)
        Z and R.
    n_levels : int
        J.

    Returns
    -------
    numpy.ndarray, shape (J, q, k)
    """
    codes = codes.astype(np.intp, copy=False)
    products = np.empty((n_levels, columns.shape[1], others.shape[1]))
    for a, left in enumerate(columns.T):
        for b, right in enumerate(others.T):
            products[:, a, b] = np.bincount(codes, left * right, n_levels)
    return products
