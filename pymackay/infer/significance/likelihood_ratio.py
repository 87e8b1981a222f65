"""Likelihood-ratio tests of models against each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.errors import ArgumentError
from pymackay.infer.problem import check_fit
from pymackay.infer.refit import ML_MESSAGE, refit_by
from pymackay.infer.significance.comparable import check_nested, check_same_data
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit

_HIGHER = 1e-8  # of the criterion and one: less is how exactly optima are known


def likelihood_ratio(
    fits: Sequence[Fit], *, refit: bool = True, names: Sequence[str] | None = None
) -> HeadedTable:
    """Return lme4's table of models, ordered by their number of parameters.

    Raises
    ------
    PymackayError
        If the fits are of different data, or cannot be shown to be of the same; if a model is no
        special case of the next larger one; or if the names do not fit them.
    """
    for fit in fits[1:]:
        check_fit(fit, "anova")
        check_same_data(fits[0], fit)
    labels = _names(names, fits)
    messages = tuple(
        f"{name}: {ML_MESSAGE}" for name, fit in zip(labels, fits, strict=True) if fit.reml
    )
    if refit:
        fits = [refit_by(fit, reml=False) if fit.reml else fit for fit in fits]
    else:
        messages = _check_one_criterion(fits)
    order = sorted(range(len(fits)), key=lambda k: fits[k].df)
    for small, large in pairwise(order):
        check_nested(fits[small], fits[large])
    heading = "Models, each against the one above it:"
    heading += "".join(f"\n{labels[k]}: {fits[k].formula}" for k in order)
    table = pd.DataFrame(_columns([fits[k] for k in order]), index=[labels[k] for k in order])
    higher = {large: small for small, large in pairwise(order) if _is_higher(fits, small, large)}
    for large, small in higher.items():
        table.loc[labels[large], ["Chisq", "Pr(>Chisq)"]] = np.nan
        messages += (_missed(fits, labels, small, large),)
    return HeadedTable(table, heading=heading, messages=messages)


def _is_higher(fits: Sequence[Fit], small: int, large: int) -> bool:
    """Whether the larger model's deviance is higher than that of its special case."""
    criteria = fits[large].criterion, fits[small].criterion
    return criteria[0] - criteria[1] > _HIGHER * (1.0 + abs(criteria[1]))


def _missed(fits: Sequence[Fit], labels: Sequence[str], small: int, large: int) -> str:
    rise = fits[large].criterion - fits[small].criterion
    return (
        f"{labels[large]}: its deviance is {rise:.3g} higher than that of {labels[small]}, which "
        f"is a special case of it: its fit is not at the lowest optimum, and there is no test. Fit "
        f"it again with start=, from the parameters of {labels[small]}"
    )


def _columns(fits: Sequence[Fit]) -> dict[str, np.ndarray]:
    loglik = np.array([fit.loglik for fit in fits])
    npar = np.array([fit.df for fit in fits])
    chisq = np.concatenate([[np.nan], 2.0 * np.maximum(0.0, np.diff(loglik))])
    df = np.concatenate([[np.nan], np.diff(npar)])
    return {
        "npar": npar,
        "AIC": np.array([fit.aic for fit in fits]),
        "BIC": np.array([fit.bic for fit in fits]),
        "logLik": loglik,
        "deviance": -2.0 * loglik,
        "Chisq": chisq,
        "Df": df,
        "Pr(>Chisq)": np.where(df > 0, stats.chi2.sf(chisq, np.maximum(df, 1.0)), np.nan),
    }


def _check_one_criterion(fits: Sequence[Fit]) -> tuple[str, ...]:
    """Refuse REML beside ML, and REML with different fixed parts: their ratio has no meaning."""
    if len({fit.reml for fit in fits}) > 1:
        raise ArgumentError(
            "refit=False, but some models were fitted by REML and some by ML; leave refit=True, "
            "or fit them all by one."
        )
    fixed = {(fit.model.fixed, *sorted(fit.model.contrasts.items())) for fit in fits}
    if fits[0].reml and len(fixed) > 1:
        raise ArgumentError(
            "refit=False, but REML criteria of models with different fixed parts cannot be "
            "compared, nor of models with different contrasts; leave refit=True."
        )
    return ()


def _names(names: Sequence[str] | None, fits: Sequence[Fit]) -> list[str]:
    if names is None:
        return [f"fit{k + 1}" for k in range(len(fits))]
    labels = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(labels) != len(fits) or len(set(labels)) != len(labels):
        raise ArgumentError(
            f"names must be {len(fits)} different names, one for each fit, but they are {labels}."
        )
    return labels
