"""Orthogonal polynomials: the bases of ``poly()`` and of polynomial contrasts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from pymackay.model.bases.scaling import independent_columns


@dataclass(frozen=True, eq=False)
class PolynomialBasis:
    """What ``poly()`` remembers, to give new numbers the same polynomials.

    Attributes
    ----------
    alpha : numpy.ndarray, shape (degree,)
        Centres of the three-term recurrence.
    norm2 : numpy.ndarray, shape (degree + 2,)
        Squared norms of the monic polynomials, after a leading 1.

    References
    ----------
    Kennedy, W. J. and Gentle, J. E. (1980). Statistical Computing, pp. 343-344.
    """

    alpha: np.ndarray
    norm2: np.ndarray

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        """Return the polynomials of degree 1, 2, ... at `x`, shape (n, degree)."""
        degree = len(self.alpha)
        columns = [np.ones(len(x)), x - self.alpha[0]]
        for i in range(1, degree):
            ratio = self.norm2[i + 1] / self.norm2[i]
            columns.append((x - self.alpha[i]) * columns[i] - ratio * columns[i - 1])
        return np.column_stack(columns[1:]) / np.sqrt(self.norm2[2:])


def fit_polynomials(x: np.ndarray, degree: int) -> tuple[np.ndarray, PolynomialBasis]:
    """Make polynomials that are orthonormal over `x`.

    Parameters
    ----------
    x : numpy.ndarray, shape (n,)
        Finite, with more than `degree` distinct values.
    degree : int

    Returns
    -------
    tuple
        The polynomials at `x`, shape (n, degree), and their basis.
    """
    mean = x.mean()
    centred = x - mean
    monic = _monic_polynomials(centred, degree)
    norm2 = np.sum(monic**2, axis=0)
    alpha = centred @ monic**2 / norm2 + mean
    basis = PolynomialBasis(alpha[:degree], np.concatenate([[1.0], norm2]))
    return monic[:, 1:] / np.sqrt(norm2[1:]), basis


def _monic_polynomials(centred: np.ndarray, degree: int) -> np.ndarray:
    """Orthogonalise the powers 0, 1, ..., `degree`; leading coefficients are 1."""
    powers = centred[:, None] ** np.arange(degree + 1)
    orthonormal, triangle = np.linalg.qr(powers)
    return orthonormal * np.diag(triangle)


def orthonormal_polynomials(scores: np.ndarray) -> np.ndarray:
    """Return the polynomials of degree 1 to n - 1, orthonormal over n different scores."""
    powers = (scores - scores.mean())[:, None] ** np.arange(len(scores))
    kept = independent_columns(powers)
    # From 24 levels on R's rank rule finds powers that depend on others. It then takes these last,
    # and completes the basis with directions that only the others have determined.
    order = [*kept, *np.setdiff1d(np.arange(len(scores)), kept)]
    orthonormal, triangle = np.linalg.qr(powers[:, order])
    if len(kept) < len(scores):
        orthonormal = np.linalg.qr(powers[:, kept], mode="complete")[0]
    return (orthonormal * np.sign(np.diag(triangle)))[:, 1:]


def multivariate_exponents(variables: int, degree: int) -> list[tuple[int, ...]]:
    """List the products of powers with a total degree of 1 to `degree`, first power fastest."""
    grid = itertools.product(range(degree + 1), repeat=variables)
    return [powers[::-1] for powers in grid if 0 < sum(powers) <= degree]
