"""`confint`: confidence intervals of a generalised model's fixed effects."""

from __future__ import annotations

import numpy as np
from scipy import stats

from pymackay.arguments import probability
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.intervals.parameters import choose, list_parameters
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


def confint(
    fit: Fit,
    method: str = "wald",
    *,
    level: float = 0.95,
    parm: object = None,
    long_names: bool = False,
) -> HeadedTable:
    """Return intervals by standard errors; nan for variances and correlations, as lme4's.

    Parameters
    ----------
    fit : Fit
    method : {"wald"}
        Estimates ± a normal quantile of standard errors.
    level : float
    parm : str or sequence of str, optional
        Names, short or long; ``"beta_"`` for the coefficients.
    long_names : bool
        As in `pymackay.confint`.

    Raises
    ------
    PymackayError
        If `method` is one that is not there for generalised models, or an argument is wrong.
    """
    tail = 0.5 * (1.0 - probability("level", level, 0.95))
    if method not in ("profile", "wald", "boot"):
        raise ArgumentError(f"method must be 'wald', but it is {method!r}.")
    if method != "wald":
        raise PymackayError(
            f"confint(method={method!r}) is not there for generalised linear mixed models. "
            f"Intervals by standard errors are fit.confint('wald')."
        )
    chosen = choose(list_parameters(fit), parm)
    reach = float(stats.norm.isf(tail)) * fit.std_error.to_numpy()
    ends = [
        (p.estimate - reach[p.first], p.estimate + reach[p.first])
        if p.kind == "beta"
        else (float("nan"), float("nan"))
        for p in chosen
    ]
    return HeadedTable(
        np.array(ends).reshape(-1, 2),
        index=[p.label if long_names else p.name for p in chosen],
        columns=[f"{100.0 * share:.3g} %" for share in (tail, 1.0 - tail)],
        heading="Confidence intervals, normal, by standard errors",
    )
