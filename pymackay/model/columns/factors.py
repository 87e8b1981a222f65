"""Operations on factors: made from any column, combined, cut down to the levels in use, recoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.model.columns.column import Column, Factor, Numeric, number_labels, renumber
from pymackay.model.sums.by_level import chunks

__all__ = ["as_factor", "combine", "drop_unused", "levels_in_use", "number_levels", "recode"]

_DENSE = 4


def as_factor(column: Column, name: str) -> Factor:
    """Turn a column into a factor with the levels in use, as R's ``factor`` does.

    Numbers are sorted and printed with 15 significant digits; strings are sorted by code point;
    a factor keeps the order of its levels.

    Raises
    ------
    DataError
        If the column is a matrix, such as ``poly(x, 2)``.
    """
    if isinstance(column, Factor):
        kind = "ordered" if column.kind == "ordered" else "factor"
        return drop_unused(Factor(column.codes, column.levels, kind))
    if column.values.ndim != 1:
        raise DataError(f"'{name}' has several columns, so that it cannot be a factor")
    codes, values = _sorted_codes(column.values)
    labels = number_labels(values, column.integer)
    if column.values.dtype.kind == "f" and len(set(labels)) < len(labels):
        return _merge_repeated(codes, labels)
    return Factor(codes, tuple(labels))


def number_levels(column: Numeric) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values of a column of numbers in rising order.

    Returns
    -------
    tuple
        Codes, and the values; those that print the same are one, rounded as they print.
    """
    codes, values = _sorted_codes(column.values)
    if values.dtype.kind == "f":
        labels = number_labels(values, column.integer)
        values, places = np.unique(np.array(labels, dtype=np.float64), return_inverse=True)
        codes = places.astype(np.int32)[codes]
    elif values.dtype.itemsize == 8 and values.max() > np.iinfo(np.int64).max:
        return codes, values
    else:
        values = values.astype(np.int64, copy=False)
    return codes, values


def _sorted_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values in rising order; nan is -1.

    Integers of a moderate range are numbered through a table, without hashing or sorting.
    """
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        span = high - low + 1
        if span <= _DENSE * len(values) + 64:
            return _table_codes(values, low, span)
    codes, distinct = pd.factorize(values)
    order = np.argsort(distinct, kind="stable")
    return renumber(codes, order), distinct[order]


def _table_codes(values: np.ndarray, low: int, span: int) -> tuple[np.ndarray, np.ndarray]:
    """Number integers between `low` and ``low + span`` in rising order, some rows at a time."""
    wide = values.dtype if values.dtype.itemsize == 8 else np.dtype(np.int64)
    least = wide.type(low)
    present = np.zeros(span, dtype=bool)
    for rows in chunks(len(values)):
        present[values[rows].astype(wide) - least] = True
    found = np.flatnonzero(present)
    ranks = np.zeros(span, dtype=np.int32)
    ranks[found] = np.arange(len(found), dtype=np.int32)
    codes = np.empty(len(values), dtype=np.int32)
    for rows in chunks(len(values)):
        codes[rows] = ranks[values[rows].astype(wide) - least]
    return codes, found.astype(wide) + least


def _merge_repeated(codes: np.ndarray, labels: Sequence[str]) -> Factor:
    """Join numbers that print the same."""
    levels = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    places = np.array([*(levels[label] for label in labels), -1], dtype=np.int32)
    return Factor(places[codes], tuple(levels))


def levels_in_use(codes: np.ndarray, size: int) -> np.ndarray:
    """Return which of `size` codes occur, ascending; -1 does not count."""
    if size <= _DENSE * len(codes) + 64:
        present = np.zeros(size + 1, dtype=bool)
        for rows in chunks(len(codes)):
            present[codes[rows]] = True
        return np.flatnonzero(present[:size])
    found = np.unique(codes)
    return found[found >= 0]


def drop_unused(factor: Factor) -> Factor:
    """Drop the levels that no row has; contrasts that came with the factor go with them."""
    used = levels_in_use(factor.codes, len(factor.levels))
    if len(used) == len(factor.levels):
        return factor
    ranks = np.full(len(factor.levels) + 1, -1, dtype=np.int32)
    ranks[used] = np.arange(len(used), dtype=np.int32)
    levels = tuple(factor.levels[i] for i in used)
    return replace(factor, codes=ranks[factor.codes], levels=levels, contrasts=None)


def combine(
    first: Factor, second: Factor, name: str, *, separator: str = ":", first_slowest: bool = True
) -> Factor:
    """Cross two factors; only combinations in use become levels.

    Parameters
    ----------
    first, second : Factor
    name : str
        For error messages.
    separator : str
        Stands between the two levels.
    first_slowest : bool
        The order of levels: sorted by `first` (R's ``a:b``), or by `second` (``interaction``).

    Raises
    ------
    DataError
        If two combinations would have the same name.
    """
    slow, fast = (first, second) if first_slowest else (second, first)
    width = len(fast.levels)
    wide = len(slow.levels) * width > np.iinfo(np.int32).max
    pairs = slow.codes.astype(np.int64 if wide else np.int32) * width + fast.codes
    missing = (first.codes < 0) | (second.codes < 0)
    if missing.any():
        pairs[missing] = -1
    used = levels_in_use(pairs, len(slow.levels) * width)
    codes = _ranks(pairs, used, len(slow.levels) * width)
    a, b = (used // width, used % width) if first_slowest else (used % width, used // width)
    levels = tuple(
        f"{first.levels[i]}{separator}{second.levels[j]}"
        for i, j in zip(a.tolist(), b.tolist(), strict=True)
    )
    _refuse_same_names(levels, name)
    return Factor(codes, levels)


def _ranks(codes: np.ndarray, used: np.ndarray, size: int) -> np.ndarray:
    """Number the codes in use from 0; -1 stays."""
    if size <= _DENSE * len(codes) + 64:
        ranks = np.full(size + 1, -1, dtype=np.int32)
        ranks[used] = np.arange(len(used), dtype=np.int32)
        return ranks[codes]
    ranks = np.searchsorted(used, codes).astype(np.int32)
    return np.where(codes < 0, np.int32(-1), ranks)


def _refuse_same_names(levels: Sequence[str], name: str) -> None:
    if len(set(levels)) < len(levels):
        seen: set[str] = set()
        twice = next(level for level in levels if level in seen or seen.add(level))  # type: ignore[func-returns-value]
        raise DataError(
            f"two different levels of '{name}' would both be called '{twice}', because the "
            f"levels themselves contain the separator; rename them"
        )


def recode(factor: Factor, levels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Express a factor in given levels.

    Returns
    -------
    tuple
        Codes, -1 where the row is missing or its level is not among `levels`; and the levels in
        use that are not.
    """
    if factor.levels == tuple(levels):
        return factor.codes, ()
    places = {level: i for i, level in enumerate(levels)}
    lookup = np.array([*(places.get(level, -1) for level in factor.levels), -1], dtype=np.int32)
    used = levels_in_use(factor.codes, len(factor.levels))
    unknown = tuple(factor.levels[i] for i in used if lookup[i] < 0)
    return lookup[factor.codes], unknown
