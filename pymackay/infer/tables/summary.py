"""`summary`: what R's ``summary`` shows of a fit."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd

from pymackay.covariance.varcorr import VarCorr, printed_correlations
from pymackay.errors import ArgumentError
from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit
from pymackay.infer.tables.summary_layout import Summary
from pymackay.infer.tables.tidy import coefficient_table
from pymackay.results import Fit
from pymackay.solve.assemble import Problem
from pymackay.solve.marginal.problem import ResidualProblem

_OWN = (Problem, ResidualProblem)
_MOST_CORRELATED = 12  # columns up to which R prints their correlations
_QUANTILES = ("Min", "1Q", "Median", "3Q", "Max")


@any_kind
def summary(fit: Fit, *, ddf: str | None = "auto", correlation: bool | None = None) -> Summary:
    """Summarise a fit as R does.

    Parameters
    ----------
    fit : Fit
        Of any engine.
    ddf : {"auto", "Satterthwaite", "Kenward-Roger", None}
        Adds degrees of freedom and p-values to the fixed effects, as lmerTest does; None adds
        none, as lme4. ``"auto"`` is Satterthwaite's method where it takes less than about a second
        and the fit holds its model, and none elsewhere.
    correlation : bool, optional
        Whether to show the correlations of the fixed effects; by default if there are 12
        coefficients or fewer.

    Returns
    -------
    Summary
        Prints as R's; `to_markdown`, `to_latex` and, in notebooks, HTML.

    Raises
    ------
    ArgumentError
        If an argument has a value that it cannot have.
    PymackayError
        If the fit does not hold what `ddf` needs.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> print(fit.summary())
    Linear mixed model fit by REML. t-tests use Satterthwaite's method ['pymackay']
    Formula: Reaction ~ Days + (Days | Subject)
    <BLANKLINE>
    REML criterion at convergence: 1743.6
    <BLANKLINE>
    Scaled residuals:
        Min      1Q  Median      3Q     Max
    -3.9536 -0.4634  0.0231  0.4634  5.1793
    <BLANKLINE>
    Random effects:
     Groups   Name        Variance Std.Dev. Corr
     Subject  (Intercept) 612.09   24.740
              Days         35.07    5.922   0.07
     Residual             654.94   25.592
    Number of obs: 180, groups:  Subject, 18
    <BLANKLINE>
    Fixed effects:
                Estimate Std. Error     df t value Pr(>|t|)
    (Intercept)  251.405      6.825 17.000  36.838  < 2e-16 ***
    Days          10.467      1.546 17.000   6.771 3.26e-06 ***
    ---
    Signif. codes:  0 '***' 0.001 '**' 0.01 '*' 0.05 '.' 0.1 ' ' 1
    Other tests: summary(ddf='Kenward-Roger'); none: summary(ddf=None).
    <BLANKLINE>
    Correlation of Fixed Effects:
         (Intr)
    Days -0.138
    """
    check_fit(fit, "summary")
    if correlation is not None and not isinstance(correlation, bool):
        raise ArgumentError(f"correlation is {correlation!r}, but must be None, True or False")
    automatic = ddf == "auto"
    if automatic:
        ddf = importlib.import_module("pymackay.infer.significance.ddf").quick_ddf(fit)
    many = correlation is None and len(fit.beta) > _MOST_CORRELATED
    shown = len(fit.beta) > 1 and not many and correlation is not False
    return Summary(
        title=_title(fit, ddf),
        formula=fit.formula,
        reml=fit.reml,
        criteria=_criteria(fit),
        scaled_residuals=_scaled_quantiles(fit),
        random=_random_table(fit),
        n_obs=fit.n_obs,
        groups={name: len(levels) for name, levels in fit.model.levels.items()},
        coefficients=coefficient_table(fit, ddf),
        correlation=_correlation(fit) if shown else None,
        left_out=_no_correlations(len(fit.beta)) if many else "",
        messages=fit.messages + fit._remarks,
        hint=_hint(ddf) if automatic and isinstance(fit.problem, _OWN) else "",
        residual=() if fit.residual_covariance is None else tuple(fit.residual_covariance.lines()),
    )


def _hint(ddf: str | None) -> str:
    """Return how to get other tests than those that are shown."""
    if ddf is None:
        return "For p-values: summary(ddf='Satterthwaite')."
    return "Other tests: summary(ddf='Kenward-Roger'); none: summary(ddf=None)."


@any_kind
def fit_html(fit: Fit) -> str:
    """Return a fit as HTML, for notebooks."""
    return summary(fit, correlation=False)._repr_html_()


def _title(fit: Fit, ddf: str | None) -> str:
    if fit.general is not None:
        title = f"Generalized linear mixed model fit by {fit.general.method}"
        return f"{title} ['{fit.engine.name}']\n Family: {fit.general.family_text}"
    kind = "REML" if fit.reml else "maximum likelihood "
    tests = "" if ddf is None else f". t-tests use {ddf}'s method"
    return (
        f"Linear mixed model fit by {kind.strip() if tests else kind}{tests} ['{fit.engine.name}']"
    )


def _criteria(fit: Fit) -> pd.Series:
    if fit.reml:
        return pd.Series({"REML criterion": fit.criterion})
    return pd.Series(
        {
            "AIC": fit.aic,
            "BIC": fit.bic,
            "logLik": fit.loglik,
            "deviance": fit.criterion,
            "df.resid": float(fit.n_obs - fit.df),
        }
    )


def _scaled_quantiles(fit: Fit) -> pd.Series:
    weights = fit.model.weights
    scaled = fit.residuals.to_numpy() / fit.sigma
    if fit.general is not None or fit.residual_covariance is not None:
        scaled, weights = _pearson(fit), None
    if weights is not None and len(weights):  # none are there where the rows were not kept
        scaled = scaled * np.sqrt(weights)
    return pd.Series(np.quantile(scaled, np.linspace(0.0, 1.0, 5)), index=list(_QUANTILES))


def _pearson(fit: Fit) -> np.ndarray:
    """Return Pearson residuals in units of the dispersion, (n,)."""
    values = fit.residuals_of("pearson").to_numpy()
    return values / fit.sigma if fit.residual_covariance is None else values


def _random_table(fit: Fit) -> pd.DataFrame:
    rows = []
    terms = {term.name: term for term in fit.model.terms}
    for name, table in fit.varcorr.items():
        parts = VarCorr.of(table)
        for i, correlations in printed_correlations(terms.get(name), parts):
            variance, sd = parts.covariance[i, i], parts.sd[i]
            rows.append((name, parts.effects[i], variance, sd, correlations))
    if fit.has_residual:
        rows.append(("Residual", "", fit.sigma**2, fit.sigma, ()))
    return pd.DataFrame(rows, columns=["group", "effect", "variance", "sd", "corr"])


def _no_correlations(p: int) -> str:
    """Return the remark in place of the correlations of many coefficients."""
    return (
        f"Correlation matrix not shown by default, as p = {p} > {_MOST_CORRELATED}.\n"
        f"Ask for it with summary(correlation=True)."
    )


def _correlation(fit: Fit) -> pd.DataFrame:
    sd = fit.std_error.to_numpy()
    return fit.vcov / np.outer(sd, sd)
