"""`mackay`: fits a model by MacKay's loop, and returns a `Fit` with the trace of the loop."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from pymackay.api.criterion import laplace_of
from pymackay.api.general_loop import check_general, general_loop, kind_of_effects
from pymackay.arguments import flag, hinted
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.family.family import Family
from pymackay.family.named import family_of
from pymackay.infer.gap.collapse_report import collapse_error
from pymackay.infer.gap.loop_report import loop_messages
from pymackay.model.columns.table import is_source
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import build_model
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.assemble import Problem
from pymackay.solve.choose import choose, make_problem
from pymackay.solve.loop.learned import make_learner
from pymackay.solve.loop.linear import Learner, LinearEquations
from pymackay.solve.loop.run import Settings, fit_of, run_loop
from pymackay.solve.loop.settings import make_settings, starting_state

ArrayLike = Any

# arguments that define the model, or that say nothing of the result
_NOT_OF_THE_LOOP = (
    *("formula", "data", "reml", "weights", "offset", "subset", "contrasts"),
    *("callback", "progress"),
)


@hinted
def mackay(
    formula: str,
    data: pd.DataFrame,
    *,
    family: Family | type[Family] | str | None = None,
    update: str | Callable[..., Any] = "gamma",
    effects: str | None = None,
    reml: bool | None = None,
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
    known: Mapping[str, pd.DataFrame] | None = None,
) -> Fit:
    """Run MacKay's loop: alternately predict the effects and update the variances from them.

    Every round also updates the noise, σ² ← SSE / (n − tr H), with tr H the effective degrees of
    freedom of the fit.

    Parameters
    ----------
    formula, data, weights, offset, subset, contrasts, known
        As in `lmer`.
    family : str or Family, optional
        As in `glmer`: the loop then runs on a generalised model, whose fixed effects are those of
        the joint mode, or with ``effects="mean"`` those that minimise Laplace's criterion at the
        round's variances. By default a linear model.
    effects : {"mode", "mean"}, optional
        For a generalised model, what the rules take as predicted effects B̂. ``"mode"``
        (default): the modes, with the weights of the rows held there, as in MacKay's evidence
        framework. This is penalised quasi-likelihood, which underestimates variances where groups
        are small; a dispersion is updated to Pearson's statistic / (n − Σγ). ``"mean"``: posterior
        means to second order; ``"gamma"`` and ``"em"`` then end at `glmer`'s optimum, with its
        standard errors.
    reml : bool, optional
        By default True for a linear model. With False error variances are `condvar`, otherwise
        `pev`. Generalised models have no REML: False.
    update : {"gamma", "em", "raw", "diagonal"} or callable
        How a term's covariance matrix V follows from its predicted effects B̂ (J levels) and
        their error covariances C_j:

        - ``"raw"``: V ← cov(B̂), divisor J − 1; the literal loop.
        - ``"diagonal"``: V ← diag(cov(B̂)).
        - ``"gamma"``: v ← Σ b̂² / γ, γ = J − Σ C_j / v: MacKay's divisor. For correlated effects
          its matrix form, in which V stays positive semidefinite.
        - ``"em"``: V ← (B̂'B̂ + Σ C_j) / J.
        - a function of `pymackay.solve.loop.rounds.TermMoments` that returns V.

        ``"gamma"`` and ``"em"`` end at the optimum of `lmer` (for a generalised model: see
        `effects`).
    scale : float or mapping of term to float
        Factor of the empirical variances of ``"raw"`` and ``"diagonal"``.
    iterations : int, optional
        Largest number of rounds: by default 100, and 1000 for ``"gamma"`` and ``"em"``.
    tolerance : float, optional
        The loop has converged when the next update changes the variances by no more than this
        (relative) and, for ``"gamma"`` and ``"em"``, the optimum is as close in standard errors. By
        default 1e-9 for these two (1e-7 with ``inner="gradient"``, 1e-6 with the iterative solver).
        The others have no tolerance by default and run all iterations.
    start : mapping, matrix or theta, optional
        Mapping from term to covariance matrix, on the absolute scale; the matrix itself if there
        is one term; or theta as in `lmer`. By default computed from the data.
    start_noise_var : float, optional
        Residual variance to start from; the dispersion of a generalised model that has one.
    inner : {"exact", "gradient"}
        Whether a round solves the mixed-model equations exactly, or takes `inner_steps` gradient
        steps of `optimizer` (``"sgd"``, ``"adam"``) from the effects of the previous round. The
        returned fit has the exact effects.
    acceleration : bool, optional
        Whether to use Anderson acceleration, with every step checked by the criterion: by default
        for ``"gamma"`` and ``"em"`` with exact rounds.
    on_collapse : {"raise", "return", "continue"}
        What to do when a direction of V becomes zero, under rules other than ``"gamma"`` and
        ``"em"``: raise a `CollapseError`, return the fit of that iteration, or continue without the
        direction.
    callback : callable, optional
        Called with each row of the trace; the loop ends if it returns a true value.
    progress : bool, optional
        Whether to show a progress bar on stderr: by default on a terminal, after two seconds.
    solver : {"auto", "exact", "iterative"}
        As in `lmer`; generalised models have the exact one only. With ``"iterative"``, traces are
        estimated with fixed probe vectors, which causes a Monte-Carlo error as in `lmer`; ``inner``
        must be ``"exact"``.

    Returns
    -------
    Fit
        At the loop's variances: `sigma` is the loop's, and `criterion` is evaluated at it (`lmer`
        and `evaluate` use the best σ² for a theta). Under rules other than ``"gamma"`` and
        ``"em"``, `beta` and the random effects are those from which the last update was computed;
        at convergence there is no difference. ``fit.trace`` has one row per iteration:
        ``iteration``; variances (``Subject.Days.var``) and correlations
        (``Subject.(Intercept).Days.corr``); ``sigma_var``; ``Subject.gamma``; ``criterion``;
        ``distance``, the largest relative change in the rule's next update; and ``step``, the kind
        of step: the rule itself, an accelerated step, a direction set to zero (``boundary``), or
        the MM step that replaces the rule where it would raise the criterion (``majorised``).
        ``fit.trace.attrs["start"]`` has the variances, correlations, γ and criterion of the
        starting point.

    Raises
    ------
    CollapseError
        If a direction of V becomes zero; the message names term, direction, iteration and reason.
    PymackayError
        As in `lmer`, and if an argument has an invalid value.

    Warns
    -----
    ConvergenceWarning
        If the iterations end before the tolerance is met.

    References
    ----------
    MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4(3).
    MacKay, D. J. C. (1992). The evidence framework applied to classification networks. Neural
    Computation 4(5).
    Breslow, N. E., Clayton, D. G. (1993). Approximate inference in generalized linear mixed models.
    J. Am. Stat. Assoc. 88: penalised quasi-likelihood.
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

    A generalised model: the loop with modes, and with means, which ends where `glmer` does.

    >>> cbpp = pm.load_data("cbpp")
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fits = [
    ...     pm.mackay(formula, cbpp, family="binomial"),
    ...     pm.mackay(formula, cbpp, family="binomial", effects="mean"),
    ...     pm.glmer(formula, cbpp, "binomial"),
    ... ]
    >>> [round(float(fit.theta.iloc[0]), 5) for fit in fits]
    [0.62456, 0.64226, 0.64226]
    """
    asked = _asked(locals())
    settle = functools.partial(
        make_settings,
        update=update,
        scale=scale,
        iterations=iterations,
        tolerance=tolerance,
        inner=inner,
        acceleration=acceleration,
        on_collapse=on_collapse,
        callback=callback,
        progress=progress,
    )
    begin = (start, start_noise_var)
    if family is not None:
        check_general(reml, inner, solver)
        if is_source(data):
            raise ArgumentError(
                "data of the loop on a generalised model must be a data frame; read the partitions "
                "into one, or fit the model by pymackay.glmer, which passes over them."
            )
        kind, determinant = kind_of_effects(effects)
        arguments = Arguments(weights, offset, subset, contrasts, known=known)
        laplace = laplace_of(formula, data, family_of(family), arguments, determinant, "ml")
        loop, settings = general_loop(laplace, kind, *begin, settle)
    else:
        _refuse_effects(effects)
        model = build_model(
            formula,
            data,
            weights=weights,
            offset=offset,
            subset=subset,
            contrasts=contrasts,
            known=known,
        )
        problem, notes = _linear_problem(model, solver, inner, reml)
        learner = make_learner(problem, inner_steps, optimizer) if inner == "gradient" else None
        loop, settings = _linear_loop(problem, learner, *begin, settle, notes)
    assert loop.trace is not None
    loop.trace.attrs["asked"] = asked
    return _settled(loop, settings)


def _refuse_effects(effects: object) -> None:
    if effects is not None:
        raise ArgumentError(
            f"effects is {effects!r}, which is for generalised models: the modes of a linear "
            f"model's effects are their means. Leave effects out, or give a family."
        )


def _linear_problem(
    model: Model, solver: str, inner: str, reml: bool | None
) -> tuple[Problem, tuple[str, ...]]:
    """Return the problem of a linear model, and what the choice of its solver has to say."""
    choice = choose(model, solver)
    if choice.iterative and inner == "gradient":
        raise ArgumentError(
            "inner='gradient' learns by the exact solver's products, but the solver is "
            "'iterative'; use inner='exact', or solver='exact'."
        )
    return make_problem(model, choice, reml=reml is None or flag("reml", reml)), choice.messages


def _linear_loop(
    problem: Problem,
    learner: Learner | None,
    start: object,
    noise_var: object,
    settle: Callable[[Model, float], Settings],
    notes: tuple[str, ...],
) -> tuple[Fit, Settings]:
    """Run the loop on a linear model; return its fit and its settings."""
    settings = settle(problem.model, problem.solver.precision)
    equations = LinearEquations(problem, learner)
    end = run_loop(equations, starting_state(problem, start, noise_var), settings)
    if end.collapse is not None and settings.raises:
        raise collapse_error(problem.model, end.collapse, end.trace, settings.rule)
    return fit_of(problem, end, (*notes, *loop_messages(problem.model, end, settings))), settings


def _asked(arguments: Mapping[str, Any]) -> dict[str, object]:
    """Return the loop's arguments that differ from their defaults, for a report to repeat them.

    What is no text, number or truth value becomes ``...``.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(mackay).parameters.items()
        if name not in _NOT_OF_THE_LOOP
    }
    return {
        name: arguments[name] if isinstance(arguments[name], str | int | float) else ...
        for name, default in defaults.items()
        if arguments[name] is not default and not _equal(arguments[name], default)
    }


def _equal(value: object, default: object) -> bool:
    return isinstance(value, str | int | float) and value == default


def _settled(fit: Fit, settings: Settings) -> Fit:
    """Return the fit; warn if the loop reached its last iteration without convergence."""
    ran_out = fit.convergence.iterations >= settings.iterations
    if settings.tolerance is not None and ran_out and not fit.convergence.converged:
        warnings.warn(
            f"MacKay's loop on {fit.formula!r} did not converge: {fit.convergence.message}. "
            f"Allow more iterations, or see fit.trace for what it does.",
            ConvergenceWarning,
            stacklevel=4,
        )
    return fit
