"""`fit_residual`: estimates of a model with a residual structure, and the `Fit` there."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import is_singular, par_names, theta_names
from pymackay.covariance.residual.estimate import ResidualCovariance
from pymackay.errors import ArgumentError, ConvergenceError
from pymackay.model.model import Model
from pymackay.model.residual_rows import ResidualRows
from pymackay.results import Convergence, Engine, Fit
from pymackay.solve.assemble import (
    factors_from_theta,
    labels,
    ranef_of,
    varcorr_of,
    versions,
)
from pymackay.solve.marginal.criterion import Marginal, covariances
from pymackay.solve.marginal.problem import ResidualProblem
from pymackay.solve.marginal.start import starting_points, vanishing_points
from pymackay.solve.pirls.search import Arrival, Stopping, minimise, polished

_STOPPING = Stopping(spent=1e-12, max_evaluations=300)
_CERTIFIED = 1e-7  # Newton decrement, in units of the criterion
_CURVED = 1e-8  # of the largest scaled curvature: a smaller one is flat
_ALIKE = 1e-7  # criterion units within which the first of two optima is taken
_FLAT = 1e-7  # of the largest curvature: that of a correlation at its bound is smaller
_DEAD = 1e-4  # diagonal of a whitened factor that may be zero
_LEVEL = 1e-9  # by which the criterion may rise where a variance is set to zero
_SINGULAR = 1e-7  # smallest eigenvalue of a correlation matrix that has no inverse in practice
_SHOWN = 60  # visits whose correlations are tabulated


def fit_residual(
    model: Model,
    residual: ResidualRows,
    *,
    reml: bool,
    start: np.ndarray | None = None,
    begin: np.ndarray | None = None,
) -> Fit:
    """Return the `Fit` at the optimum of a model with a residual structure.

    Parameters
    ----------
    model : Model
    residual : ResidualRows
    reml : bool
    start : numpy.ndarray, shape (m,), optional
        Theta to start from, user's units.
    begin : numpy.ndarray, shape (P,), optional
        ψ of a fit of the same design: one search starts there, in place of several.

    Raises
    ------
    ArgumentError
        If `start` cannot be used, or too many rows correlate.
    ConvergenceError
        If the criterion has no value at any start.
    """
    marginal = Marginal.of(model, residual, reml=reml)
    if start is not None and not marginal.layouts:
        raise ArgumentError("start gives theta, but the model has no random terms; leave it out.")
    factors = None if start is None else factors_from_theta(marginal, start)
    points = starting_points(marginal, factors) if begin is None else [begin]
    arrivals = _arrivals(marginal, points)
    if start is None and begin is None:
        beside = _arrivals(marginal, vanishing_points(marginal, points[0][: marginal.n_theta]))
        arrivals += [each for each in beside if each.decrement < _CERTIFIED]
    if not arrivals:
        raise ConvergenceError(
            f"the criterion has no value where the search starts; write a simpler structure than "
            f"residual={residual.text!r}, or a simpler random part."
        )
    lowest = min(each.point.criterion for each in arrivals)
    best = next(each for each in arrivals if each.point.criterion <= lowest + _ALIKE)
    best = replace(best, evaluations=sum(each.evaluations for each in arrivals))
    best = _on_boundary(marginal, best)
    free = np.ones(len(best.point.psi), dtype=bool)
    best = polished(best, marginal, best.point.curvature.hessian, free)
    problem = ResidualProblem(marginal, best.point.psi)
    return assemble_residual(problem, _certificate(marginal, best))


def _arrivals(marginal: Marginal, points: list[np.ndarray]) -> list[Arrival]:
    """Return where searches end, of points where the criterion has a value."""
    arrivals = []
    for psi in points:
        with contextlib.suppress(np.linalg.LinAlgError):
            arrivals.append(minimise(marginal, psi, _STOPPING))
    return arrivals


def _on_boundary(marginal: Marginal, arrival: Arrival) -> Arrival:
    """Set factors that are nearly zero to zero, if the criterion is no higher then."""
    psi = arrival.point.psi.copy()
    for layout in marginal.layouts:
        own = psi[layout.start : layout.stop]
        for column in range(layout.q) if layout.structure is None else ():
            members = layout.columns == column
            if (np.abs(own[members]) < _DEAD).all():
                own[members] = 0.0
    if (psi == arrival.point.psi).all():
        return arrival
    try:
        point = marginal.at(psi)
    except np.linalg.LinAlgError:
        return arrival
    if point.criterion > arrival.point.criterion + _LEVEL:
        return arrival
    return replace(arrival, point=point, evaluations=arrival.evaluations + 1)


def _certificate(marginal: Marginal, arrival: Arrival) -> Convergence:
    """Say whether gradient and exact second derivatives are those of a minimum."""
    hessian, at_bound = arrival.point.curvature.hessian, False
    if _nearly_singular(marginal, arrival.point.psi, whole=False):
        inside = np.abs(np.diag(hessian)) > _FLAT * np.abs(hessian).max()
        at_bound = not _nearly_singular(marginal, arrival.point.psi, whole=True)
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-8 * np.abs(hessian).max()))
    values, vectors = np.linalg.eigh(scale[:, None] * hessian * scale)
    slope = float(np.abs(scale * arrival.point.gradient).max(initial=0.0))
    least = float(values.min(initial=np.inf))
    message = "certified: gradient and exact second derivatives are those of a minimum"
    if at_bound:
        message += ", at which correlations of the residuals are at their bounds"
        curvatures = np.linalg.eigvalsh((scale[:, None] * hessian * scale)[np.ix_(inside, inside)])
        least = float(curvatures.min(initial=np.inf))
    converged = arrival.decrement < _CERTIFIED and least > -_CURVED
    if _nearly_singular(marginal, arrival.point.psi, whole=True):
        converged = False
        message = (
            f"the covariance matrix of the residuals becomes singular, and the criterion falls "
            f"without end: too few groups have enough of the visits to estimate all of "
            f"{marginal.residual.text!r}; write a structure with fewer parameters, such as "
            f"ar1() or cs()"
        )
    elif least < -_CURVED:
        message = "the search ended at a saddle point: the criterion still curves down"
    elif not converged:
        message = f"the criterion could still fall by about {arrival.decrement:.2g}"
    elif least < _CURVED:
        names = _all_names(marginal)
        flat = [names[i] for i in np.argsort(-np.abs(vectors[:, 0]))[:3]]
        converged = False
        message = (
            f"the data do not determine all parameters: the criterion is flat along a combination "
            f"of {', '.join(flat)}; leave one of them out of the random part or of residual"
        )
    return Convergence(
        converged=bool(converged),
        message=message,
        iterations=arrival.evaluations,
        evaluations=arrival.evaluations,
        decrement=arrival.decrement,
        gradient=slope,
        curvature=least,
    )


def _nearly_singular(marginal: Marginal, psi: np.ndarray, *, whole: bool) -> bool:
    """Whether the correlation matrix of a group's residuals has no inverse in practice.

    With `whole` it is that of V, which has an inverse where random effects fill what is missing.
    """
    own, structure = psi[marginal.n_theta :], marginal.residual.structure
    least = np.inf
    for clusters in marginal.clusters:
        V = structure.blocks(own, clusters.strata, clusters.times) * clusters.same
        if whole:
            V = covariances(marginal, clusters, psi)
        sd = np.sqrt(np.diagonal(V, axis1=1, axis2=2))
        correlation = V / (sd[:, :, None] * sd[:, None, :])
        least = min(least, float(np.linalg.eigvalsh(correlation).min()))
    return least < _SINGULAR


def _all_names(marginal: Marginal) -> list[str]:
    return [*par_names(marginal.model.terms), *marginal.residual.structure.names]


def assemble_residual(problem: ResidualProblem, convergence: Convergence) -> Fit:
    """Return the `Fit` of a problem at its estimates."""
    model, marginal, point = problem.model, problem.marginal, problem.point
    scale = marginal.response.scale
    sigma = float(np.sqrt(point.sigma2)) * scale
    root = marginal.basis.from_basis(point.root)
    index = labels(model.fixed)
    beta = marginal.response.beta + marginal.basis.from_basis(point.beta) * scale
    users = problem.users
    thetas = [layout.elements(user) for layout, user in zip(marginal.layouts, users, strict=True)]
    free = any(layout.structure is not None for layout in marginal.layouts)
    pars = [layout.par(user) for layout, user in zip(marginal.layouts, users, strict=True)]
    effects = problem.effects()
    fitted = fitted_values(problem, beta, effects)
    return Fit(
        formula=model.formula,
        reml=marginal.reml,
        beta=pd.Series(beta, index=index, name="beta"),
        vcov=pd.DataFrame(sigma**2 * root @ root.T, index=index, columns=index),
        sigma=sigma,
        theta=pd.Series(_joined(thetas), index=labels(tuple(theta_names(model.terms)))).rename(
            "theta"
        ),
        free_par=pd.Series(_joined(pars), index=pd.Index(par_names(model.terms)), name="par")
        if free
        else None,
        varcorr=varcorr_of(model, users, sigma),
        ranef=ranef_of(model, effects),
        criterion=point.criterion,
        fitted=pd.Series(fitted, index=model.rows, name="fitted"),
        residuals=pd.Series(model.y - fitted, index=model.rows, name="residuals"),
        singular=is_singular(problem.factors, problem.marginal.layouts)
        or _nearly_singular(marginal, problem.psi, whole=False),
        dropped=model.dropped,
        messages=model.messages,
        convergence=convergence,
        engine=Engine("pymackay", versions()),
        model=model.summary(),
        problem=problem,
        residual_covariance=residual_covariance(problem, sigma),
        not_offered={"evaluate": "theta is not all of its parameters; pass start to lmer"},
        **variance_sources(problem, sigma),
    )


def variance_sources(problem: ResidualProblem, sigma: float) -> dict[str, Any]:
    """Return the functions that compute `condvar` and `pev` when they are asked for."""
    return {
        "condvar_source": functools.partial(problem.variances, sigma, with_beta=False),
        "pev_source": functools.partial(problem.variances, sigma, with_beta=True),
    }


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def fitted_values(
    problem: ResidualProblem, beta: np.ndarray, effects: list[np.ndarray]
) -> np.ndarray:
    """Return offset + Xβ + Zb of each row, (n,)."""
    model = problem.model
    fitted = model.X @ beta
    if model.offset is not None:
        fitted = fitted + model.offset
    for term, b in zip(model.terms, effects, strict=True):
        fitted = fitted + np.einsum("nq,nq->n", term.columns, b[model.factors[term.group].codes])
    return np.asarray(fitted)


def residual_covariance(problem: ResidualProblem, sigma: float) -> ResidualCovariance:
    """Return the covariance of the residuals in the user's units."""
    rows = problem.marginal.residual
    structure, psi = rows.structure, problem.psi[problem.marginal.n_theta :]
    names = list(structure.levels) if len(structure.levels) > 1 else ["Residual"]
    return ResidualCovariance(
        text=rows.text,
        tag=rows.tag,
        group=rows.group,
        n_groups=rows.n_groups,
        par=pd.Series(structure.values(psi), index=list(structure.names), name="par"),
        sd=pd.Series(sigma * structure.ratios(psi), index=names, name="sd"),
        correlation=_visit_correlation(rows, psi),
    )


def _visit_correlation(rows: ResidualRows, psi: np.ndarray) -> pd.DataFrame | None:
    """Return the correlations of visits; None where a table of them would say little."""
    q = len(rows.visits)
    strata_besides = len(rows.structure.levels) > 1 and rows.structure.levels != rows.visits
    if not rows.group or not 2 <= q <= _SHOWN or strata_besides:
        return None
    _, first = np.unique(rows.times, return_index=True)
    R = rows.structure.blocks(psi, rows.strata[first][None], rows.times[first][None])[0]
    sd = np.sqrt(np.diag(R))
    return pd.DataFrame(R / np.outer(sd, sd), index=rows.visits, columns=rows.visits)
