"""`Solver`: what optimisers, loops and inference ask of a solver of the mixed-model equations.

The symbols are those of `pymackay.solve`. The criterion is profiled over beta and sigma²; its
derivatives with respect to an element of G are traces and quadratic forms of P (Patterson &
Thompson 1971, Biometrika 58, eq. 10; Gilmour, Thompson & Cullis 1995, Biometrics 51, eq. 8).

Callers do not ask which solver they hold: what differs between the exact and the iterative one is
behind the methods of `Solver`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pymackay.covariance.layout import symmetric_basis
from pymackay.errors import ConvergenceError
from pymackay.model.sums.gram import Bases, Gram
from pymackay.results import Convergence


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
        Term by term, τ = Σ_j Z_j'PZ_j (REML) or Σ_j Z_j'V⁻¹Z_j (ML), relative to sigma².
        Then tr(G τ) = γ, and the error variances sum to sigma² (J G − G τ G).
    squares : tuple of numpy.ndarray, each (q, q)
        Term by term, s = Σ_j a_j a_j' with a = Z'Py, so that B̂'B̂ = G s G.
    curvature : numpy.ndarray, shape (m, m)
        Second derivatives with respect to the elements of G in theta's order, an off-diagonal
        element standing for both its places; for a term with a structure, along the tangents of
        its chart, which are straight lines of G.
    exact : bool
        Whether `curvature` is the observed one; otherwise the average information.
    cancelled : bool
        Whether `sigma2` is what is left of sums of the response's size, and has lost digits.
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
    cancelled: bool = True

    @property
    def score(self) -> tuple[np.ndarray, ...]:
        """Term by term, the symmetric matrix τ − s/sigma², with d criterion = tr(score dG)."""
        return tuple(
            traces - squares / self.sigma2
            for traces, squares in zip(self.traces, self.squares, strict=True)
        )


@dataclass(frozen=True, eq=False)
class ErrorVariance:
    """Var(b̂ − b) / sigma² at one theta, block by block.

    Attributes
    ----------
    values : tuple of numpy.ndarray, each (J, q, q)
        In the bases computed in.
    errors : tuple of numpy.ndarray, each (J, q)
        Monte-Carlo standard errors of the variances (the diagonals) of the effects in the user's
        columns, relative to sigma² too; zeros where they are exact.
    """

    values: tuple[np.ndarray, ...]
    errors: tuple[np.ndarray, ...]

    @classmethod
    def exact(cls, values: Sequence[np.ndarray]) -> ErrorVariance:
        """Return variances that are known without error."""
        return cls(tuple(values), tuple(np.zeros(value.shape[:2]) for value in values))


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where a search ended.

    Attributes
    ----------
    factors : list of numpy.ndarray, each (q, q)
        Relative factors, whitened bases.
    evaluation : Evaluation
    convergence : Convergence
    messages : tuple of str
        What the fit should say of it.
    not_offered : mapping of str to str
        What the fit does not have, and why.
    """

    factors: list[np.ndarray]
    evaluation: Evaluation
    convergence: Convergence
    messages: tuple[str, ...] = ()
    not_offered: Mapping[str, str] = field(default_factory=dict)


class Solver(Protocol):
    """What optimisers, MacKay's loop, the results and inference ask of a solver."""

    @property
    def bases(self) -> Bases:
        """Of the cross-products."""
        ...

    @property
    def reml(self) -> bool:
        """Whether the criterion is REML's."""
        ...

    @property
    def precision(self) -> float:
        """Relative error that the solves leave in an evaluation; 0.0: that of rounding alone."""
        ...

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        """Evaluate at these relative factors, one (q, q) lower triangle per term."""
        ...

    def error_variance(self, factors: list[np.ndarray], *, with_beta: bool) -> ErrorVariance:
        """Return Var(b̂ − b) / sigma²; `with_beta`: pev, else condvar."""
        ...

    def find_optimum(
        self,
        start: list[np.ndarray] | None = None,
        control: Any = None,
        *,
        start_only: bool = False,
    ) -> Optimum:
        """Minimise the criterion.

        Parameters
        ----------
        start : list of numpy.ndarray, each (q, q), optional
            Relative factors to search from first; by default the data tell.
        control : Control or IterativeControl, optional
            Tolerances, of the solver's own kind.
        start_only : bool
            Whether to stay with what the search from `start` leads to, and look nowhere else.

        Raises
        ------
        ArgumentError
            If `control` is of another solver's kind.
        """
        ...

    def with_response(self, response: np.ndarray) -> Solver:
        """Return the solver of the same design with another response, shape (n,), user's units.

        Sums that the response has no part in are kept.

        Raises
        ------
        ArgumentError, DataError, PymackayError
            As `pymackay.model.model.Model.with_response`, and if X explains the response.
        """
        ...

    def reweighted(self, weights: np.ndarray, working_response: np.ndarray) -> Solver:
        """Return the solver with other prior weights and another response, each of shape (n,).

        All is summed up anew, in bases of its own: factors are carried over as theta.

        Raises
        ------
        ArgumentError, DataError, PymackayError
            As `with_response`, and if a weight is not positive.
        """
        ...

    def exact(self, largest: int) -> ExactSolver | None:
        """Return the exact solver of the same equations.

        None if that takes a dense matrix of more than `largest` rows that is not there yet.
        """
        ...

    def recipe(self) -> dict[str, Any]:
        """Return what, besides model and criterion, an equal solver is made from."""
        ...


class ExactSolver(Solver, Protocol):
    """A solver whose answers rest on dense cross-products, exact but for rounding."""

    @property
    def sums(self) -> Gram:
        """The cross-products."""
        ...

    def by(self, *, reml: bool) -> ExactSolver:
        """Return the solver of the same sums by REML or maximum likelihood."""
        ...

    def with_sums(self, sums: Gram) -> ExactSolver:
        """Return the solver of other sums."""
        ...


def criterion_value(
    bases: Bases, *, reml: bool, logdet_v: float, logdet_x: float, r2: float
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
    if not r2 > least_residual(bases.n):
        raise NoDigits(
            "the random effects take up all of the response but what rounding leaves, so the "
            "criterion falls without end: there is no residual variance to estimate. Is the "
            "response computed from the other columns, or is there one row per level?"
        )
    nu = bases.n - bases.p if reml else bases.n
    value = logdet_v + nu * (1.0 + np.log(2.0 * np.pi * r2 / nu) + 2.0 * np.log(bases.y_scale))
    if reml:
        value += logdet_x + bases.basis.log_determinant
    return float(value - bases.log_weights)


def least_residual(n: int) -> float:
    """Return what rounding may leave of n squares that sum to one: a smaller r² is none."""
    return float(4.0 * np.finfo(np.float64).eps * np.sqrt(n))


def by_term(bases: Bases, blocks: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Cut one (q, q) matrix per block into the diagonal parts of its terms, in theta's order."""
    parts: list[np.ndarray] = [np.zeros((0, 0))] * len(bases.layouts)
    for block, matrix in zip(bases.blocks, blocks, strict=True):
        for term, columns in bases.block_slices(block):
            parts[term] = matrix[columns, columns]
    return tuple(parts)


def effects_by_term(bases: Bases, b: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut the effects of each block, (J, q), into those of its terms, in theta's order."""
    effects: list[np.ndarray] = [np.zeros((0, 0))] * len(bases.layouts)
    for block, values in zip(bases.blocks, b, strict=True):
        for term, columns in bases.block_slices(block):
            effects[term] = values[:, columns]
    return effects


@dataclass(frozen=True, eq=False)
class Elements:
    """The elements of the relative covariances G, and what changes with them.

    Attributes
    ----------
    matrices : list of numpy.ndarray, each (m_k, q, q)
        Block by block, E_i = dG/dG_i in the block's coordinates; for a term with a structure, the
        derivatives by its chart (`pymackay.covariance.chart`) at one point.
    back : numpy.ndarray of int, shape (m,)
        Positions, in the blocks' order, of the elements in theta's order.
    """

    matrices: list[np.ndarray]
    back: np.ndarray

    @classmethod
    def of(cls, bases: Bases, factors: Sequence[np.ndarray] | None = None) -> Elements:
        """Return those of a model.

        Parameters
        ----------
        bases : Bases
        factors : sequence of numpy.ndarray, each (q, q), optional
            Where the chart of a structure is differentiated; without structures it does not matter.
        """
        matrices, order = [], []
        for block in bases.blocks:
            parts = []
            for term, columns in bases.block_slices(block):
                layout = bases.layouts[term]
                if layout.structure is None or factors is None:
                    parts.append(symmetric_basis(layout, block.q, columns.start))
                else:
                    part = np.zeros((layout.n_par, block.q, block.q))
                    part[:, columns, columns] = layout.tangents(factors[term])
                    parts.append(part)
                order.append(np.arange(layout.start, layout.stop))
            matrices.append(np.concatenate(parts))
        return cls(matrices, np.argsort(np.concatenate(order)))

    def extended(self, bases: Bases, beside: Sequence[np.ndarray]) -> Elements:
        """Return these with one more direction for each block, after all others.

        `beside` holds the directions term by term, each (q, q).
        """
        matrices, places, extra, start = [], [], [], 0
        for block, own in zip(bases.blocks, self.matrices, strict=True):
            further = np.zeros((1, block.q, block.q))
            for term, columns in bases.block_slices(block):
                further[0, columns, columns] = beside[term]
            matrices.append(np.concatenate([own, further]))
            places.append(start + np.arange(len(own)))
            extra.append(start + len(own))
            start += len(own) + 1
        return Elements(matrices, np.concatenate([np.concatenate(places)[self.back], extra]))

    def along(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Return ``tr(E_i M)`` in theta's order, (..., m), for M by block, each (..., q, q)."""
        pairs = zip(self.matrices, blocks, strict=True)
        traces = [np.einsum("iab,...ab->...i", E, M) for E, M in pairs]
        return np.concatenate(traces, axis=-1)[..., self.back]

    def in_theta(self, values: np.ndarray) -> np.ndarray:
        """Put a matrix of all pairs of elements, (m, m, ...), from the blocks' order in theta's."""
        return values[np.ix_(self.back, self.back)]

    def working(self, a: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return ``E_i a_j`` of each block, (J q, m_k), for a = Z'Py by block, each (J, q)."""
        pairs = zip(self.matrices, a, strict=True)
        return [
            np.einsum("iab,jb->jai", E, block).reshape(block.size, len(E)) for E, block in pairs
        ]

    def average_information(
        self, products: np.ndarray, a: Sequence[np.ndarray], sigma2: float, nu: int
    ) -> np.ndarray:
        """Return ``y'PV̇ᵢPV̇ⱼPy/σ² − s s'/(ν σ⁴)``, (m, m), profiled over sigma².

        It is the mean of the observed curvature and its expectation (Gilmour et al. 1995, eq. 8).

        Parameters
        ----------
        products : numpy.ndarray, shape (m, m)
            ``y'PV̇ᵢPV̇ⱼPy``, in theta's order.
        a : sequence of numpy.ndarray, each (J, q)
            ``Z'Py``, block by block.
        """
        squares = self.along([block.T @ block for block in a])
        return products / sigma2 - np.outer(squares, squares) / (nu * sigma2**2)
