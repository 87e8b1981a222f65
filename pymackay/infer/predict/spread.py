"""`residual_variances`: the residual variance of rows, old or new."""

from __future__ import annotations

from typing import Any

import numpy as np

from pymackay.infer.kinds import by_kind
from pymackay.infer.predict.rows import weights_of_rows
from pymackay.infer.problem import design_of
from pymackay.results import Fit


@by_kind(residual="pymackay.infer.residual.new_rows:residual_variances")
def residual_variances(fit: Fit, newdata: Any, weights: Any) -> np.ndarray | float:
    """Return sigma² over the prior weight of each row, (m,), or one number for all.

    Parameters
    ----------
    fit : Fit
    newdata : pandas.DataFrame, mapping or None
        None for the model's own rows.
    weights : str, array-like or None
        Of the new rows, as of `pymackay.predict`.
    """
    model = design_of(fit, "a prediction interval")
    return fit.sigma**2 / weights_of_rows(model, newdata, weights)
