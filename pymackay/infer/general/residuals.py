"""`residuals_of`: residuals of a fit on any of R's scales."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.general.problem import general_part
from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit, model_of
from pymackay.infer.residual.rows import normalized, pearson
from pymackay.results import Fit

KINDS = ("deviance", "pearson", "response", "working", "normalized")


@any_kind
def residuals_of(fit: Fit, kind: str = "deviance") -> pd.Series:
    """Return residuals, as R's ``residuals(fit, type)``.

    Parameters
    ----------
    fit : Fit
    kind : {"deviance", "pearson", "response", "working", "normalized"}
        Signed roots of the deviances; ``(y − μ) √(w / V(μ))``; ``y − μ``; or ``(y − μ)`` over the
        derivative of μ by the linear predictor. For a linear model deviance and Pearson residuals
        are those of the response times the root of the weight. With a residual structure Pearson
        residuals, and deviance ones, are divided by the standard deviation of their row;
        ``"normalized"``, for these models only, are multiplied by the inverse factor of their
        covariance matrix, in order of time, so that they are independent with variance one.

    Returns
    -------
    pandas.Series, shape (n,)
        Given the random effects, indexed by the rows that were kept.

    Raises
    ------
    ArgumentError
        If `kind` is another word.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff"))
    >>> fit.residuals_of("pearson").equals(fit.residuals)
    True
    """
    check_fit(fit, "residuals_of")
    if kind not in KINDS:
        raise ArgumentError(f"kind must be one of {', '.join(KINDS)}, but it is {kind!r}.")
    if "residuals" in fit.not_offered:
        model_of(fit, "residuals_of")
    if fit.residual_covariance is not None:
        return _structured(fit, kind)
    if kind == "normalized":
        raise ArgumentError(
            "kind='normalized' is there for models with a residual structure only; take 'pearson'."
        )
    if fit.general is None:
        weights = fit.model.weights
        if weights is None or kind in ("response", "working"):
            return fit.residuals
        return fit.residuals * np.sqrt(weights)
    if kind == "deviance":
        return fit.residuals
    return pd.Series(_general(fit, kind), index=fit.fitted.index, name="residuals")


def _structured(fit: Fit, kind: str) -> pd.Series:
    """Return residuals of a model with a residual structure, (n,)."""
    if kind in ("response", "working"):
        return fit.residuals
    return (normalized if kind == "normalized" else pearson)(fit).rename("residuals")


def _general(fit: Fit, kind: str) -> np.ndarray:
    """Return residuals of a generalised model, (n,)."""
    general = general_part(fit, "residuals_of")
    observed, mu = general.observed, fit.fitted.to_numpy()
    if observed is None:
        raise ArgumentError(
            f"kind={kind!r} needs the response, which this fit by {fit.engine} does not hold; fit "
            f"the model with pymackay.glmer."
        )
    response = observed.y - mu
    if kind == "pearson":
        return np.asarray(response * np.sqrt(observed.weights / general.family.variance(mu)))
    if kind == "working":
        return response / general.family.mean_slope(general.linear_predictor.to_numpy())
    return response
