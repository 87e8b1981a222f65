"""Averages of a reference grid's cells: the linear functions of marginal means."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.means.grid import ReferenceGrid, cell_codes

_ROUNDING = 1e-13  # of the sizes that were added: smaller sums are zero
WEIGHTS = ("equal", "proportional", "outer", "cells")


def marginal_averages(
    grid: ReferenceGrid, names: tuple[str, ...], weights: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Average the cells of a grid over all variables but `names`.

    Parameters
    ----------
    grid : ReferenceGrid
    names : tuple of str
        The first varies fastest among the rows.
    weights : {"equal", "proportional", "outer", "cells"}

    Returns
    -------
    tuple
        Values of the variables, one row for each mean; and the weights of the cells,
        (means, cells), nan where a mean has no data at all.

    Raises
    ------
    ArgumentError
    """
    if weights not in WEIGHTS:
        raise ArgumentError(
            f"weights is {weights!r}, but must be one of {', '.join(map(repr, WEIGHTS))}"
        )
    if weights != "equal" and grid.counts is None:
        raise ArgumentError(
            f"weights={weights!r} needs the numbers of rows in each cell, but the rows of this fit "
            f"were summed up and not kept; use weights='equal', or fit a data frame"
        )
    codes = cell_codes(grid.table, grid.values, names[::-1])
    present, target = np.unique(codes, return_inverse=True)
    first = np.array([np.flatnonzero(target == k)[0] for k in range(len(present))])
    cell_weights = _cell_weights(grid, names, weights, target)
    W = np.zeros((len(present), len(codes)))
    W[target, np.arange(len(codes))] = cell_weights
    with np.errstate(invalid="ignore"):
        W /= W.sum(axis=1, keepdims=True)
    return grid.table[list(names)].iloc[first].reset_index(drop=True), W


def _cell_weights(
    grid: ReferenceGrid, names: tuple[str, ...], weights: str, target: np.ndarray
) -> np.ndarray:
    """Return the weight of each cell within its mean, (cells,), up to a factor for each mean."""
    others = [name for name in grid.values if name not in names and len(grid.values[name]) > 1]
    if weights == "cells":
        return np.zeros(len(target)) if grid.counts is None else grid.counts
    if weights == "equal" or grid.counts is None:
        return _equal_weights(grid, others, target)
    parents = sorted({p for name in others for p in grid.nesting.get(name, ())} & set(names))
    if weights == "proportional":
        return _totals(grid, [*others, *parents])
    made = np.ones(len(target))
    for name in others:
        outer = list(grid.nesting.get(name, ()))  # a nested factor's share is that within those
        made *= _totals(grid, [name, *outer]) / np.maximum(_totals(grid, outer), 1.0)
    return made


def _totals(grid: ReferenceGrid, names: list[str]) -> np.ndarray:
    """Return the rows of the data in each cell's combination of some variables, (cells,)."""
    codes = cell_codes(grid.table, grid.values, names)
    return np.asarray(np.bincount(codes, grid.counts)[codes])


def _equal_weights(grid: ReferenceGrid, others: list[str], target: np.ndarray) -> np.ndarray:
    """Average over nested factors first, within the factors that they are nested in."""
    weights = np.ones(len(target))
    left = list(others)
    for name in sorted(others, key=lambda n: -len(grid.nesting.get(n, ()))):
        left.remove(name)
        groups = np.column_stack([target, cell_codes(grid.table, grid.values, left)])
        _, group = np.unique(groups, axis=0, return_inverse=True)
        combinations = np.unique(
            np.column_stack([group.ravel(), cell_codes(grid.table, grid.values, [name])]), axis=0
        )
        sizes = np.bincount(combinations[:, 0])
        weights /= sizes[group.ravel()]
    return weights


def combined(C: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Return ``C L``, zero where only rounding is left; rows of L with nan make nan where used."""
    used = np.where(np.isnan(L), 0.0, L)
    made = C @ used
    made[np.abs(made) < _ROUNDING * (np.abs(C) @ np.abs(used))] = 0.0
    unknown = (C != 0.0) @ np.isnan(L).any(axis=1)
    made[unknown > 0] = np.nan
    return np.asarray(made)
