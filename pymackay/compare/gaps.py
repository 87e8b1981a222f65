"""The variance gaps of the two fits of a comparison."""

from __future__ import annotations

import pandas as pd

from pymackay.compare.offered import offers
from pymackay.infer.gap.variance_gap import GAP_COLUMNS, variance_gap
from pymackay.results import Fit


def gaps(ours: tuple[Fit | None, ...], theirs: tuple[Fit | None, ...]) -> pd.DataFrame:
    """Return `pymackay.variance_gap` of both sides in one table with the column ``fit``.

    Parameters
    ----------
    ours, theirs : tuple of Fit or None
        The fit, and as a substitute, if it does not offer its error variances, the other engine's
        fit at the same theta.
    """
    tables: list[pd.DataFrame] = []
    for label, candidates in (("ours", ours), ("theirs", theirs)):
        fit = next((fit for fit in candidates if fit is not None and _has_gap(fit)), None)
        if fit is not None:
            gap = variance_gap(fit)
            gap.insert(0, "fit", label)
            tables.append(gap)
    return pd.concat(tables, ignore_index=True) if tables else no_gap()


def no_gap() -> pd.DataFrame:
    """Return the table without rows."""
    return pd.DataFrame(columns=["fit", *GAP_COLUMNS])


def _has_gap(fit: Fit) -> bool:
    if fit.general is not None:
        likelihood = fit.general.nagq == 1 and fit.general.dispersion_by != "lme4"
        return fit.problem is not None and likelihood
    what = "pev" if fit.reml else "condvar"
    return all(offers(fit, quantity) for quantity in (what, "variance", "b"))
