"""`mackay`: fits a model by MacKay's loop, and returns a `Fit` with the trace of the loop."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from pymackay.arguments import flag
from pymackay.errors import ArgumentError, ConvergenceWarning
from pymackay.infer.gap.collapse_report import boundary_messages, collapse_error, describe_collapse
from pymackay.model.design.build import build_model
from pymackay.results import Fit
from pymackay.solve.assemble import Problem
from pymackay.solve.choose import choose, make_problem
from pymackay.solve.loop.run import LoopEnd, Settings, fit_of, run_loop
from pymackay.solve.loop.settings import make_settings, starting_state

ArrayLike = Any

# arguments that define the model, or that say nothing of the result
_NOT_OF_THE_LOOP = (
    *("formula", "data", "reml", "weights", "offset", "subset", "contrasts"),
    *("callback", "progress"),
)


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
    """Run MacKay's loop: alternately predict the effects and update the variances from them.

    Every round also updates the noise, σ² ← SSE / (n − tr H), with tr H the effective degrees of
    freedom of the fit.

    Parameters
    ----------
    formula, data, reml, weights, offset, subset, contrasts
        As in `lmer`. With ``reml=False`` error variances are `condvar`, otherwise `pev`.
    update : {"gamma", "em", "raw", "diagonal"} or callable
        How a term's covariance matrix V follows from its predicted effects B̂ (J levels) and
        their error covariances C_j:

        - ``"raw"``: V ← cov(B̂), divisor J − 1; the literal loop.
        - ``"diagonal"``: V ← diag(cov(B̂)).
        - ``"gamma"``: v ← Σ b̂² / γ, γ = J − Σ C_j / v: MacKay's divisor. For correlated effects
          its matrix form, in which V stays positive semidefinite.
        - ``"em"``: V ← (B̂'B̂ + Σ C_j) / J.
        - a function of `pymackay.solve.loop.rounds.TermMoments` that returns V.

        ``"gamma"`` and ``"em"`` end at `lmer`'s optimum.
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
        Residual variance to start from.
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
        As in `lmer`. With ``"iterative"``, traces are estimated with fixed probe vectors, which
        causes a Monte-Carlo error as in `lmer`; ``inner`` must be ``"exact"``.

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
    asked = _asked(locals())
    model = build_model(
        formula, data, weights=weights, offset=offset, subset=subset, contrasts=contrasts
    )
    choice = choose(model, solver)
    if choice.iterative and inner == "gradient":
        raise ArgumentError(
            "inner='gradient' learns by the exact solver's products, but the solver is "
            "'iterative'; use inner='exact', or solver='exact'."
        )
    problem = make_problem(model, choice, reml=flag("reml", reml))
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
        raise collapse_error(model, end.collapse, end.trace, settings.rule)
    loop = _loop_fit(problem, end, settings, choice.messages)
    assert loop.trace is not None
    loop.trace.attrs["asked"] = asked
    return _settled(loop, settings)


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


def _loop_fit(problem: Problem, end: LoopEnd, settings: Settings, notes: tuple[str, ...]) -> Fit:
    """Return the fit of a loop, with its messages."""
    messages = boundary_messages(end.round) if settings.rule.likelihood else ()
    if end.collapse is not None:
        messages = (describe_collapse(problem.model, end.collapse),)
    return fit_of(problem, end, (*notes, *messages))


def _settled(fit: Fit, settings: Settings) -> Fit:
    """Return the fit; warn if the loop reached its last iteration without convergence."""
    ran_out = fit.convergence.iterations >= settings.iterations
    if settings.tolerance is not None and ran_out and not fit.convergence.converged:
        warnings.warn(
            f"MacKay's loop on {fit.formula!r} did not converge: {fit.convergence.message}. "
            f"Allow more iterations, or see fit.trace for what it does.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return fit
