"""`refit` and `refit_by`: a model with a residual structure fitted again."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pandas as pd

from pymackay.arguments import aligned
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.infer.residual.problem import residual_problem
from pymackay.model.columns.column import Numeric
from pymackay.results import Fit
from pymackay.solve.marginal.fit import fit_residual


def refit(fit: Fit, y: Any, *, control: Any = None) -> Fit:
    """Fit the same model to another response; see `pymackay.refit`."""
    problem = residual_problem(fit, "refit")
    if control is not None:
        raise ArgumentError("control is not there for models with residual structures.")
    values = aligned(y, problem.model.rows, "y", "the model") if isinstance(y, pd.Series) else y
    model = problem.model.with_response(values)
    if model.response in model.columns:
        model = replace(model, columns={**model.columns, model.response: Numeric(model.y)})
    return _certified(fit_residual(model, problem.marginal.residual, reml=fit.reml))


def refit_by(fit: Fit, *, reml: bool) -> Fit:
    """Return the optimum of the same model by REML or ML."""
    problem = residual_problem(fit, "a refit")
    return _certified(fit_residual(problem.model, problem.marginal.residual, reml=reml))


def _certified(fit: Fit) -> Fit:
    if not fit.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} is not certified: {fit.convergence.message}.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fit
