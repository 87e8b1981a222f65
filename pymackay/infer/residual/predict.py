"""`predict`: means of rows, old or new, of a model with a residual structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pymackay.arguments import one_of, probability
from pymackay.errors import ArgumentError, PymackayError
from pymackay.infer.predict.rows import effects_of_terms, make_rows, own_rows, quadratic
from pymackay.infer.residual.problem import residual_problem
from pymackay.results import Fit


def predict(
    fit: Fit,
    newdata: Any = None,
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
    """Predict means; residuals of other rows of a group are not used.

    Parameters
    ----------
    re_form
        As in `pymackay.predict`: None for all random effects, ``"~0"`` for the population's mean.
    se_fit : bool
        Whether to add standard errors of the population's mean; not with random effects.
    interval : {None, "confidence"}
        Limits for the population's mean.

    Raises
    ------
    PymackayError
        As `pymackay.predict`, and if prediction intervals or standard errors of means with random
        effects are asked for.
    """
    model = residual_problem(fit, "predict").model
    if interval is not None:
        one_of("interval", interval, ("confidence", "prediction"))
    probability("level", level, 0.95)
    if interval == "prediction" or weights is not None:
        raise PymackayError(
            "predict(interval='prediction') is not there for models with residual structures. Take "
            "quantiles of draws by fit.simulate, or interval='confidence'."
        )
    if newdata is None:
        if offset is not None:
            raise ArgumentError("offset goes with newdata; the model's own rows have their own")
        rows = own_rows(model, re_form)
    else:
        rows = make_rows(
            model,
            newdata,
            re_form,
            allow_new_levels=bool(allow_new_levels),
            offset=offset,
            fixed=not random_only,
        )
    missing = rows.incomplete()
    mean = rows.random_part(effects_of_terms(fit))
    if not random_only:
        mean = mean + rows.X @ fit.beta.to_numpy()
        mean = mean if rows.offset is None else mean + rows.offset
    mean[missing] = np.nan
    if not se_fit and interval is None:
        return pd.Series(mean, index=rows.index, name="fit")
    if rows.terms or random_only:
        raise PymackayError(
            "standard errors of means with random effects are not there for models with residual "
            "structures; pass re_form='~0' for the population's mean."
        )
    se = np.sqrt(quadratic(rows.filled(missing).X, fit.vcov.to_numpy()))
    se[missing] = np.nan
    table = pd.DataFrame({"fit": mean}, index=rows.index)
    if se_fit:
        table["se"] = se
    if interval is not None:
        reach = float(ndtri(0.5 + 0.5 * level)) * se
        table["lower"], table["upper"] = mean - reach, mean + reach
    return table
