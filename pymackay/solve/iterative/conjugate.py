"""Preconditioned conjugate gradients, many right-hand sides at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Operator = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution by conjugate gradients.

    Attributes
    ----------
    x : numpy.ndarray, shape (size, k)
    iterations : int
        Number of iterations.
    residual : float
        Largest remaining residual of a column, in the preconditioner's norm, relative to its
        right-hand side.
    """

    x: np.ndarray
    iterations: int
    residual: float


def conjugate_gradients(
    operator: Operator,
    precondition: Operator,
    right: np.ndarray,
    *,
    start: np.ndarray | None,
    tolerance: float,
    most: int,
) -> Solution:
    """Solve ``operator(x) = right`` column by column, the columns sharing every product.

    Parameters
    ----------
    operator, precondition : callable
        Symmetric positive definite, on arrays of shape (size, k).
    right : numpy.ndarray, shape (size, k)
    start : numpy.ndarray, shape (size, k), or None
    tolerance : float
        Relative residual, in the preconditioner's norm, at which a column has converged.
    most : int
        Largest number of iterations.

    References
    ----------
    Hestenes, M. R., Stiefel, E. (1952). Methods of conjugate gradients for solving linear
    systems. J. Res. Natl. Bur. Stand. 49(6).
    """
    tiny = np.finfo(right.dtype).tiny
    goal = tolerance**2 * _dots(right, precondition(right))
    x = np.zeros_like(right) if start is None else start.astype(right.dtype)
    residual = right.copy() if start is None else right - operator(x)
    z = precondition(residual)
    rho = _dots(residual, z)
    direction = z
    iterations = 0
    while iterations < most and (rho > goal).any():
        product = operator(direction)
        steepness = _dots(direction, product)
        # a column that has been solved exactly stays among the others with a step of zero
        alpha = np.where(steepness > tiny, rho / np.maximum(steepness, tiny), 0.0)
        alpha = alpha.astype(right.dtype)
        x += alpha * direction
        residual -= alpha * product
        z = precondition(residual)
        fresh = _dots(residual, z)
        beta = (fresh / np.maximum(rho, tiny)).astype(right.dtype)
        direction = z + beta * direction
        rho = fresh
        iterations += 1
    worst = float(np.sqrt(np.max(rho / np.maximum(goal, tiny), initial=0.0))) * tolerance
    return Solution(x, iterations, worst)


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner product of each pair of columns, summed in float64."""
    return np.asarray(np.einsum("ik,ik->k", a, b, dtype=np.float64, optimize=False))
