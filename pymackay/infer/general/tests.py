"""Tests of the fixed effects of a generalised model: `coefficients` and `anova`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from pymackay.errors import ArgumentError
from pymackay.infer.significance.anova import term_tests
from pymackay.infer.significance.comparable import check_same_criterion
from pymackay.infer.significance.likelihood_ratio import likelihood_ratio
from pymackay.infer.tables.headed_table import HeadedTable
from pymackay.results import Fit


def coefficients(fit: Fit, ddf: str = "normal") -> HeadedTable:
    """Tabulate the fixed effects with normal tests, as R's ``coef(summary(fit))`` of a glmer fit.

    Parameters
    ----------
    fit : Fit
    ddf : {"normal", "none"}
        ``"none"`` gives no p-values. Degrees of freedom are for linear models.

    Raises
    ------
    ArgumentError
        If `ddf` is another word.
    """
    if ddf not in ("normal", "none"):
        raise ArgumentError(
            f"ddf is {ddf!r}, but degrees of freedom are there for linear models only; leave it "
            f"out: the tests of a generalised model are normal."
        )
    table = z_columns(fit)
    if ddf == "none":
        del table["Pr(>|z|)"]
    return HeadedTable(table, index=fit.beta.index, heading="Fixed effects, normal tests")


def z_columns(fit: Fit) -> dict[str, np.ndarray]:
    """Return estimates, standard errors, their ratios and p-values, by R's names."""
    estimate, std_error = fit.beta.to_numpy(), fit.std_error.to_numpy()
    z = estimate / std_error
    return {
        "Estimate": estimate,
        "Std. Error": std_error,
        "z value": z,
        "Pr(>|z|)": 2.0 * stats.norm.sf(np.abs(z)),
    }


def anova(
    fit: Fit,
    *others: Fit,
    type: int | str = 3,
    ddf: str = "normal",
    refit: bool = True,
    names: Sequence[str] | None = None,
) -> HeadedTable:
    """Compare fits of generalised models by likelihood ratios, or test the terms of one fit.

    Parameters
    ----------
    fit, *others : Fit
        Fits of models to the same rows, all by the same criterion. Without others the terms of the
        one fit are tested by Wald's chi-square.
    type, ddf
        As in `pymackay.anova`, for one fit.
    refit : bool
        For linear models; all fits of generalised ones are by maximum likelihood.
    names : sequence of str, optional
        What they are called.

    Raises
    ------
    PymackayError
        If the fits cannot be compared, or `type` or `ddf` is not known.
    """
    if not others:
        return term_tests(fit, type, ddf)
    check_same_criterion(fit, *others)
    return likelihood_ratio((fit, *others), names=names)
