"""The response as it is computed with: its least-squares fit on X taken off, at unit length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.errors import DataError
from pymackay.model.model import Model
from pymackay.model.scaling import Basis

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
    y = model.y if model.offset is None else model.y - model.offset
    one = np.ones(len(y)) if root is None else root
    along = basis.Q.T @ one
    carried = np.abs(one - basis.Q @ along).max() < 1e-12 * np.abs(one).max()
    center = float(np.mean(y)) if carried else 0.0
    left = (y - center) * one
    first = basis.Q.T @ left
    left = left - basis.Q @ first
    second = basis.Q.T @ left
    left = left - basis.Q @ second
    length = float(np.sqrt(left @ left))
    size = float(np.sqrt(np.sum((y * one) ** 2)))
    if not length > 1e-14 * max(size, np.finfo(float).tiny):
        raise DataError(
            f"the response {model.response!r} is an exact linear function of the fixed effects: "
            f"the residual of the least-squares fit has length {length:.3g}. "
            f"A mixed model needs residual variation; check the response and the formula."
        )
    beta = basis.from_basis(first + second) + center * _constant(model.X, basis.from_basis(along))
    return Response(left / length, length, beta)


def _constant(X: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return the coefficients of X that give the constant 1, exactly where they are integers."""
    rounded = np.round(coefficients)
    return rounded if np.array_equal(X @ rounded, np.ones(len(X))) else coefficients
