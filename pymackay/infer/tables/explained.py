"""`icc` and `r2`: the shares of the variance that random and fixed effects explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.kinds import SAME, any_kind, by_kind
from pymackay.infer.problem import model_of
from pymackay.model.model import Model
from pymackay.results import Fit


@dataclass(frozen=True, eq=False)
class VarianceParts:
    """The parts of the variance of a row, squared units of the response or linear predictor.

    Attributes
    ----------
    fixed : float
        Sample variance of Xβ over the rows.
    random : pandas.Series
        Term by term, the mean over the rows of ``z'Vz``.
    residual : float
        Mean over the rows of sigma² / weight; of a generalised model what stands for it.
    """

    fixed: float
    random: pd.Series
    residual: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.fixed + float(self.random.sum()) + self.residual


@any_kind
def icc(fit: Fit, *, method: str | None = None) -> pd.Series:
    """Return the intraclass correlation: the share of the variance that groups account for.

    A row's random variance is ``z'Vz``, averaged over the rows, so that random slopes count as they
    occur in the data. With `residual=` the residual variance is the mean of those of the rows, and
    the correlation of `cs` counts as a random effect of its group; correlations of other structures
    do not.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    method : {"theoretical", "lognormal", "delta", "trigamma"}, optional
        Of a generalised model: what stands for the residual variance on the scale of the linear
        predictor. ``"theoretical"`` (default with the links logit, probit and cloglog): π²/3, 1,
        π²/6. ``"lognormal"`` (default with a log link), ``"trigamma"``: of the log of the
        response. ``"delta"`` (default otherwise): ``φ V(μ) / (dμ/dη)²``, which any family has.
        μ is the mean of a model with the same random effects and no predictors. A random effect
        for each row is part of the residual variance then, as overdispersion.

    Returns
    -------
    pandas.Series
        ``"adjusted"``: random over random plus residual variance. ``"conditional"``: with the
        variance of the fixed part in the denominator too. Then, under the name of each random
        term, its share of random plus residual variance; these add up to ``"adjusted"``.

    Raises
    ------
    PymackayError
        If another engine made the fit, or a residual structure other than `cs` stands alone.

    References
    ----------
    Nakagawa, S., Johnson, P. C. D., Schielzeth, H. (2017). The coefficient of determination R² and
    intra-class correlation coefficient from generalized linear mixed-effects models revisited and
    expanded. J. R. Soc. Interface 14.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("strength ~ 1 + (1 | batch/cask)", pm.load_data("Pastes"))
    >>> pm.icc(fit).round(3).to_dict()
    {'adjusted': 0.937, 'conditional': 0.937, 'cask:batch': 0.783, 'batch': 0.154}
    """
    parts = grouped_parts(fit, method)
    within = float(parts.random.sum()) + parts.residual
    shares = {
        "adjusted": parts.random.sum() / within,
        "conditional": parts.random.sum() / parts.total,
        **(parts.random / within).to_dict(),
    }
    return pd.Series(shares, name="icc", dtype=np.float64)


@any_kind
def r2(fit: Fit, *, method: str | None = None) -> pd.Series:
    """Return the share of the variance that the fixed part, and the whole model, explain.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    method : {"theoretical", "lognormal", "delta", "trigamma"}, optional
        Of a generalised model, as in `icc`.

    Returns
    -------
    pandas.Series
        ``"marginal"``: the fixed part's share. ``"conditional"``: that of fixed and random effects.
        Random slopes enter with ``z'Vz`` averaged over the rows, and variances of residuals that
        differ with their mean. Without random effects, beside `residual=`, the two are the same.

    Raises
    ------
    PymackayError
        If another engine made the fit.

    References
    ----------
    Nakagawa, S., Schielzeth, H. (2013). A general and simple method for obtaining R² from
    generalized linear mixed-effects models. Methods Ecol. Evol. 4.
    Johnson, P. C. D. (2014). Extension of Nakagawa & Schielzeth's R²_GLMM to random slopes models.
    Methods Ecol. Evol. 5.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> pm.r2(fit).round(4).to_dict()
    {'marginal': 0.2787, 'conditional': 0.7992}
    """
    parts = variance_parts(fit, "r2", method)
    shares = {
        "marginal": parts.fixed / parts.total,
        "conditional": (parts.fixed + float(parts.random.sum())) / parts.total,
    }
    return pd.Series(shares, name="r2", dtype=np.float64)


@by_kind(
    "pymackay.infer.general.explained:variance_parts",
    residual="pymackay.infer.residual.explained:variance_parts",
)
def variance_parts(fit: Fit, what: str, method: str | None) -> VarianceParts:
    """Return the parts of the variance.

    Raises
    ------
    ArgumentError
        If a method is named for a linear model, which needs none.
    """
    model = model_of(fit, what)
    refuse_method(method)
    weights = np.ones(1) if model.weights is None else model.weights
    return VarianceParts(
        fixed=fixed_variance(fit, model),
        random=random_variances(fit, model),
        residual=fit.sigma**2 * float(np.mean(1.0 / weights)),
    )


@by_kind(SAME, residual="pymackay.infer.residual.explained:grouped_parts")
def grouped_parts(fit: Fit, method: str | None) -> VarianceParts:
    """Return the parts of the variance where that of groups is asked for."""
    return variance_parts(fit, "icc", method)


def refuse_method(method: str | None) -> None:
    """Refuse a method where a linear model needs none.

    Raises
    ------
    ArgumentError
    """
    if method is not None:
        raise ArgumentError(
            f"method is {method!r}, but a linear model has a residual variance; leave it out."
        )


def fixed_variance(fit: Fit, model: Model) -> float:
    """Return the sample variance of Xβ over the rows."""
    return float(np.var(model.X @ fit.beta.to_numpy(), ddof=1))


def random_variances(fit: Fit, model: Model) -> pd.Series:
    """Return, term by term, the mean over the rows of ``z'Vz``."""
    random = {}
    for term in model.terms:
        V = fit.varcorr[term.name].to_numpy()
        random[term.name] = np.einsum("na,ab,nb->", term.columns, V, term.columns) / len(model.y)
    return pd.Series(random, dtype=np.float64)
