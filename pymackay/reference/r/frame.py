"""Conversion of data frames between pandas and R, by buffers of numbers and codes.

Every function of this file must run in R's thread; see `pymackay.reference.r.session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.reference.columns import NA_INTEGER, Column, Table
from pymackay.reference.r.bridge import rinterface

_MANY_STRINGS = (
    1000  # from this number on, strings are passed as one joined text; singly each takes 4 µs
)
_SEPARATOR = "\x1f"


def table_to_r(table: Table) -> Any:
    """Return a data frame whose rows are numbered from 1."""
    interface = rinterface()
    base = interface.baseenv
    text = interface.StrSexpVector
    columns = interface.ListSexpVector([_column_to_r(column) for column in table.columns])
    frame = base["attr<-"](columns, text(["names"]), text([c.name for c in table.columns]))
    rows = interface.IntSexpVector([NA_INTEGER, -table.rows])  # R's short form of 1, 2, ..., n
    frame = base["attr<-"](frame, text(["row.names"]), rows)
    return base["class<-"](frame, text(["data.frame"]))


def frame_to_pandas(frame: Any) -> pd.DataFrame:
    """Return R's data frame as a pandas data frame.

    Factors become categoricals with the same levels in the same order; an integer or logical
    column with NA becomes ``Int64`` or ``boolean``; row numbers are reduced by 1, to start at 0.
    Columns that are matrices are left out.
    """
    names = strings_to_python(frame.names)
    rows = frame.do_slot("row.names")
    named = isinstance(rows, rinterface().StrSexpVector)
    index = labels_from_r(strings_to_python(rows) if named else numbers_to_python(rows))
    columns = {
        name: _column_to_pandas(column)
        for name, column in zip(names, frame, strict=True)
        if len(column) == len(index)
    }
    return pd.DataFrame(columns, index=index)


def labels_from_r(rows: list[str] | np.ndarray) -> pd.Index:
    """Return R's row names as an index; row numbers, 1-based in R, become 0-based."""
    if isinstance(rows, list):
        return pd.Index(rows)
    if np.array_equal(rows, np.arange(1, len(rows) + 1)):
        return pd.RangeIndex(len(rows))
    return pd.Index(rows.astype(np.int64) - 1)


def labels_to_r(index: pd.Index) -> list[str] | np.ndarray | None:
    """Return an index as R's row names, the inverse of `labels_from_r`.

    None if R needs none (rows are numbered) or cannot have such row names.
    """
    if not index.is_unique or index.equals(pd.RangeIndex(len(index))):
        return None
    if pd.api.types.is_integer_dtype(index.dtype):
        numbers = index.to_numpy(dtype=np.int64) + 1
        fits = len(numbers) and numbers.min() > NA_INTEGER and numbers.max() < 2**31
        return numbers.astype(np.int32) if fits else None
    if pd.api.types.infer_dtype(index, skipna=False) == "string":
        return [str(label) for label in index]
    return None


def strings_to_r(values: Sequence[str]) -> Any:
    """Return a character vector; many strings are passed as one text, which R splits."""
    interface = rinterface()
    joined = _SEPARATOR.join(values)
    if len(values) < _MANY_STRINGS or joined.count(_SEPARATOR) != len(values) - 1:
        return interface.StrSexpVector(list(values))
    base = interface.baseenv
    # without a separator at the end, strsplit would drop an empty last string
    encoded = (joined + _SEPARATOR).encode()
    text = base["rawToChar"](interface.ByteSexpVector.from_memoryview(memoryview(encoded)))
    separator = interface.StrSexpVector([_SEPARATOR])
    split = base["strsplit"](text, separator, fixed=interface.BoolSexpVector([True]))[0]
    return base["Encoding<-"](split, interface.StrSexpVector(["UTF-8"]))


def strings_to_python(vector: Any) -> list[Any]:
    """Return a character vector as strings, None for NA; many are passed as one text."""
    interface = rinterface()
    base = interface.baseenv
    if len(vector) >= _MANY_STRINGS and not base["anyNA"](vector)[0]:
        text = base["paste"](vector, collapse=interface.StrSexpVector([_SEPARATOR]))[0]
        values: list[Any] = text.split(_SEPARATOR)
        if len(values) == len(vector):
            return values
    return [None if item is interface.NA_Character else item for item in vector]


def numbers_to_python(vector: Any) -> np.ndarray:
    """Return a numeric or logical vector of R as an array, in the shape of its dimensions.

    A vector without elements has no buffer: rpy2 with its compiled extension refuses to cast one.
    """
    if len(vector):
        return np.array(vector.memoryview())
    interface = rinterface()
    kind = np.float64 if isinstance(vector, interface.FloatSexpVector) else np.int32
    dimensions = interface.baseenv["dim"](vector)
    shape = (0,) if dimensions is interface.NULL else tuple(dimensions)
    return np.empty(shape, dtype=kind)


def _column_to_r(column: Column) -> Any:
    interface = rinterface()
    kinds = {"double": interface.FloatSexpVector, "logical": interface.BoolSexpVector}
    kind = kinds.get(column.kind, interface.IntSexpVector)
    vector = kind.from_memoryview(column.values.data) if len(column.values) else kind([])
    if column.kind not in ("factor", "ordered"):
        return vector
    base = interface.baseenv
    text = interface.StrSexpVector
    classes = ["ordered", "factor"] if column.kind == "ordered" else ["factor"]
    factor = base["attr<-"](vector, text(["levels"]), strings_to_r(column.levels))
    return base["class<-"](factor, text(classes))


def _column_to_pandas(column: Any) -> Any:
    """Return one column of R, of length n, as an array or list that pandas accepts."""
    interface = rinterface()
    if isinstance(column, interface.StrSexpVector):
        return strings_to_python(column)
    values = numbers_to_python(column)
    classes = set(column.rclass)
    if isinstance(column, interface.FloatSexpVector):
        return _numbers_to_pandas(column, values, classes)
    if isinstance(column, interface.IntSexpVector):
        if "factor" in classes:
            levels = strings_to_python(column.do_slot("levels"))
            codes = np.where(values == NA_INTEGER, 0, values) - 1
            return pd.Categorical.from_codes(codes, levels, ordered="ordered" in classes)
        return _nullable(values, np.int64, pd.arrays.IntegerArray)
    if isinstance(column, interface.BoolSexpVector):
        return _nullable(values, np.bool_, pd.arrays.BooleanArray)
    return values


def _numbers_to_pandas(column: Any, values: np.ndarray, classes: set[str]) -> Any:
    """Convert doubles by class: to dates, times, durations or 64-bit integers.

    `values` has shape (n,) and holds the column's doubles.
    """
    if "integer64" in classes:
        whole = values.view(np.int64)
        missing = whole == np.iinfo(np.int64).min
        return pd.arrays.IntegerArray(whole, missing) if missing.any() else whole
    if "Date" in classes:
        return _moments(values, 86400, "datetime64[s]")
    if "difftime" in classes:
        return _moments(values, 10**6, "timedelta64[us]")
    if "POSIXct" in classes:
        moments = pd.DatetimeIndex(_moments(values, 10**6, "datetime64[us]")).tz_localize("UTC")
        return moments.tz_convert(column.do_slot("tzone")[0])
    return values


def _moments(values: np.ndarray, ticks: int, dtype: str) -> np.ndarray:
    """Convert times or durations, shape (n,), to `dtype`; NaN to NaT.

    One unit of `values` is `ticks` units of `dtype`.
    """
    known = np.isfinite(values)
    whole = np.round(np.where(known, values, 0.0) * ticks).astype(np.int64)
    return np.where(known, whole.view(dtype), np.array("NaT", dtype=dtype))


def _nullable(values: np.ndarray, dtype: type, masked: Callable[..., Any]) -> Any:
    missing = values == NA_INTEGER
    if not missing.any():
        return values.astype(dtype)
    return masked(np.where(missing, 0, values).astype(dtype), missing)
