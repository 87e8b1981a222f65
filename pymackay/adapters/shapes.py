"""Checks the values of a mapping, and converts them to series, matrices and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.adapters.naming import r_names
from pymackay.covariance.layout import TermLayout, lower_factor
from pymackay.covariance.roots import root_of
from pymackay.errors import ArgumentError
from pymackay.model.model import Model

_INTERCEPT = "(Intercept)"


def series(value: Any, name: str, index: pd.Index | None = None) -> pd.Series:
    """Return named numbers as a Series; with `index`, in its order."""
    if isinstance(value, Mapping):
        value = pd.Series(dict(value), dtype=object)
    if not isinstance(value, pd.Series):
        if index is None:
            raise _wrong(name, "a Series or a mapping from name to number", value)
        value = pd.Series(vector(value, name, len(index)), index=index)
    names = pd.Index([str(label) for label in value.index], dtype=object)
    numbers = pd.Series(_floats(value, name), index=names, name=name)
    if not names.is_unique:
        raise ArgumentError(f"obj: {name} has the name {names[names.duplicated()][0]!r} twice.")
    if index is None:
        return numbers
    if set(names) != set(index):
        raise ArgumentError(f"obj: {name} is named {list(names)}, but beta is {list(index)}.")
    return numbers[index]


def vector(value: Any, name: str, length: int) -> np.ndarray:
    """Return numbers as an array, shape (length,)."""
    numbers = _floats(value, name)
    if numbers.shape != (length,):
        raise ArgumentError(
            f"obj: {name} must hold {length} numbers, but its shape is {numbers.shape}."
        )
    return numbers


def matrix(value: Any, name: str, index: pd.Index) -> pd.DataFrame:
    """Return a square matrix in the order of `index`; an array must be in this order already."""
    if isinstance(value, Mapping):
        value = pd.DataFrame(value)
    if isinstance(value, pd.DataFrame):
        value = value.rename(index=str, columns=str)
        if set(value.index) != set(index) or set(value.columns) != set(index):
            raise ArgumentError(
                f"obj: {name} is named {list(value.columns)}, but beta is {list(index)}."
            )
        value = value.loc[index, index]
    numbers = _floats(value, name)
    if numbers.shape != (len(index), len(index)):
        raise ArgumentError(
            f"obj: {name} must be {len(index)} x {len(index)}, but its shape is {numbers.shape}."
        )
    return pd.DataFrame(numbers, index=index, columns=index)


def covariance(value: Any, name: str) -> pd.DataFrame:
    """Return the covariance matrix of one term's effects, shape (q, q)."""
    if isinstance(value, Mapping):
        value = pd.DataFrame(value)
    if not isinstance(value, pd.DataFrame):
        numbers = _floats(value, f"varcorr[{name!r}]")
        if numbers.size != 1:
            raise _wrong(
                f"varcorr[{name!r}]",
                "a DataFrame or a mapping of mappings with the effects' names, or one number,",
                value,
            )
        value = pd.DataFrame(numbers.reshape(1, 1), index=[_INTERCEPT], columns=[_INTERCEPT])
    table = value.rename(index=str, columns=str).astype(np.float64)
    if set(table.index) != set(table.columns):
        raise ArgumentError(f"obj: rows and columns of varcorr[{name!r}] have different names.")
    table = table.loc[table.columns]
    if not np.allclose(table, table.T, rtol=1e-8, atol=0.0, equal_nan=True):
        raise ArgumentError(f"obj: varcorr[{name!r}] is not symmetric, so it is no covariance.")
    return table


def renamed(cov: pd.DataFrame, model: Model | None) -> pd.DataFrame:
    """Return a covariance matrix, shape (q, q), with R's names of the effects."""
    names = pd.Index(r_names(cov.columns, model), dtype=object)
    return cov.set_axis(names, axis=0).set_axis(names, axis=1)


def effects(value: Any, group: str) -> pd.DataFrame:
    """Return the predicted effects of one group, shape (levels, q)."""
    if isinstance(value, Mapping):
        nested = all(isinstance(row, Mapping | pd.Series) for row in value.values())
        value = pd.DataFrame.from_dict(
            {k: dict(v) for k, v in value.items()} if nested else dict(value),
            orient="index",
            columns=None if nested else [_INTERCEPT],
        )
    if isinstance(value, pd.Series):
        value = value.to_frame(_INTERCEPT)
    if not isinstance(value, pd.DataFrame):
        raise _wrong(f"ranef[{group!r}]", "a DataFrame levels x effects, or a mapping", value)
    table = value.astype(np.float64)
    table.index = pd.Index([str(level) for level in value.index], dtype=object)
    table.columns = pd.Index([str(effect) for effect in value.columns], dtype=object)
    return table


def blocks(value: Any, name: str, table: pd.DataFrame | None) -> np.ndarray:
    """Return error variances of one group, shape (levels, q, q)."""
    numbers = _floats(value, name)
    if table is None:
        raise ArgumentError(f"obj: {name} needs ranef of the same group, which gives its order.")
    levels, q = table.shape
    if q == 1 and numbers.shape in ((levels,), (levels, 1)):
        numbers = numbers.reshape(levels, 1, 1)
    if numbers.shape != (levels, q, q):
        raise ArgumentError(
            f"obj: {name} must be an array {levels} x {q} x {q} (levels x effects x effects), "
            f"but its shape is {numbers.shape}."
        )
    return numbers


def per_row(values: np.ndarray | None, name: str, rows: pd.Index) -> pd.Series:
    """Return a column indexed by row, shape (n,); NaN if it is not offered."""
    if values is None:
        values = np.full(len(rows), np.nan)
    return pd.Series(vector(values, name, len(rows)), index=rows, name=name)


def optional(value: Any, name: str, length: int) -> np.ndarray | None:
    """Return a column, shape (length,), or None."""
    return None if value is None else vector(value, name, length)


def relative_factor(cov: pd.DataFrame, sigma: float) -> np.ndarray:
    """Return one term's elements of theta: the factor of its covariance over sigma, by columns.

    The matrix `cov`, shape (q, q), may be singular. It is scaled to correlations first, so that an
    effect with a large unit does not cost digits of an effect with a small unit.
    """
    values = cov.to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        return np.full(len(values) * (len(values) + 1) // 2, np.nan)
    root = root_of(values)
    return TermLayout.of(len(values), 0).elements(lower_factor(root)) / sigma


def _floats(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise _wrong(name, "numbers", value) from None


def _wrong(name: str, expected: str, value: Any) -> ArgumentError:
    return ArgumentError(f"obj: {name}: {expected} is expected, not {type(value).__name__}.")
