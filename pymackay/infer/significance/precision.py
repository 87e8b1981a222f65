"""`Precision`: what a test of ``L beta`` asks of a method for degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

_FLAT = 1e-10  # scaled curvature under which the data do not determine a direction
_RANK = float(np.sqrt(np.finfo(float).eps))


@dataclass(frozen=True)
class FTest:
    """A test of several linear functions of beta at once.

    Attributes
    ----------
    wald : float
        Wald statistic over its number of degrees of freedom, before any scaling.
    f : float
        F value; `wald` scaled where the method scales.
    num_df, den_df : float
    """

    wald: float
    f: float
    num_df: int
    den_df: float


class Precision(Protocol):
    """How well ``L beta`` is known."""

    @property
    def vcov(self) -> np.ndarray:
        """Covariance of beta that the method uses, absolute scale, shape (p, p)."""
        ...

    @property
    def messages(self) -> tuple[str, ...]:
        """What limits the method here, for the user."""
        ...

    def t_df(self, row: np.ndarray) -> float:
        """Return the degrees of freedom of the t test of one linear function, shape (p,)."""
        ...

    def f_test(self, L: np.ndarray, difference: np.ndarray) -> FTest:
        """Test ``L beta = rhs``, given ``difference = L beta − rhs``; L of shape (k, p), k > 1."""
        ...


@dataclass(frozen=True, eq=False)
class NormalPrecision:
    """No degrees of freedom: the covariance parameters are taken as known.

    Attributes
    ----------
    vcov : numpy.ndarray, shape (p, p)
    """

    vcov: np.ndarray
    messages: tuple[str, ...] = ()

    def t_df(self, row: np.ndarray) -> float:
        """Return infinity."""
        return float("inf")

    def f_test(self, L: np.ndarray, difference: np.ndarray) -> FTest:
        """Test with infinite denominator degrees of freedom: a chi-square over its own."""
        rows, delta = independent_rows(L, difference, self.vcov)
        wald = wald_statistic(rows @ self.vcov @ rows.T, delta) / len(rows)
        return FTest(wald, wald, len(rows), float("inf"))


def independent_rows(
    L: np.ndarray, difference: np.ndarray, vcov: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal rows that span those of L, and the difference in them.

    How many are independent is seen where each coefficient is in units of its standard error. Rows
    are orthonormal in these units too where the coefficients' own units are too different for
    float64. Which of the two, and the rows except for a rotation, depend on the span of L only.

    Parameters
    ----------
    L : numpy.ndarray, shape (k, p)
    difference : numpy.ndarray, shape (k,)
        ``L beta − rhs``.
    vcov : numpy.ndarray, shape (p, p)
        Of beta.
    """
    errors = np.sqrt(np.diag(vcov))
    scaled = L * errors
    lengths = np.linalg.norm(scaled, axis=1)
    U, sizes, Vt = np.linalg.svd(scaled / lengths[:, None], full_matrices=False)
    rank = int(np.sum(sizes > _RANK * sizes[0]))
    by_error = Vt[:rank] / errors
    differences = (U[:, :rank] / sizes[:rank]).T @ (difference / lengths)
    U, sizes, rows = np.linalg.svd(by_error, full_matrices=False)
    variances = np.linalg.eigvalsh(rows @ vcov @ rows.T)
    rounding = (np.finfo(float).eps * errors.max()) ** 2  # variance that a row's last digits have
    if variances[0] > _RANK * max(variances[-1], rounding / _RANK**3):
        return rows, (U / sizes).T @ differences
    return by_error, differences


def wald_statistic(covariance: np.ndarray, difference: np.ndarray) -> float:
    """Return ``d'C⁻¹d`` of differences d, shape (k,), with covariance C, each by its own error."""
    errors = np.sqrt(np.diag(covariance))
    scaled = difference / errors
    return float(scaled @ np.linalg.solve(covariance / np.outer(errors, errors), scaled))


def inverse_where_known(curvature: np.ndarray) -> tuple[np.ndarray, int]:
    """Invert in scaled parameters, directions without positive curvature left out.

    Returns
    -------
    inverse : numpy.ndarray, shape (m, m)
    n_omitted : int
        Number of directions that were left out.
    """
    diagonal = np.abs(np.diag(curvature))
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(curvature * np.outer(scale, scale))
    kept = values > _FLAT * max(values.max(), 1.0)
    half = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    return half @ half.T, int(np.sum(~kept))


def flat_message(n_omitted: int, method: str = "Satterthwaite's") -> str:
    """Return what a table says where directions of the parameters were left out."""
    return (
        f"the curvature of the deviance is not positive in {n_omitted} direction(s) of the "
        f"covariance parameters, which {method} method leaves out"
    )
