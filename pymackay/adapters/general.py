"""`general_parts`: what a result of another package has that only generalised models have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pymackay.family.family import Family, Observations
from pymackay.family.general import General


def general_parts(
    family: Family,
    observed: Observations,
    fitted: np.ndarray,
    rows: Any = None,
    *,
    nagq: int | str = 1,
    determinant: str = "observed",
    dispersion: float = 1.0,
    shape_estimated: bool = False,
) -> dict[str, Any]:
    """Return the parts ``general``, ``fitted`` and ``residuals`` of `pymackay.adapters.PARTS`.

    Parameters
    ----------
    family : Family
        A negative binomial one with its shape.
    observed : Observations
        The response, shape (n,).
    fitted : numpy.ndarray, shape (n,)
        Means given the random effects.
    rows : pandas.Index of length n, optional
        Labels of the rows.
    nagq, determinant, dispersion, shape_estimated
        As of `General`.
    """
    half = family.unit_half_deviance(observed.y, fitted) * observed.weights
    residuals = np.sign(observed.y - fitted) * np.sqrt(np.maximum(2.0 * half, 0.0))
    index = pd.RangeIndex(len(fitted)) if rows is None else rows
    general = General(
        family=family,
        nagq=nagq,
        determinant=determinant,
        dispersion=dispersion,
        dispersion_by="ml" if family.has_dispersion else "",
        shape=float(getattr(family, "theta", None) or np.nan),
        shape_estimated=shape_estimated,
        linear_predictor=pd.Series(family.predictor(fitted), index=index, name="linear_predictor"),
        deviance=2.0 * float(half.sum()),
        observed=observed,
    )
    known = {} if rows is None else {"rows": rows}
    return {"general": general, "fitted": fitted, "residuals": residuals, **known}
