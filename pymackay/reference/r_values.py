"""Python values as R's, and back: buffers are copied whole, never element by element.

Every function here must run in R's thread; see `pymackay.reference.r_session`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pymackay.errors import ArgumentError
from pymackay.reference.columns import NA_INTEGER, Column, Table

__all__ = ["to_python", "to_r"]

_MANY_STRINGS = 1000  # from here on strings cross as one joined text: 4 µs each otherwise
_SEPARATOR = "\x1f"


def to_r(value: Any, names: Sequence[str] | None = None) -> Any:
    """Return `value` as an R object.

    Parameters
    ----------
    value : None, bool, int, float, str, numpy.ndarray, Table, sequence or mapping
        A sequence of strings becomes a character vector, any other sequence or mapping a list,
        an array a vector or a matrix, a `Table` a data frame. An R object stays what it is.
    names : sequence of str, optional
        Names of the elements of a list; an empty string names none.

    Raises
    ------
    ArgumentError
        If R has nothing to hold `value`.
    """
    rinterface = _rinterface()
    if isinstance(value, rinterface.sexp.Sexp):
        return value
    if value is None:
        return rinterface.NULL
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return _numbers(np.asarray(value))
    if isinstance(value, str):
        return rinterface.StrSexpVector([value])
    if isinstance(value, Table):
        return _data_frame(value)
    if isinstance(value, Mapping):
        return to_r(list(value.values()), names=[str(name) for name in value])
    if isinstance(value, Sequence):
        return _sequence(value, names)
    raise ArgumentError(
        f"a value of type {type(value).__name__} cannot be handed to R: {value!r}. "
        "Numbers, strings, arrays, lists and dicts can."
    )


def to_python(value: Any) -> Any:
    """Return an R object as Python data.

    NULL is None. An atomic vector is an array of its values, or a list of strings, at any length;
    with dimensions it is an array of that shape. A list is a dict where it has names, else a list.
    Anything else stays an R object.
    """
    rinterface = _rinterface()
    if value is rinterface.NULL:
        return None
    if isinstance(value, rinterface.ListSexpVector):
        names = value.names
        items = [to_python(item) for item in value]
        return items if names is rinterface.NULL else dict(zip(names, items, strict=True))
    if isinstance(value, rinterface.StrSexpVector):
        return _strings_to_python(value)
    if isinstance(value, rinterface.BoolSexpVector):
        return np.array(value.memoryview()) != 0
    if isinstance(value, rinterface.FloatSexpVector | rinterface.IntSexpVector):
        return np.array(value.memoryview())
    return value


def _rinterface() -> Any:
    return importlib.import_module("rpy2.rinterface")


def _sequence(value: Sequence[Any], names: Sequence[str] | None) -> Any:
    rinterface = _rinterface()
    if value and names is None and all(isinstance(item, str) for item in value):
        return _strings(value)
    items = rinterface.ListSexpVector([to_r(item) for item in value])
    if names is not None:
        items.names = rinterface.StrSexpVector(list(names))
    return items


def _numbers(array: np.ndarray) -> Any:
    rinterface = _rinterface()
    kind: Any
    cast: type
    if array.dtype == bool:
        kind, cast = rinterface.BoolSexpVector, np.int32
    elif array.dtype.kind in "iu" and _fits_integer(array):
        kind, cast = rinterface.IntSexpVector, np.int32
    elif array.dtype.kind in "iuf":
        kind, cast = rinterface.FloatSexpVector, np.float64
    else:
        raise ArgumentError(
            f"an array of dtype {array.dtype} cannot be handed to R: numbers or bool are expected."
        )
    flat = np.ascontiguousarray(array.ravel(order="F"), dtype=cast)
    vector = kind.from_memoryview(flat.data) if flat.size else kind([])
    if array.ndim < 2:
        return vector
    return rinterface.baseenv["array"](vector, rinterface.IntSexpVector(array.shape))


def _fits_integer(array: np.ndarray) -> bool:
    """Whether all values are R integers; an int32 array may hold R's NA."""
    if array.dtype == np.int32 or array.size == 0:
        return True
    return bool(array.min() > NA_INTEGER and array.max() < 2**31)


def _strings(values: Sequence[str]) -> Any:
    """Return a character vector; many strings cross as one text, which R splits."""
    rinterface = _rinterface()
    joined = _SEPARATOR.join(values)
    if len(values) < _MANY_STRINGS or joined.count(_SEPARATOR) != len(values) - 1:
        return rinterface.StrSexpVector(list(values))
    base = rinterface.baseenv
    # the separator at the end keeps a last string that is empty
    encoded = (joined + _SEPARATOR).encode()
    text = base["rawToChar"](rinterface.ByteSexpVector.from_memoryview(memoryview(encoded)))
    separator = rinterface.StrSexpVector([_SEPARATOR])
    split = base["strsplit"](text, separator, fixed=rinterface.BoolSexpVector([True]))[0]
    return base["Encoding<-"](split, rinterface.StrSexpVector(["UTF-8"]))


def _strings_to_python(vector: Any) -> list[str | None]:
    rinterface = _rinterface()
    if len(vector) >= _MANY_STRINGS:
        base = rinterface.baseenv
        text = base["paste"](vector, collapse=rinterface.StrSexpVector([_SEPARATOR]))[0]
        values = text.split(_SEPARATOR)
        if len(values) == len(vector) and not base["anyNA"](vector)[0]:
            return values
    return [None if item is rinterface.NA_Character else item for item in vector]


def _data_frame(table: Table) -> Any:
    """Return a data frame whose rows are numbered from 1."""
    rinterface = _rinterface()
    base = rinterface.baseenv
    text = rinterface.StrSexpVector
    columns = rinterface.ListSexpVector([_column(column) for column in table.columns])
    frame = base["attr<-"](columns, text(["names"]), text([c.name for c in table.columns]))
    rows = rinterface.IntSexpVector([NA_INTEGER, -table.rows])  # R's short form of 1, 2, ..., n
    frame = base["attr<-"](frame, text(["row.names"]), rows)
    return base["class<-"](frame, text(["data.frame"]))


def _column(column: Column) -> Any:
    rinterface = _rinterface()
    if column.kind == "logical":
        return rinterface.BoolSexpVector.from_memoryview(column.values.data)
    vector = _numbers(column.values)
    if column.kind not in ("factor", "ordered"):
        return vector
    base = rinterface.baseenv
    text = rinterface.StrSexpVector
    classes = ["ordered", "factor"] if column.kind == "ordered" else ["factor"]
    factor = base["attr<-"](vector, text(["levels"]), _strings(column.levels))
    return base["class<-"](factor, text(classes))
