"""`glmer` and `evaluate_glmer`: generalised linear mixed models by R's ``lme4::glmer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import hinted
from pymackay.family.family import Family
from pymackay.reference.general.question import GeneralQuestion
from pymackay.reference.source import Source, answered
from pymackay.results import Fit


@hinted
def glmer(
    formula: str,
    data: pd.DataFrame,
    family: Family | str,
    *,
    nagq: int = 1,
    weights: str | np.ndarray | None = None,
    offset: str | np.ndarray | None = None,
    subset: str | np.ndarray | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: np.ndarray | None = None,
    control: Mapping[str, Any] | None = None,
    tight: bool = False,
    source: Source = "auto",
) -> Fit:
    """Fit a generalised linear mixed model with R's ``lme4::glmer``.

    The fit's `criterion` is lme4's refreshed: lme4 takes the determinant of Laplace's approximation
    from weights that are one step older than the random effects, and here it is taken at their
    mode, with all constants. What lme4 itself reports is ``fit.general.lme4_criterion``. If the
    family has a dispersion, lme4's criterion is not a likelihood, and neither is `criterion`.

    Parameters
    ----------
    formula : str
        lme4's formula; ``cbind(successes, failures)`` may stand on its left.
    data : pandas.DataFrame
        As for `lmer`.
    family : Family or str
        ``"binomial"``, ``"poisson"``, ``"Gamma"``, ``"inverse.gaussian"``, ``"negative binomial"``,
        or an object with a link, such as ``pymackay.Binomial("probit")``. A negative binomial
        family without `theta` is fitted by ``glmer.nb``.
    nagq : int
        R's ``nAGQ``: 1 for Laplace's approximation, up to 25 nodes of adaptive quadrature, or 0.
    weights, offset, subset, contrasts
        As for `lmer`. Weights may be zero.
    start : array of shape (m,), optional
        Theta to start from.
    control : dict, optional
        Arguments of ``glmerControl``: ``{"optimizer": "bobyqa"}``.
    tight : bool
        False: glmer with its default optimisers. True: the refreshed criterion, minimised to tight
        tolerances, with standard errors from its curvature.
    source : {"auto", "live", "recorded"}
        As for `lmer`.

    Returns
    -------
    Fit
        Covariance matrix of the fixed effects and predicted random effects as lme4 gives them.

    Raises
    ------
    RError, RUnavailableError, RecordingError, DataError, ArgumentError
        As for `lmer`.

    References
    ----------
    Bates, Mächler, Bolker, Walker 2015, J. Stat. Softw. 67(1).

    Examples
    --------
    >>> import pymackay as pm
    >>> cbpp = pm.load_data("cbpp")
    >>> formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    >>> fit = pm.lme4.glmer(formula, cbpp, "binomial", source="recorded")
    >>> round(fit.criterion, 4), round(fit.general.lme4_criterion, 4)
    (184.0526, 184.0531)
    """
    question = GeneralQuestion(
        formula, data, False, weights, offset, subset, contrasts, start, control,
        family=family, nagq=nagq,
    )  # fmt: skip
    return answered(question, "tight" if tight else "default", source)


def evaluate_glmer(
    formula: str,
    data: pd.DataFrame,
    theta: np.ndarray | pd.Series,
    beta: np.ndarray | pd.Series,
    family: Family | str,
    *,
    shape: float | None = None,
    nagq: int = 1,
    weights: str | np.ndarray | None = None,
    offset: str | np.ndarray | None = None,
    subset: str | np.ndarray | None = None,
    contrasts: Mapping[str, Any] | None = None,
    control: Mapping[str, Any] | None = None,
    source: Source = "auto",
) -> Fit:
    """Return lme4's fit of a generalised model at given parameters, its criterion refreshed.

    Parameters
    ----------
    theta : array-like, shape (m,)
        Relative covariance parameters in lme4's order; a Series is matched by lme4's names.
    beta : array-like, shape (p,)
        Fixed effects, matched in the same way.
    shape : float, optional
        Shape of a negative binomial family, if the family has none.
    formula, data, family, nagq, weights, offset, subset, contrasts, control, source
        As in `glmer`.

    Returns
    -------
    Fit
        The covariance matrix of the fixed effects is that at fixed theta, by expected weights.

    Raises
    ------
    ArgumentError
        If there are more or fewer parameters than the model has.
    RError, RUnavailableError, RecordingError, DataError
        As for `glmer`.

    Examples
    --------
    >>> import pymackay as pm
    >>> formula = "cbind(incidence, size - incidence) ~ 1 + (1 | herd)"
    >>> data = pm.load_data("cbpp")
    >>> pm.lme4.evaluate_glmer(formula, data, [1.0], [-2.0], "binomial").n_obs  # doctest: +SKIP
    56
    """
    question = GeneralQuestion(
        formula, data, False, weights, offset, subset, contrasts, control=control,
        theta=theta, family=family, nagq=nagq, beta=beta, shape=shape,
    )  # fmt: skip
    return answered(question, question.theta, source)
