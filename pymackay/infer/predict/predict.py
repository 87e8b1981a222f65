"""`predict`: the mean of rows, old or new, with standard errors and intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pymackay.arguments import one_of, probability
from pymackay.errors import ArgumentError
from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.joint import error_variances
from pymackay.infer.predict.new_times import NewTimes, new_times
from pymackay.infer.predict.rows import (
    Rows,
    effects_of_terms,
    left_out_variances,
    make_rows,
    own_rows,
    quadratic,
)
from pymackay.infer.predict.spread import residual_variances
from pymackay.infer.problem import check_fit, design_of, model_of
from pymackay.results import Fit

INTERVALS = ("confidence", "prediction")
_NEWDATA = "Pass newdata, the rows to predict for: fit.predict(newdata)."


@by_kind("pymackay.infer.general.predict:predict", residual="same")
def predict(
    fit: Fit,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    re_form: Any = None,
    allow_new_levels: bool = False,
    se_fit: bool = False,
    interval: str | None = None,
    level: float = 0.95,
    random_only: bool = False,
    offset: Any = None,
    weights: Any = None,
) -> pd.Series | pd.DataFrame:
    """Predict the mean of rows, as lme4's ``predict``.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    newdata : pandas.DataFrame or mapping of str to array-like, optional
        The rows; by default those the model was fitted to. The response is not needed. ``poly``,
        ``scale``, ``ns``, ``bs`` and the like use the constants of the model's own data.
    re_form : None, False, NA or str
        The random effects to include. None (default): all. ``"~0"``, False or NA: none, the
        population's mean. A formula such as ``"~ (1 | g)"``: those it names.
    allow_new_levels : bool
        Whether a level of a grouping factor that the model was not fitted to, or a missing one, has
        effects of zero; otherwise it is an error.
    se_fit : bool
        Whether to add standard errors.
    interval : {None, "confidence", "prediction"}
        Whether to add limits: for the mean, or for a new observation.
    level : float
        Coverage of the interval; normal quantiles.
    random_only : bool
        Whether to leave the fixed effects and the offset out.
    offset : str or array-like, optional
        Stands in for the model's argument `offset`: a column of `newdata`, or numbers. Needed where
        the model's was an array.
    weights : str or array-like, optional
        Prior weights of the new rows, for prediction intervals of a model with weights.

    Returns
    -------
    pandas.Series or pandas.DataFrame
        Indexed as `newdata`; rows with a missing value are nan, and so are rows whose mean the data
        do not determine, because it depends on a column that was dropped. A frame, with the columns
        ``fit``, ``se``, ``lower`` and ``upper`` as far as asked for, where standard errors or
        limits are.

    Raises
    ------
    DataError
        If a column that is used is missing or of another kind, or has a level that the model does
        not know.
    ArgumentError
        If another argument is wrong.
    PymackayError
        If another engine made the fit; or if there is no `newdata`, and the model's own rows came
        in partitions that were not kept.

    Warns
    -----
    PymackayWarning
        When the data do not determine the mean of some rows.

    Notes
    -----
    The standard error is the root of ``Var(x'β̂ + z'(b̂ − b))``, the error of the prediction as a
    prediction of ``x'β + z'b``, from the inverse of the whole matrix of the mixed-model
    equations: the uncertainty of beta-hat, the error of the predicted effects, and the covariance
    of both. Theta and sigma are taken as known. Where every level is known this is how lme4
    defines ``se.fit=TRUE`` (1.1-36 has it, 1.1-31 has not). For a level that the model does not
    have, ``z'b`` is predicted by zero and its variance ``z'Vz`` is added (lme4 takes it for known
    to be zero). Standard errors and confidence intervals do not count the effects that `re_form`
    leaves out: with ``"~0"`` they are those of the population's mean, ``x'β``.

    A prediction interval is for a new observation. It adds the residual variance, sigma² / weight,
    and ``z'Vz`` of the effects that `re_form` leaves out: with ``"~0"`` they are those of a level
    drawn anew from the population, with the same limits as for a level that the model does not
    have. The variables on the left of the bars that are left out are needed for this.

    With `residual=` of `lmer` the residual variance is that of the row's stratum or visit, and the
    mean is that of nlme's ``predict``: it does not use the residuals of other rows of the group,
    with which the residual of a new row correlates.

    At a time that the model was not fitted to, the effect of ``ou(0 + t | g)``, or of ``ar1`` a
    whole number of steps away, is predicted by its conditional mean given the effects at the other
    times of the level, and its conditional variance is added to that of the mean.

    References
    ----------
    Henderson, C. R. (1975). Best linear unbiased estimation and prediction under a selection
    model. Biometrics 31(2): the inverse of the equations' matrix.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> new = pd.DataFrame({"Days": [10, 10], "Subject": ["308", "new"]})
    >>> fit.predict(new, allow_new_levels=True, interval="prediction").round(2)
          fit   lower   upper
    0  450.33  391.33  509.33
    1  356.08  214.43  497.72
    >>> fit.predict(new, re_form="~0").round(2).tolist()
    [356.08, 356.08]
    """
    check_fit(fit, "predict")
    if interval is not None:
        one_of("interval", interval, INTERVALS)
    probability("level", level, 0.95)
    is_fitted = newdata is None and re_form is None and not random_only
    if is_fitted and fit.problem is None and not (se_fit or interval):
        return fit.fitted.rename("fit")
    between: dict[int, NewTimes] = {}
    if newdata is None:
        model = model_of(fit, "predict without newdata", _NEWDATA, residual=True)
    else:
        model = design_of(fit, "predict", residual=True)
    if newdata is not None:
        between = new_times(fit, model.blueprint)
        rows = make_rows(
            model,
            newdata,
            re_form,
            allow_new_levels=bool(allow_new_levels),
            offset=offset,
            fixed=not random_only,
            between=between,
        )
    elif offset is not None:
        raise ArgumentError("offset goes with newdata; the model's own rows have their own")
    else:
        rows = own_rows(model, re_form)
    missing = rows.incomplete()
    mean = fit.fitted.to_numpy(copy=True) if is_fitted else _mean(fit, rows, random_only)
    mean[missing] = np.nan
    if not se_fit and interval is None:
        return pd.Series(mean, index=rows.index, name="fit")
    variance = _variance(fit, rows.filled(missing), random_only)
    variance[missing] = np.nan
    table = pd.DataFrame({"fit": mean}, index=rows.index)
    if se_fit:
        table["se"] = np.sqrt(variance)
    if interval is not None:
        if interval == "prediction":
            _refuse_random_only(random_only)
            variance = variance + residual_variances(fit, newdata, weights)
            variance = variance + left_out_variances(fit, model, newdata, re_form, rows, between)
        reach = float(ndtri(0.5 + 0.5 * level)) * np.sqrt(variance)
        table["lower"], table["upper"] = mean - reach, mean + reach
    return table


def _refuse_random_only(random_only: bool) -> None:
    if random_only:
        raise ArgumentError(
            "a prediction interval is for a new observation, but random_only leaves the fixed "
            "effects out; ask for interval='confidence', or for random_only=False"
        )


def _mean(fit: Fit, rows: Rows, random_only: bool) -> np.ndarray:
    mean = np.zeros(len(rows.X))
    if not random_only:
        mean += rows.X @ fit.beta.to_numpy()
        if rows.offset is not None:
            mean += rows.offset
    return mean + rows.random_part(effects_of_terms(fit))


def _variance(fit: Fit, rows: Rows, random_only: bool) -> np.ndarray:
    """Return the variance of the error of each row's mean, absolute, shape (m,)."""
    if random_only:
        rows = rows.without_fixed()
    if not rows.terms:
        return quadratic(rows.X, fit.vcov.to_numpy())
    variance = error_variances(fit, rows)
    for term, columns, codes in rows.parts():
        new = codes < 0
        V = fit.varcorr[fit.model.terms[term].name].to_numpy()
        variance[new] += quadratic(columns[new], V)
    for term, share in zip(rows.terms, rows.unpredicted, strict=False):
        variance += share * fit.varcorr[fit.model.terms[term].name].iat[0, 0]
    return variance
