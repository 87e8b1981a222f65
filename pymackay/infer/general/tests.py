"""Tests of the fixed effects of a generalised model: `coefficients` and `anova`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from pymackay.errors import ArgumentError, PymackayError
from pymackay.family.general import General
from pymackay.infer.general.problem import general_part
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


def anova(fit: Fit, *others: Fit, names: Sequence[str] | None = None) -> HeadedTable:
    """Compare fits of generalised models by likelihood ratios.

    Parameters
    ----------
    fit, *others : Fit
        Fits of models to the same rows, two or more, all by the same criterion.
    names : sequence of str, optional
        What they are called.

    Raises
    ------
    PymackayError
        If there is one fit only, or they cannot be compared.
    """
    if not others:
        raise PymackayError(
            "anova of one fit is not there for generalised linear mixed models. Fit a smaller "
            "model to the same data and pass both to anova."
        )
    first = _comparable(fit)
    for other in others:
        different = [
            name
            for name, one, another in zip(_CHOICES, first, _comparable(other), strict=True)
            if one != another
        ]
        if different:
            raise ArgumentError(
                f"the fits differ in {', '.join(different)}, so that their likelihoods cannot be "
                f"compared; fit both models with the same."
            )
    return likelihood_ratio((fit, *others), names=names)


_CHOICES = ("family", "nagq", "determinant", "dispersion")


def _comparable(fit: Fit) -> tuple[object, ...]:
    """Return what must be the same in two fits whose likelihoods are compared."""
    general: General = general_part(fit, "anova")
    if general.dispersion_by == "lme4":
        raise ArgumentError(
            "fits with dispersion='lme4' have no likelihoods to compare; fit the models with "
            "dispersion='ml'."
        )
    weights = "" if general.family.is_canonical else general.determinant
    return general.family.name, general.nagq, weights, general.dispersion_by
