"""`lmer_many`: fits one model to many responses, and returns a `ManyFits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pymackay.arguments import flag, hinted
from pymackay.model.design.many_responses import build_many
from pymackay.model.sums.gram import cross_products
from pymackay.solve.many.fit_many import fit_many, warn_of_uncertified
from pymackay.solve.many.fits import ManyFits


@hinted
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

    Every response gets its own certified optimum, the same as by `pymackay.lmer`. With one grouping
    factor (and any number of terms), all responses are optimised together by operations on batches
    of small matrices. With several grouping factors, or a covariance structure, the responses are
    fitted one after the other, from cross-products that are computed once.

    Parameters
    ----------
    formula : str
        As for `lmer`; `Y` replaces the response, which need not be a column of the data.
    data : pandas.DataFrame
        One row per observation.
    Y : array-like or pandas.DataFrame, shape (rows of `data`, B)
        The responses, already transformed. A data frame with another index than `data` is aligned
        by its labels.
    reml, weights, offset, subset, contrasts
        As for `lmer`; weights and offset are shared by all responses.
    start : array-like of shape (m,), optional
        Theta to start every search from, in lme4's order; by default computed from the moments of
        each response. As without it, the search can leave a boundary and tries further starts.
    progress : bool, optional
        Whether to show progress on stderr: by default on a terminal, after two seconds.

    Returns
    -------
    ManyFits

    Raises
    ------
    PymackayError
        As for `lmer`; if `Y` does not match the data; if a response is missing in a row that is
        used, or has no residual variation.

    Warns
    -----
    ConvergenceWarning
        If some optima could not be certified.

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
    arguments = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    model, responses, names = build_many(formula, data, Y, arguments)
    gram = cross_products(model)
    fits = fit_many(model, gram, [responses], names, reml=reml, start=start, progress=progress)
    warn_of_uncertified(fits, stacklevel=3)
    return fits
