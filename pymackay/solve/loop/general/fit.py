"""Start, settings and `Fit` of MacKay's loop on a generalised model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pymackay.arguments import positive_number
from pymackay.errors import ArgumentError
from pymackay.family.general import PQL
from pymackay.results import Fit
from pymackay.solve.loop.general.equations import MeanEquations, ModeEquations
from pymackay.solve.loop.general.rounds import GeneralRound
from pymackay.solve.loop.rounds import State
from pymackay.solve.loop.run import LoopEnd, Settings, run_loop
from pymackay.solve.loop.settings import (
    covariance_factors,
    is_covariances,
    refuse_dead,
    theta_factors,
)
from pymackay.solve.pirls.assemble import assemble_general
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.problem import GeneralProblem
from pymackay.solve.pirls.starts.first import starting_point

PRECISION = 1e-8  # relative change of a variance that modes to rounding still resolve

_QUASI = (
    "penalised quasi-likelihood: the weights are held at the modes of the random effects, as in "
    "MacKay's evidence framework, which underestimates variances where groups are small; "
    "effects='mean' ends at the estimate of pymackay.glmer"
)


def start_parameters(laplace: Laplace, start: object) -> np.ndarray:
    """Return ψ, (P,), to start from: by default computed from the data.

    Parameters
    ----------
    laplace : Laplace
    start : mapping, array-like or None
        As of `pymackay.solve.loop.settings.starting_state`, on the scale of the linear predictor.

    Raises
    ------
    ArgumentError
        As there.
    """
    if start is None:
        return starting_point(laplace)
    rows, model = laplace.rows, laplace.rows.model
    factors = (
        covariance_factors(model, rows.transforms, start, 1.0)
        if is_covariances(start, model)
        else theta_factors(model, rows, start)
    )
    refuse_dead(model, factors)
    pairs = zip(rows.terms, factors, strict=True)
    return starting_point(laplace, np.concatenate([term.of_factor(f) for term, f in pairs]))


def check_dispersion(laplace: Laplace, effects: str, noise_var: object) -> float | None:
    """Return the dispersion to start from; refuse what the kind of loop cannot estimate.

    Raises
    ------
    ArgumentError
    """
    family = laplace.family
    if effects == "mode" and laplace.extra == "shape":
        raise ArgumentError(
            "family is a negative binomial whose shape is to be estimated, but the loop with "
            "effects='mode' has no rule for a shape. Give it, "
            "pymackay.NegativeBinomial(theta=...), or use effects='mean'."
        )
    if noise_var is None:
        return None
    if effects == "mean" or laplace.extra != "dispersion":
        raise ArgumentError(
            f"start_noise_var is {noise_var!r}, but the loop has no dispersion to start from for "
            f"the family {family.name} with effects={effects!r}; leave it out."
        )
    return positive_number("start_noise_var", noise_var)


def run_general(
    laplace: Laplace,
    effects: str,
    psi: np.ndarray,
    settings: Settings,
    noise_var: float | None = None,
) -> tuple[LoopEnd[GeneralRound], np.ndarray]:
    """Run the loop from ψ, (P,); return its end, and the covariance of the estimates, (P, P).

    Parameters
    ----------
    laplace : Laplace
    effects : {"mode", "mean"}
    psi : numpy.ndarray, shape (P,)
    settings : Settings
    noise_var : float, optional
        The dispersion to start from, for modes.
    """
    rows = laplace.rows
    factors = rows.term_factors(psi[rows.p :])
    if effects == "mean":
        equations = MeanEquations(laplace, psi)
        end = run_loop(equations, State(tuple(factors), 1.0), settings)
        point = end.round.point
        if not end.likelihood:
            return end, np.full((len(psi), len(psi)), np.nan)
        return end, equations.optimum(point).covariance
    noise = 1.0
    if laplace.extra == "dispersion":
        noise = float(np.exp(psi[-1])) if noise_var is None else noise_var
    roots = tuple(factor / np.sqrt(noise) for factor in factors)
    end = run_loop(ModeEquations(laplace, psi), State(roots, noise), settings)
    return end, _covariance_of_beta(end.round.point)


def _covariance_of_beta(point: Point) -> np.ndarray:
    """Return ``(X'V⁻¹X)⁻¹`` of the working response for β, all else zero, (P, P).

    ``X'V⁻¹X = X'W(X + A u')``, with ``u' = −H⁻¹A'WX`` the slopes of the mode.
    """
    rows, given = point.laplace.rows, point.given
    p, Q = rows.p, rows.basis.Q
    weighted = (point.mode.at.expected / given.phi)[:, None] * Q
    moved = -point.determinant.solve(given.scaled_back(rows.transposed @ weighted))
    carried = rows.transposed.T @ given.scaled(moved)
    made = np.zeros((len(point.psi), len(point.psi)))
    information = weighted.T @ (Q + carried)
    made[:p, :p] = np.linalg.inv(0.5 * (information + information.T))
    return made


def general_fit(
    end: LoopEnd[GeneralRound],
    covariance: np.ndarray,
    effects: str,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Return the `Fit` at the loop's own variances.

    Parameters
    ----------
    end : LoopEnd
    covariance : numpy.ndarray, shape (P, P)
        Of the estimates.
    effects : {"mode", "mean"}
    messages : tuple of str
    """
    point, quasi = end.round.point, effects == "mode"
    problem = GeneralProblem.at(point, 0 if quasi else 1)
    said = (*([_QUASI] if quasi else []), *messages)
    fit = assemble_general(problem, point.criterion, covariance, end.convergence, said)
    general = replace(fit.general, estimated_by=PQL if quasi else "")
    return fit.replace(general=general, trace=end.trace)
