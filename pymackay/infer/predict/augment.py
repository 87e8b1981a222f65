"""`augment`: the rows of a model with fitted values, residuals and influence, as broom.mixed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.joint import JointCovariance
from pymackay.infer.predict.rows import own_rows
from pymackay.infer.problem import model_of
from pymackay.model.columns.column import Factor, Numeric
from pymackay.model.model import Model
from pymackay.results import Fit


@by_kind("pymackay.infer.general.augment:augment")
def augment(fit: Fit, data: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the rows of the model with fitted values, residuals and influence.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    data : pandas.DataFrame, optional
        The data that the model was fitted to: its columns come first. By default the variables of
        the formula do.

    Returns
    -------
    pandas.DataFrame
        One row for each that the model uses. After the variables: ``.fitted`` and ``.resid``;
        ``.hat``, the diagonal of the matrix that turns the response into the fitted values, theta
        as given; ``.cooksd``, Cook's distance from it, as lme4 defines it; ``.fixed``, the fitted
        values without random effects; ``.mu``, as ``.fitted``; ``.offset``; ``.sqrtXwt`` and
        ``.sqrtrwt``, the roots of the prior weights ``.weights``; ``.wtres``, residuals times the
        root of the weight.

    Raises
    ------
    ArgumentError
        If `data` does not hold the model's rows.
    PymackayError
        If another engine made the fit.

    References
    ----------
    Demidenko, E., Stukel, T. A. (2005). Influence analysis for linear mixed-effects models.
    Statistics in Medicine 24: leverage and Cook's distance of a mixed model.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", pm.load_data("sleepstudy"))
    >>> fit.augment()[["Days", ".fitted", ".hat", ".cooksd"]].head(2).round(4)
       Days   .fitted    .hat  .cooksd
    0   0.0  253.6637  0.2293   0.0050
    1   1.0  273.3299  0.1697   0.0402
    """
    model = model_of(fit, "augment")
    table = variables(model) if data is None else rows_of_data(data, model)
    weights = np.ones(len(model.y)) if model.weights is None else model.weights
    offset = np.zeros(len(model.y)) if model.offset is None else model.offset
    fitted, residuals = fit.fitted.to_numpy(), fit.residuals.to_numpy()
    hat = hat_values(fit)
    pearson = np.sqrt(weights) * residuals
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (pearson / (1.0 - hat)) ** 2 * hat / (fit.sigma**2 * len(fit.beta))
    added = {
        ".fitted": fitted,
        ".resid": residuals,
        ".hat": hat,
        ".cooksd": distance,
        ".fixed": model.X @ fit.beta.to_numpy() + offset,
        ".mu": fitted,
        ".offset": offset,
        ".sqrtXwt": np.sqrt(weights),
        ".sqrtrwt": np.sqrt(weights),
        ".weights": weights,
        ".wtres": pearson,
    }
    return table.assign(**added)


def hat_values(fit: Fit) -> np.ndarray:
    """Return the leverage of each row, shape (n,): how its fitted value follows its response."""
    model = model_of(fit, "the leverage")
    relative = JointCovariance.of(fit).variances(own_rows(model))
    return relative if model.weights is None else model.weights * relative


def variables(model: Model) -> pd.DataFrame:
    """Return the variables of the formula by R's names; columns of a basis are numbered."""
    table: dict[str, Any] = {}
    for name, column in model.columns.items():
        if isinstance(column, Factor):
            table[name] = _categories(column)
        elif isinstance(column, Numeric) and column.values.ndim == 1:
            table[name] = column.values
        else:
            suffixes = column.names or [str(k + 1) for k in range(column.values.shape[1])]
            for k, suffix in enumerate(suffixes):
                table[f"{name}{suffix}"] = column.values[:, k]
    if model.weights is not None:
        table["(weights)"] = model.weights
    return pd.DataFrame(table, index=model.rows)


def _categories(column: Factor) -> Any:
    if column.kind == "logical":
        return column.codes == 1
    return pd.Categorical.from_codes(
        column.codes, list(column.levels), ordered=column.kind == "ordered"
    )


def rows_of_data(data: Any, model: Model) -> pd.DataFrame:
    """Take the rows that the model uses out of the data."""
    if not isinstance(data, pd.DataFrame):
        raise ArgumentError(f"data must be a DataFrame, not a {type(data).__name__}")
    if data.index.equals(model.rows):
        return data.copy()
    if not (data.index.is_unique and model.rows.isin(data.index).all()):
        raise ArgumentError(
            f"data do not hold each of the model's {len(model.rows)} rows once; pass the data that "
            f"the model was fitted to, with its index"
        )
    return data.loc[model.rows].copy()
