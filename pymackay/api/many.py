"""`lmer_many`: a formula, a table and thousands of responses in, their `ManyFits` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pymackay.arguments import flag
from pymackay.model.design.many_responses import build_many
from pymackay.model.sums.gram import cross_products
from pymackay.solve.many.fit_many import fit_many, warn_of_uncertified
from pymackay.solve.many.fits import ManyFits


def lmer_many(
    formula: str,
    data: pd.DataFrame,
    Y: Any,
    *,
    reml: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    start: Any = None,
    progress: bool | None = None,
) -> ManyFits:
    """Fit one linear mixed model to many responses.

    Every response ends at its own certified optimum, that of `pymackay.lmer`. With one grouping
    factor (any number of terms on it) all are searched for together: small matrices of all levels
    and responses in a handful of operations, those that have arrived taken out. With several
    grouping factors the responses are fitted one by one, from cross-products made once.

    Parameters
    ----------
    formula : str
        As for `lmer`; `Y` takes the place of the response, which need not be among the data.
    data : pandas.DataFrame
        One row per observation.
    Y : array-like or pandas.DataFrame, shape (rows of `data`, B)
        The responses, transformed as they are to be fitted. A table whose index is not that of
        `data` is aligned by its labels.
    reml, weights, offset, subset, contrasts
        As for `lmer`; weights and offset are shared by all responses.
    start : array-like of shape (m,), optional
        Theta to start every search from, in lme4's order; by default each response's moments tell.
        A boundary is left, and further starts are tried, as without it.
    progress : bool, optional
        Whether a line on stderr tells how far it is: by default on a terminal, after two seconds.

    Returns
    -------
    ManyFits

    Raises
    ------
    PymackayError
        As for `lmer`; when `Y` does not fit the data; when a response is missing in a row that
        is used, or without residual variation.

    Warns
    -----
    ConvergenceWarning
        When some optima could not be certified.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> many = pm.lmer_many("~ Days + (Days | Subject)", sleep, fit.simulate(100, seed=1))
    >>> many.beta.shape, bool(many.converged.all())
    ((100, 2), True)
    >>> float(many.to_frame()["sd_Days|Subject"].median().round(1))
    5.9
    """
    reml = flag("reml", reml)
    given = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    model, responses, names = build_many(formula, data, Y, given)
    gram = cross_products(model)
    fits = fit_many(model, gram, [responses], names, reml=reml, start=start, progress=progress)
    warn_of_uncertified(fits, stacklevel=2)
    return fits
