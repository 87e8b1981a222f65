"""Reads the table that a command line names: a data set that comes along, or a file."""

from __future__ import annotations

import difflib
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from pymackay.datasets import list_data, load_data
from pymackay.errors import ArgumentError, DataError, PymackayError

__all__ = ["read_table"]

# R's read.csv takes NA and an empty field for missing; a level may well be called "None" or "null"
_MISSING = ["", "NA", "NaN", "nan"]

# pandas' default reader of numbers was off by an ulp before its version 3, which has no option
_EXACT: dict[str, Any] = (
    {"float_precision": "round_trip"} if int(pd.__version__.split(".")[0]) < 3 else {}
)


def read_table(source: str) -> pd.DataFrame:
    """Return a data set by its name, or the table in a file.

    Parameters
    ----------
    source : str
        One of `pymackay.list_data`, or the path of a file: CSV (gzipped or not), Parquet, Feather,
        or R's RDS with a data frame in it. A file in the working directory whose name is a data
        set's is reached as ``./name``.

    Returns
    -------
    pandas.DataFrame
        Of a CSV: numbers as they read in R, ``TRUE``/``FALSE`` as booleans, text as plain strings
        (their levels are in code-point order); an empty field and ``NA`` are missing. The other
        formats hold the types, factors and their levels too.

    Raises
    ------
    ArgumentError
        If there is neither such a data set nor such a file, or the file cannot be read.
    DataError
        If what is in the file is no table.

    Examples
    --------
    >>> read_table("Rail").shape
    (18, 2)
    """
    if source in list_data():
        return load_data(source)
    path = Path(source)
    _check_file(path, source)
    table = _guarded(_READERS.get(path.suffix.lower(), _read_csv), path)
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
    """Run a reader, and turn whatever it stumbles over into an error that says what to do."""
    try:
        with warnings.catch_warnings():
            # pandas only warns when it throws fields away
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
            f"the header, separated by commas."
        ) from error
    except ImportError as error:
        package = "rdata" if reader is _read_rds else "pyarrow"
        raise DataError(
            f"data: reading {path} needs {package}, which is not installed. "
            f"Run: pip install {package}, or save the table as CSV."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ArgumentError(f"data: {path} cannot be read: {error}.") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


def _read_feather(path: Path) -> pd.DataFrame:
    return pd.read_feather(path)


def _read_rds(path: Path) -> pd.DataFrame:
    """Read a data frame; R itself is not needed."""
    import rdata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that only R knows, such as dates
            table = rdata.read_rds(path)
    except Exception as error:  # a damaged file ends in whatever its first wrong byte means
        raise DataError(
            f"data: {path} is not a file that R's saveRDS wrote ({type(error).__name__}: {error})."
        ) from error
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"data: {path} does not hold a data frame. In R: saveRDS(as.data.frame(x), file)."
        )
    return table


def _read_rdata(path: Path) -> pd.DataFrame:
    raise ArgumentError(
        f"data: {path} is an R workspace, which may hold many objects. In R: saveRDS(data, file) "
        f"for the one data frame."
    )


def _read_csv(path: Path) -> pd.DataFrame:
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    names = header.iloc[0].tolist()
    if any("\0" in name for name in names):
        raise DataError(f"data: {path} is a binary file; a CSV file is expected.")
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise DataError(
            f"data: {path} has more than one column named {', '.join(twice)}; give each its name."
        )
    return pd.read_csv(
        path,
        keep_default_na=False,
        na_values=_MISSING,
        encoding="utf-8",
        index_col=False,
        low_memory=False,
        **_EXACT,
    )


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".feather": _read_feather,
    ".rds": _read_rds,
    ".rda": _read_rdata,
    ".rdata": _read_rdata,
}
