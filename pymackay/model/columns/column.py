"""Columns of a model: `Numeric` and `Factor`, and how they are read from a pandas column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.formula.rtext import format_number
from pymackay.model.bases.contrasts import Contrasts

__all__ = ["Column", "Factor", "Numeric", "read_column"]

LOGICAL_LEVELS = ("FALSE", "TRUE")
_R_INTEGER_MAX = 2**31 - 1
_EXACT_DIGITS = 10**15


@dataclass(frozen=True, eq=False)
class Numeric:
    """Numbers, one row or several columns of them; nan is missing.

    Attributes
    ----------
    values : numpy.ndarray, shape (n,) or (n, k)
        float64, or integers as they came.
    names : tuple of str or None
        Names of the k columns: the ``1`` and ``2`` of ``poly(x, 2)``.
    integer : bool
        Whether R would hold them as integers, which print without an exponent.
    """

    values: np.ndarray
    names: tuple[str, ...] | None = None
    integer: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def floats(self) -> np.ndarray:
        """The values as float64."""
        return self.values.astype(np.float64, copy=False)

    def missing(self) -> np.ndarray | None:
        """Rows with a missing value; None if there is none."""
        if _surely_finite(self.values):
            return None
        absent = np.isnan(self.values)
        absent = absent.any(axis=1) if absent.ndim == 2 else absent
        return absent if absent.any() else None

    def infinite(self) -> np.ndarray | None:
        """Rows with an infinite value; None if there is none."""
        if _surely_finite(self.values):
            return None
        found = np.isinf(self.values)
        found = found.any(axis=1) if found.ndim == 2 else found
        return found if found.any() else None

    def take(self, rows: np.ndarray) -> Numeric:
        """Return some rows, given as positions or as a mask."""
        return replace(self, values=self.values[rows])


@dataclass(frozen=True, eq=False)
class Factor:
    """Categories: a factor, text, or logical values.

    Attributes
    ----------
    codes : numpy.ndarray of int, shape (n,)
        0-based level of each row, -1 where it is missing.
    levels : tuple of str
    kind : str
        ``"factor"``, ``"ordered"``, ``"text"`` or ``"logical"``.
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


def _surely_finite(values: np.ndarray) -> bool:
    """Whether the sum alone proves that every value is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return values.dtype.kind != "f" or bool(np.isfinite(np.sum(values)))


def read_column(values: Any, name: str) -> Column:
    """Read a column of a data frame, or anything array-like, without changing it.

    Parameters
    ----------
    values : pandas.Series, array or sequence
    name : str
        For error messages.

    Returns
    -------
    Numeric or Factor

    Raises
    ------
    DataError
        If the column holds neither numbers nor categories: dates, lists, mixed types.
    """
    array = values.array if isinstance(values, pd.Series | pd.Index) else values
    if isinstance(getattr(array, "dtype", None), pd.StringDtype):
        return read_text(array)
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        array = array.to_numpy()
    if isinstance(array, pd.Categorical):
        return _read_categorical(array, name)
    if not isinstance(array, pd.api.extensions.ExtensionArray):
        array = np.asarray(array)
        if array.ndim != 1:
            raise DataError(
                f"the column '{name}' has {array.ndim} dimensions, but a column has one value a row"
            )
        return _read_numpy(array, name)
    return _read_extension(array, name)


def _read_numpy(array: np.ndarray, name: str) -> Column:
    kind = array.dtype.kind
    if kind == "f":
        return Numeric(array.astype(np.float64, copy=False))
    if kind in "iu":
        return _integers(array)
    if kind == "b":
        return Factor(array.astype(np.int8), LOGICAL_LEVELS, "logical")
    if kind in "UT":
        return read_text(array.astype(object))
    if kind == "O":
        return _read_objects(array, name)
    raise _refused(name, str(array.dtype))


def _integers(array: np.ndarray) -> Numeric:
    """Keep integers exact; beyond 32 bits R holds doubles, which print otherwise."""
    small = array.dtype.itemsize < 4 or not len(array)
    fits = small or (array.max() <= _R_INTEGER_MAX and array.min() >= -_R_INTEGER_MAX)
    return Numeric(array, integer=fits)


def _read_extension(array: pd.api.extensions.ExtensionArray, name: str) -> Column:
    dtype = array.dtype
    kind = getattr(dtype, "kind", "O")
    if isinstance(dtype, pd.SparseDtype):
        return _read_numpy(np.asarray(array), name)
    refused = isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype | pd.DatetimeTZDtype)
    if refused or kind in "mMc":
        raise _refused(name, str(dtype))
    if kind == "b":
        return _logical_with_missing(array)
    if kind in "iuf":
        return _numbers_with_missing(array, kind)
    return _read_objects(np.asarray(array, dtype=object), name)


def _numbers_with_missing(array: pd.api.extensions.ExtensionArray, kind: str) -> Numeric:
    if kind in "iu" and not array.isna().any():
        return _integers(np.asarray(array, dtype=array.dtype.numpy_dtype))
    values = pd.Series(array).to_numpy(dtype=np.float64, na_value=np.nan)
    return Numeric(values, integer=kind in "iu" and _within_r_integers(values))


def _within_r_integers(values: np.ndarray) -> bool:
    return not np.any(np.abs(values) > _R_INTEGER_MAX)


def _logical_with_missing(array: Any) -> Factor:
    absent = np.asarray(pd.isna(array))
    codes = np.full(len(array), -1, dtype=np.int8)
    codes[~absent] = np.asarray(array[~absent], dtype=np.int8)
    return Factor(codes, LOGICAL_LEVELS, "logical")


def _read_objects(array: np.ndarray, name: str) -> Column:
    inferred = pd.api.types.infer_dtype(array, skipna=True)
    if inferred == "string":
        return read_text(array)
    if inferred == "boolean":
        return _logical_with_missing(array)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
        values = np.where(pd.isna(array), np.nan, array).astype(np.float64)
        return Numeric(values, integer=inferred == "integer" and _within_r_integers(values))
    raise _refused(name, "mixed types" if inferred.startswith("mixed") else inferred)


def read_text(array: Any) -> Factor:
    """Read strings as categories, levels sorted by code point; missing values are -1."""
    codes, found = pd.factorize(array)
    labels = [str(label) for label in found]
    order = sorted(range(len(labels)), key=labels.__getitem__)
    return Factor(renumber(codes, order), tuple(labels[i] for i in order), "text")


def renumber(codes: np.ndarray, order: Sequence[int] | np.ndarray) -> np.ndarray:
    """Give codes new numbers: the category ``order[k]`` becomes ``k``, missing stays -1."""
    ranks = np.full(len(order) + 1, -1, dtype=np.int32)
    ranks[np.asarray(order, dtype=np.intp)] = np.arange(len(order), dtype=np.int32)
    return ranks[codes]


def _read_categorical(array: pd.Categorical, name: str) -> Factor:
    labels = category_labels(array.categories, name)
    kind = "ordered" if array.ordered else "factor"
    if len(set(labels)) == len(labels):
        return Factor(array.codes, tuple(labels), kind)
    levels = list(dict.fromkeys(labels))
    places = np.array([*(levels.index(label) for label in labels), -1], dtype=np.int32)
    return Factor(places[array.codes], tuple(levels), kind)


def category_labels(categories: pd.Index, name: str) -> list[str]:
    """Write categories as R writes levels."""
    values = categories.tolist()
    if all(isinstance(value, str) for value in values):
        return values
    if isinstance(categories.dtype, pd.IntervalDtype) or categories.dtype.kind in "mM":
        return [str(value) for value in categories]
    column = read_column(categories, name)
    if isinstance(column, Numeric):
        return number_labels(column.values, column.integer)
    return [column.levels[code] for code in column.codes]


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


def _refused(name: str, found: str) -> DataError:
    cure = (
        "convert it to numbers, for example the days since the first date"
        if any(word in found for word in ("date", "time", "period"))
        else "give it one type: numbers, strings, booleans or a pandas Categorical"
    )
    return DataError(f"the column '{name}' holds {found}, which a model cannot use; {cure}")
