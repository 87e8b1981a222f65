"""Checks of the numbers and matrices that users hand to solvers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pymackay.errors import ArgumentError

__all__ = ["at_least_one", "covariance_matrix", "flag", "positive_number"]

# A correlation matrix computed in float64 has eigenvalues down to about -q eps where the exact
# one has 0; what is further below is not rounding.
_NEGATIVE = 64 * float(np.finfo(np.float64).eps)


def positive_number(name: str, value: object) -> float:
    """Return `value`, one positive finite number (an array of one element will do), as float.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    number = _numbers(name, value)
    if number.size != 1 or not np.isfinite(number).all() or number.min() <= 0:
        raise ArgumentError(f"{name} is {value!r}; it must be one positive finite number.")
    return float(number.reshape(()))


def at_least_one(name: str, value: object) -> int:
    """Return `value`, an integer of at least 1, as int.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{name} is {value!r}; it must be an integer of at least 1.")
    return int(value)


def flag(name: str, value: object) -> bool:
    """Return `value`, True or False, as bool.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be True or False, but it is {value!r}.")
    return bool(value)


def covariance_matrix(name: str, value: object, effects: Sequence[str]) -> np.ndarray:
    """Return `value` as an exactly symmetric, positive semidefinite float64 matrix.

    Parameters
    ----------
    name : str
        What messages call the matrix.
    value : array-like, shape (q, q)
    effects : sequence of str, length q
        Names of the rows and columns.

    Raises
    ------
    ArgumentError
        If the shape is another, a value is not finite, the matrix is not symmetric, or its
        correlation matrix has a negative eigenvalue.
    """
    cov, q = _numbers(name, value), len(effects)
    if cov.shape != (q, q):
        raise ArgumentError(
            f"{name} has shape {cov.shape}; the effects {', '.join(effects)} need shape {(q, q)}."
        )
    if not np.isfinite(cov).all():
        raise ArgumentError(f"{name} has values that are not finite: {cov.tolist()}.")
    sd = np.sqrt(np.abs(np.diag(cov)))
    if np.any(np.abs(cov - cov.T) > 1e-10 * np.outer(sd, sd)):
        raise ArgumentError(
            f"{name} is not symmetric: {cov.tolist()}. Give (V + V.T) / 2, if that is meant."
        )
    cov = (cov + cov.T) / 2.0
    scale = np.where(sd > 0, sd, 1.0)
    smallest = np.linalg.eigvalsh(cov / np.outer(scale, scale)).min(initial=0.0)
    if smallest < -_NEGATIVE * q:
        raise ArgumentError(
            f"{name} is not a covariance matrix: scaled to correlations it has the eigenvalue "
            f"{smallest:.3g}, and none may be negative. Check the variances on the diagonal "
            f"({np.diag(cov).tolist()}) and that no covariance exceeds what they allow."
        )
    return cov


def _numbers(name: str, value: object) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} is {value!r}; it must hold numbers.") from error
