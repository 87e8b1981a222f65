"""Data frames between pandas and R, as integer codes, level tables and buffers.

Every function here must run in R's thread; see `pymackay.reference.r_session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.reference.columns import NA_INTEGER, Column, Table
from pymackay.reference.r_bridge import rinterface

_MANY_STRINGS = 1000  # from here on strings cross as one joined text: 4 µs each otherwise
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
    """Return R's data frame as a pandas one.

    Factors become categoricals with the same levels in the same order; a column of integers or
    truth values in which some are NA becomes pandas' ``Int64`` or ``boolean``; row names which R
    has made up itself become a RangeIndex. A matrix among the columns is left out.
    """
    names = strings_to_python(frame.names)
    rows = frame.do_slot("row.names")
    automatic = not isinstance(rows, rinterface().StrSexpVector)
    n_rows = int(rinterface().baseenv["length"](rows)[0])
    index: Any = pd.RangeIndex(n_rows) if automatic else strings_to_python(rows)
    columns = {
        name: _column_to_pandas(column)
        for name, column in zip(names, frame, strict=True)
        if len(column) == n_rows
    }
    return pd.DataFrame(columns, index=index)


def strings_to_r(values: Sequence[str]) -> Any:
    """Return a character vector; many strings cross as one text, which R splits."""
    interface = rinterface()
    joined = _SEPARATOR.join(values)
    if len(values) < _MANY_STRINGS or joined.count(_SEPARATOR) != len(values) - 1:
        return interface.StrSexpVector(list(values))
    base = interface.baseenv
    # the separator at the end keeps a last string that is empty
    encoded = (joined + _SEPARATOR).encode()
    text = base["rawToChar"](interface.ByteSexpVector.from_memoryview(memoryview(encoded)))
    separator = interface.StrSexpVector([_SEPARATOR])
    split = base["strsplit"](text, separator, fixed=interface.BoolSexpVector([True]))[0]
    return base["Encoding<-"](split, interface.StrSexpVector(["UTF-8"]))


def strings_to_python(vector: Any) -> list[Any]:
    """Return a character vector as strings, None for NA; many cross as one text."""
    interface = rinterface()
    base = interface.baseenv
    if len(vector) >= _MANY_STRINGS and not base["anyNA"](vector)[0]:
        text = base["paste"](vector, collapse=interface.StrSexpVector([_SEPARATOR]))[0]
        values: list[Any] = text.split(_SEPARATOR)
        if len(values) == len(vector):
            return values
    return [None if item is interface.NA_Character else item for item in vector]


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
    interface = rinterface()
    if isinstance(column, interface.StrSexpVector):
        return strings_to_python(column)
    values = np.array(column.memoryview())
    if isinstance(column, interface.IntSexpVector):
        classes = list(column.rclass)
        if "factor" in classes:
            levels = strings_to_python(column.do_slot("levels"))
            codes = np.where(values == NA_INTEGER, 0, values) - 1
            return pd.Categorical.from_codes(codes, levels, ordered="ordered" in classes)
        return _nullable(values, np.int64, pd.arrays.IntegerArray)
    if isinstance(column, interface.BoolSexpVector):
        return _nullable(values, np.bool_, pd.arrays.BooleanArray)
    return values


def _nullable(values: np.ndarray, dtype: type, masked: Callable[..., Any]) -> Any:
    missing = values == NA_INTEGER
    if not missing.any():
        return values.astype(dtype)
    return masked(np.where(missing, 0, values).astype(dtype), missing)
