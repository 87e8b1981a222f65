"""`refit`: the same design with another response."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from pymackay.covariance.layout import is_singular
from pymackay.errors import ArgumentError, ConvergenceWarning, DataError
from pymackay.infer.problem import model_of
from pymackay.model.columns.column import Numeric
from pymackay.model.model import Model
from pymackay.model.sums.gram import Block, Gram
from pymackay.model.sums.response import residual_response
from pymackay.model.sums.sparse_gram import sparse_cross_products
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, assemble, factors_from_theta
from pymackay.solve.exact.make import make_solver
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.iterative.fit import fit_iterative
from pymackay.solve.iterative.solver import Iterative
from pymackay.solve.search.newton import Control, Optimum, find_optimum, optimise
from pymackay.solve.solver import Solver

__all__ = ["refit"]


def refit(fit: Fit, y: Any, *, control: Control | IterativeControl | None = None) -> Fit:
    """Fit the same model to another response, as lme4's ``refit``.

    Cross-products that the response has no part in are kept, and the search starts from the theta
    of `fit`. An answer on the boundary is checked against a search from the new data's own start.
    A fit by the iterative solver sums all up anew.

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
        If `y` has another length, or an index without the model's rows.
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
    model = _with_response(former, _read_response(y, former))
    solver: object = fit.problem.solver
    if isinstance(solver, Iterative):
        found = _iterative(fit, model, solver, control)
    else:
        found = _exact(fit, model, fit.problem.solver, control)
    if not found.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} on the new response is not certified: "
            f"{found.convergence.message}. Try a simpler random part.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return found


def _exact(fit: Fit, model: Model, former: Solver, control: Any) -> Fit:
    solver = make_solver(_new_sums(former.gram, model), reml=fit.reml)
    optimum = _optimum(solver, fit.theta.to_numpy(), control)
    return assemble(
        Problem(model, solver), optimum.factors, optimum.evaluation, optimum.convergence
    )


def _iterative(fit: Fit, model: Model, former: Iterative, control: Any) -> Fit:
    return fit_iterative(
        model,
        sparse_cross_products(model),
        reml=fit.reml,
        start=fit.theta.to_numpy(),
        control=former.control if control is None else control,
    )


def _read_response(y: Any, model: Model) -> np.ndarray:
    """Return the new response on the rows of the model, shape (n,)."""
    n = len(model.y)
    if isinstance(y, pd.Series) and not y.index.equals(model.rows):
        y = _aligned(y, model.rows)
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


def _aligned(y: pd.Series, rows: pd.Index) -> pd.Series:
    """Take the rows of the model out of a Series by their labels."""
    if not (y.index.is_unique and rows.is_unique and rows.isin(y.index).all()):
        raise ArgumentError(
            f"y is a Series whose index does not hold each of the model's {len(rows)} rows once; "
            f"index it as the model's data, or pass y.to_numpy() to go by position"
        )
    return y.loc[rows]


def _with_response(model: Model, y: np.ndarray) -> Model:
    columns = dict(model.columns)
    if model.response in columns:
        columns[model.response] = Numeric(y)
    # the data as they were given hold the former response
    return dataclasses.replace(model, y=y, columns=columns, given={})


def _new_sums(gram: Gram, model: Model) -> Gram:
    """Return `gram` with the sums that the response has a part in made anew."""
    root = None if model.weights is None else np.sqrt(model.weights)
    response = residual_response(model, root, gram.basis)
    left = response.residual if root is None else response.residual * root
    sums = [_random_sums(gram, model, block, left) for block in gram.blocks]
    C: Any = gram.C
    if sp.issparse(C):
        C = sp.hstack([C[:, :-1], sp.csr_matrix(sums[0].reshape(-1, 1))], format="csr")
    else:
        C = np.concatenate([C[:, :, :-1], sums[0][:, :, None]], axis=2)
    D = gram.D.copy()
    rest = [*(part.ravel() for part in sums[1:]), gram.basis.Q.T @ response.residual]
    D[-1, :-1] = D[:-1, -1] = np.concatenate(rest)
    D[-1, -1] = response.residual @ response.residual
    return dataclasses.replace(gram, C=C, D=D, response=response)


def _random_sums(gram: Gram, model: Model, block: Block, left: np.ndarray) -> np.ndarray:
    """Sum the columns of a block times `left` over the rows of each level, shape (J, q)."""
    codes = model.factors[block.name].codes
    found = np.empty((block.n_levels, block.q))
    for term, places in gram.block_slices(block):
        raw = model.terms[term].columns
        sums = [
            np.bincount(codes, weights=raw[:, i] * left, minlength=block.n_levels)
            for i in range(raw.shape[1])
        ]
        found[:, places] = np.column_stack(sums) @ gram.transforms[term]
    return found


def _optimum(solver: Solver, theta: np.ndarray, control: Control | None) -> Optimum:
    """Search from `theta`; where that ends on the boundary or fails, from the data's start too."""
    first = optimise(solver, factors_from_theta(solver.gram, theta), control)
    if first.convergence.converged and not is_singular(first.factors):
        return first
    second = find_optimum(solver, control)
    if second.convergence.converged != first.convergence.converged:
        return second if second.convergence.converged else first
    return min(first, second, key=lambda found: found.evaluation.criterion)
