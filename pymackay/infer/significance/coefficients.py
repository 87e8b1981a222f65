"""`coefficients`: the fixed effects with standard errors, degrees of freedom and p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from pymackay.infer.kinds import by_kind
from pymackay.infer.problem import check_fit
from pymackay.infer.significance.ddf import fixed_effects
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


@by_kind("pymackay.infer.general.tests:coefficients", residual="same")
def coefficients(fit: Fit, ddf: str = "Satterthwaite") -> HeadedTable:
    """Tabulate the fixed effects, as R's ``coef(summary(fit))`` with lmerTest does.

    Parameters
    ----------
    fit : Fit
    ddf : {"Satterthwaite", "Kenward-Roger", "normal", "none"}
        Where the degrees of freedom come from. ``"Kenward-Roger"`` also adjusts the standard
        errors, and refits an ML fit by REML; its information on the covariance parameters is the
        expected one, as in pbkrtest, and beside `residual=` the observed one, as in SAS and mmrm.
        ``"normal"`` takes the covariance parameters as known
        (infinite degrees of freedom); ``"none"`` gives neither degrees of freedom nor p-values, as
        lme4.

    Returns
    -------
    HeadedTable
        A data frame with one row per coefficient and the columns ``Estimate``, ``Std. Error``,
        ``df``, ``t value``, ``Pr(>|t|)``.

    Raises
    ------
    PymackayError
        If `ddf` is not known, or the fit does not hold its model (one made by lme4) and `ddf`
        needs it.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13).
    Kenward, Roger 1997, Biometrics 53.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> table = pm.coefficients(fit)
    >>> table.loc["Days", ["Estimate", "df", "t value"]].round(4).tolist()
    [10.4673, 17.0, 6.7715]
    """
    check_fit(fit, "coefficients")
    effects = fixed_effects(fit, ddf)
    columns = t_columns(
        effects.fit.beta.to_numpy(),
        np.sqrt(np.diag(effects.precision.vcov)),
        np.array([effects.precision.t_df(row) for row in np.eye(len(effects.fit.beta))]),
    )
    if effects.method == "none":
        columns = {name: columns[name] for name in ("Estimate", "Std. Error", "t value")}
    return HeadedTable(
        columns,
        index=effects.fit.beta.index,
        heading=f"Fixed effects{effects.heading}",
        messages=effects.messages,
    )


def as_normal(columns: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, Any]:
    """Return the columns of t tests, or of an F test, as those of normal or chi-square tests.

    With infinite degrees of freedom only the names differ, and a chi-square statistic is F times
    its number of degrees of freedom.
    """
    if "F value" in columns:
        df = np.asarray(columns["NumDF"], dtype=np.float64)
        chisq = np.asarray(columns["F value"]) * df
        return {"Chisq": chisq, "Df": df, "Pr(>Chisq)": columns["Pr(>F)"]}
    names = {"t value": "z value", "Pr(>|t|)": "Pr(>|z|)"}
    return {names.get(name, name): column for name, column in columns.items() if name != "df"}


def t_columns(
    estimate: np.ndarray, std_error: np.ndarray, df: np.ndarray, rhs: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """Return the columns of a table of t tests, by lmerTest's names."""
    t = (estimate - rhs) / std_error
    return {
        "Estimate": estimate,
        "Std. Error": std_error,
        "df": df,
        "t value": t,
        "Pr(>|t|)": 2.0 * stats.t.sf(np.abs(t), df),
    }
