"""Algebra of many small matrices at once: the matrix's axes first, then long batch axes.

A product or a factor is a handful of operations on long contiguous vectors, whatever the batch is
(levels, responses, or both). What fails in one place of the batch (a matrix that is not positive
definite) is nan there, and leaves the others alone.
"""

from __future__ import annotations

import numpy as np


def batch_last(X: np.ndarray) -> np.ndarray:
    """Move the axis of the batch from first to last: (B, a, b) to (a, b, B)."""
    return np.ascontiguousarray(np.moveaxis(X, 0, -1))


def batch_first(X: np.ndarray) -> np.ndarray:
    """Move the axis of the batch from last to first: (a, b, B) to (B, a, b)."""
    return np.ascontiguousarray(np.moveaxis(X, -1, 0))


def product(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return ``X @ Y`` for X of shape (a, k, ...) and Y of shape (k, b, ...)."""
    inner = X.shape[1]
    if inner == 0:
        batch = np.broadcast_shapes(X.shape[2:], Y.shape[2:])
        return np.zeros((X.shape[0], Y.shape[1], *batch))
    total = X[:, 0, None] * Y[None, 0]
    for k in range(1, inner):
        total += X[:, k, None] * Y[None, k]
    return total


def cholesky(M: np.ndarray) -> np.ndarray:
    """Return L, lower, with ``L L' = M``, shape (q, q, ...); nan where M is not positive."""
    L = np.zeros_like(M)
    for j in range(len(M)):
        row = L[j, :j]
        L[j, j] = np.sqrt(M[j, j] - (row * row).sum(axis=0))
        below = M[j + 1 :, j] - (L[j + 1 :, :j] * row).sum(axis=1)
        L[j + 1 :, j] = below / L[j, j]
    return L


def inverse_lower(L: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower-triangular L, shape (q, q, ...)."""
    inverse = np.zeros_like(L)
    for i in range(len(L)):
        inverse[i, i] = 1.0 / L[i, i]
        if i:
            inverse[i, :i] = -product(L[None, i, :i], inverse[:i, :i])[0] * inverse[i, i]
    return inverse
