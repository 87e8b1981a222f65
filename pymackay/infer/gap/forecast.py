"""`forecast_collapse`: what MacKay's literal loop will do to a model, without running it.

In the basis where the sampling covariance of the per-level effects is the identity, the literal
loop maps a direction's variance ``t ← (t / (1 + t))² s``, with s the sample variance of the
effects in that direction. From s = 4 on there is a positive fixed point,
``t* = ((s − 2) + √(s (s − 4))) / 2``; under 4 the direction dies. At the REML optimum of a
balanced design the estimated variance is t = s − 1 and the conditional variance t / (1 + t), so
that s is the ratio of the two. That ratio exists for every design.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.arguments import positive_by_name
from pymackay.errors import ArgumentError
from pymackay.infer.gap.effect_roots import GroupView, TermView, combination, view_group
from pymackay.infer.gap.reduced_loop import averaged, is_balanced, run_reduced
from pymackay.infer.gap.strata import find_strata, run_strata
from pymackay.infer.kinds import by_kind
from pymackay.model.model import Model
from pymackay.results import Fit
from pymackay.solve.choose import fit_model
from pymackay.solve.loop.collapse import SURVIVAL, signal_ratios
from pymackay.solve.loop.rules.registry import known_rules
from pymackay.solve.loop.rules.rule import Empirical, Rule

FORECAST_COLUMNS = ("term", "direction", "s", "survives", "kept", "theory", "error", "exact")

_DEAD = 1e-6  # share of its REML variance below which a direction counts as dead


def fixed_point(s: np.ndarray | float, scale: float = 1.0) -> np.ndarray:
    """Return the t* at which the literal loop ends, 0 where it collapses.

    Parameters
    ----------
    s : array-like
        Sample variance of the effects over their sampling variance.
    scale : float
        Factor by which the loop multiplies its variances in every round.

    Examples
    --------
    >>> fixed_point([3.9, 4.0, 25.0]).round(3).tolist()
    [0.0, 1.0, 22.956]
    """
    ratio = np.asarray(s, dtype=np.float64) * scale
    survives = ratio >= SURVIVAL
    root = np.sqrt(np.where(survives, ratio * (ratio - SURVIVAL), 0.0))
    return np.where(survives, 0.5 * (ratio - 2.0 + root), 0.0)


@by_kind(cure="MacKay's loop is there for linear models.")
def forecast_collapse(
    fit: Fit | Model, *, update: str | Rule = "raw", scale: float | Mapping[str, float] = 1.0
) -> pd.DataFrame:
    """Say which directions MacKay's literal loop will kill, and what it keeps of the others.

    The loop is not run. From the REML fit come each direction's s (see the module's first lines)
    and a reduced loop on a few numbers per level or per stratum, in which σ² follows as well: a
    direction that dies leaves its variance to the noise.

    Parameters
    ----------
    fit : Fit or Model
        A REML fit of pymackay; a model is fitted first.
    update : {"raw", "diagonal"}
        The rule of the loop.
    scale : float or mapping of term to float
        Factor by which the loop multiplies its variances in every round.

    Returns
    -------
    pandas.DataFrame
        One row per term and direction.

        - ``term``.
        - ``direction``: a combination of the effects, independent of the others in the prior and
          in what the data say; with ``update="diagonal"`` the effect.
        - ``s``: estimated variance over the average conditional variance; ``s − 1`` is the
          signal-to-noise ratio. nan with ``update="diagonal"`` for several effects: no single
          number decides there. For a direction whose estimated variance is zero already: of its
          least-squares effects in a balanced design of one term, 1 in others.
        - ``survives``.
        - ``kept``: the loop's variance over the REML estimate; nan where that is zero.
        - ``theory``: ``t*(s) / (s − 1)``, for a σ² that does not move.
        - ``error``: how far `kept` may be off: 0 where the forecast is exact, otherwise its
          distance from a cruder forecast, `theory` or, with ``update="diagonal"``, the one that
          gives all levels the same information; with several factors, what unequal levels may
          change is added. nan where `kept` is.
        - ``exact``: one grouping factor, balanced; for ``"raw"``, an estimate off the boundary.

    Notes
    -----
    For a loop that starts at the REML variances. In one that starts far below them, directions may
    die that survive here (those with t under 1 / t*).

    Exact (up to what the fit's own convergence leaves) for one grouping factor whose levels all
    have the same design. Otherwise an approximation: levels of unequal size keep their own
    information, but beta stays where it is; several factors are taken as two strata each.

    Raises
    ------
    ArgumentError
        If `fit` is neither a REML fit nor a model, `update` is another rule, or `scale` is not
        positive.
    PymackayError
        If the fit does not offer `pev`, or with several grouping factors `evaluate`.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> forecast = pm.forecast_collapse(fit)
    >>> forecast[["s", "survives", "kept"]].round(3).values.tolist()
    [[25.23, True, 0.941], [2.697, False, 0.0]]
    """
    rule = _empirical(update)
    fit = fit_model(fit, reml=True) if isinstance(fit, Model) else fit
    if not isinstance(fit, Fit) or not fit.reml:
        raise ArgumentError(
            f"fit is {type(fit).__name__}; expected a REML fit of pymackay.lmer, or a model. "
            f"The s of a direction is defined at the REML estimate."
        )
    scales = positive_by_name("scale", scale, [term.name for term in fit.model.terms])
    rows = (_one_group if len(fit.model.levels) == 1 else _several_groups)(fit, rule, scales)
    return pd.DataFrame(list(rows), columns=list(FORECAST_COLUMNS))


def _empirical(update: object) -> Empirical:
    """Return the empirical part of a rule that uses the predicted effects alone.

    Raises
    ------
    ArgumentError
        If the rule is unknown, or uses the error variances of the effects.
    """
    rules = known_rules()
    rule = rules.get(update) if isinstance(update, str) else update
    if not isinstance(rule, Rule) or rule.empirical is None:
        literal = " and ".join(repr(name) for name, one in rules.items() if one.empirical)
        raise ArgumentError(f"update is {update!r}; the literal rules are {literal}.")
    return rule.empirical


@dataclass(frozen=True, eq=False)
class _TermForecast:
    """The forecast of one term.

    Attributes
    ----------
    view : TermView
    reml_var : numpy.ndarray, shape (q,)
        Variances at the REML estimate.
    hidden : numpy.ndarray, shape (r, r)
        Mean conditional covariance of the standardised effects.
    kept : numpy.ndarray, shape (r, r)
        The loop's covariance of them.
    crude : numpy.ndarray, shape (r, r)
        The same from a simpler forecast, whose distance from `kept` estimates the error.
    unequal : numpy.ndarray, shape (r, r)
        How far levels of unequal information move `kept`, a further part of the error.
    null_s : numpy.ndarray
        s of the directions whose estimate is zero.
    exact : bool
    """

    view: TermView
    reml_var: np.ndarray
    hidden: np.ndarray
    kept: np.ndarray
    crude: np.ndarray
    unequal: np.ndarray
    null_s: np.ndarray
    exact: bool


def _one_group(fit: Fit, rule: Empirical, scales: Sequence[float]) -> Iterator[dict[str, object]]:
    """Yield the rows of a fit whose terms share one grouping factor, by the reduced loop."""
    reml = view = view_group(fit, next(iter(fit.model.levels)))
    if rule.by_effect and any(term.null.size for term in view.terms):
        # the rule leaves the range of a singular V; the diagonal of V has full range
        fit = fit.evaluate(_diagonal_theta(fit))
        view = view_group(fit, view.name)
    end, crude = _ends(fit, view, rule, scales)
    balanced = is_balanced(view)
    for term, reml_term, scale in zip(view.terms, reml.terms, scales, strict=True):
        here = (term.live, term.live)
        forecast = _TermForecast(
            view=term,
            reml_var=np.einsum("ia,ia->i", reml_term.root, reml_term.root),
            hidden=view.hidden.mean(axis=0)[here],
            kept=end[here],
            crude=crude[here],
            unequal=np.zeros_like(end[here]),
            null_s=_null_ratios(fit, term, balanced),
            exact=balanced and not any(one.null.size for one in view.terms),
        )
        yield from _term_rows(forecast, scale, rule)


def _diagonal_theta(fit: Fit) -> np.ndarray:
    """Return the theta of the same variances without their correlations."""
    elements = []
    for term in fit.model.terms:
        sd = np.sqrt(np.diag(fit.varcorr[term.name])) / fit.sigma
        columns, rows = np.triu_indices(len(sd))
        elements.append(np.where(rows == columns, sd[rows], 0.0))
    return np.concatenate(elements)


def _null_ratios(fit: Fit, term: TermView, balanced: bool) -> np.ndarray:
    """Return the s of the directions in which the estimate is zero."""
    count = term.null.shape[1]
    single = balanced and count and len(fit.model.terms) == 1 and fit.problem is not None
    ratios = signal_ratios(fit.problem.model) if single else None
    return np.ones(count) if ratios is None else ratios[:count]


def _several_groups(
    fit: Fit, rule: Empirical, scales: Sequence[float]
) -> Iterator[dict[str, object]]:
    """Yield the rows of a fit with several grouping factors, by strata and the reduced loop."""
    views = {name: view_group(fit, name) for name in fit.model.levels}
    terms = {term.summary.name: term for view in views.values() for term in view.terms}
    scale_of = dict(zip([t.name for t in fit.model.terms], scales, strict=True))
    strata = find_strata(fit)
    variances, _ = run_strata(fit, strata, scales)
    alone = {  # the loop of each factor with the variances of the others held
        name: _ends(fit, view, rule, [scale_of[term.summary.name] for term in view.terms])
        for name, view in views.items()
    }
    for summary, one, v in zip(fit.model.terms, strata, variances, strict=True):
        term = terms[summary.name]
        here = (term.live, term.live)
        end, average = alone[summary.group]
        kept = crude = (one.axes * v) @ one.axes.T
        if rule.by_effect and len(summary.effects) > 1:
            kept = end[here]  # the strata describe directions, and this rule mixes them
        forecast = _TermForecast(
            view=term,
            reml_var=np.einsum("ia,ia->i", term.root, term.root),
            hidden=(one.axes / one.s) @ one.axes.T,
            kept=kept,
            crude=crude,
            unequal=2.0
            * (end - average)[here],  # levels differ in size and in the levels they meet
            null_s=np.ones(term.null.shape[1]),
            exact=False,
        )
        yield from _term_rows(forecast, scale_of[summary.name], rule)


def _ends(
    fit: Fit, view: GroupView, rule: Empirical, scales: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return W, (r, r), where the reduced loop ends: for the levels as they are, and averaged."""
    end = run_reduced(fit, view, rule, scales).covariance
    if is_balanced(view):
        return end, end
    return end, run_reduced(fit, averaged(view), rule, scales).covariance


def _term_rows(
    forecast: _TermForecast, scale: float, rule: Empirical
) -> Iterator[dict[str, object]]:
    """Return the rows of one term by descending s; directions of variance zero come last."""
    effects = forecast.view.summary.effects
    if rule.by_effect and len(effects) > 1:
        yield from _effect_rows(forecast)
        return
    values, axes = np.linalg.eigh(forecast.hidden)
    for value, axis in zip(values, axes.T, strict=True):
        s = 1.0 / value
        theory = float(fixed_point(s, scale)) / (s - 1.0) if s > 1.0 else np.nan
        name = combination(forecast.view.inverse.T @ axis, effects)
        kept = float(axis @ forecast.kept @ axis)
        error = abs(kept - theory) + abs(float(axis @ forecast.unequal @ axis))
        yield _row(forecast, name, s, kept, theory, error)
    for weights, s in zip(forecast.view.null.T, forecast.null_s, strict=True):
        yield _row(forecast, combination(weights, effects), float(s), np.nan, np.nan, np.nan)


def _effect_rows(forecast: _TermForecast) -> Iterator[dict[str, object]]:
    root, reml_var = forecast.view.root, forecast.reml_var

    def share(covariance: np.ndarray) -> np.ndarray:
        loop = np.einsum("ia,ab,ib->i", root, covariance, root)
        return np.divide(loop, reml_var, out=np.full_like(reml_var, np.nan), where=reml_var > 0.0)

    kept = share(forecast.kept)
    error = np.abs(kept - share(forecast.crude)) + np.abs(share(forecast.unequal))
    for i, effect in enumerate(forecast.view.summary.effects):
        yield _row(forecast, effect, np.nan, float(kept[i]), np.nan, float(error[i]))


def _row(
    forecast: _TermForecast, direction: str, s: float, kept: float, theory: float, error: float
) -> dict[str, object]:
    return {
        "term": forecast.view.summary.name,
        "direction": direction,
        "s": s,
        "survives": kept > _DEAD,
        "kept": 0.0 if kept <= _DEAD else kept,
        "theory": theory,
        "error": 0.0 if forecast.exact and kept > -_DEAD else error,
        "exact": forecast.exact,
    }
