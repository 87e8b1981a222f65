"""From the optimum of a generalised model to a `Fit`: back to the user's units and names."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import is_singular, theta_names
from pymackay.family.general import General
from pymackay.family.negative_binomial import NegativeBinomial
from pymackay.results import Convergence, Engine, Fit
from pymackay.solve.assemble import (
    factors_from_theta,
    free_parameters,
    labels,
    ranef_of,
    user_factors,
    varcorr_of,
    versions,
    without_rows,
)
from pymackay.solve.pirls.criteria.laplace import Laplace, Point
from pymackay.solve.pirls.problem import GeneralProblem, term_effects
from pymackay.solve.pirls.rows import Rows

NOT_ML = (
    "dispersion='lme4': the criterion is lme4's, which is not a likelihood for the family {}; it "
    "serves comparisons with lme4 only"
)


def assemble_general(
    problem: GeneralProblem,
    criterion: float,
    covariance: np.ndarray,
    convergence: Convergence,
    messages: tuple[str, ...] = (),
) -> Fit:
    """Return the `Fit` of a generalised model.

    Parameters
    ----------
    problem : GeneralProblem
    criterion : float
        −2 log likelihood, all constants included.
    covariance : numpy.ndarray, shape (P, P)
        Of the estimates, in the bases computed in.
    convergence : Convergence
    messages : tuple of str
        What the fit should say besides.
    """
    laplace, point = problem.laplace, problem.point
    rows, model = laplace.rows, problem.model
    factors = rows.term_factors(point.psi[rows.p :])
    users = user_factors(rows, factors)
    sigma = _lme4_sigma(point) if laplace.is_lme4s else float(np.sqrt(point.phi))
    scale = sigma if laplace.is_lme4s else 1.0
    half = rows.basis.from_basis(covariance[: rows.p, : rows.p])
    vcov = rows.basis.from_basis(half.T)
    index = labels(model.fixed)
    beta = pd.Series(rows.basis.from_basis(point.psi[: rows.p]), index=index, name="beta")
    names = theta_names(model.terms)
    theta = np.concatenate([u.elements(f) for u, f in zip(rows.layouts, users, strict=True)])
    by_row = _by_row(point)
    vcov = 0.5 * (vcov + vcov.T)
    fit = Fit(
        formula=model.formula,
        reml=False,
        beta=beta,
        vcov=pd.DataFrame(vcov, index=index, columns=index),
        sigma=sigma,
        theta=pd.Series(theta, index=labels(tuple(names)), name="theta"),
        varcorr=varcorr_of(model, users, scale),
        ranef=ranef_of(model, term_effects(point)),
        free_par=free_parameters(model, rows, users),
        criterion=criterion,
        fitted=by_row.fitted,
        residuals=by_row.residuals,
        singular=is_singular(factors, rows.layouts),
        dropped=model.dropped,
        messages=(*model.messages, *messages),
        convergence=convergence,
        engine=Engine("pymackay", versions()),
        model=model.summary(),
        **variance_sources(problem, sigma, vcov),
        problem=problem,
        general=_general(problem, criterion, by_row.linear_predictor),
        not_offered={"evaluate": "it takes theta and beta; use pymackay.evaluate_glmer"},
    )
    return fit if rows.source is None else without_rows(fit, rows.n)


@dataclass(frozen=True, eq=False)
class _ByRow:
    """What a fit says of each row, (n,); without rows where they were not kept."""

    fitted: pd.Series
    residuals: pd.Series
    linear_predictor: pd.Series


def _by_row(point: Point) -> _ByRow:
    index, kept = point.laplace.rows.model.rows, point.mode.kept
    eta = np.zeros(0) if kept is None else kept.eta
    mu = eta if kept is None else point.given.family.mean(eta)
    residuals = eta if kept is None else deviance_residuals(point, mu)
    return _ByRow(
        pd.Series(mu, index=index, name="fitted", copy=False),
        pd.Series(residuals, index=index, name="residuals", copy=False),
        pd.Series(eta, index=index, name="linear_predictor"),
    )


def variance_sources(problem: GeneralProblem, sigma: float, vcov: np.ndarray) -> dict[str, Any]:
    """Return the fields of a `Fit` that compute error variances when these are asked for."""
    lme4s = problem.laplace.dispersion == "lme4" and problem.laplace.family.has_dispersion
    return {
        "condvar_source": functools.partial(problem.condvar, sigma**2 if lme4s else 1.0),
        "pev_source": functools.partial(problem.pev, vcov),
    }


def _general(problem: GeneralProblem, criterion: float, predictor: pd.Series) -> General:
    laplace, point = problem.laplace, problem.point
    family = point.given.family
    negative = isinstance(family, NegativeBinomial)
    return General(
        family=family,
        nagq=problem.nagq,
        determinant=laplace.determinant,
        dispersion=point.phi,
        dispersion_by=laplace.dispersion if family.has_dispersion else "",
        shape=family.shape if isinstance(family, NegativeBinomial) else float("nan"),
        shape_estimated=negative and laplace.extra == "shape",
        linear_predictor=predictor,
        deviance=point.deviance,
        lme4_criterion=_lme4_criterion(problem, criterion),
        observed=laplace.rows.observed if laplace.rows.source is None else None,
    )


def _lme4_criterion(problem: GeneralProblem, criterion: float) -> float:
    """Return −2 log likelihood on lme4's scale (1.1-31); nan where it is another criterion."""
    laplace = problem.laplace
    if laplace.family.has_dispersion and laplace.dispersion != "lme4":
        return float("nan")
    if problem.nagq == "exact" or (
        laplace.determinant != "expected" and not laplace.family.is_canonical
    ):
        return float("nan")
    if isinstance(problem.nagq, int) and problem.nagq > 1:
        point = problem.point
        return criterion - point.given.family.constant(laplace.rows.observed, point.phi).value
    return criterion


def _lme4_sigma(point: Point) -> float:
    """Return √((Pearson's statistic + |u|²) / n), as ``sigma()`` of lme4."""
    u = point.mode.u
    return float(np.sqrt((point.pearson + u @ u) / point.laplace.rows.n))


def deviance_residuals(point: Point, mu: np.ndarray) -> np.ndarray:
    """Return the roots of twice the half deviances with the sign of ``y − μ``, (n,)."""
    y = point.laplace.rows.observed.y
    return np.sign(y - mu) * np.sqrt(np.maximum(2.0 * point.mode.at.value, 0.0))


def parameters(
    laplace: Laplace, theta: np.ndarray, beta: np.ndarray, extra: float | None = None
) -> np.ndarray:
    """Return ψ, (P,), of theta and beta in the user's units; `extra` is log φ or log shape.

    Raises
    ------
    ArgumentError
        If theta cannot be used.
    """
    rows = laplace.rows
    elements = elements_of(rows, theta)
    return np.concatenate([rows.basis.R @ beta, elements, [] if extra is None else [extra]])


def elements_of(rows: Rows, theta: np.ndarray) -> np.ndarray:
    """Return the covariance parameters in the bases computed in, (k,), of theta, user's units.

    Raises
    ------
    ArgumentError
        If theta has another length than the model has parameters, or is not finite.
    """
    factors = factors_from_theta(rows, theta)
    pairs = zip(rows.terms, factors, strict=True)
    return np.concatenate([term.of_factor(factor) for term, factor in pairs])
