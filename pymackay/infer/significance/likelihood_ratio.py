"""Likelihood-ratio tests of models against each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from pymackay.errors import ArgumentError, DataError
from pymackay.infer.problem import check_fit
from pymackay.infer.refit import ML_MESSAGE, refit_by
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.model.stream.digest import digest_response, digest_text, same_response
from pymackay.results import Fit

_SAME = 1e-9  # of the response's size: fitted + residual gives it back but for rounding


def likelihood_ratio(
    fits: Sequence[Fit], *, refit: bool = True, names: Sequence[str] | None = None
) -> HeadedTable:
    """Return lme4's table of models, ordered by their number of parameters.

    Raises
    ------
    PymackayError
        If the fits are of different data, or the names do not fit them.
    """
    for fit in fits[1:]:
        check_fit(fit, "anova")
        check_same_data(fits[0], fit)
    called = _names(names, fits)
    messages = tuple(
        f"{name}: {ML_MESSAGE}" for name, fit in zip(called, fits, strict=True) if fit.reml
    )
    if refit:
        fits = [refit_by(fit, reml=False) if fit.reml else fit for fit in fits]
    else:
        messages = _check_one_criterion(fits)
    order = sorted(range(len(fits)), key=lambda k: fits[k].df)
    heading = "Models, each against the one above it:"
    heading += "".join(f"\n{called[k]}: {fits[k].formula}" for k in order)
    table = pd.DataFrame(_columns([fits[k] for k in order]), index=[called[k] for k in order])
    return HeadedTable(table, heading=heading, messages=messages)


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
    if fits[0].reml and len({fit.model.fixed for fit in fits}) > 1:
        raise ArgumentError(
            "refit=False, but REML criteria of models with different fixed parts cannot be "
            "compared; leave refit=True."
        )
    return ()


def _names(names: Sequence[str] | None, fits: Sequence[Fit]) -> list[str]:
    if names is None:
        return [f"fit{k + 1}" for k in range(len(fits))]
    called = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(called) != len(fits) or len(set(called)) != len(called):
        raise ArgumentError(
            f"names must be {len(fits)} different names, one for each fit, but they are {called}."
        )
    return called


def check_same_data(first: Fit, second: Fit) -> None:
    """Refuse to compare fits of different responses.

    Raises
    ------
    DataError
    """
    if first.n_obs != second.n_obs:
        raise DataError(
            f"the models were fitted to different data: {first.n_obs} rows ({first.formula}) and "
            f"{second.n_obs} rows ({second.formula}). Drop rows with missing values in any "
            f"variable first, or pass the same subset."
        )
    mine, theirs = _response(first), _response(second)
    differ = not np.abs(mine - theirs).max() <= _SAME * np.abs(mine).max()
    if np.isnan(mine + theirs).any():  # rows that were not kept
        differ = not same_response(_digest(first), _digest(second))
    if differ or first.model.response != second.model.response:
        raise DataError(
            f"the models were fitted to different responses: {first.model.response} "
            f"({first.formula}) and {second.model.response} ({second.formula}), rows in order. "
            f"Likelihoods of different data cannot be compared; fit both to the same rows."
        )


def _digest(fit: Fit) -> tuple[str, ...]:
    """Return the fingerprint of the response; empty where there is none."""
    model = getattr(fit.problem, "model", None)
    if model is None or not len(model.y):
        return () if model is None else tuple(model.digest)
    return digest_text(digest_response(model.y))


def _response(fit: Fit) -> np.ndarray:
    return (fit.fitted + fit.residuals).to_numpy(dtype=np.float64)
