"""`random_tests`: is each random effect needed? Likelihood ratios of single deletions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit, model_of
from pymackay.infer.reduction.smaller import reductions
from pymackay.infer.significance.without_effects import optimum_without
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit

_ROUNDING = 1e-10  # of the criterion: a ratio below it is zero


@any_kind
def random_tests(fit: Fit) -> HeadedTable:
    """Test each effect of the random part by leaving it out, as lmerTest's ``ranova``.

    Parameters
    ----------
    fit : Fit
        Made by this package.

    Returns
    -------
    HeadedTable
        One row for the model and one for each reduction, by lmerTest's names: ``npar``,
        ``logLik``, ``AIC``, ``LRT``, ``Df``, ``Pr(>Chisq)``. Beside them ``Pr(>Mixture)``, the
        p-value that respects the boundary, where one effect is left out: the ratio then follows
        ½ χ²(q) + ½ χ²(q + 1), with q effects that stay in the term, and ``Pr(>Chisq)`` is too
        cautious. Models are compared by REML where the fit is.

    Raises
    ------
    PymackayError
        If the fit does not hold its rows.

    References
    ----------
    Kuznetsova, Brockhoff, Christensen 2017, J. Stat. Softw. 82(13).
    Stram, Lee 1994, Biometrics 50, cases 1 to 3.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.random_tests()[["npar", "LRT", "Df"]].round(3)
                              npar     LRT   Df
    <none>                       6     NaN  NaN
    Days in (Days | Subject)     4  42.837  2.0
    """
    check_fit(fit, "random_tests")
    model_of(fit, "random_tests")
    rows: dict[str, dict[str, float]] = {"<none>": _row(fit.criterion, fit.df)}
    lower = []
    for reduction in reductions(fit, "random_tests"):
        without = optimum_without(fit, reduction.term, reduction.columns)
        npar = fit.df - len(fit.par) + without.n_theta
        ratio = without.criterion - fit.criterion
        if ratio < -_ROUNDING * max(abs(fit.criterion), fit.n_obs):
            lower.append(reduction.label)
        ratio = max(ratio, 0.0)
        kept = len(fit.model.terms[reduction.term].effects) - len(reduction.columns)
        mixture = mixture_p(ratio, kept) if len(reduction.columns) == 1 else np.nan
        row = _row(without.criterion, npar)
        df = float(fit.df - npar)
        row |= {"LRT": ratio, "Df": df, "Pr(>Chisq)": float(stats.chi2.sf(ratio, df))}
        rows[reduction.label] = {**row, "Pr(>Mixture)": mixture}
    columns = ["npar", "logLik", "AIC", "LRT", "Df", "Pr(>Chisq)", "Pr(>Mixture)"]
    messages = (
        (f"The fit is above the optimum of a model inside it: {', '.join(lower)}.",)
        if lower
        else ()
    )
    table = _table(rows, columns)
    return HeadedTable(
        table, heading=f"Random effects, each left out: {fit.formula}", messages=messages
    )


def mixture_p(ratio: float, kept: int) -> float:
    """Return the p-value of ½ χ²(kept) + ½ χ²(kept + 1)."""
    below = float(stats.chi2.sf(ratio, kept)) if kept else float(ratio <= 0.0)
    return 0.5 * below + 0.5 * float(stats.chi2.sf(ratio, kept + 1))


def _row(criterion: float, npar: int) -> dict[str, float]:
    return {"npar": npar, "logLik": -0.5 * criterion, "AIC": criterion + 2.0 * npar}


def _table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(columns))
    return table.astype({"npar": int})
