"""`lmer`, `evaluate`, `mackay`: a formula and a table in, a `Fit` out, in four named steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.model.covariance import theta_names
from pymackay.model.design import build_model
from pymackay.model.gram import cross_products
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, assemble, evaluate_at, factors_from_theta
from pymackay.solve.reml import Control, Optimum, find_optimum, optimise
from pymackay.solve.solvers import make_solver

__all__ = ["evaluate", "lmer"]

ArrayLike = Any


def lmer(
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: ArrayLike | None = None,
    control: Control | None = None,
) -> Fit:
    """Fit a linear mixed model by REML or maximum likelihood.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"Reaction ~ Days + (Days | Subject)"``.
    data : pandas.DataFrame
        One row per observation.
    reml : bool
        REML (default) or maximum likelihood.
    weights, offset : str or array-like of shape (rows of `data`,), optional
        Prior weights (residual variance is sigma² / weight) and a known part of the response.
    subset : str or boolean array-like, optional
        Rows to use: an R expression such as ``"Days > 1"``, or a mask.
    contrasts : mapping, optional
        Column to ``"contr.treatment"``, ``"contr.sum"``, ``"contr.helmert"``, ``"contr.poly"``,
        ``"contr.SAS"`` or a matrix.
    start : array-like of shape (m,), optional
        Theta to start from, in lme4's order; by default the data tell.
    control : Control, optional
        Tolerances of the optimiser.

    Returns
    -------
    Fit

    Raises
    ------
    PymackayError
        When formula or data cannot carry the model; the message names the cure.

    Warns
    -----
    ConvergenceWarning
        When the optimum could not be certified.

    References
    ----------
    Bates, Mächler, Bolker, Walker 2015, J. Stat. Softw. 67(1), eqs. 34 and 42: the criterion.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.beta.round(4).to_dict()
    {'(Intercept)': 251.4051, 'Days': 10.4673}
    >>> round(fit.criterion, 6)
    1743.628272
    """
    model = build_model(
        formula, data, weights=weights, offset=offset, subset=subset, contrasts=contrasts
    )
    problem = Problem(model, make_solver(cross_products(model), reml=_is_flag(reml, "reml")))
    optimum = _optimum(problem, start, control)
    return _certified(assemble(problem, optimum.factors, optimum.evaluation, optimum.convergence))


def evaluate(
    formula: str,
    data: pd.DataFrame,
    theta: ArrayLike,
    *,
    reml: bool = True,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
) -> Fit:
    """Return everything at a given `theta`: criterion, beta, random effects; no optimisation.

    Parameters
    ----------
    formula, data, reml, weights, offset, subset, contrasts
        As in `lmer`.
    theta : array-like of shape (m,), or pandas.Series named as ``fit.theta``
        Relative covariance parameters in lme4's order: term by term, each term's relative factor
        column by column.

    Returns
    -------
    Fit

    Raises
    ------
    PymackayError
        As in `lmer`, and when `theta` has the wrong length or names.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.evaluate("Reaction ~ Days + (Days | Subject)", sleep, [1.0, 0.0, 0.2])
    >>> round(fit.criterion, 6)
    1743.871241
    """
    model = build_model(
        formula, data, weights=weights, offset=offset, subset=subset, contrasts=contrasts
    )
    problem = Problem(model, make_solver(cross_products(model), reml=_is_flag(reml, "reml")))
    return evaluate_at(problem, _theta_values(theta, model))


def _optimum(problem: Problem, start: ArrayLike | None, control: Control | None) -> Optimum:
    if start is None:
        return find_optimum(problem.solver, control)
    theta = _theta_values(start, problem.model)
    return optimise(problem.solver, factors_from_theta(problem.solver.gram, theta), control)


def _certified(fit: Fit) -> Fit:
    if not fit.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} is not certified: {fit.convergence.message}. "
            f"Try another start, or a simpler random part.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fit


def _theta_values(theta: ArrayLike, model: Model) -> np.ndarray:
    """Return theta's numbers in the model's order; a Series must carry the model's names."""
    names = theta_names([(term.group, term.effects) for term in model.terms])
    if isinstance(theta, pd.Series) and not isinstance(theta.index, pd.RangeIndex):
        if list(theta.index) == names:
            return theta.to_numpy(np.float64)
        if len(set(names)) == len(names) and set(theta.index) == set(names):
            return theta[names].to_numpy(np.float64)
        raise ArgumentError(
            f"theta is named {list(theta.index)}, but the model's parameters are {names}."
        )
    try:
        return np.asarray(theta, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"theta must be {len(names)} numbers ({', '.join(names)}), but it is {theta!r}."
        ) from error


def _is_flag(value: object, name: str) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be True or False, but it is {value!r}.")
    return bool(value)
