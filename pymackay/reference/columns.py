"""`Table`: the columns of a data frame as R holds them, made from pandas with NumPy alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.formula.rtext import format_number
from pymackay.reticulate import with_missing_of_r

NA_INTEGER = -(2**31)
NA_REAL = np.array([0x7FF00000000007A2], dtype=np.uint64).view(np.float64)[0]  # R's NA, not a NaN
_LARGEST_EXACT = 2**53


@dataclass(frozen=True, eq=False)
class Column:
    """One column, in R's representation.

    Attributes
    ----------
    name : str
    kind : str
        ``"double"``, ``"integer"``, ``"logical"``, ``"factor"`` or ``"ordered"``.
    values : numpy.ndarray, shape (n,)
        float64 for ``"double"``, else int32: numbers, 0 and 1, or 1-based codes of the levels.
        A missing value is `NA_REAL` or `NA_INTEGER`.
    levels : tuple of str
        A factor's levels in order, the unused ones too; empty for other kinds.
    """

    name: str
    kind: str
    values: np.ndarray
    levels: tuple[str, ...] = ()

    @property
    def meaning(self) -> str:
        """The kind, with integers and doubles both called ``"numeric"``."""
        return "numeric" if self.kind in ("double", "integer") else self.kind

    def sha256(self) -> str:
        """Return a checksum of what the column means.

        It covers the name, whether it is numbers, truth values, a factor or an ordered factor,
        the levels in order, and the values. Integers equal the same numbers as doubles, 0.0 equals
        -0.0, and all missing values are equal. Machine, pandas dtype and index do not matter.
        """
        values = self.as_doubles() if self.meaning == "numeric" else self.values
        digest = hashlib.sha256()
        for text in (self.name, self.meaning, *self.levels):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        digest.update(len(values).to_bytes(8, "little"))
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def as_doubles(self) -> np.ndarray:
        """Return a column of numbers as float64, with NaN where one is missing."""
        values = self.values.astype(np.float64)
        missing = np.isnan(values) if self.kind == "double" else self.values == NA_INTEGER
        values[missing] = np.nan
        return values + 0.0  # which makes -0.0 to 0.0


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length, in R's representation.

    Attributes
    ----------
    columns : tuple of Column
    rows : int
    """

    columns: tuple[Column, ...]
    rows: int

    def sha256(self) -> str:
        """Return a checksum over the columns' own; the order of the columns does not matter."""
        checksums = sorted(column.sha256() for column in self.columns)
        return hashlib.sha256("\n".join([str(self.rows), *checksums]).encode()).hexdigest()


def table(data: pd.DataFrame, names: Iterable[str] | None = None) -> Table:
    """Return columns of a data frame as R would hold them.

    Numbers become doubles, or integers where they are integers within R's range; bool becomes
    logical; a categorical becomes a factor with the same levels in the same order, ordered where
    it is ordered, and so does a dictionary of Arrow; strings become a factor whose levels are
    sorted by code point; decimals become doubles. None, NaN, NA and NaT become R's NA.

    Parameters
    ----------
    data : pandas.DataFrame
    names : iterable of str, optional
        The columns that are needed; all of them unless given.

    Raises
    ------
    DataError
        If `data` is not a data frame, has two columns of one name, or has no way into R for a
        column that is needed.

    Examples
    --------
    >>> import pandas as pd
    >>> table(pd.DataFrame({"x": ["b", "a", None]})).columns[0].levels
    ('a', 'b')
    """
    if not isinstance(data, pd.DataFrame):
        raise DataError(
            f"data: a pandas DataFrame is expected, not {type(data).__name__}. "
            "Make one with pandas.DataFrame(...) or pandas.read_csv(...)."
        )
    if data.columns.has_duplicates:
        twice = data.columns[data.columns.duplicated()].unique().tolist()
        raise DataError(f"data: more than one column is called {twice[0]!r}. Rename one of them.")
    wanted = list(data.columns) if names is None else [n for n in data.columns if n in set(names)]
    return Table(tuple(_column(name, data[name]) for name in wanted), len(data))


def level_name(value: object) -> str:
    """Return the level's name that R's ``factor`` would give to a category.

    >>> [level_name(x) for x in ("a", 3, 2.0, 0.1, 100000.0, True)]
    ['a', '3', '2', '0.1', '1e+05', 'TRUE']
    """
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | np.floating):
        return format_number(float(value))
    return str(value)


def _column(name: object, series: pd.Series) -> Column:
    if not isinstance(name, str):
        raise DataError(
            f"data: a column is called {name!r}, which is no string. Rename it with "
            "data.rename(columns=str)."
        )
    _check_text(name, [name])
    series = _plain(with_missing_of_r(series, name))
    kind = _kind(name, series)
    values, levels = _ENCODERS[kind](series)
    _check_text(name, levels)
    return Column(name, _final_kind(kind, series, values), values, levels)


def _plain(series: pd.Series) -> pd.Series:
    """Return Arrow's dictionaries and decimals, and a database's decimals, as pandas has others."""
    if isinstance(series.dtype, pd.ArrowDtype) and series.dtype.kind == "O":
        values = series.array.__arrow_array__().to_pandas(integer_object_nulls=True)
        series = pd.Series(values.array, index=series.index, name=series.name)
    of_objects = pd.api.types.is_object_dtype(series.dtype)
    if of_objects and pd.api.types.infer_dtype(series, skipna=True) == "decimal":
        return series.where(series.notna(), np.nan).astype(np.float64)
    return series


def _final_kind(kind: str, series: pd.Series, values: np.ndarray) -> str:
    if kind == "integer" and values.dtype == np.float64:
        return "double"
    if isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.ordered:
        return "ordered"
    return "factor" if kind == "text" else kind


def _kind(name: str, series: pd.Series) -> str:
    """Say what a column is to R: its kind, with ``"text"`` for strings."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "factor"
    if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        known = {"string": "text", "boolean": "logical", "integer": "integer"}
        known |= {"floating": "double", "mixed-integer-float": "double", "empty": "logical"}
        if inferred in known:
            return known[inferred]
        classes = {type(value).__name__ for value in series.dropna()}
        one = inferred == "mixed" and len(classes) == 1
        raise _unsupported(name, f"holds objects that are {classes.pop() if one else inferred}")
    if pd.api.types.is_bool_dtype(dtype):
        return "logical"
    if pd.api.types.is_integer_dtype(dtype):
        return "integer"
    if pd.api.types.is_float_dtype(dtype):
        return "double"
    raise _unsupported(name, f"is of type {dtype}")


def _unsupported(name: str, what: str) -> DataError:
    return DataError(
        f"data: column {name!r} {what}, which has no way into R. Numbers, bool, strings and "
        "categoricals have; convert it, a label with .astype(str), or leave it out of the formula."
    )


def _encode_double(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(values)
    if missing.any():
        values = np.where(missing, NA_REAL, values)
    return np.ascontiguousarray(values), ()


def _encode_integer(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    missing = series.isna().to_numpy()
    present = series[~missing] if missing.any() else series
    low, high = (int(present.min()), int(present.max())) if len(present) else (0, 0)
    if low > NA_INTEGER and high < 2**31:
        if not missing.any():
            return series.to_numpy(dtype=np.int32), ()
        return _marked(missing, series.to_numpy(dtype=np.int32, na_value=0)), ()
    if max(-low, high) > _LARGEST_EXACT:
        raise DataError(
            f"data: column {series.name!r} holds integers beyond 2^53, which R cannot hold exactly."
            " Convert it to strings if it is a label, or to float if its last digits do not matter."
        )
    return _encode_double(series)


def _encode_logical(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    missing = series.isna().to_numpy()
    truth = series.mask(missing, False).to_numpy(dtype=bool) if missing.any() else series.to_numpy()
    return _marked(missing, truth.astype(np.int32)), ()


def _encode_factor(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    levels = tuple(level_name(category) for category in _r_numbers(series.cat.categories))
    if len(set(levels)) < len(levels):
        raise DataError(
            f"data: two categories of column {series.name!r} have the same name in R. "
            "Rename them with .cat.rename_categories(...)."
        )
    return _r_codes(series.cat.codes.to_numpy()), levels


def _r_numbers(categories: pd.Index) -> pd.Index:
    """Return categories that are numbers as R has them: doubles where some are beyond its integers.

    Those of more digits than a double shows stay whole, so that no two have one name.
    """
    inferred = pd.api.types.infer_dtype(categories)
    if inferred == "decimal":
        return categories.astype(np.float64)
    if inferred == "integer" and len(categories) and np.abs(categories).max() >= 2**31:
        return pd.Index([c if abs(c) >= 10**15 else float(c) for c in categories], dtype=object)
    return categories


def _encode_text(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    codes, found = pd.factorize(series)
    order = sorted(range(len(found)), key=lambda i: str(found[i]))
    rank = np.full(len(found) + 1, -1, dtype=np.int32)  # the last is that of a missing value's −1
    rank[order] = np.arange(len(found), dtype=np.int32)
    return _r_codes(rank[codes]), tuple(str(found[i]) for i in order)


def _r_codes(codes: np.ndarray) -> np.ndarray:
    """Return 1-based codes with R's NA for −1."""
    return _marked(codes < 0, codes.astype(np.int32) + np.int32(1))


def _marked(missing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return int32 values with R's NA where they are missing."""
    return np.where(missing, np.int32(NA_INTEGER), values)


_Encoder = Callable[[pd.Series], tuple[np.ndarray, tuple[str, ...]]]
_ENCODERS: dict[str, _Encoder] = {
    "double": _encode_double,
    "integer": _encode_integer,
    "logical": _encode_logical,
    "factor": _encode_factor,
    "text": _encode_text,
}


def _check_text(name: str, texts: Iterable[str]) -> None:
    """Refuse text that R cannot hold: a NUL, or half of a surrogate pair."""
    joined = "".join(texts)
    try:
        joined.encode()
    except UnicodeEncodeError:
        broken = True
    else:
        broken = "\0" in joined
    if broken:
        raise DataError(
            f"data: text of column {name!r} has a NUL or half a surrogate pair, which R cannot "
            "hold. Remove it."
        )
