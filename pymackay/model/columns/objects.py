"""Columns of other kinds than NumPy's numbers: nullable, Arrow, Python objects, polars, dates.

Integers stay exact, whatever else the column holds, because they may be the names of groups.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import DataError
from pymackay.incoming.frames import LABELS, full_name, named_groups, package_of
from pymackay.model.columns.column import (
    LOGICAL_LEVELS,
    Column,
    Factor,
    Numeric,
    codes_among,
    integer_column,
    renumber,
)


def read_text(array: Any) -> Factor:
    """Read strings as categories, levels sorted by code point; missing values are -1."""
    codes, distinct = pd.factorize(array)
    labels = [str(label) for label in distinct]
    order = sorted(range(len(labels)), key=labels.__getitem__)
    return Factor(renumber(codes, order), tuple(labels[i] for i in order), "text")


def read_extension(array: pd.api.extensions.ExtensionArray, name: str) -> Column:
    """Read one of the array types of pandas that are neither NumPy's, text nor a categorical."""
    dtype = array.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "b":
        return _read_logical(array)
    if kind in "iu":
        absent = np.asarray(array.isna())
        present = array if not absent.any() else array[~absent]
        return integer_column(np.asarray(present, dtype=dtype.numpy_dtype), absent)
    if kind == "f":
        return Numeric(pd.Series(array).to_numpy(dtype=np.float64, na_value=np.nan))
    if kind in "mM" or isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        return read_labels(array, str(dtype))
    return read_objects(np.asarray(array, dtype=object), name)


def read_objects(array: np.ndarray, name: str) -> Column:
    """Read Python objects of one type, shape (n,).

    Raises
    ------
    DataError
        If they are of several types, or of one that is neither a number nor a name.
    """
    inferred = pd.api.types.infer_dtype(array, skipna=True)
    if inferred == "string":
        return read_text(array)
    if inferred == "boolean":
        return _read_logical(array)
    absent = np.asarray(pd.isna(array), dtype=bool)
    if inferred == "integer":
        return _read_python_integers(array[~absent].tolist(), absent, name)
    if inferred == "decimal":
        return _read_decimals(array[~absent].tolist(), absent, name)
    if inferred in ("floating", "mixed-integer-float", "empty"):
        return Numeric(np.where(absent, np.nan, array).astype(np.float64))
    types = {type(value): None for value in array[~absent].tolist()}
    if len(types) == 1 and issubclass(next(iter(types)), LABELS):
        return read_labels(array, next(iter(types)).__name__)
    raise refused(name, " and ".join(sorted({full_name(one) for one in types})[:4]))


def _read_logical(array: Any) -> Factor:
    absent = np.asarray(pd.isna(array))
    codes = np.full(len(array), -1, dtype=np.int8)
    codes[~absent] = np.asarray(array[~absent], dtype=np.int8)
    return Factor(codes, LOGICAL_LEVELS, "logical")


def _read_python_integers(
    present: Sequence[int], absent: np.ndarray, name: str, printed_as_double: bool = False
) -> Numeric:
    """Read integers of any size, those that are not missing; `absent` has shape (n,)."""
    low, high = min(present), max(present)
    if low < -(2**63) or high >= (2**63 if low < 0 else 2**64):
        raise DataError(
            f"the column '{name}' holds integers beyond 64 bits, such as "
            f"{high if high >= 2**63 else low}, which a model cannot use; convert names of groups "
            f"to text with .astype(str), and quantities to floating-point numbers"
        )
    dtype = np.int64 if high < 2**63 else np.uint64
    column = integer_column(np.array(present, dtype=dtype), absent)
    return Numeric(column.values, absent=column.absent) if printed_as_double else column


def _read_decimals(present: Sequence[decimal.Decimal], absent: np.ndarray, name: str) -> Numeric:
    """Read decimals: whole ones exactly, others as the nearest floating-point numbers."""
    if all(value.is_finite() and value == value.to_integral_value() for value in present):
        return _read_python_integers(
            [int(value) for value in present], absent, name, printed_as_double=True
        )
    values = np.full(len(absent), np.nan)
    values[~absent] = [float(value) for value in present]
    exact = all(decimal.Decimal(f"{float(value):.15g}") == value for value in present)
    return Numeric(values, lossy=not exact)


def read_labels(array: Any, kind: str) -> Factor:
    """Read values that can name groups and nothing else; their order is the levels'.

    Parameters
    ----------
    array : array of dates, times, periods, UUIDs, ..., shape (n,)
    kind : str
        Their type, the `kind` of the factor.
    """
    codes, labels, levels = named_groups(array)
    return Factor(codes_among(codes, labels, levels), levels, kind)


def refused(name: str, held: str) -> DataError:
    """Return the error for a column that a model cannot use, which holds `held`."""
    return DataError(
        f"the column '{name}' holds values of type {held}, which a model cannot use; give it one "
        f"type: numbers, text, booleans, a pandas Categorical, or dates that name groups"
    )


def without_arrow(values: Any) -> Any:
    """Return a column of polars or pyarrow as pandas has it; Arrow's dictionaries as categories.

    Integers with missing values become Python's integers, which keep all digits.
    """
    if isinstance(getattr(values, "dtype", None), pd.ArrowDtype):
        if not hasattr(values.dtype.pyarrow_dtype, "index_type"):
            return values
        values = (values.array if isinstance(values, pd.Series) else values).__arrow_array__()
    elif package_of(values) == "polars":
        values = values.to_arrow()
    if package_of(values) == "pyarrow":
        return values.to_pandas(integer_object_nulls=True).array
    return values
