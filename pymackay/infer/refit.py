"""`refit`: the same design with another response; `refit_by`: the same model by REML or ML."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import aligned
from pymackay.errors import ArgumentError, ConvergenceWarning, DataError
from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import exact_solver, model_of, problem_of
from pymackay.model.columns.column import Numeric
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, fit_problem, without_rows

ML_MESSAGE = "refitted by ML (instead of REML)"
REML_MESSAGE = "refitted by REML (instead of ML), which Kenward and Roger's method needs"


@by_kind(
    "pymackay.infer.general.refit:refit",
    residual="pymackay.infer.residual.refit:refit",
)
def refit(fit: Fit, y: Any, *, control: Any = None) -> Fit:
    """Fit the same model to another response, as lme4's ``refit``.

    Cross-products that the response has no part in are kept, and the search starts from the theta
    of `fit`. An answer on the boundary is checked against a search from the new data's own start,
    where the solver is exact.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    y : array-like of shape (n,), or pandas.Series
        The response, transformed as the model has it, offset included. An array has one number for
        each row that the model uses, in order. A Series is aligned by its index with these rows, so
        that a column of the model's data will do although rows with missing values were dropped.
    control : Control or IterativeControl, optional
        Tolerances of the solver, which is that of `fit`.

    Returns
    -------
    Fit
        REML or ML as `fit` is, whatever made it: the optimum of the criterion.

    Raises
    ------
    ArgumentError
        If `y` has another length, or an index without the model's rows; or `control` is of the
        other solver's kind.
    DataError
        If a value that is needed is missing or infinite, as in R.
    PymackayError
        If another engine made the fit.

    Warns
    -----
    ConvergenceWarning
        When the optimum could not be certified.

    Notes
    -----
    lme4's own ``refit`` (seen in 1.1-31) minimises the criterion of a REML fit with n - 1 in place
    of n - p, and ends elsewhere when there is more than one fixed effect. This one ends where a fit
    to the new response does.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> again = fit.refit(2.0 * sleep["Reaction"])
    >>> round(again.sigma / fit.sigma, 6)
    2.0
    """
    former = model_of(fit, "refit")
    solver = fit.problem.solver.with_response(_read_response(y, former))
    problem = Problem(_with_column(solver.bases.model), solver)
    again = fit_problem(problem, start=fit.theta.to_numpy(), control=control)
    if not again.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} on the new response is not certified: "
            f"{again.convergence.message}. Try a simpler random part.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return again


@by_kind(
    cure="Generalised models have no REML.",
    residual="pymackay.infer.residual.refit:refit_by",
)
def refit_by(fit: Fit, *, reml: bool) -> Fit:
    """Return the optimum of the same model by REML or ML.

    Raises
    ------
    PymackayError
        If the fit does not hold its model.

    Warns
    -----
    ConvergenceWarning
        When the optimum could not be certified.
    """
    name = "REML" if reml else "ML"
    given = problem_of(fit, f"a refit by {name}")
    solver = exact_solver(given, f"a refit by {name}").by(reml=reml)
    again = fit_problem(Problem(given.model, solver))
    if not len(given.model.y):
        again = without_rows(again, fit.n_obs)
    if not again.convergence.converged:
        warnings.warn(
            f"the {name} optimum of {fit.formula!r} is not certified: "
            f"{again.convergence.message}. A simpler random part may be determined.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return again


def _read_response(y: Any, model: Model) -> np.ndarray:
    """Return the new response on the rows of the model, shape (n,)."""
    n = len(model.y)
    if isinstance(y, pd.Series):
        y = aligned(y, model.rows, "y", "the model")
    try:
        values = np.array(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"y must be {n} numbers, one for each row of the model, but is a {type(y).__name__} "
            f"of something else"
        ) from error
    if values.shape != (n,):
        raise ArgumentError(
            f"y has shape {values.shape}, but the model has {n} rows; pass one number for each, or "
            f"a Series indexed as the model's data, from which the rows that the model uses are "
            f"taken"
        )
    if not np.isfinite(values).all():
        raise DataError(
            f"y is missing or infinite in {np.count_nonzero(~np.isfinite(values))} of the {n} rows "
            f"that the model uses; fill them in, or fit the other rows with pymackay.lmer"
        )
    return values


def _with_column(model: Model) -> Model:
    """Return the model with its response in the place of the former one among its columns."""
    if model.response not in model.columns:
        return model
    return dataclasses.replace(model, columns={**model.columns, model.response: Numeric(model.y)})
