"""`confint`: confidence intervals of the coefficients of a model with a residual structure."""

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
    """Return normal intervals by standard errors; nan for standard deviations, as lme4's.

    Parameters
    ----------
    fit : Fit
    method : {"wald"}
    level : float
    parm : str or sequence of str, optional
        As in `pymackay.confint`.
    long_names : bool
        As in `pymackay.confint`.

    Raises
    ------
    PymackayError
        If `method` is one that is not there for residual structures, or an argument is wrong.
    """
    tail = 0.5 * (1.0 - probability("level", level, 0.95))
    if method not in ("profile", "wald", "boot"):
        raise ArgumentError(f"method must be 'wald', but it is {method!r}.")
    if method != "wald":
        raise PymackayError(
            f"confint(method={method!r}) is not there for models with residual structures. "
            f"Intervals by standard errors are fit.confint('wald'); those with degrees of freedom "
            f"are limits of fit.contrast and fit.tidy(conf_int=True, ddf='Satterthwaite')."
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
