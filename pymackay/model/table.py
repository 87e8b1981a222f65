"""`Table`: the user's data, a data frame or a mapping of arrays, read column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.model.columns import Column, read_column
from pymackay.reticulate import with_missing_of_r

__all__ = ["Table"]


class Table:
    """The data of a model, never changed.

    Parameters
    ----------
    data : pandas.DataFrame or mapping of str to array-like
        One value of each column for each row.

    Raises
    ------
    ArgumentError
        If `data` is neither, or two columns have one name.
    DataError
        If it has no rows, or columns of different lengths.
    """

    def __init__(self, data: pd.DataFrame | Mapping[str, Any]) -> None:
        if isinstance(data, pd.DataFrame):
            self._check_names(data.columns)
            self.index: pd.Index = data.index
        elif isinstance(data, Mapping):
            self.index = pd.RangeIndex(_common_length(data))
        else:
            raise ArgumentError(
                f"data must be a pandas DataFrame or a mapping of column names to arrays, not "
                f"{type(data).__name__}"
            )
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

    @property
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
            self.columns[name] = read_column(with_missing_of_r(self.data[name], name), name)
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
