"""Models with a residual structure fitted again: to another response, by ML, to some rows."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import aligned
from pymackay.errors import ArgumentError, ConvergenceWarning, PymackayError
from pymackay.formula.expression import deparse
from pymackay.infer.residual.problem import residual_problem
from pymackay.model.columns.column import Numeric
from pymackay.model.design.residual import residual_rows
from pymackay.model.design.side import group_rows
from pymackay.model.model import GroupingFactor, Model
from pymackay.model.residual_rows import ResidualRows
from pymackay.results import Fit
from pymackay.solve.marginal.fit import fit_residual

ML_MESSAGE = "refitted by ML (instead of REML)"


def refit(fit: Fit, y: Any, *, control: Any = None) -> Fit:
    """Fit the same model to another response; see `pymackay.refit`."""
    problem = residual_problem(fit, "refit")
    if control is not None:
        raise ArgumentError("control is not there for models with residual structures.")
    values = aligned(y, problem.model.rows, "y", "the model") if isinstance(y, pd.Series) else y
    model = with_response(problem.model, values)
    return _certified(fit_residual(model, problem.marginal.residual, reml=fit.reml))


def refit_by(fit: Fit, *, reml: bool) -> Fit:
    """Return the optimum of the same model by REML or ML."""
    problem = residual_problem(fit, "a refit")
    return _certified(fit_residual(problem.model, problem.marginal.residual, reml=reml))


def refitted_rows(fit: Fit, smaller: Model, rows: np.ndarray) -> Fit:
    """Return the optimum of the model of some rows, (n,) of bool.

    It begins at the fit's estimates, if the rows have all of its parameters.

    Raises
    ------
    PymackayError
        If there is none, because a stratum has no rows, say.
    """
    problem = residual_problem(fit, "influence")
    call = problem.model.blueprint.specification.residual
    columns = {name: column.take(rows) for name, column in problem.model.columns.items()}
    residual = residual_rows(call, columns, len(smaller.y))
    if residual.structure.names != problem.marginal.residual.structure.names:
        raise PymackayError("the other rows do not have all parameters of the residual structure")
    return fit_again(fit, smaller, residual)


def fit_again(fit: Fit, model: Model, residual: ResidualRows) -> Fit:
    """Return the optimum of a model with the parameters of a fit, begun at its estimates.

    An answer with a variance of zero is checked against searches from the data's own starts.
    """
    problem = residual_problem(fit, "a refit")
    if not fit.singular:
        try:
            again = fit_residual(model, residual, reml=fit.reml, begin=problem.psi)
        except PymackayError:
            return fit_residual(model, residual, reml=fit.reml)
        if again.convergence.converged and not again.singular:
            return again
    return fit_residual(model, residual, reml=fit.reml)


def units_of(fit: Fit, model: Model, by: str | None) -> tuple[str, list[object], np.ndarray]:
    """Return what `influence` leaves out: a grouping factor, also that of the residuals, or rows.

    Its name, labels, and the unit of each row, (n,).

    Raises
    ------
    ArgumentError
        If there is no such factor.
    """
    if by == "row":
        return "row", list(model.rows), np.arange(len(model.y))
    known = groups_of(fit, model)
    if by in (None, "group") and known:
        by = min(known, key=lambda name: len(known[name].levels))
    if by not in known:
        names = "".join(f", {name!r}" for name in known)
        raise ArgumentError(f"by is {by!r}, but must be one of 'row'{names}.")
    return by, list(known[by].levels), known[by].codes


def groups_of(fit: Fit, model: Model) -> dict[str, GroupingFactor]:
    """Return the grouping factors by name, that of the residuals among them."""
    known = dict(model.factors)
    call = model.blueprint.specification.residual
    if call.group is not None:
        name = deparse(call.group)
        factor = group_rows(call.group, model.columns, name)
        known.setdefault(name, GroupingFactor(name, factor.levels, factor.codes))
    return known


def with_response(model: Model, values: Any) -> Model:
    """Return a model with another response, also among its columns."""
    model = model.with_response(values)
    if model.response not in model.columns:
        return model
    return replace(model, columns={**model.columns, model.response: Numeric(model.y)})


def _certified(fit: Fit) -> Fit:
    if not fit.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} is not certified: {fit.convergence.message}.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fit
