"""`read_table`: the table that a path names, or on the command line a bundled data set."""

from __future__ import annotations

import difflib
import importlib
import re
import warnings
import zlib
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pymackay.datasets import list_data, load_data
from pymackay.errors import ArgumentError, DataError, PymackayError
from pymackay.incoming.csv_dialect import dialect_of
from pymackay.incoming.rds import WORKSPACE, check_names, read_rds

# as in R's read.csv, NA and empty fields are missing; "None" and "null" are ordinary texts
_MISSING = ["", "NA", "NaN", "nan"]

# before version 3, pandas' default reader of numbers was off by an ulp; later it is exact
_EXACT: dict[str, Any] = (
    {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
)


def read_table(source: str, *, sep: str | None = None, decimal: str | None = None) -> pd.DataFrame:
    """Return a data set by its name, or the table in a file.

    Parameters
    ----------
    source : str
        One of `pymackay.list_data`, or the path of a file: CSV (gzipped or not), Parquet, Feather,
        or R's RDS with a data frame in it. A file in the working directory whose name is a data
        set's is reached as ``./name``.
    sep, decimal : str, optional
        Of a CSV file: the character between fields, or ``"tab"``; and the decimal mark. By default
        found in the file: commas, semicolons or tabs; decimal commas only between the latter two.

    Returns
    -------
    pandas.DataFrame
        From a CSV file: numbers as R reads them, ``TRUE``/``FALSE`` as booleans, texts as strings
        (as levels they are in code-point order); an empty field and ``NA`` are missing. The other
        formats also hold types, factors and levels. Integers beyond 2^53 keep their digits, with
        missing cells as pandas' Int64.

    Raises
    ------
    ArgumentError
        If there is neither such a data set nor such a file, or the file cannot be read.
    DataError
        If the file does not hold a table.

    Examples
    --------
    >>> read_table("Rail").shape
    (18, 2)
    """
    if source in list_data():
        return load_data(source)
    path = Path(source)
    _check_file(path, source)
    return read_file(path, sep=sep, decimal=decimal)


def read_file(path: Path, *, sep: str | None = None, decimal: str | None = None) -> pd.DataFrame:
    """Return the table in a file that exists; the arguments and errors are `read_table`'s."""
    read_csv = partial(_read_csv, sep=sep, decimal=decimal)
    table = _guarded(_READERS.get(path.suffix.lower(), read_csv), path)
    if table.empty:
        raise DataError(
            f"data: {path} has {len(table)} rows and {len(table.columns)} columns; a header and at "
            f"least one row are needed."
        )
    return table


def _check_file(path: Path, source: str) -> None:
    if path.is_dir():
        raise ArgumentError(f"data: {path} is a folder; name a file in it.")
    if not path.exists():
        near = difflib.get_close_matches(source, list_data(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ArgumentError(
            f"data: there is no data set and no file {source!r}.{hint} "
            f"`pymackay data` lists the data sets."
        )


def _guarded(reader: Callable[[Path], pd.DataFrame], path: Path) -> pd.DataFrame:
    """Run a reader, and convert its errors to errors that say what to do."""
    try:
        with warnings.catch_warnings():
            # pandas only warns if it drops fields
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return reader(path)
    except PymackayError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"data: {path} is not UTF-8 text; a CSV file is expected. Save it as CSV in UTF-8."
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"data: {path} is empty; a header and rows are expected.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise DataError(
            f"data: {path} is not a CSV table ({reason}). Every line must have as many fields as "
            f"the header, separated by commas, semicolons or tabs."
        ) from error
    except ImportError as error:
        package = "rdata" if reader is read_rds else "pyarrow"
        raise DataError(
            f"data: reading {path} needs {package}, which is not installed. "
            f"Run: pip install {package}, or save the table as CSV."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ArgumentError(f"data: {path} cannot be read: {error}.") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    return _with_exact_integers(pd.read_parquet(path), partial(_read_columns, path, "parquet"))


def _read_feather(path: Path) -> pd.DataFrame:
    return _with_exact_integers(pd.read_feather(path), partial(_read_columns, path, "feather"))


def _read_columns(path: Path, kind: str, names: list[str]) -> pd.DataFrame:
    """Read columns of a file by pyarrow, integers with missing cells as Python's."""
    read_table = importlib.import_module(f"pyarrow.{kind}").read_table
    table: pd.DataFrame = read_table(path, columns=names).to_pandas(integer_object_nulls=True)
    return table


def _with_exact_integers(
    table: pd.DataFrame, again: Callable[[list[str]], pd.DataFrame], *, typed: bool = True
) -> pd.DataFrame:
    """Restore digits of integers beyond 2^53, which pandas rounds in columns with missing cells.

    `again` reads columns of the file as text or as Python's integers; `typed` is whether the file
    has types, so that a column of texts cannot be numbers.
    """
    doubtful = [
        str(name)
        for name, column in table.items()
        if _may_have_lost_digits(column) or (not typed and _may_be_numbers(column))
    ]
    if not doubtful:
        return table
    exact = {name: _integers(column) for name, column in again(doubtful)[doubtful].items()}
    return table.assign(**{name: ids for name, ids in exact.items() if ids is not None})


def _may_have_lost_digits(column: pd.Series) -> bool:
    if column.dtype == np.float64:
        return bool(column.isna().any() and (column.abs() >= 2**53).any())
    decimal = column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "decimal"
    return decimal and bool((column.dropna().abs() >= 2**53).any())


def _may_be_numbers(column: pd.Series) -> bool:
    """Whether pandas may have read large numbers and missing cells as text."""
    first = column.iloc[0] if len(column) else None
    return isinstance(first, str) and (first in _MISSING or _is_whole(first))


def _integers(column: pd.Series) -> Any:
    """Return a column as integers with missing values; None if it has other values."""
    missing = column.isna().to_numpy()
    present = column[~missing].tolist()
    if not all(map(_is_whole, present)):
        return None
    numbers = [int(value) for value in present]
    for dtype, array in ((np.int64, pd.Int64Dtype), (np.uint64, pd.UInt64Dtype)):
        if np.iinfo(dtype).min <= min(numbers) and max(numbers) <= np.iinfo(dtype).max:
            values = np.zeros(len(column), dtype=dtype)
            values[~missing] = np.array(numbers, dtype=dtype)
            return pd.Series(values, index=column.index).astype(array()).mask(missing)
    values = np.full(len(column), None, dtype=object)
    values[~missing] = numbers
    return values


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*[+-]?\d+\s*", value) is not None
    return isinstance(value, int) or (isinstance(value, Decimal) and value % 1 == 0)


def _read_rdata(path: Path) -> pd.DataFrame:
    raise DataError(f"data: {path} {WORKSPACE}")


def _read_csv(path: Path, *, sep: str | None, decimal: str | None) -> pd.DataFrame:
    """Read a CSV file with R's missing values and exact integers; check the names of columns."""
    dialect = dialect_of(path, sep, decimal)
    header = pd.read_csv(
        path, header=None, nrows=1, dtype=str, keep_default_na=False, sep=dialect.sep
    )
    names = header.iloc[0].tolist()
    if any("\0" in name for name in names):
        raise DataError(f"data: {path} is a binary file; a CSV file is expected.")
    named = [name for name in names if name]
    check_names(named, len(named), path)
    how = {
        "keep_default_na": False,
        "na_values": _MISSING,
        "encoding": "utf-8",
        "index_col": False,
        "sep": dialect.sep,
    }
    table = pd.read_csv(path, low_memory=False, decimal=dialect.decimal, **how, **_EXACT)

    def again(names: list[str]) -> pd.DataFrame:
        return pd.read_csv(path, dtype=str, usecols=names, **how)

    return _with_exact_integers(table, again, typed=False)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".feather": _read_feather,
    ".rds": read_rds,
    ".rda": _read_rdata,
    ".rdata": _read_rdata,
}
