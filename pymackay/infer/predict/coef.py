"""`coef`: the coefficients of each level, fixed effects and predicted random effects added up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.infer.kinds import any_kind
from pymackay.infer.problem import check_fit
from pymackay.results import Fit, GroupTables


@any_kind
def coef(fit: Fit) -> dict[str, pd.DataFrame]:
    """Return the coefficients of each level, as R's ``coef(fit)``.

    Parameters
    ----------
    fit : Fit
        Of any engine.

    Returns
    -------
    dict of str to pandas.DataFrame, each (levels, coefficients)
        By grouping factor, indexed as ``fit.ranef``. The columns are those of ``fit.beta``; before
        them stand random effects of any grouping factor that have no fixed effect, whose mean is
        zero. Each holds the fixed effect plus the level's random effects of that name, if any.

    Raises
    ------
    ArgumentError
        If `fit` is not a `Fit`.

    Examples
    --------
    >>> import pymackay as pm
    >>> fit = pm.lmer("Reaction ~ Days + (1 | Subject)", pm.load_data("sleepstudy"))
    >>> fit.coef()["Subject"].head(2).round(3)
             (Intercept)    Days
    Subject
    308          292.189  10.467
    309          173.556  10.467
    """
    check_fit(fit, "coef")
    effects = dict.fromkeys(name for table in fit.ranef.values() for name in table.columns)
    random_only = [name for name in effects if name not in fit.beta.index]
    mean = pd.concat([pd.Series(0.0, index=random_only), fit.beta])
    tables = GroupTables()
    for group, table in fit.ranef.items():
        values = np.tile(mean.to_numpy(), (len(table), 1))
        for k, name in enumerate(table.columns):
            values[:, mean.index.get_loc(name)] += table.iloc[:, k]
        tables[group] = pd.DataFrame(values, index=table.index, columns=mean.index)
    return tables
