"""Restores missing values in columns from reticulate, which NumPy's types cannot represent."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import PymackayWarning

SAFE = "pymackay.missing_values_are_kept"  # in the `attrs` of a data frame from `lme4.frame`
R_SESSION = "R_SESSION_INITIALIZED"  # in the environment where R runs this Python
_NA_INTEGER = -(2**31)


def started_by_r() -> bool:
    """Return whether R runs this Python by reticulate, by the environment variables."""
    entries = os.environ.get(R_SESSION, "").split(":")
    return f"PID={os.getpid()}" in entries


def with_missing_of_r(values: Any, name: str) -> Any:
    """Return a column in which R's missing integers are missing.

    reticulate passes a missing integer as the smallest 32-bit integer, which is not a valid
    integer in R. It passes a missing text as ``"NA"`` and a missing logical value as True; these
    cannot be restored, so that a Python run by R warns of them.

    Parameters
    ----------
    values : pandas.Series, array or sequence of length n
    name : str
        Name of the column, for the warning.

    Warns
    -----
    PymackayWarning
        If the column may contain missing values that look like valid ones.
    """
    dtype = getattr(values, "dtype", None)
    from_r = started_by_r() and not getattr(values, "attrs", {}).get(SAFE)
    # R's integers have 32 bits; reticulate may widen them
    if dtype == np.int32 or (from_r and dtype == np.int64):
        return _with_missing_integers(values, name)
    if from_r:
        _warn_of_lost(values, dtype, name)
    return values


def _with_missing_integers(values: Any, name: str) -> Any:
    integers = np.asarray(values)
    missing = integers == _NA_INTEGER
    if not missing.any():
        return values
    restored = pd.arrays.IntegerArray(np.where(missing, 0, integers), missing)
    return pd.Series(restored, index=getattr(values, "index", None), name=name)


def _warn_of_lost(values: Any, dtype: Any, name: str) -> None:
    """Warn if a logical or text column may contain missing values of R."""
    if dtype == np.bool_:
        problem = "has logical values, among which R's NA becomes True"
    elif pd.api.types.is_string_dtype(dtype) and _holds_text_na(values):
        problem = "has the text 'NA', which R's missing text becomes"
    else:
        return
    warnings.warn(
        f"the column {name!r} came from R over reticulate and {problem}. Where values are missing, "
        "take the data frame by its name: pymackay.lme4.frame(name).",
        PymackayWarning,
        stacklevel=2,
    )


def _holds_text_na(values: Any) -> bool:
    return any(isinstance(value, str) and value == "NA" for value in values)
