"""The seam every optimiser stands on: what a solver of the mixed-model equations answers.

All quantities are in the bases of `pymackay.model.sums.gram`: unit-length response, orthonormal X,
whitened random columns. With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ and V = I + ZGZ' (relative to
sigma²), the criterion's derivatives with respect to an element of G are traces and quadratic
forms (Patterson & Thompson 1971, Biometrika 58, eq. 10; Gilmour, Thompson & Cullis 1995,
Biometrics 51, eq. 8), profiled over beta and sigma².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymackay.errors import ConvergenceError
from pymackay.model.sums.gram import Block, Gram

__all__ = [
    "Evaluation",
    "NoDigits",
    "Solver",
    "block_factor",
    "by_term",
    "criterion_value",
    "least_residual",
]


class NoDigits(ConvergenceError, np.linalg.LinAlgError):
    """At these variances float64 has no digits left: hardly a residual remains."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything at one theta.

    Attributes
    ----------
    criterion : float
        REML criterion or −2 log likelihood, all constants included, user's units.
    sigma2 : float
        Residual variance, for a response of unit length.
    beta : numpy.ndarray, shape (p,)
        Coefficients of the orthonormal basis of X, on the least-squares residual.
    precision_inverse : numpy.ndarray, shape (p, p)
        (X'V⁻¹X)⁻¹.
    b : tuple of numpy.ndarray, each (J, q)
        Random effects, block by block.
    traces : tuple of numpy.ndarray, each (q, q)
        Term by term, T = Σ_j Z_j'PZ_j (REML) or Σ_j Z_j'V⁻¹Z_j (ML), relative to sigma².
        Then tr(G T) = γ, and the error variances sum to Σ_j C_j / sigma² = J G − G T G.
    squares : tuple of numpy.ndarray, each (q, q)
        Term by term, Σ_j a_j a_j' with a = Z'Py, so that B̂'B̂ = G squares G.
    curvature : numpy.ndarray, shape (m, m)
        Second derivatives with respect to the elements of G in theta's order, an off-diagonal
        element standing for both its places.
    exact : bool
        Whether `curvature` is the observed one; otherwise the average information.
    """

    criterion: float
    sigma2: float
    beta: np.ndarray
    precision_inverse: np.ndarray
    b: tuple[np.ndarray, ...]
    traces: tuple[np.ndarray, ...]
    squares: tuple[np.ndarray, ...]
    curvature: np.ndarray
    exact: bool

    @property
    def score(self) -> tuple[np.ndarray, ...]:
        """Term by term, the symmetric matrix S with d criterion = tr(S dG)."""
        return tuple(T - aa / self.sigma2 for T, aa in zip(self.traces, self.squares, strict=True))


class Solver(Protocol):
    """What an optimiser, MacKay's loop and the results ask of a solver."""

    gram: Gram
    reml: bool

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        ...

    def error_variance(
        self, factors: list[np.ndarray], *, with_beta: bool
    ) -> tuple[np.ndarray, ...]:
        """Return Var(b̂ − b) / sigma² block by block, (J, q, q); `with_beta`: pev, else condvar."""
        ...


def block_factor(gram: Gram, block: Block, factors: list[np.ndarray]) -> np.ndarray:
    """Put the factors of a block's terms on one diagonal, shape (q, q)."""
    if len(block.terms) == 1:
        return factors[block.terms[0]]
    joined = np.zeros((block.q, block.q))
    for term, columns in gram.block_slices(block):
        joined[columns, columns] = factors[term]
    return joined


def criterion_value(
    gram: Gram, *, reml: bool, logdet_v: float, logdet_x: float, r2: float
) -> float:
    """Return the criterion (Bates et al. 2015, J. Stat. Softw. 67(1), eqs. 34 and 42).

    Parameters
    ----------
    logdet_v : float
        log |V|.
    logdet_x : float
        log |Q'V⁻¹Q| in the orthonormal basis; X's own determinant is added here.
    r2 : float
        Penalised residual sum of squares of the unit-length response.

    Raises
    ------
    NoDigits
        If `r2` is no more than the rounding of the sums it is what is left of.
    """
    if not r2 > least_residual(gram.n):
        raise NoDigits(
            "the random effects take up all of the response but what rounding leaves, so the "
            "criterion falls without end: there is no residual variance to estimate. Is the "
            "response computed from the other columns, or is there one row per level?"
        )
    nu = gram.n - gram.p if reml else gram.n
    value = logdet_v + nu * (1.0 + np.log(2.0 * np.pi * r2 / nu) + 2.0 * np.log(gram.y_scale))
    if reml:
        value += logdet_x + gram.basis.log_determinant
    return float(value - gram.log_weights)


def least_residual(n: int) -> float:
    """Return what rounding may leave of n squares that sum to one: a smaller r² is none."""
    return float(4.0 * np.finfo(np.float64).eps * np.sqrt(n))


def by_term(gram: Gram, blocks: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Cut one (q, q) matrix per block into the diagonal parts of its terms, in theta's order."""
    found: list[np.ndarray] = [np.zeros((0, 0))] * len(gram.layouts)
    for block, matrix in zip(gram.blocks, blocks, strict=True):
        for term, columns in gram.block_slices(block):
            found[term] = matrix[columns, columns]
    return tuple(found)
