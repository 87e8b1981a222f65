"""Conversion of values between Python and R, by copies of whole buffers.

Every function of this file must run in R's thread; see `pymackay.reference.r.session`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.reference.columns import NA_INTEGER, Table
from pymackay.reference.r.bridge import rinterface
from pymackay.reference.r.frame import (
    frame_to_pandas,
    numbers_to_python,
    strings_to_python,
    strings_to_r,
    table_to_r,
)


def to_r(value: Any, names: Sequence[str] | None = None) -> Any:
    """Return `value` as an R object.

    Parameters
    ----------
    value : None, bool, int, float, str, numpy.ndarray, DataFrame, Table, sequence or mapping
        A sequence of strings becomes a character vector, any other sequence or mapping a list,
        an array a vector or a matrix, a data frame of numbers a matrix with column names, a
        `Table` a data frame. An R object is returned unchanged.
    names : sequence of str, optional
        Names of the elements of a list; an empty string for an element without a name.

    Raises
    ------
    ArgumentError
        If R has no type for `value`.
    """
    interface = rinterface()
    if isinstance(value, interface.sexp.Sexp):
        return value
    if value is None:
        return interface.NULL
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return _numbers(np.asarray(value))
    if isinstance(value, str):
        return interface.StrSexpVector([value])
    if isinstance(value, Table):
        return table_to_r(value)
    if isinstance(value, pd.DataFrame):
        names_of = interface.ListSexpVector([interface.NULL, to_r(list(value.columns))])
        return interface.baseenv["dimnames<-"](_numbers(value.to_numpy()), names_of)
    if isinstance(value, Mapping):
        return to_r(list(value.values()), names=[str(name) for name in value])
    if isinstance(value, Sequence):
        return _sequence(value, names)
    raise ArgumentError(
        f"a value of type {type(value).__name__} cannot be passed to R: {value!r}. "
        "Numbers, strings, arrays, lists and dicts can."
    )


def to_python(value: Any) -> Any:
    """Return an R object as Python data.

    NULL becomes None. An atomic vector of any length becomes an array, in the shape of its
    dimensions, or a list of strings. A data frame becomes a pandas data frame; another list becomes
    a dict if it has names, and otherwise a list. Other objects, and lists with another class, stay
    R objects.
    """
    interface = rinterface()
    if value is interface.NULL:
        return None
    if isinstance(value, interface.ListSexpVector):
        classes = list(value.rclass)
        if "data.frame" in classes:
            return frame_to_pandas(value)
        if classes != ["list"]:
            return value
        names = value.names
        items = [to_python(item) for item in value]
        return items if names is interface.NULL else dict(zip(names, items, strict=True))
    if isinstance(value, interface.StrSexpVector):
        return strings_to_python(value)
    if isinstance(value, interface.BoolSexpVector):
        return numbers_to_python(value) != 0
    if isinstance(value, interface.FloatSexpVector | interface.IntSexpVector):
        return numbers_to_python(value)
    return value


def _sequence(value: Sequence[Any], names: Sequence[str] | None) -> Any:
    interface = rinterface()
    if value and names is None and all(isinstance(item, str) for item in value):
        return strings_to_r(value)
    items = interface.ListSexpVector([to_r(item) for item in value])
    if names is not None:
        items.names = interface.StrSexpVector(list(names))
    return items


def _numbers(array: np.ndarray) -> Any:
    """Return an array of numbers or bool, of any shape, as an R vector or array."""
    interface = rinterface()
    kind: Any
    cast: type
    if array.dtype == bool:
        kind, cast = interface.BoolSexpVector, np.int32
    elif array.dtype.kind in "iu" and _fits_integer(array):
        kind, cast = interface.IntSexpVector, np.int32
    elif array.dtype.kind in "iuf":
        kind, cast = interface.FloatSexpVector, np.float64
    else:
        raise ArgumentError(
            f"an array of dtype {array.dtype} cannot be passed to R: numbers or bool are expected."
        )
    flat = np.ascontiguousarray(array.ravel(order="F"), dtype=cast)
    vector = kind.from_memoryview(flat.data) if flat.size else kind([])
    if array.ndim < 2:
        return vector
    return interface.baseenv["array"](vector, interface.IntSexpVector(array.shape))


def _fits_integer(array: np.ndarray) -> bool:
    """Whether all values are R integers; an int32 array may contain R's NA."""
    if array.dtype == np.int32 or array.size == 0:
        return True
    return bool(array.min() > NA_INTEGER and array.max() < 2**31)
