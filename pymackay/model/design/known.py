"""Known covariance matrices that a user gives by name: checked, and matched with the effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError

_SHOWN = 5  # labels in a message
_SYMMETRIC = 1e-8  # of the largest element: by how much two that mirror each other may differ
_DEFINITE = 1e-10  # of the largest eigenvalue: what the least one has to exceed


def known_triangle(
    known: Mapping[str, Any] | None, name: str, labels: Sequence[str]
) -> tuple[float, ...]:
    """Return the lower triangle, row by row, of a known matrix in the order of the labels.

    Labels of the matrix that the data do not have are left out: its other rows and columns are
    the covariance of the effects that are there.

    Parameters
    ----------
    known : mapping of str to pandas.DataFrame, or None
        What the user gave.
    name : str
        The matrix that the formula names.
    labels : sequence of str, length q
        Levels of the data that have an effect.

    Raises
    ------
    ArgumentError
        If there is no such matrix, or it is no covariance matrix.
    DataError
        If it lacks a level.
    """
    table = _table(known, name)
    index, columns = table.index.map(str), table.columns.map(str)
    for axis in (index, columns):
        if axis.has_duplicates:
            twice = axis[axis.duplicated()][0]
            raise ArgumentError(f"known[{name!r}] has the label {twice!r} twice; labels are unique")
    if set(index) != set(columns):
        apart = sorted(set(index) ^ set(columns))[:_SHOWN]
        raise ArgumentError(
            f"known[{name!r}] has other labels in its index than in its columns ({_listed(apart)} "
            f"in one of them only); both name the same levels"
        )
    missing = [label for label in labels if label not in set(index)]
    if missing:
        raise DataError(
            f"known[{name!r}] has no row for {len(missing)} of the {len(labels)} levels: "
            f"{_listed(missing)}. Add them to its index and columns, or drop their rows from the "
            f"data"
        )
    rows, places = index.get_indexer(list(labels)), columns.get_indexer(list(labels))
    return _checked(_numbers(table, name)[np.ix_(rows, places)], name)


def _table(known: Mapping[str, Any] | None, name: str) -> pd.DataFrame:
    """Return the matrix of a name."""
    if known is not None and not isinstance(known, Mapping):
        raise ArgumentError(
            f"known is a {type(known).__name__}, but must be a mapping of names to data frames: "
            f"known={{{name!r}: frame}}"
        )
    if known is None or name not in known:
        given = "" if not known else f" (it has {_listed(list(known))})"
        raise ArgumentError(
            f"the formula has propto( , {name}), but known has no matrix {name!r}{given}; give it "
            f"as known={{{name!r}: frame}}, a data frame whose index and columns are the levels"
        )
    table = known[name]
    if not isinstance(table, pd.DataFrame):
        raise ArgumentError(
            f"known[{name!r}] is a {type(table).__name__}, but must be a pandas.DataFrame, whose "
            f"index and columns say which level each row belongs to: "
            f"pandas.DataFrame(matrix, index=levels, columns=levels)"
        )
    return table


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the elements of a matrix as numbers."""
    try:
        values = table.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"known[{name!r}] has elements that are no numbers: {error}") from None
    if not np.isfinite(values).all():
        raise ArgumentError(f"known[{name!r}] has missing or infinite elements; all must be finite")
    return values


def _checked(A: np.ndarray, name: str) -> tuple[float, ...]:
    """Return the lower triangle of a symmetric positive definite matrix, (q, q)."""
    if np.abs(A - A.T).max(initial=0.0) > _SYMMETRIC * np.abs(A).max(initial=0.0):
        raise ArgumentError(f"known[{name!r}] is not symmetric, but a covariance matrix is")
    A = 0.5 * (A + A.T)
    values = np.linalg.eigvalsh(A)
    if values[0] <= _DEFINITE * values[-1]:
        raise ArgumentError(
            f"known[{name!r}] is not positive definite: the least eigenvalue for the levels of the "
            f"data is {values[0]:.3g}, the largest {values[-1]:.3g}. It must be a covariance "
            f"matrix, not its inverse; of levels that are copies of each other (clones, twins) "
            f"keep one"
        )
    return tuple(A[np.tril_indices(len(A))].tolist())


def _listed(labels: Sequence[str]) -> str:
    """Write the first of some labels."""
    more = ", ..." if len(labels) > _SHOWN else ""
    return ", ".join(map(repr, labels[:_SHOWN])) + more
