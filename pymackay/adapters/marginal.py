"""`FitForEffects`: a fit as the package marginaleffects takes models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from marginaleffects.classes import ModelAbstract, ModelVault

from pymackay.errors import ArgumentError, PymackayError
from pymackay.formula.expression import all_names
from pymackay.infer.means.predictors import Predictors
from pymackay.infer.predict.model_matrix import model_matrix
from pymackay.infer.problem import model_of
from pymackay.model.model import Model
from pymackay.results import Fit


class FitForEffects(ModelAbstract):
    """A fit whose population means (random effects zero) marginaleffects asks for.

    Of a generalised model on the scale of the response.

    Parameters
    ----------
    fit : Fit
    data : table, optional
        The data of the fit, where it does not hold them.
    """

    def __init__(self, fit: Fit, data: Any = None) -> None:
        model = model_of(fit, "for_marginaleffects")
        rows = _data_of(model, data)
        response = all_names(model.blueprint.specification.response.node)
        predictors = Predictors.of(fit, "for_marginaleffects", data).names
        names = [*response[:1], *(name for name in predictors if name not in response[:1])]
        vault = ModelVault(
            coef=fit.beta.to_numpy(),
            coefnames=np.array(fit.beta.index, dtype=object),
            formula=f"{names[0]} ~ {' + '.join(names[1:]) or '1'}",  # what the variables are
            modeldata=_as_polars(rows[names]),
            package="pymackay",
            vcov=fit.vcov.to_numpy(),
            variable_names=names,
        )
        super().__init__(fit, vault)

    def get_exog(self, newdata: Any) -> np.ndarray:
        """Return X of new rows, (m, p)."""
        rows = newdata.to_pandas() if hasattr(newdata, "to_pandas") else newdata
        return model_matrix(self.model, rows).to_numpy()

    def get_predict(self, params: np.ndarray, newdata: Any) -> pl.DataFrame:
        """Return ``X params`` of rows given as a design, (m, p), or as data; means of a link."""
        X = newdata if isinstance(newdata, np.ndarray) else self.get_exog(newdata)
        rows = pl.Series("rowid", np.arange(len(X)), dtype=pl.Int32)
        estimates = X @ np.asarray(params)
        if self.model.general is not None:
            estimates = self.model.general.family.mean(estimates)
        return pl.DataFrame([rows, pl.Series("estimate", estimates)])

    def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
        """Return the covariance of the fixed effects, or None where none is asked for.

        Raises
        ------
        ArgumentError
            If a robust one is asked for, which a mixed model does not have.
        """
        if isinstance(vcov, str):
            raise ArgumentError(
                f"vcov is {vcov!r}, but a mixed model has its own covariance only; leave vcov=True"
            )
        return None if vcov is False else self.vault.vcov

    def get_df(self) -> float:
        """Return infinity: the covariance parameters are taken as known."""
        return float("inf")


def _data_of(model: Model, data: Any) -> pd.DataFrame:
    """Return the columns of the rows of the model.

    Raises
    ------
    PymackayError
        If they are not known.
    """
    source = model.given.get("data") if data is None else data
    if source is None:
        raise PymackayError(
            "this fit does not hold its data any more; pass them: for_marginaleffects(fit, data)"
        )
    frame = pd.DataFrame(source)
    if len(frame) != len(model.rows) and not model.rows.isin(frame.index).all():
        raise ArgumentError(
            f"data do not hold each of the model's {len(model.rows)} rows; pass the table that the "
            f"model was fitted to"
        )
    rows = frame if len(frame) == len(model.rows) else frame.loc[model.rows]
    return rows.reset_index(drop=True)


def _as_polars(rows: pd.DataFrame) -> pl.DataFrame:
    """Return a table whose categories and text are enumerations, as the package needs them."""
    columns = []
    for name in rows:
        values = rows[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            levels = [str(level) for level in values.cat.categories]
        elif values.dtype == object or isinstance(values.dtype, pd.StringDtype):
            levels = sorted({str(value) for value in values})
        else:
            columns.append(pl.Series(name, values.to_numpy()))
            continue
        texts = [str(value) for value in values]
        columns.append(pl.Series(name, texts, dtype=pl.Enum(levels)))
    return pl.DataFrame(columns)
