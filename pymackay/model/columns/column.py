"""Columns of a model: `Numeric` and `Factor`, and how factors are made and recoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.formula.rtext import format_number
from pymackay.model.bases.scaling import chunks

LOGICAL_LEVELS = ("FALSE", "TRUE")
_EXACT_DIGITS = 10**15
_EXACT_FLOATS = 2**53  # whole numbers from here on may be rounded ones
_R_INTEGER_MAX = 2**31 - 1
DENSE = 4  # of the number of rows: a range of codes up to which a table is used


@dataclass(frozen=True, eq=False)
class Contrasts:
    """How the levels of a factor become columns.

    Attributes
    ----------
    matrix : numpy.ndarray, shape (levels, columns)
    names : tuple of str
        What follows the factor's name in the names of its columns: ``"b"``, ``"1"``, ``".L"``.
    label : str
        ``"contr.treatment"``, ...; ``"matrix"`` for one given by hand.
    """

    matrix: np.ndarray
    names: tuple[str, ...]
    label: str


@dataclass(frozen=True, eq=False)
class Numeric:
    """Numbers, one row or several columns of them; nan is missing.

    Attributes
    ----------
    values : numpy.ndarray, shape (n,) or (n, k)
        float64, or integers as they came, of which those of the rows `absent` mean nothing.
    names : tuple of str or None
        Names of the k columns: the ``1`` and ``2`` of ``poly(x, 2)``.
    integer : bool
        Whether R would hold them as integers, which print without an exponent.
    absent : numpy.ndarray of bool, shape (n,), or None
        Rows where an integer is missing; None where none is.
    lossy : bool
        Whether the column had digits that float64 does not hold, so that it cannot name groups.
    """

    values: np.ndarray
    names: tuple[str, ...] | None = None
    integer: bool = False
    absent: np.ndarray | None = None
    lossy: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def floats(self) -> np.ndarray:
        """The values as float64, nan where one is missing."""
        if self.absent is not None:
            return np.where(self.absent, np.nan, self.values)
        return self.values.astype(np.float64, copy=False)

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers, or missing."""
        if self.values.dtype.kind in "iu":
            return True
        known = self.values[~np.isnan(self.values)]
        return bool(np.isfinite(known).all() and (known == np.trunc(known)).all())

    def missing(self) -> np.ndarray | None:
        """Rows with a missing value; None if there is none."""
        return self._rows_with(np.isnan) if self.absent is None else self.absent

    def infinite(self) -> np.ndarray | None:
        """Rows with an infinite value; None if there is none."""
        return self._rows_with(np.isinf)

    def _rows_with(self, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
        """Return the rows some value of which is missing or infinite, as `test` says."""
        with np.errstate(over="ignore", invalid="ignore"):  # a finite sum has finite parts
            if self.values.dtype.kind != "f" or np.isfinite(np.sum(self.values)):
                return None
        hits = np.asarray(test(self.values).reshape(len(self), -1).any(axis=1))
        return hits if hits.any() else None

    def take(self, rows: np.ndarray) -> Numeric:
        """Return some rows, given as positions or as a mask."""
        absent = None if self.absent is None else self.absent[rows]
        if absent is not None and not absent.any():
            absent = None
        return replace(self, values=self.values[rows], absent=absent)


@dataclass(frozen=True, eq=False)
class Factor:
    """Categories: a factor, text, or logical values.

    Attributes
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row, -1 where it is missing.
    levels : tuple of str
    kind : str
        ``"factor"``, ``"ordered"``, ``"text"`` or ``"logical"``; else the type of values that
        can name groups and nothing else: ``"date"``, ``"UUID"``, ``"datetime64[ns]"``.
    contrasts : Contrasts or None
        Contrasts that came with it, from ``C(f, sum)``.
    """

    codes: np.ndarray
    levels: tuple[str, ...]
    kind: str = "factor"
    contrasts: Contrasts | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def missing(self) -> np.ndarray | None:
        """Rows with a missing value; None if there is none."""
        if not len(self.codes) or self.codes.min() >= 0:
            return None
        return self.codes < 0

    def infinite(self) -> None:
        """No category is infinite."""
        return

    def take(self, rows: np.ndarray) -> Factor:
        """Return some rows, given as positions or as a mask."""
        return replace(self, codes=self.codes[rows])


Column = Numeric | Factor
KINDS = ("factor", "ordered", "text", "logical")
"""Kinds of factors that may be variables; those of another kind only name groups."""


def integer_column(present: np.ndarray, absent: np.ndarray | None = None) -> Numeric:
    """Make a column of integers, exact; beyond 32 bits R holds doubles, which print otherwise.

    Parameters
    ----------
    present : numpy.ndarray of an integer type, shape (number of integers,)
    absent : numpy.ndarray of bool, shape (n,), optional
        Rows where one is missing; those of the others are as many as `present`.
    """
    if not len(present) and absent is not None:
        return Numeric(np.full(len(absent), np.nan), integer=True)
    small = present.dtype.itemsize < 4 or not len(present)
    fits = small or (present.max() <= _R_INTEGER_MAX and present.min() >= -_R_INTEGER_MAX)
    if absent is None or not absent.any():
        return Numeric(present, integer=bool(fits))
    values = np.full(len(absent), present[0], dtype=present.dtype)
    values[~absent] = present
    return Numeric(values, integer=bool(fits), absent=absent)


def number_labels(values: np.ndarray, integer: bool) -> list[str]:
    """Write numbers as R's ``as.character`` does; integers beyond a double's digits stay exact."""
    if values.dtype.kind in "iu":
        if integer:
            return list(map(str, values.tolist()))
        return [
            format_number(value) if abs(value) < _EXACT_DIGITS else str(value)
            for value in values.tolist()
        ]
    if integer:
        return [str(int(value)) for value in values.tolist()]
    return [format_number(value) for value in values.tolist()]


def renumber(
    codes: np.ndarray, order: Sequence[int] | np.ndarray, size: int | None = None
) -> np.ndarray:
    """Give codes below `size` new numbers: ``order[k]`` becomes k, others and -1 become -1."""
    ranks = np.full((len(order) if size is None else size) + 1, -1, dtype=np.int32)
    ranks[np.asarray(order, dtype=np.intp)] = np.arange(len(order), dtype=np.int32)
    return ranks[codes]


def codes_among(
    codes: np.ndarray, labels: Iterable[str | None], levels: Sequence[str]
) -> np.ndarray:
    """Number codes by where their labels stand among `levels`; -1 where they do not, or missing."""
    places = _places(tuple(levels))
    return np.array([*(places.get(label, -1) for label in labels), -1], dtype=np.int32)[codes]  # type: ignore[arg-type]


@lru_cache(maxsize=8)
def _places(levels: tuple[str, ...]) -> dict[str, int]:
    """Return the position of each level; kept, because predictions look up the same levels."""
    return {level: i for i, level in enumerate(levels)}


def as_factor(column: Column, name: str) -> Factor:
    """Turn a column into a factor with the levels in use, as R's ``factor`` does.

    Numbers are sorted and printed with 15 significant digits; strings are sorted by code point;
    a factor keeps the order of its levels.

    Raises
    ------
    DataError
        If the column is a matrix, such as ``poly(x, 2)``, or has lost digits of its numbers.
    """
    if isinstance(column, Factor):
        kind = "ordered" if column.kind == "ordered" else "factor"
        return drop_unused(Factor(column.codes, column.levels, kind))
    if column.values.ndim != 1:
        raise DataError(f"'{name}' has several columns, so that it cannot be a factor")
    codes, values = _level_codes(column, name)
    labels = number_labels(values, column.integer)
    is_float = column.values.dtype.kind == "f"
    levels = tuple(dict.fromkeys(labels) if is_float else labels)
    if len(levels) < len(labels):  # numbers that print the same
        codes = codes_among(codes, labels, levels)
    return Factor(codes, levels)


def _level_codes(column: Numeric, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values of a column in rising order, missing ones -1.

    Raises
    ------
    DataError
        If they are floating-point numbers that may stand for several integers or decimals each.
    """
    codes, values = _sorted_codes(column.values)
    if column.absent is not None:
        codes[column.absent] = -1
        used = levels_in_use(codes, len(values))
        codes, values = renumber(codes, used, len(values)), values[used]
    is_float = column.values.dtype.kind == "f"
    if column.lossy or (
        is_float and np.any(np.isfinite(values) & (np.abs(values) > _EXACT_FLOATS))
    ):
        raise DataError(
            f"'{name}' cannot name groups: its values are floating-point numbers that have lost "
            f"their last digits (more than 15 digits), so that different groups may be one; read "
            f"the column as integers (pandas dtype 'Int64' where some are missing), or as text"
        )
    return codes, values


def number_levels(
    column: Numeric, name: str = "the grouping factor"
) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values of a column of numbers in rising order.

    Returns
    -------
    tuple
        Codes, and the values; those that print the same are one, rounded as they print.
    """
    codes, values = _level_codes(column, name)
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
        if span <= DENSE * len(values) + 64:
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
    offsets = np.flatnonzero(present)
    ranks = np.zeros(span, dtype=np.int32)
    ranks[offsets] = np.arange(len(offsets), dtype=np.int32)
    codes = np.empty(len(values), dtype=np.int32)
    for rows in chunks(len(values)):
        codes[rows] = ranks[values[rows].astype(wide) - least]
    return codes, offsets.astype(wide) + least


def levels_in_use(codes: np.ndarray, size: int) -> np.ndarray:
    """Return which of `size` codes occur, ascending; -1 does not count."""
    if size <= DENSE * len(codes) + 64:
        present = np.zeros(size + 1, dtype=bool)
        for rows in chunks(len(codes)):
            present[codes[rows]] = True
        return np.flatnonzero(present[:size])
    distinct = np.unique(codes)
    return distinct[distinct >= 0]


def drop_unused(factor: Factor) -> Factor:
    """Drop the levels that no row has; contrasts that came with the factor go with them."""
    used = levels_in_use(factor.codes, len(factor.levels))
    if len(used) == len(factor.levels):
        return factor
    codes = renumber(factor.codes, used, len(factor.levels))
    levels = tuple(factor.levels[i] for i in used)
    return replace(factor, codes=codes, levels=levels, contrasts=None)


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
    known = _places(tuple(levels))
    used = levels_in_use(factor.codes, len(factor.levels))
    unknown = tuple(factor.levels[i] for i in used if factor.levels[i] not in known)
    return codes_among(factor.codes, factor.levels, levels), unknown
