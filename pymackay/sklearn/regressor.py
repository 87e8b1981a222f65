"""`MixedModelRegressor`: a linear mixed model as a regressor of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

import pymackay as pm
from pymackay.errors import ArgumentError
from pymackay.formula.expression import Name
from pymackay.formula.specification import specify

_WEIGHTS = ".weights"


class MixedModelRegressor(RegressorMixin, BaseEstimator):
    """A linear mixed model as a regressor of scikit-learn.

    Parameters
    ----------
    formula : str
        lme4's formula, with a plain name for the response: ``"y ~ x + (x | g)"``. Its variables are
        columns of X; those of an array are called ``x0``, ``x1``, ...
    reml : bool
        REML criterion (True) or maximum likelihood (False).
    re_form : None or str
        The random effects that predictions include, as in `predict`: None for all, ``"~0"`` for
        none.

    Attributes
    ----------
    fit_ : Fit
    n_features_in_ : int
    feature_names_in_ : numpy.ndarray of str
        Where X has names of columns.

    Notes
    -----
    A group that was not in the data of the fit is predicted at the population's mean. Prior
    weights are those of lme4, inverse variances: a row of weight 2 is not a row that occurs twice.
    To model a transformed response, put the regressor into
    ``sklearn.compose.TransformedTargetRegressor``.

    Examples
    --------
    >>> import pymackay as pm
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> sleep = pm.load_data("sleepstudy")
    >>> model = pm.sklearn.MixedModelRegressor("Reaction ~ Days + (Days | Subject)")
    >>> X, y = sleep[["Days", "Subject"]], sleep["Reaction"]
    >>> round(model.fit(X, y).score(X, y), 3)
    0.826
    >>> cross_val_score(model, X, y, groups=X["Subject"], cv=GroupKFold(3)).shape
    (3,)
    """

    def __init__(self, formula: str, *, reml: bool = True, re_form: str | None = None) -> None:
        self.formula = formula
        self.reml = reml
        self.re_form = re_form

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedModelRegressor:
        """Fit the model.

        Parameters
        ----------
        X : data frame or array-like of shape (n, columns)
        y : array-like of shape (n,)
            The response.
        sample_weight : array-like of shape (n,), optional
            Prior weights; rows of weight zero are left out.

        Raises
        ------
        ArgumentError
            If the response of the formula is no plain name, or is a column of X.
        PymackayError
            If the data cannot carry the model.
        """
        response = self._response()
        table = self._table(X, y, reset=True)
        if response in table:
            raise ArgumentError(
                f"X has a column {response!r}, which is the response of the formula; leave it out "
                f"of X, or give the response another name in the formula"
            )
        values = column_or_1d(y, warn=True)
        if len(values) != len(table):
            raise ArgumentError(f"X has {len(table)} rows, but y has {len(values)} values")
        table = table.assign(**{response: np.asarray(values, dtype=np.float64)})
        if not np.isfinite(table[response]).all():
            raise ArgumentError("y is NaN or infinite (inf) in some rows; leave them out")
        given = {}
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, table, ensure_non_negative=True)
            table = table.assign(**{_WEIGHTS: weights})[weights > 0.0]
            given = {"weights": table[_WEIGHTS].to_numpy()}
        self.fit_ = pm.lmer(self.formula, table.reset_index(drop=True), reml=self.reml, **given)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the mean of rows; groups that are new have random effects of zero.

        Parameters
        ----------
        X : data frame or array-like of shape (m, columns)

        Returns
        -------
        numpy.ndarray, shape (m,)
        """
        check_is_fitted(self)
        table = self._table(X, None, reset=False)
        predicted = self.fit_.predict(table, re_form=self.re_form, allow_new_levels=True)
        return np.asarray(predicted, dtype=np.float64)

    def _response(self) -> str:
        """Return the name of the response in the formula."""
        specification = specify(self.formula, ())
        if not isinstance(specification.response.node, Name):
            raise ArgumentError(
                f"the response of {self.formula!r} is transformed, but predictions must have the "
                f"units of y; name it plainly and use sklearn.compose.TransformedTargetRegressor"
            )
        return str(specification.response.node.name)

    def _table(self, X: Any, y: Any, *, reset: bool) -> pd.DataFrame:
        """Return X as a data frame with fresh labels of rows; check names and number of columns."""
        if hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            frame = X if isinstance(X, pd.DataFrame) else X.to_pandas()
            if all(isinstance(name, str) for name in frame.columns):
                return frame.reset_index(drop=True)
            X = frame.to_numpy()
        if reset:
            values, _ = validate_data(
                self, X, y, y_numeric=True, dtype=np.float64, ensure_min_samples=2
            )
        else:
            values = validate_data(self, X, reset=False, dtype=np.float64)
        return pd.DataFrame(values, columns=[f"x{k}" for k in range(values.shape[1])])

    def __sklearn_tags__(self) -> Any:
        """Say what X may hold."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
