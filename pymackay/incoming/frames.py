"""Tables of other packages as data frames, and columns whose values are names of groups."""

from __future__ import annotations

import datetime
import ipaddress
import os
import uuid
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError

LABELS = (
    datetime.date,  # a datetime is one, too
    datetime.time,
    datetime.timedelta,
    pd.Period,
    pd.Interval,
    uuid.UUID,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
)
"""Types whose values are names of groups, in their own order."""


_TABLE_FILES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".rds", ".feather")


def is_table_file(data: Any) -> bool:
    """Say whether `data` is the path of a file that is read at once, by the end of its name."""
    return isinstance(data, str | os.PathLike) and str(data).lower().endswith(_TABLE_FILES)


def as_frame(data: Any) -> pd.DataFrame:
    """Return a table of polars or pyarrow, or in a file, as a data frame; integers keep all digits.

    Raises
    ------
    ArgumentError
        If `data` is not such a table, or has a column of a type that pandas does not support.
    """
    if is_table_file(data):
        from pymackay.incoming.table_file import read_table

        return read_table(os.fspath(data))
    package = package_of(data)
    try:
        if package == "polars" and hasattr(data, "to_arrow") and hasattr(data, "columns"):
            data = data.to_arrow()
        if package_of(data) == "pyarrow" and hasattr(data, "to_pandas") and hasattr(data, "schema"):
            return data.to_pandas(integer_object_nulls=True)
    except (ImportError, TypeError, ValueError, NotImplementedError) as error:
        raise ArgumentError(
            f"data is a {full_name(type(data))} that cannot be converted to pandas ({error}); "
            f"pass a pandas DataFrame of the columns that the formula needs"
        ) from error
    raise ArgumentError(
        f"data must be a pandas DataFrame, a table of polars or pyarrow, the path of a CSV file, "
        f"or a mapping of column names to arrays, not {full_name(type(data))}; {_cure(data)}"
    )


def _cure(data: Any) -> str:
    """Return how to convert `data` to a data frame."""
    for method in ("to_pandas", "toPandas", "to_dataframe", "to_frame", "collect"):
        if callable(getattr(data, method, None)):
            return f"pass data.{method}()"
    return "make one with pandas.DataFrame(values, columns=names)"


def package_of(value: Any) -> str:
    """Return the name of the package that the type of a value comes from."""
    return type(value).__module__.partition(".")[0]


def full_name(kind: type) -> str:
    """Return the name of a type with that of its module."""
    return (
        kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    )


def named_groups(array: Any) -> tuple[np.ndarray, list[str], tuple[str, ...]]:
    """Return the groups that values name.

    Parameters
    ----------
    array : array of dates, times, periods, UUIDs, ..., shape (n,)

    Returns
    -------
    codes : numpy.ndarray of int, shape (n,)
        Position of each value's label among `labels`; -1 where it is missing.
    labels : list of str
        Of the distinct values, in the order of their first rows.
    levels : tuple of str
        The labels in the order of the values.
    """
    codes, distinct = pd.factorize(array)
    values = list(pd.Index(distinct)) if isinstance(distinct, np.ndarray) else list(distinct)
    labels = [str(value).removesuffix(" 00:00:00") for value in values]
    try:
        order = sorted(range(len(values)), key=values.__getitem__)
    except TypeError:  # intervals that overlap, times with and without a zone
        order = sorted(range(len(values)), key=labels.__getitem__)
    levels = tuple(dict.fromkeys(labels[i] for i in order))
    return codes, labels, levels


def as_partition(part: Any) -> pd.DataFrame:
    """Return a table that a source gave as a data frame; refuse what is none."""
    try:
        return part if isinstance(part, pd.DataFrame) else as_frame(part)
    except ArgumentError as error:
        raise ArgumentError(
            f"data must be an iterator of tables, but it gave a {type(part).__name__}: {error}"
        ) from error
