"""Contrasts of a factor: R's five kinds, and matrices given by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError, listed
from pymackay.model.bases.polynomial import orthonormal_polynomials
from pymackay.model.columns.column import Contrasts

MATRIX = "matrix"


def _treatment(levels: Sequence[str], base: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
    names = tuple(level for i, level in enumerate(levels) if i != base)
    return np.delete(np.eye(len(levels)), base, axis=1), names


def _sas(levels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    return _treatment(levels, len(levels) - 1)


def _sum(levels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    matrix = np.eye(len(levels))[:, :-1]
    matrix[-1] = -1.0
    return matrix, _numbered(matrix)


def _helmert(levels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    n = len(levels)
    matrix = np.triu(np.full((n, n - 1), -1.0))
    matrix[np.arange(1, n), np.arange(n - 1)] = np.arange(1.0, n)
    return matrix, _numbered(matrix)


def _polynomial(levels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    n = len(levels)
    if n > 95:
        raise DataError(
            f"polynomial contrasts of {n} levels are beyond double precision (95 is the most); "
            f"make the factor unordered, or use its scores as a number"
        )
    names = (".L", ".Q", ".C", *(f"^{k}" for k in range(4, n)))
    return orthonormal_polynomials(np.arange(1.0, n + 1.0)), names[: n - 1]


_MAKERS: dict[str, Callable[[Sequence[str]], tuple[np.ndarray, tuple[str, ...]]]] = {
    "contr.treatment": _treatment,
    "contr.sum": _sum,
    "contr.helmert": _helmert,
    "contr.poly": _polynomial,
    "contr.SAS": _sas,
}
CONTRAST_KINDS = tuple(_MAKERS)
_SHORT = {kind.removeprefix("contr.").lower(): kind for kind in CONTRAST_KINDS}


def _numbered(matrix: np.ndarray) -> tuple[str, ...]:
    return tuple(str(k + 1) for k in range(matrix.shape[1]))


def default_contrasts(levels: Sequence[str], ordered: bool, name: str) -> Contrasts:
    """Return R's default: treatment contrasts, polynomial ones for an ordered factor."""
    return make_contrasts("contr.poly" if ordered else "contr.treatment", levels, name)


def make_contrasts(scheme: Any, levels: Sequence[str], name: str) -> Contrasts:
    """Make the contrasts of a factor.

    Parameters
    ----------
    scheme : str, array-like or pandas.DataFrame
        A kind (``"contr.sum"``; ``"sum"`` does too), or a matrix with one row for each level.
        A data frame's column names are used; an index that holds the levels sets their order.
    levels : sequence of str
    name : str
        The factor, for error messages.

    Raises
    ------
    ArgumentError
        If `scheme` is no kind of contrasts, or a matrix of the wrong shape.
    DataError
        If the factor has fewer than two levels.

    Examples
    --------
    >>> make_contrasts("contr.sum", ["a", "b", "c"], "f").matrix
    array([[ 1.,  0.],
           [ 0.,  1.],
           [-1., -1.]])
    """
    if len(levels) < 2:
        number = f"only the level '{levels[0]}'" if levels else "no level"
        raise DataError(
            f"the factor '{name}' has {number} in the rows that are used, but a factor needs two "
            f"or more to have an effect; take it out of the formula"
        )
    if isinstance(scheme, Contrasts):
        return scheme
    if isinstance(scheme, str):
        kind = contrast_kind(scheme, f"contrasts of '{name}'")
        matrix, names = _MAKERS[kind](levels)
        return Contrasts(matrix, names, kind)
    return _from_matrix(scheme, levels, name)


def contrast_kind(scheme: str, what: str) -> str:
    """Return the full name of a kind of contrasts."""
    kind = _SHORT.get(scheme.removeprefix("contr.").lower())
    if kind is None:
        raise ArgumentError(
            f"{what}: there is no '{scheme}'; there are {', '.join(CONTRAST_KINDS)}, or a matrix"
        )
    return kind


def treatment_contrasts(levels: Sequence[str], base: int) -> Contrasts:
    """Make treatment contrasts against the level at position `base`, from 0."""
    matrix, names = _treatment(levels, base)
    return Contrasts(matrix, names, MATRIX)


def _from_matrix(scheme: Any, levels: Sequence[str], name: str) -> Contrasts:
    names: tuple[str, ...] | None = None
    if isinstance(scheme, pd.DataFrame):
        names = tuple(str(column) for column in scheme.columns)
        scheme = _in_level_order(scheme, levels, name)
    try:
        matrix = np.array(scheme, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"contrasts of '{name}' must be one of {', '.join(CONTRAST_KINDS)}, or a matrix of "
            f"numbers, not {type(scheme).__name__}"
        ) from error
    if matrix.ndim == 1 and len(matrix) == len(levels):
        return Contrasts(*_completed(matrix), MATRIX)
    if matrix.ndim != 2 or matrix.shape[0] != len(levels) or matrix.shape[1] < 1:
        raise ArgumentError(
            f"contrasts of '{name}' have the shape {matrix.shape}, but need one row for each of "
            f"its {len(levels)} levels in use: {listed(levels)}"
        )
    if not np.isfinite(matrix).all():
        raise ArgumentError(f"contrasts of '{name}' must be finite numbers")
    return Contrasts(matrix, names or _numbered(matrix), MATRIX)


def _in_level_order(table: pd.DataFrame, levels: Sequence[str], name: str) -> pd.DataFrame:
    labels = [str(label) for label in table.index]
    if isinstance(table.index, pd.RangeIndex) or labels == list(levels):
        return table
    if sorted(labels) != sorted(levels):
        raise ArgumentError(
            f"contrasts of '{name}' have the rows {listed(labels)}, but the levels in use are "
            f"{listed(levels)}; name the rows by the levels, or reset the index"
        )
    return table.iloc[[labels.index(level) for level in levels]]


def _completed(column: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Complete one contrast to a full set by an orthogonal complement, as R does."""
    n = len(column)
    basis, triangle = np.linalg.qr(np.column_stack([np.ones(n), column]), mode="complete")
    if abs(triangle[1, 1]) < 1e-7 * np.linalg.norm(column) or not np.isfinite(triangle).all():
        raise ArgumentError("a contrast must be finite and differ between levels")
    matrix = np.column_stack([column, basis[:, 2:]])
    return matrix, _numbered(matrix)
