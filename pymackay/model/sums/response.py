"""The response as it is computed with: its least-squares fit on X taken off, at unit length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.errors import DataError
from pymackay.model.bases.scaling import Basis
from pymackay.model.model import Model
from pymackay.model.sums.chunks import chunks

__all__ = ["Response", "residual_response"]


@dataclass(frozen=True, eq=False)
class Response:
    """The response with its least-squares fit on X taken off.

    Attributes
    ----------
    residual : numpy.ndarray, shape (n,)
        Weighted, at unit length.
    scale : float
        Its length before; relative quantities do not depend on it.
    beta : numpy.ndarray, shape (p,)
        What was taken off, in the user's columns of X.
    """

    residual: np.ndarray
    scale: float
    beta: np.ndarray


def residual_response(model: Model, root: np.ndarray | None, basis: Basis) -> Response:
    """Take the least-squares fit off the response.

    A constant that X can carry goes first, by exact subtraction: products with Q would leave
    rounding of the response's size in every row.
    """
    left = model.y.copy() if model.offset is None else model.y - model.offset
    size = float(np.linalg.norm(left if root is None else left * root))
    one = np.broadcast_to(1.0, len(left)) if root is None else root
    along = _along(basis.Q, one)
    center = float(np.mean(left)) if _carries(basis, one, along) else 0.0
    left -= center
    if root is not None:
        left *= root
    first = _take_off(left, basis.Q)
    second = _take_off(left, basis.Q)
    length = float(np.sqrt(left @ left))
    if not length > 1e-14 * max(size, np.finfo(float).tiny):
        raise DataError(
            f"the response {model.response!r} is an exact linear function of the fixed effects: "
            f"the residual of the least-squares fit has length {length:.3g}. "
            f"A mixed model needs residual variation; check the response and the formula."
        )
    beta = basis.from_basis(first + second) + center * _constant(model.X, basis.from_basis(along))
    left /= length
    return Response(left, length, beta)


def _carries(basis: Basis, one: np.ndarray, along: np.ndarray) -> bool:
    """Say whether the basis holds the weighted constant, whose coefficients would be `along`."""
    away = max(np.abs(one[rows] - basis.Q[rows] @ along).max() for rows in chunks(len(one)))
    return bool(away < 1e-12 * np.abs(one).max())


def _take_off(left: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Subtract from `left`, in place, what Q can say of it; return the coefficients."""
    coefficients = _along(Q, left)
    for rows in chunks(len(left)):
        left[rows] -= Q[rows] @ coefficients
    return coefficients


def _along(Q: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return ``Q' values``; of one number that all rows share, by a sum that keeps its digits."""
    return Q[0] * np.sum(values) if Q.strides[0] == 0 else np.asarray(Q.T @ values)


def _constant(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the coefficients of X that give the constant 1, exactly where they are integers."""
    rounded = np.round(coefficients)
    exact = all((X[rows] @ rounded == 1.0).all() for rows in chunks(len(X)))
    return rounded if exact else coefficients
