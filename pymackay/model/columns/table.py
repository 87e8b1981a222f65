"""`Table`: the user's data, a data frame or a mapping of arrays, read column by column."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.incoming.frames import as_frame, is_table_file
from pymackay.incoming.reticulate import R_SESSION, with_missing_of_r
from pymackay.model.columns.column import (
    LOGICAL_LEVELS,
    Column,
    Factor,
    Numeric,
    codes_among,
    integer_column,
    number_labels,
)
from pymackay.model.columns.objects import (
    read_extension,
    read_labels,
    read_objects,
    read_text,
    refused,
    without_arrow,
)


class Table:
    """The data of a model, never changed.

    Parameters
    ----------
    data : pandas.DataFrame, table of polars or pyarrow, or mapping of str to array-like
        One value of each column for each row. `Table.data` has it as pandas, or the mapping.

    Raises
    ------
    ArgumentError
        If `data` is something else.
    DataError
        If it has no rows, columns of different lengths, or two columns of one name.
    """

    def __init__(self, data: Any) -> None:
        if not isinstance(data, pd.DataFrame | Mapping):
            data = as_frame(data)
        if isinstance(data, pd.DataFrame):
            self._check_names(data.columns)
            self.index: pd.Index = data.index
        else:
            self.index = pd.RangeIndex(_common_length(data))
        self.data = data
        self.n = len(self.index)
        self.columns: dict[str, Column] = {}
        if self.n == 0:
            raise DataError("data has no rows; a model needs some")

    @staticmethod
    def _check_names(columns: pd.Index) -> None:
        if isinstance(columns, pd.MultiIndex):
            raise DataError(
                "data has column names of several levels; flatten them, so that each column has "
                "one name"
            )
        if not columns.is_unique:
            twice = columns[columns.duplicated()].unique().tolist()
            raise DataError(
                f"data has more than one column called {', '.join(map(repr, twice[:5]))}; rename "
                f"or drop one"
            )

    def __contains__(self, name: str) -> bool:
        return name in self.data

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in order; columns not named by a string cannot be asked for."""
        return [name for name in self.data if isinstance(name, str)]

    def column(self, name: str) -> Column:
        """Return a column, read once.

        Raises
        ------
        DataError
            If the column holds what a model cannot use.
        """
        if name not in self.columns:
            values = self.data[name]
            if R_SESSION in os.environ or getattr(values, "dtype", None) == np.int32:
                values = with_missing_of_r(values, name)
            self.columns[name] = read_column(values, name)
        return self.columns[name]


def _common_length(data: Mapping[str, Any]) -> int:
    lengths = {}
    for name, values in data.items():
        if np.ndim(values) != 1 and not hasattr(values, "dtype"):
            raise DataError(f"the column '{name}' of data must be an array with one value a row")
        lengths[name] = len(values)
    if not lengths:
        raise DataError("data has no columns")
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {n}" for name, n in list(lengths.items())[:8])
        raise DataError(f"the columns of data must have one length, but have {shown}")
    return next(iter(lengths.values()))


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
        If the column holds neither numbers nor categories: lists, mixed types.
    """
    dtype = getattr(values, "dtype", None)
    if not isinstance(dtype, np.dtype | pd.CategoricalDtype):
        values = without_arrow(values)
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
    if isinstance(array.dtype, pd.SparseDtype):
        return _read_numpy(np.asarray(array), name)
    return read_extension(array, name)


def _read_numpy(array: np.ndarray, name: str) -> Column:
    kind = array.dtype.kind
    if kind == "f":
        return Numeric(array.astype(np.float64, copy=False))
    if kind in "iu":
        return integer_column(array)
    if kind == "b":
        return Factor(array.astype(np.int8), LOGICAL_LEVELS, "logical")
    if kind in "UT":
        return read_text(array.astype(object))
    if kind == "O":
        return read_objects(array, name)
    if kind in "mM":
        return read_labels(array, str(array.dtype))
    raise refused(name, str(array.dtype))


def _read_categorical(array: pd.Categorical, name: str) -> Factor:
    labels = category_labels(array.categories, name)
    kind = "ordered" if array.ordered else "factor"
    levels = tuple(dict.fromkeys(labels))
    codes = array.codes if len(levels) == len(labels) else codes_among(array.codes, labels, levels)
    return Factor(codes, levels, kind)


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


def is_source(data: Any) -> bool:
    """Say whether `data` come in partitions: a path of Parquet, frames one by one, Dask.

    A function returns an iterator of frames.
    """
    if isinstance(data, pd.DataFrame | Mapping) or is_table_file(data):
        return False
    if isinstance(data, str | os.PathLike) or is_dask(data):
        return True
    if isinstance(data, list | tuple):
        return len(data) > 0 and all(isinstance(part, pd.DataFrame) for part in data)
    return isinstance(data, Iterator | FunctionType | MethodType | partial)


def is_dask(source: Any) -> bool:
    """Say whether `source` is a Dask DataFrame; Dask is not imported for the answer."""
    return type(source).__module__.partition(".")[0] in ("dask", "dask_expr") and hasattr(
        source, "to_delayed"
    )
