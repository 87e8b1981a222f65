"""`LocalDeviance`: −2 log likelihood at one point, with its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class LocalDeviance:
    """Value and derivatives by m covariance parameters, log sigma, and c, the value of ``l'beta``.

    Attributes
    ----------
    value : float
        −2 log likelihood, all constants included, user's units.
    gradient : numpy.ndarray, shape (m + 2,)
    hessian : numpy.ndarray, shape (m + 2, m + 2)
    beta : numpy.ndarray, shape (p,)
        The coefficients in the orthonormal basis that minimise the deviance under ``l'beta = c``.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    beta: np.ndarray
