"""`lmer`, `evaluate`, `mackay`: a formula and a table in, a `Fit` out, in four named steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.covariance.layout import theta_names
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.infer.gap.collapse_report import (
    boundary_messages,
    collapse_error,
    describe_collapse,
)
from pymackay.model.design.build import build_model
from pymackay.model.model import Model
from pymackay.model.stream.sources import is_source, sum_source
from pymackay.results import Fit
from pymackay.solve.assemble import Problem, evaluate_at, without_rows
from pymackay.solve.choose import choose, fit_model, make_problem
from pymackay.solve.iterative.control import IterativeControl
from pymackay.solve.loop.run import LoopEnd, Settings, fit_of, run_loop
from pymackay.solve.loop.settings import make_settings
from pymackay.solve.loop.start import starting_state
from pymackay.solve.search.newton import Control

__all__ = ["evaluate", "lmer", "mackay"]

ArrayLike = Any


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
) -> Fit:
    """Fit a linear mixed model by REML or maximum likelihood.

    Parameters
    ----------
    formula : str
        In lme4's language: ``"Reaction ~ Days + (Days | Subject)"``.
    data : pandas.DataFrame, or a source of partitions
        One row per observation. Rows that do not fit in memory come from a Parquet file or folder
        (its path), an iterator of data frames, or a Dask DataFrame; they are summed up in one
        pass, so that the fit has no `fitted` and `residuals`.
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
    control : Control or IterativeControl, optional
        Tolerances of the optimiser; of the iterative solver, which it asks for then.
    solver : {"auto", "exact", "iterative"}
        With crossed factors the exact solver needs a dense matrix of all levels but those of the
        largest factor. The iterative one needs none, and leaves a Monte-Carlo error, by default
        0.1 % of each variance, that ``fit.convergence.monte_carlo_error`` tells. ``"auto"`` takes
        the exact one unless it would need more than half of the free memory, or over a minute.

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
    flag = _is_flag(reml, "reml")
    frame: dict[str, Any] = {"weights": weights, "offset": offset, "subset": subset}
    frame["contrasts"] = contrasts
    saved = control.checkpoint if isinstance(control, IterativeControl) else None
    summed = sum_source(formula, data, **frame, checkpoint=saved) if is_source(data) else None
    model = build_model(formula, data, **frame) if summed is None else summed.model
    choice = choose(model, solver, control)
    theta = None if start is None else _theta_values(start, model)
    if summed is None:
        return _certified(fit_model(model, choice, reml=flag, start=theta))
    fit = fit_model(model, choice, reml=flag, start=theta, sums=summed.gram)
    return _certified(without_rows(fit, summed.n))


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
    1744.244122
    """
    model = build_model(
        formula, data, weights=weights, offset=offset, subset=subset, contrasts=contrasts
    )
    problem = make_problem(model, reml=_is_flag(reml, "reml"))
    return evaluate_at(problem, _theta_values(theta, model))


def mackay(
    formula: str,
    data: pd.DataFrame,
    *,
    update: str | Callable[..., Any] = "gamma",
    reml: bool = True,
    scale: float | Mapping[str, float] = 1.0,
    iterations: int | None = None,
    tolerance: float | None = None,
    start: ArrayLike | Mapping[str, ArrayLike] | None = None,
    start_noise_var: float | None = None,
    inner: str = "exact",
    inner_steps: int = 100,
    optimizer: Any = "sgd",
    acceleration: bool | None = None,
    on_collapse: str = "raise",
    callback: Callable[[Mapping[str, object]], object] | None = None,
    progress: bool | None = None,
    weights: str | ArrayLike | None = None,
    offset: str | ArrayLike | None = None,
    subset: str | ArrayLike | None = None,
    contrasts: Mapping[str, Any] | None = None,
    solver: str = "auto",
) -> Fit:
    """Run MacKay's loop: predict the effects, set the variances from them, again and again.

    The noise follows in every round, σ² ← SSE / (n − tr H), with tr H the effective degrees of
    freedom of the fit.

    Parameters
    ----------
    formula, data, reml, weights, offset, subset, contrasts
        As in `lmer`. With ``reml=False`` error variances are `condvar`, otherwise `pev`.
    update : {"gamma", "em", "raw", "diagonal"} or callable
        How a term's covariance matrix V follows from its predicted effects B̂ (J levels) and
        their error covariances C_j:

        - ``"raw"``: V ← cov(B̂), divisor J − 1; the loop read literally.
        - ``"diagonal"``: V ← diag(cov(B̂)).
        - ``"gamma"``: v ← Σ b̂² / γ, γ = J − Σ C_j / v: MacKay's divisor. For correlated effects
          its matrix form, in which V stays positive semidefinite.
        - ``"em"``: V ← (B̂'B̂ + Σ C_j) / J.
        - a function of `pymackay.solve.loop.rounds.TermMoments` that returns V.

        ``"gamma"`` and ``"em"`` end at `lmer`'s optimum.
    scale : float or mapping of term to float
        What the empirical variances of ``"raw"`` and ``"diagonal"`` are multiplied by.
    iterations : int, optional
        Rounds at most: by default 100, and 1000 for ``"gamma"`` and ``"em"``.
    tolerance : float, optional
        The loop has converged when the rule asks for relative changes of no more than this and,
        for ``"gamma"`` and ``"em"``, the optimum is as near in standard errors. By default 1e-9
        for these two (1e-7 with ``inner="gradient"``, 1e-6 with the iterative solver), and none for
        the others: they run through.
    start : mapping, matrix or theta, optional
        Term to covariance matrix, absolute scale; the matrix itself where there is one term; or
        theta as in `lmer`. By default the data tell.
    start_noise_var : float, optional
        Residual variance to start from.
    inner : {"exact", "gradient"}
        Whether a round solves the mixed-model equations, or learns for `inner_steps` steps of
        `optimizer` (``"sgd"``, ``"adam"``), going on from the round before. The fit returned holds
        the exact effects.
    acceleration : bool, optional
        Anderson acceleration, each step checked against the criterion: by default for ``"gamma"``
        and ``"em"`` with exact rounds.
    on_collapse : {"raise", "return", "continue"}
        What to do when a direction of V has died under any rule but ``"gamma"`` and ``"em"``: raise
        a `CollapseError`, return the fit of that iteration, or go on without the direction.
    callback : callable, optional
        Called with each row of the trace; a true answer ends the loop.
    progress : bool, optional
        Whether a bar is drawn on stderr: by default on a terminal, for loops of over two seconds.

    solver : {"auto", "exact", "iterative"}
        As in `lmer`. With ``"iterative"``, the fixed probe vectors of its traces leave a
        Monte-Carlo error, which `lmer` states; rounds are exact ones.

    Returns
    -------
    Fit
        At the loop's own variances: `sigma` is the loop's, and `criterion` is evaluated at it
        (`lmer` and `evaluate` take the best σ² for a theta). But for ``"gamma"`` and ``"em"``,
        `beta` and the random effects are those that the last update was made from, as in the
        loop that is written so; at rest there is no difference. ``fit.trace`` has one row per
        iteration: ``iteration``; variances (``Subject.Days.var``) and correlations
        (``Subject.(Intercept).Days.corr``); ``sigma_var``; ``Subject.gamma``; ``criterion``;
        ``distance``, the largest relative change that the rule still asks for; and ``step``, what
        led here: the rule itself, an accelerated step, a direction set to zero (``boundary``), or
        the MM step that steps in where the rule would raise the criterion (``majorised``).

    Raises
    ------
    CollapseError
        When a direction of V has died; it names term, direction, iteration, and why.
    PymackayError
        As in `lmer`, and when an argument cannot be used.

    Warns
    -----
    ConvergenceWarning
        When the iterations ran out before the tolerance was met.

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4(3).
    Hinton, G. (2012). Neural networks for machine learning, lecture 9f: MacKay's quick and dirty
    method of setting weight costs.
    Ogorek, B. (2019). Linear mixed models in TensorFlow 2.0 via MacKay's method.
    Dempster, A. P., Laird, N. M., Rubin, D. B. (1977). Maximum likelihood from incomplete data via
    the EM algorithm. J. R. Statist. Soc. B 39.
    Zhou, H., Hu, L., Zhou, J., Lange, K. (2019). MM algorithms for variance components models.
    J. Comput. Graph. Stat. 28(2).

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> loop = pm.mackay("Reaction ~ Days + (Days | Subject)", sleep)
    >>> loop.varcorr["Subject"].round(4).to_numpy().tolist()
    [[612.0899, 9.6043], [9.6043, 35.0717]]

    The article's loop:

    >>> loop = pm.mackay(
    ...     "Reaction ~ Days + (Days | Subject)", sleep, update="diagonal",
    ...     start=[[410, 10], [10, 22]], start_noise_var=sleep["Reaction"].var(ddof=0) / 4,
    ... )
    >>> loop.trace[["Subject.(Intercept).var", "sigma_var"]].iloc[-1].round(4).tolist()
    [302.9045, 670.8547]
    """
    model = build_model(
        formula, data, weights=weights, offset=offset, subset=subset, contrasts=contrasts
    )
    choice = choose(model, solver)
    if choice.iterative and inner == "gradient":
        raise ArgumentError(
            "inner='gradient' learns by the exact solver's products, but the solver is "
            "'iterative'; use inner='exact', or solver='exact'."
        )
    problem = make_problem(model, choice, reml=_is_flag(reml, "reml"))
    settings = make_settings(
        problem,
        update=update,
        scale=scale,
        iterations=iterations,
        tolerance=tolerance,
        inner=inner,
        inner_steps=inner_steps,
        optimizer=optimizer,
        acceleration=acceleration,
        on_collapse=on_collapse,
        callback=callback,
        progress=progress,
    )
    end = run_loop(problem, starting_state(problem, start, start_noise_var), settings)
    if end.collapse is not None and on_collapse == "raise":
        raise collapse_error(model, end.collapse, end.trace, settings.rule.name)
    return _settled(_loop_fit(problem, end, settings, choice.messages), settings)


def _loop_fit(problem: Problem, end: LoopEnd, settings: Settings, notes: tuple[str, ...]) -> Fit:
    """Return the fit of a loop, with what it should say about itself."""
    messages = boundary_messages(end.round) if settings.rule.likelihood else ()
    if end.collapse is not None:
        messages = (describe_collapse(problem.model, end.collapse),)
    return fit_of(problem, end, (*notes, *messages))


def _settled(fit: Fit, settings: Settings) -> Fit:
    """Warn of a loop that was to converge and ran out of iterations."""
    ran_out = fit.convergence.iterations >= settings.iterations
    if settings.tolerance is not None and ran_out and not fit.convergence.converged:
        warnings.warn(
            f"MacKay's loop on {fit.formula!r} did not converge: {fit.convergence.message}. "
            f"Allow more iterations, or see fit.trace for what it does.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fit


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
