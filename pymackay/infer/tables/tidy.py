"""`tidy` and `glance`: a fit as data frames, with the columns of R's broom.mixed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.arguments import one_of, probability
from pymackay.covariance.varcorr import VarCorr, lower_triangle
from pymackay.errors import ArgumentError
from pymackay.infer.kinds import any_kind
from pymackay.infer.predict.coef import coef
from pymackay.infer.problem import check_fit
from pymackay.infer.tables.printed import estimates
from pymackay.results import Fit

EFFECTS = ("fixed", "ran_pars", "ran_vals", "ran_coefs")
SCALES = ("sdcor", "vcov")
COLUMNS = (
    "effect",
    "group",
    "level",
    "term",
    "estimate",
    "std.error",
    "statistic",
    "df",
    "p.value",
    "conf.low",
    "conf.high",
)


@any_kind
def tidy(
    fit: Fit,
    effects: str | Iterable[str] = ("ran_pars", "fixed"),
    *,
    scales: str = "sdcor",
    conf_int: bool = False,
    conf_level: float = 0.95,
    ddf: str | None = None,
) -> pd.DataFrame:
    """Put the estimates into one data frame, one row each, as broom.mixed's ``tidy`` does.

    Parameters
    ----------
    fit : Fit
        Of any engine.
    effects : str or sequence of str
        ``"fixed"``: coefficients. ``"ran_pars"``: standard deviations and correlations.
        ``"ran_vals"``: predicted random effects, with the roots of `condvar`. ``"ran_coefs"``:
        their sums with the coefficients of the same names, R's ``coef``. They come in this order.
    scales : {"sdcor", "vcov"}
        Random parameters as standard deviations and correlations, or variances and covariances.
    conf_int : bool
        Whether to add Wald limits, which the random parameters have not.
    conf_level : float
        Coverage.
    ddf : {"Satterthwaite", "Kenward-Roger"}, optional
        Adds ``df`` and ``p.value`` to the coefficients, and makes their limits those of t; by
        default limits are normal.

    Returns
    -------
    pandas.DataFrame
        Of the columns ``effect``, ``group``, ``level``, ``term``, ``estimate``, ``std.error``,
        ``statistic``, ``df``, ``p.value``, ``conf.low``, ``conf.high`` those that were asked for.

    Raises
    ------
    ArgumentError
        If an argument has a value that it cannot have.
    PymackayError
        If the fit does not hold what is asked for.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.tidy()[["group", "term", "estimate"]].round(3)
          group                   term  estimate
    0       NaN            (Intercept)   251.405
    1       NaN                   Days    10.467
    2   Subject        sd__(Intercept)    24.740
    3   Subject  cor__(Intercept).Days     0.066
    4   Subject               sd__Days     5.922
    5  Residual        sd__Observation    25.592
    """
    check_fit(fit, "tidy")
    chosen = _selected(effects)
    one_of("scales", scales, SCALES)
    probability("conf_level", conf_level, 0.95)
    parts = {
        "fixed": lambda: _fixed(fit, conf_level if conf_int else None, ddf),
        "ran_pars": lambda: _random_parameters(fit, scales),
        "ran_vals": lambda: _random_values(fit, conf_level if conf_int else None),
        "ran_coefs": lambda: _random_coefficients(fit),
    }
    rows = [row for name in EFFECTS if name in chosen for row in parts[name]()]
    present = {name for row in rows for name in row}
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name in present])
    return table.astype(
        {name: "float64" for name in table.columns[table.columns.isin(COLUMNS[4:])]}
    )


@any_kind
def glance(fit: Fit) -> pd.DataFrame:
    """Put what describes the whole fit into one row, as broom.mixed's ``glance`` does.

    Parameters
    ----------
    fit : Fit
        Of any engine.

    Returns
    -------
    pandas.DataFrame
        One row: ``nobs``, ``sigma``, ``logLik``, ``AIC``, ``BIC``, ``REMLcrit`` (REML) or
        ``deviance`` (ML), ``df.residual``.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> fit.glance().round(4).iloc[0].to_dict()
    {'nobs': 30.0, 'sigma': 49.5101, 'logLik': -159.8271, 'AIC': 325.6543, 'BIC': 329.8579,
    'REMLcrit': 319.6543, 'df.residual': 27.0}
    """
    check_fit(fit, "glance")
    return pd.DataFrame(
        {
            "nobs": [fit.n_obs],
            "sigma": [fit.sigma],
            "logLik": [fit.loglik],
            "AIC": [fit.aic],
            "BIC": [fit.bic],
            "REMLcrit" if fit.reml else "deviance": [_deviance(fit)],
            "df.residual": [fit.n_obs - fit.df],
        }
    )


def _deviance(fit: Fit) -> float:
    """Return the criterion; of a generalised model R's ``deviance``, given the random effects."""
    return fit.criterion if fit.general is None else float(fit.general.deviance)


def coefficient_table(fit: Fit, ddf: str | None) -> pd.DataFrame:
    """Return R's table of the fixed effects; with `ddf`, degrees of freedom and p-values too."""
    if ddf is not None or fit.general is not None:
        ddf = ddf or "normal"
        tests = importlib.import_module("pymackay.infer.significance.coefficients")
        return pd.DataFrame(tests.coefficients(fit, ddf=ddf))
    return estimates(fit)


def _selected(effects: str | Iterable[str]) -> set[str]:
    """Return the kinds of rows that the argument `effects` asks for."""
    names = [effects] if isinstance(effects, str) else list(effects)
    unknown = [name for name in names if name not in EFFECTS]
    if unknown or not names:
        raise ArgumentError(f"effects is {effects!r}, but must be some of {', '.join(EFFECTS)}")
    return set(names)


def _fixed(fit: Fit, level: float | None, ddf: str | None) -> Iterator[dict[str, Any]]:
    table = coefficient_table(fit, ddf)
    for name, line in table.iterrows():
        row = {
            "effect": "fixed",
            "group": np.nan,
            "term": name,
            "estimate": line["Estimate"],
            "std.error": line["Std. Error"],
            "statistic": line["t value" if fit.general is None else "z value"],
        }
        if fit.general is not None:
            row["p.value"] = line["Pr(>|z|)"]
        if "df" in table:
            row |= {"df": line["df"], "p.value": line["Pr(>|t|)"]}
        if level is not None:
            df = line["df"] if "df" in table else np.inf
            reach = stats.t.ppf(0.5 + 0.5 * level, df) * line["Std. Error"]
            row |= {"conf.low": line["Estimate"] - reach, "conf.high": line["Estimate"] + reach}
        yield row


def _random_parameters(fit: Fit, scales: str) -> Iterator[dict[str, Any]]:
    single, double = ("sd", "cor") if scales == "sdcor" else ("var", "cov")
    for name, table in fit.varcorr.items():
        parts = VarCorr.of(table)
        shown = parts.sdcor if scales == "sdcor" else parts.covariance
        for i, j in lower_triangle(len(parts.effects)):
            row, column = parts.effects[i], parts.effects[j]
            term = f"{single}__{row}" if i == j else f"{double}__{column}.{row}"
            yield _parameter(name, term, shown[i, j])
    if fit.has_residual:
        residual = fit.sigma if scales == "sdcor" else fit.sigma**2
        yield _parameter("Residual", f"{single}__Observation", residual)


def _parameter(group: str, term: str, estimate: float) -> dict[str, Any]:
    return {"effect": "ran_pars", "group": group, "term": term, "estimate": estimate}


def _random_values(fit: Fit, level: float | None) -> Iterator[dict[str, Any]]:
    condvar = fit.condvar
    for group, table in fit.ranef.items():
        sd = np.sqrt(np.diagonal(condvar[group], axis1=1, axis2=2))
        for i, effect in enumerate(table.columns):
            for j, name in enumerate(table.index):
                value = table.iat[j, i]
                row = {
                    "effect": "ran_vals",
                    "group": group,
                    "level": name,
                    "term": effect,
                    "estimate": value,
                    "std.error": sd[j, i],
                }
                if level is not None:
                    reach = stats.norm.ppf(0.5 + 0.5 * level) * sd[j, i]
                    row |= {"conf.low": value - reach, "conf.high": value + reach}
                yield row


def _random_coefficients(fit: Fit) -> Iterator[dict[str, Any]]:
    """Yield the sums of fixed and random effects of each level, as `coef` gives them."""
    totals = coef(fit)
    for group, table in fit.ranef.items():
        names = [*fit.beta.index, *(c for c in table.columns if c not in fit.beta.index)]
        for name in dict.fromkeys(names):
            for level, value in totals[group][name].items():
                yield {
                    "effect": "ran_coefs",
                    "group": group,
                    "level": level,
                    "term": name,
                    "estimate": value,
                }
