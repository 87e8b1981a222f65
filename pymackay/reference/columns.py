"""`Table`: a pandas data frame's columns in R's representation, made without R."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.formula.rtext import format_number
from pymackay.incoming.frames import as_frame
from pymackay.incoming.reticulate import with_missing_of_r
from pymackay.reference.groups import LARGEST_EXACT, as_names

NA_INTEGER = -(2**31)
NA_REAL = np.array([0x7FF00000000007A2], dtype=np.uint64).view(np.float64)[0]  # R's NA, not a NaN


@dataclass(frozen=True, eq=False)
class Column:
    """One column in R's representation.

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
        """Return a checksum of the column's content.

        It covers the name, whether the column is numeric, logical, a factor or an ordered factor,
        the levels in order, and the values. Integers and equal doubles have the same checksum, as
        have 0.0 and -0.0, and all missing values. Machine, pandas dtype and index have no effect.
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
        """Return a numeric column as float64, shape (n,), with NaN for missing values."""
        values = self.values.astype(np.float64)
        missing = np.isnan(values) if self.kind == "double" else self.values == NA_INTEGER
        values[missing] = np.nan
        return values + 0.0  # turns -0.0 into 0.0


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
        """Return a checksum of all columns, which does not depend on their order."""
        checksums = sorted(column.sha256() for column in self.columns)
        return hashlib.sha256("\n".join([str(self.rows), *checksums]).encode()).hexdigest()


def table(
    data: pd.DataFrame, names: Iterable[str] | None = None, naming: Container[str] = ()
) -> Table:
    """Convert columns of a data frame to R's representation.

    Numbers become doubles, or integers where they are integers within R's range; bool becomes
    logical; a categorical becomes a factor with the same levels in the same order, ordered where
    it is ordered, and so does a dictionary of Arrow; strings become a factor whose levels are
    sorted by code point; decimals become doubles. Dates, times, periods, UUIDs and integers beyond
    2^53 become factors where they only name groups. None, NaN, NA and NaT become R's NA.

    Parameters
    ----------
    data : pandas.DataFrame
    names : iterable of str, optional
        The columns that are needed; by default all.
    naming : container of str
        Those of them that only name groups.

    Raises
    ------
    DataError
        If `data` is not a data frame, has two columns with one name, or has a needed column whose
        type R does not have.

    Examples
    --------
    >>> import pandas as pd
    >>> table(pd.DataFrame({"x": ["b", "a", None]})).columns[0].levels
    ('a', 'b')
    """
    if not isinstance(data, pd.DataFrame):
        data = as_frame(data)
    if data.columns.has_duplicates:
        twice = data.columns[data.columns.duplicated()].unique().tolist()
        raise DataError(f"data: more than one column is called {twice[0]!r}. Rename one of them.")
    needed = data.columns if names is None else [n for n in data.columns if n in set(names)]
    columns = (_column(name, data[name], is_naming=name in naming) for name in needed)
    return Table(tuple(columns), len(data))


def level_name(value: object) -> str:
    """Return the name that R's ``factor`` gives to the level of a category.

    >>> [level_name(x) for x in ("a", 3, 2.0, 0.1, 100000.0, True)]
    ['a', '3', '2', '0.1', '1e+05', 'TRUE']
    """
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | np.floating):
        return format_number(float(value))
    return str(value)


def _column(name: object, series: pd.Series, *, is_naming: bool = False) -> Column:
    if not isinstance(name, str):
        raise DataError(
            f"data: a column is called {name!r}, which is not a string. Rename it with "
            "data.rename(columns=str)."
        )
    _check_text(name, [name])
    series = _plain(with_missing_of_r(series, name))
    series = as_names(series) if is_naming else series
    kind = _kind(name, series)
    values, levels = _ENCODERS[kind](series)
    _check_text(name, levels)
    return Column(name, _final_kind(kind, series, values), values, levels)


def _plain(series: pd.Series) -> pd.Series:
    """Convert Arrow dictionaries to objects, and decimals to float64."""
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
    """Return the kind of a column in R, with ``"text"`` for strings."""
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
        f"data: column {name!r} {what}, which cannot be passed to R. Numbers, bool, strings and "
        "categoricals can; dates, times, periods and UUIDs where they only name groups. Convert it "
        "(a label with .astype(str), a date to the days since the first), or remove it from the "
        "formula."
    )


def _encode_double(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(values)
    if missing.any():
        values = np.where(missing, NA_REAL, values)
    return np.ascontiguousarray(values), ()


def _encode_integer(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return integers, shape (n,), as int32, or as doubles if they exceed R's integers."""
    missing = series.isna().to_numpy()
    present = series[~missing] if missing.any() else series
    low, high = (int(present.min()), int(present.max())) if len(present) else (0, 0)
    if low > NA_INTEGER and high < 2**31:
        if not missing.any():
            return series.to_numpy(dtype=np.int32), ()
        return _marked(missing, series.to_numpy(dtype=np.int32, na_value=0)), ()
    if max(-low, high) > LARGEST_EXACT:
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
    """Return numeric categories as R holds them: as doubles if some exceed R's integers.

    Numbers with more digits than a double shows stay integers, so that no two get the same name.
    """
    inferred = pd.api.types.infer_dtype(categories)
    if inferred == "decimal":
        return categories.astype(np.float64)
    if inferred == "integer" and len(categories) and np.abs(categories).max() >= 2**31:
        return pd.Index([c if abs(c) >= 10**15 else float(c) for c in categories], dtype=object)
    return categories


def _encode_text(series: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    codes, texts = pd.factorize(series)
    order = sorted(range(len(texts)), key=lambda i: str(texts[i]))
    rank = np.full(len(texts) + 1, -1, dtype=np.int32)  # the last entry is for code −1: missing
    rank[order] = np.arange(len(texts), dtype=np.int32)
    return _r_codes(rank[codes]), tuple(str(texts[i]) for i in order)


def _r_codes(codes: np.ndarray) -> np.ndarray:
    """Convert 0-based codes, shape (n,), to 1-based ones with R's NA for −1."""
    return _marked(codes < 0, codes.astype(np.int32) + np.int32(1))


def _marked(missing: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return int32 values, shape (n,), with R's NA where they are missing."""
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
    """Raise a `DataError` for text that R cannot hold: a NUL, or half of a surrogate pair."""
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
