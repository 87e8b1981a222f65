"""`as_names`: columns that name groups, with the factors that R gets in their place."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.formula.rtext import format_number
from pymackay.incoming.frames import LABELS, named_groups

LARGEST_EXACT = 2**53
_EXACT_DIGITS = 10**15


def as_names(series: pd.Series) -> pd.Series:
    """Return dates, times, periods, UUIDs and integers beyond 2^53 as categories, in their order.

    Other values are returned as they are.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series
    if _are_large_integers(series):
        return _categories(series, [_integer_name(value) for value in sorted(set(_ints(series)))])
    if not _are_labels(series):
        return series
    codes, labels, levels = named_groups(series.array)
    values = np.array([*labels, None], dtype=object)[codes]
    return pd.Series(pd.Categorical(values, categories=list(levels)), index=series.index)


def _are_labels(series: pd.Series) -> bool:
    dtype = series.dtype
    if getattr(dtype, "kind", "O") in "mM" or isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        return True
    if not pd.api.types.is_object_dtype(dtype):
        return False
    types = {type(value) for value in series.dropna()}
    return len(types) == 1 and issubclass(types.pop(), LABELS)


def _are_large_integers(series: pd.Series) -> bool:
    if pd.api.types.infer_dtype(series, skipna=True) != "integer":
        return False
    return max(map(abs, _ints(series)), default=0) > LARGEST_EXACT


def _ints(series: pd.Series) -> list[int]:
    return [int(value) for value in series.dropna()]


def _integer_name(value: int) -> str:
    """Return R's name of a double; an integer with more digits than a double shows keeps them."""
    return format_number(value) if abs(value) < _EXACT_DIGITS else str(value)


def _categories(series: pd.Series, levels: list[str]) -> pd.Series:
    """Return the integers as categories with these names."""
    values = [None if pd.isna(value) else _integer_name(int(value)) for value in series]
    return pd.Series(pd.Categorical(values, categories=levels), index=series.index)
