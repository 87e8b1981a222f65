"""`confint`: confidence intervals of all parameters."""

from __future__ import annotations

import numpy as np
from scipy import stats

from pymackay.arguments import one_of, probability
from pymackay.infer.intervals.bootstrap import bootstrap
from pymackay.infer.intervals.parameters import Parameter, choose, list_parameters
from pymackay.infer.intervals.profile import curve_of, ml_optimum
from pymackay.infer.intervals.profile_curve import Curve
from pymackay.infer.kinds import SAME, by_kind
from pymackay.infer.problem import check_fit
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit

_METHODS = {
    "profile": "profile likelihood",
    "wald": "normal, by standard errors",
    "boot": "parametric bootstrap",
}


@by_kind(SAME, residual=SAME)
def confint(
    fit: Fit,
    method: str = "profile",
    *,
    level: float = 0.95,
    parm: object = None,
    long_names: bool = False,
    nsim: int = 500,
    seed: int | None = None,
) -> HeadedTable:
    """Return confidence intervals, as R's ``confint`` of an lmer fit.

    Parameters
    ----------
    fit : Fit
    method : {"profile", "wald", "boot"}
        ``"profile"``: the values at which −2 log likelihood, minimised over all other parameters,
        lies above its minimum by the quantile of χ²(1). It needs maximum likelihood, so that a REML
        fit is refitted. ``"wald"``:
        coefficients ± a normal quantile of standard errors, nan for the others; those of a residual
        structure on the log scale and on Fisher's z or the like. ``"boot"``:
        quantiles of a parametric bootstrap; see `bootstrap` for other kinds.
    level : float
        Confidence level.
    parm : str or sequence of str, optional
        Names, short or long; ``"theta_"`` for standard deviations, correlations and sigma,
        ``"beta_"`` for the coefficients. By default all.
    long_names : bool
        Rows called ``"sd_(Intercept)|Subject"``, ``"cor_Days.(Intercept)|Subject"``, ``"sigma"``,
        R's ``oldNames = FALSE``, instead of ``".sig01"``, ``".sig02"``, ``".sigma"``.
    nsim, seed : int
        Number of refits and seed of the random numbers of the bootstrap.

    Returns
    -------
    HeadedTable
        One row per parameter in R's order, the columns named ``"2.5 %"`` and ``"97.5 %"`` for a
        level of 0.95. Where a profile reaches a bound first, the bound is the end: 0 for a
        standard deviation, ±1 for a correlation. The ends are solved for; lme4 reads them off a
        spline through some points, which moves its ends by up to about 1e-4 of their distance.

    Raises
    ------
    PymackayError
        If an argument cannot be used, or a profile is asked of a fit that does not hold its model.

    References
    ----------
    Bates, Mächler, Bolker, Walker 2015, J. Stat. Softw. 67(1), section 5.1.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> pm.confint(fit).round(2).to_numpy().tolist()
    [[12.2, 84.06], [38.23, 67.66], [1486.45, 1568.55]]
    >>> pm.confint(fit, "wald", parm="beta_").round(2).to_numpy().tolist()
    [[1489.51, 1565.49]]
    """
    check_fit(fit, "confint")
    tail = 0.5 * (1.0 - probability("level", level, 0.95))
    one_of("method", method, _METHODS)
    choose(list_parameters(fit), parm)  # refuses wrong names before anything is fitted
    messages: tuple[str, ...] = ()
    if method == "profile":
        fit, messages = ml_optimum(fit)
    everything = list_parameters(fit)
    chosen = choose(everything, parm)
    quantile = float(stats.norm.isf(tail))
    if method == "wald":
        ends = [wald_ends(fit, p, quantile) for p in chosen]
    elif method == "boot":
        drawn = bootstrap(fit, nsim, seed=seed).confint(level)
        messages = drawn.messages
        ends = [tuple(drawn.iloc[everything.index(p)]) for p in chosen]
    else:
        ends = [_profile_ends(curve_of(fit, p), quantile) for p in chosen]
    return HeadedTable(
        np.array(ends).reshape(-1, 2),
        index=[p.label if long_names else p.name for p in chosen],
        columns=[f"{100.0 * share:.3g} %" for share in (tail, 1.0 - tail)],
        heading=f"Confidence intervals, {_METHODS[method]}",
        messages=messages,
    )


@by_kind(SAME, residual="pymackay.infer.residual.wald:wald_ends")
def wald_ends(fit: Fit, parameter: Parameter, quantile: float) -> tuple[float, float]:
    """Return the ends of the interval of a coefficient; nan for the others, as lme4."""
    if parameter.kind != "beta":
        return float("nan"), float("nan")
    reach = quantile * float(fit.std_error.iloc[parameter.first])
    return parameter.estimate - reach, parameter.estimate + reach


def _profile_ends(curve: Curve, quantile: float) -> tuple[float, float]:
    """Return the values at which zeta is −quantile and +quantile.

    Where the profile reaches a bound of the parameter first, that bound is the end.
    """
    ends = []
    for sign, bound in zip((-1.0, 1.0), curve.path.bounds, strict=True):
        point = curve.solve(sign * quantile)
        ends.append(curve.path.outside(bound if point is None else point.held))
    return ends[0], ends[1]
