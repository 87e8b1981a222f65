"""`effects_of`: the predicted random effects of the rows of a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import PymackayError
from pymackay.infer.kinds import any_kind
from pymackay.infer.predict.rows import refuse_new_levels
from pymackay.infer.problem import design_of
from pymackay.model.design.new_data import build_codes
from pymackay.results import Fit


@any_kind
def effects_of(
    fit: Fit, data: pd.DataFrame | Mapping[str, Any], *, allow_new_levels: bool = False
) -> dict[str, pd.DataFrame]:
    """Return the random effects of each row of a data frame, looked up by its own ids.

    ``fit.ranef`` is indexed by R's names of the levels, which are text: the level 3 of a column of
    integers is ``"3"`` there, True is ``"TRUE"``. ``data["g"].map(fit.ranef["g"]["x"])`` would find
    nothing for such a column. This looks levels up as `predict` does.

    Parameters
    ----------
    fit : Fit
        Made by this package.
    data : pandas.DataFrame or mapping of str to array-like
        The grouping columns are needed.
    allow_new_levels : bool
        Whether a level that the model was not fitted to, or a missing one, has effects of zero;
        otherwise it is an error.

    Returns
    -------
    dict of str to pandas.DataFrame, each (rows, q)
        By grouping factor, with the columns of ``fit.ranef`` and the index of `data`.

    Raises
    ------
    DataError
        If a grouping column is missing, or has a level that the model does not know.
    PymackayError
        If another engine made the fit, or the model was made without a formula.

    Examples
    --------
    >>> import pandas as pd
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> sleep["Subject"] = sleep["Subject"].astype(int)
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> fit.effects_of({"Subject": [308, 309]})["Subject"].round(3)
       (Intercept)   Days
    0        2.259  9.199
    1      -40.399 -8.620
    """
    model = design_of(fit, "effects_of", residual=True)
    if model.blueprint is None:
        raise PymackayError(
            "effects_of needs the formula behind the grouping factors, which this fit does not "
            "know; fit a data frame with pymackay.lmer."
        )
    new = build_codes(model.blueprint, data)
    if not allow_new_levels:
        refuse_new_levels(new, model)
    tables = {}
    for group, table in fit.ranef.items():
        codes = new.codes[group][:, None]
        values = np.where(codes >= 0, table.to_numpy()[codes[:, 0]], 0.0)
        tables[group] = pd.DataFrame(values, index=new.rows, columns=table.columns)
    return tables
