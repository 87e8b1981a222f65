"""`glmmtmb_criterion`: the criterion that R's glmmTMB reaches, where it is installed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pymackay.errors import RError
from pymackay.family.family import Family
from pymackay.reference.general.question import GeneralQuestion
from pymackay.reference.r.session import session


def glmmtmb_criterion(
    formula: str, data: pd.DataFrame, family: Family, **arguments: Any
) -> float | None:
    """Return −2 log likelihood at the optimum of glmmTMB, by Laplace with observed weights.

    Parameters
    ----------
    formula : str
    data : pandas.DataFrame
    family : Family
    **arguments
        Any of ``weights``, ``offset``, ``subset`` and ``contrasts``.

    Returns
    -------
    float or None
        None if glmmTMB is not installed, or gives no number.
    """
    question = GeneralQuestion(formula, data, False, family=family, **arguments)
    _, formula, table, given, described, *_ = question.call("default")
    try:
        value = session().call("glmmtmb_criterion", formula, table, given, described).value
    except RError:
        return None
    return None if value is None else float(value[0])
