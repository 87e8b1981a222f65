"""`fit_general`: a generalised model's estimates, and the `Fit` there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymackay.errors import ArgumentError, SeparationError
from pymackay.family.family import Family
from pymackay.results import Convergence, Fit
from pymackay.solve.pirls.assemble import NOT_ML, assemble_general, elements_of
from pymackay.solve.pirls.laplace import Laplace
from pymackay.solve.pirls.optimum import find_optimum
from pymackay.solve.pirls.problem import GeneralProblem
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.search import Stopping
from pymackay.solve.pirls.separation import find_separation
from pymackay.solve.pirls.start import starting_point

_LARGEST = 6000  # effects of all blocks but the leading one: a dense matrix of 288 MB


@dataclass(frozen=True)
class GeneralControl:
    """Tolerances of the search of `glmer`.

    Attributes
    ----------
    spent : float
        Newton decrement, in units of the criterion, at which the search hands over to Newton steps
        with the exact second derivatives. These leave about its square.
    max_evaluations : int
        Evaluations of the criterion before the search gives up.
    """

    spent: float = 1e-10
    max_evaluations: int = 200


def fit_general(
    laplace: Laplace,
    nagq: int | str,
    *,
    start: np.ndarray | None = None,
    control: GeneralControl | None = None,
) -> Fit:
    """Return the `Fit` at the minimum of a criterion.

    Parameters
    ----------
    laplace : Laplace
    nagq : int or str
        1 for Laplace's approximation.
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, user's units.
    control : GeneralControl, optional

    Raises
    ------
    SeparationError
        If the likelihood has no maximum.
    ArgumentError
        If `start` cannot be used, or there are too many effects.
    """
    rows = laplace.rows
    check_size(rows)
    refuse_separation(rows, laplace.family)
    elements = None if start is None else elements_of(rows, start)
    control = control or GeneralControl()
    psi = starting_point(laplace, elements)
    stopping = Stopping(control.spent, control.max_evaluations)
    optimum = find_optimum(laplace, rows, psi, stopping)
    problem = GeneralProblem(laplace, optimum.point.psi, nagq)
    return assemble_general(
        problem,
        optimum.point.criterion,
        optimum.covariance,
        optimum.convergence,
        not_a_likelihood(laplace),
    )


def evaluate_general(laplace: Laplace, nagq: int | str, psi: np.ndarray) -> Fit:
    """Return the `Fit` at given parameters ψ, (P,), without a search and standard errors."""
    problem = GeneralProblem(laplace, psi, nagq)
    as_asked = Convergence(True, "evaluated at the parameters given", evaluations=1)
    nothing = np.full((len(psi), len(psi)), np.nan)
    value = laplace.at(psi).criterion
    return assemble_general(problem, value, nothing, as_asked, not_a_likelihood(laplace))


def not_a_likelihood(laplace: Laplace) -> tuple[str, ...]:
    """Return the message that lme4's criterion of a family with a dispersion asks for."""
    lme4s = laplace.dispersion == "lme4" and laplace.family.has_dispersion
    return (NOT_ML.format(laplace.family.name),) if lme4s else ()


def check_size(rows: Rows) -> None:
    """Refuse models whose dense matrix would be too large.

    Raises
    ------
    ArgumentError
    """
    others = rows.n_effects - rows.lead
    if others > _LARGEST:
        raise ArgumentError(
            f"the grouping factors besides the largest have {others:,} random effects, for which "
            f"glmer would need a dense matrix of as many rows; it takes {_LARGEST:,} at most. "
            f"Leave a term out, or fit a part of the data."
        )


def refuse_separation(rows: Rows, family: Family) -> None:
    """Raise an error if the likelihood rises for ever along a direction of the fixed effects.

    Raises
    ------
    SeparationError
    """
    observed, model = rows.observed, rows.model
    separation = find_separation(
        model.X, model.fixed, observed.y, observed.weights, family.support, family.link
    )
    if separation is not None:
        raise SeparationError(separation.message, separation.direction.to_dict())
