"""`lmer` and `evaluate`: fit a model given by a formula and data, or evaluate it at a theta."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pymackay.api.theta import start_values, theta_values
from pymackay.arguments import flag, hinted, one_of
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.formula.residual import read_residual
from pymackay.model.columns.table import Table, is_source
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import Built, build_model, build_rows
from pymackay.model.design.residual import residual_rows
from pymackay.model.stream.sources import sum_source
from pymackay.results import Fit
from pymackay.solve.assemble import evaluate_at
from pymackay.solve.choose import choose, fit_model, make_problem
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.marginal.fit import fit_residual
from pymackay.solve.search.limits import Control

ArrayLike = Any


@hinted
def lmer(
    formula: str,
    data: pd.DataFrame | Any,
    *,
    reml: bool = True,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: ArrayLike | None = None,
    control: Control | IterativeControl | None = None,
    solver: str = "auto",
    double_bar: str = "split",
    known: Mapping[str, pd.DataFrame] | None = None,
    residual: str | None = None,
) -> Fit:
    """Fit a linear mixed model by REML or maximum likelihood.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"Reaction ~ Days + (Days | Subject)"``. The covariance of a term's
        effects may have a structure, as in lme4 2.x: ``diag(f | g)``, ``cs(f | g)`` (compound
        symmetry), ``ar1(f | g)``, ``toep(f | g)`` and, by time, ``ou(0 + f | g)``, each with
        ``hom = TRUE`` (one variance for all effects) or ``hom = FALSE``,
        ``rr(0 + f | g, d = 2)`` (reduced rank), ``fa(0 + f | g)`` (one factor) and
        ``propto(0 + f | g, A)`` with a known matrix; see the page "Covariance structures".
    data : pandas.DataFrame, the path of a CSV file, or a source of partitions
        One row per observation. For data larger than the memory, give the path of a Parquet file
        or folder, an iterator of data frames, or a Dask DataFrame; the rows are read in one pass
        and not kept, so that the fit has no `fitted` and `residuals`.
    reml : bool
        REML (default) or maximum likelihood.
    weights : str or array-like of shape (rows of `data`,), optional
        Prior weights, a column's name or numbers: the residual variance of a row is
        sigma² / weight, so that a row that is a mean of w observations has the weight w.
    offset : str or array-like of shape (rows of `data`,), optional
        A part of the response that is known and has no coefficient, in units of the response. It
        is added to what ``offset(...)`` in the formula gives.
    subset : str or boolean array-like, optional
        Rows to use: an R expression such as ``"Days > 1"``, or a mask.
    contrasts : mapping, optional
        Column to ``"contr.treatment"``, ``"contr.sum"``, ``"contr.helmert"``, ``"contr.poly"``,
        ``"contr.SAS"`` or a matrix. They are those of the fixed part; random terms keep the
        default contrasts, as in lme4, and the fit's messages say so.
    start : array-like of shape (m,), optional
        Theta to start from, in lme4's order, or the parameters of a model with structures
        (``fit.par``); by default computed from the data.
    control : Control or IterativeControl, optional
        Tolerances of the optimiser, or of the iterative solver. An `IterativeControl` also selects
        the iterative solver.
    solver : {"auto", "exact", "iterative"}
        With crossed factors, the exact solver needs a dense matrix for the levels of all factors
        except the largest. The iterative solver does not, but has a Monte-Carlo error, by default
        0.1 % of each variance, given in ``fit.convergence.monte_carlo_error``. ``"auto"`` chooses
        the exact solver unless it would need more than half of the free memory or over a minute.
        Structures are fitted by the exact solver only.
    double_bar : {"split", "diag"}
        How ``(f || g)`` is read. ``"split"``, lme4's default: one term for each term of ``f``, so
        that a factor keeps the correlations of its levels. ``"diag"``: ``diag(f | g)``, in which
        no effects correlate (lme4 2.x with the option ``lme4.doublevert.default =
        "diag_special"``); the fit's messages tell.
    known : mapping of str to pandas.DataFrame, optional
        Covariance matrices that are known up to a factor, such as the relationships of animals:
        ``known={"A": frame}`` for ``propto(0 + f | g, A)``. Index and columns of a frame are
        levels of ``f``; those that the data do not have are left out.
    residual : str, optional
        Covariance of the residuals, by default independent with one variance.
        ``"ar1(time | g)"``, ``"ou(time | g)"``, ``"cs(visit | g)"``, ``"toep(visit | g)"``,
        ``"us(visit | g)"`` and ``"diag(visit | g)"``: within each level of g, with ``hom`` as in
        the random part. ``"varident(s)"``: a standard deviation for each level of s; it may be
        added, as in ``"varident(s) + ar1(time | g)"``. With it the formula may be without random
        terms. See the page "Residual structures and MMRM".

    Returns
    -------
    Fit

    Raises
    ------
    PymackayError
        If formula, data or arguments do not define a model; the message says what to do.

    Warns
    -----
    ConvergenceWarning
        If the optimum could not be certified.

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
    >>> trial = pm.load_data("BtheB")
    >>> visits = pm.lmer("bdi ~ bdi_pre + treatment", trial, residual="us(month | patient)")
    >>> visits.residual_covariance.sd.round(3).to_dict()
    {'2': 8.398, '3': 9.461, '5': 9.679, '8': 9.863}
    """
    reml = flag("reml", reml)
    double_bar = one_of("double_bar", double_bar, ("split", "diag"))
    parts = (weights, offset, subset, contrasts, double_bar, known)
    if residual is not None:
        given = Arguments(*parts, _structure(residual))
        return _certified(_fit_residual(formula, data, given, reml, start, control, solver))
    arguments = Arguments(*parts)
    built = _build(formula, data, arguments, control)
    choice = choose(built.model, solver, control)
    theta = None if start is None else start_values(start, built.model)
    fit = fit_model(built.model, choice, reml=reml, start=theta, sums=built.gram)
    return _certified(fit)


def _structure(residual: object) -> str:
    """Return the argument `residual`, a text that can be read."""
    return read_residual(residual).text  # type: ignore[arg-type]


def _fit_residual(
    formula: str,
    data: Any,
    arguments: Arguments,
    reml: bool,
    start: ArrayLike | None,
    control: Any,
    solver: str,
) -> Fit:
    """Fit a model with a covariance structure of the residuals."""
    if is_source(data):
        raise ArgumentError(
            "data of a model with residual= must be a data frame: its rows are read in every step "
            "of the fit, so that partitions cannot be summed up once. Read them into one frame."
        )
    if control is not None or solver not in ("auto", "exact"):
        raise ArgumentError(
            "control and solver='iterative' are not there with residual=; leave them out."
        )
    model = build_rows(formula, Table(data), arguments).model
    call = model.blueprint.specification.residual
    rows = residual_rows(call, model.columns, len(model.y))
    theta = None if start is None else start_values(start, model)
    return fit_residual(model, rows, reml=reml, start=theta)


def _build(formula: str, data: Any, arguments: Arguments, control: Any) -> Built:
    """Return the model of a formula, from rows or from the sums of a source of partitions."""
    if is_source(data):
        saved = control.checkpoint if isinstance(control, IterativeControl) else None
        return sum_source(formula, data, arguments, checkpoint=saved)
    return build_rows(formula, Table(data), arguments)


@hinted
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
    known: Mapping[str, pd.DataFrame] | None = None,
) -> Fit:
    """Return the fit at a given `theta`, without optimisation.

    Parameters
    ----------
    formula, data, reml, weights, offset, subset, contrasts, known
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
        As in `lmer`, and if `theta` has the wrong length or names.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.evaluate("Reaction ~ Days + (Days | Subject)", sleep, [1.0, 0.0, 0.2])
    >>> round(fit.criterion, 6)
    1744.244122
    """
    model = build_model(
        formula,
        data,
        weights=weights,
        offset=offset,
        subset=subset,
        contrasts=contrasts,
        known=known,
    )
    problem = make_problem(model, reml=flag("reml", reml))
    return evaluate_at(problem, theta_values(theta, model))


def _certified(fit: Fit) -> Fit:
    if not fit.convergence.converged:
        warnings.warn(
            f"the optimum of {fit.formula!r} is not certified: {fit.convergence.message}. "
            f"Try another start, or a simpler random part.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return fit
