"""`ReferenceGrid`: the combinations of predictors over which marginal means are averages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.infer.means.predictors import Predictors
from pymackay.model.columns.column import Factor
from pymackay.model.design.new_data import build_new

_LARGEST = 100_000  # rows of a grid


@dataclass(frozen=True, eq=False)
class ReferenceGrid:
    """Combinations of values of the predictors.

    Attributes
    ----------
    predictors : Predictors
    values : dict of str to list
        The values of each variable.
    table : pandas.DataFrame, shape (cells, variables)
        All combinations in which data of nested factors exist; the first variable varies fastest.
    X : numpy.ndarray, shape (cells, all columns)
        Fixed design before columns were dropped.
    offset : numpy.ndarray, shape (cells,)
    counts : numpy.ndarray, shape (cells,), or None
        Rows of the data in each cell, over the variables that count in weights.
    nesting : dict of str to tuple of str
        Factor to the factors that it is nested in.
    """

    predictors: Predictors
    values: dict[str, list[Any]]
    table: pd.DataFrame
    X: np.ndarray
    offset: np.ndarray
    counts: np.ndarray | None
    nesting: dict[str, tuple[str, ...]]

    @classmethod
    def of(
        cls,
        predictors: Predictors,
        at: Mapping[str, list[Any]],
        offset: float | None = None,
        reduce: Callable[[np.ndarray], list[float]] | None = None,
    ) -> ReferenceGrid:
        """Make it.

        Parameters
        ----------
        predictors : Predictors
        at : mapping of str to list
            Values of some variables; others have all their levels, or the mean of the numbers.
        offset : float, optional
            In place of the model's.
        reduce : callable, optional
            Values of a column of numbers, in place of the mean.

        Raises
        ------
        ArgumentError
            If values are not known, or there are too many combinations.
        """
        values = {}
        for name in predictors.names:
            if name in at:
                values[name] = list(at[name])
            elif predictors.is_factor(name):
                values[name] = predictors.values(name)
            else:
                numbers = predictors.numbers(name)
                values[name] = [float(numbers.mean())] if reduce is None else reduce(numbers)
        nesting = _nesting(predictors, values)
        table = _combinations(values)
        counted = [n for n in predictors.columns if n not in at and predictors.is_factor(n)]
        counted += [n for n in at if isinstance(predictors.columns.get(n), Factor)]
        counts = _counts(predictors, values, table, counted)
        table, counts = _without_empty(predictors, values, table, counts, nesting)
        X, offsets = design_of(predictors, table, offset)
        return cls(predictors, values, table, X, offsets, counts, nesting)

    def with_parents(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return names with the factors that they are nested in."""
        parents = [parent for name in names for parent in self.nesting.get(name, ())]
        return tuple(dict.fromkeys([*names, *parents]))


def design_of(
    predictors: Predictors, table: pd.DataFrame, offset: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the full fixed design of rows, (rows, all columns), and their offsets, (rows,).

    An offset that was the argument `offset` of the model is no predictor and not added.
    """
    blueprint = predictors.blueprint
    whole = replace(
        blueprint,
        kept=np.arange(len(blueprint.fixed.assign)),
        offset=None,
        offset_was_array=False,
    )
    source = table if len(table.columns) else pd.DataFrame({"(row)": np.zeros(len(table))})
    new = build_new(whole, source, random=False)
    if offset is not None:
        return new.X, np.full(len(table), float(offset))
    return new.X, np.zeros(len(table)) if new.offset is None else new.offset


def _combinations(values: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Return all combinations, the first variable varying fastest."""
    size = int(np.prod([len(v) for v in values.values()], dtype=np.float64))
    if size > _LARGEST:
        raise ArgumentError(
            f"the reference grid would have {size:,} combinations of "
            f"{', '.join(values)}; give fewer values of some with at={{...}}"
        )
    rows = [combination[::-1] for combination in itertools.product(*list(values.values())[::-1])]
    return pd.DataFrame(rows, columns=list(values))


def positions(table: pd.DataFrame, values: Mapping[str, list[Any]], name: str) -> np.ndarray:
    """Return the position of each row's value among the values of a variable."""
    places = {value: k for k, value in enumerate(values[name])}
    return np.array([places[value] for value in table[name]], dtype=np.intp)


def cell_codes(
    table: pd.DataFrame, values: Mapping[str, list[Any]], names: tuple[str, ...] | list[str]
) -> np.ndarray:
    """Number the combinations of some variables, (rows,)."""
    codes = np.zeros(len(table), dtype=np.intp)
    for name in names:
        codes = codes * len(values[name]) + positions(table, values, name)
    return codes


def _counts(
    predictors: Predictors,
    values: Mapping[str, list[Any]],
    table: pd.DataFrame,
    counted: list[str],
) -> np.ndarray | None:
    """Return the rows of the data in each cell of the variables that count, (cells,)."""
    n = len(predictors.model.y)
    if not n:
        return None
    codes, known = np.zeros(n, dtype=np.intp), np.ones(n, dtype=bool)
    size = 1
    for name in counted:
        level_codes = predictors.codes(name, values[name])
        known &= level_codes >= 0
        codes = codes * len(values[name]) + level_codes
        size *= len(values[name])
    totals = np.bincount(codes[known], minlength=size)
    return totals[cell_codes(table, values, counted)].astype(np.float64)


def _nesting(predictors: Predictors, values: Mapping[str, list[Any]]) -> dict[str, tuple[str, ...]]:
    """Find factors each level of which occurs with one level of another, which has fewer."""
    factors = [
        name
        for name in predictors.columns
        if len(values[name]) > 1
        and (isinstance(predictors.columns[name], Factor) or name in predictors.coerced)
    ]
    codes = {name: predictors.codes(name, predictors.values(name)) for name in factors}
    nesting: dict[str, tuple[str, ...]] = {}
    for name in factors:
        parents = [
            other
            for other in factors
            if other != name
            and _is_nested(codes[name], codes[other])
            and not _is_nested(codes[other], codes[name])
        ]
        if parents:
            nesting[name] = tuple(parents)
    return nesting


def _is_nested(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether each inner level occurs with one outer level, and there are several outer ones."""
    pairs = np.unique(np.column_stack([inner, outer]), axis=0)
    return len(np.unique(pairs[:, 1])) > 1 and len(np.unique(pairs[:, 0])) == len(pairs)


def _without_empty(
    predictors: Predictors,
    values: Mapping[str, list[Any]],
    table: pd.DataFrame,
    counts: np.ndarray | None,
    nesting: Mapping[str, tuple[str, ...]],
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Leave out combinations of a nested factor with factors that it is not nested in."""
    kept = np.ones(len(table), dtype=bool)
    for name, parents in nesting.items():
        level_codes = predictors.codes(name, values[name])
        for parent in parents:
            others = predictors.codes(parent, values[parent])
            width = len(values[parent])
            seen = np.unique(level_codes * width + others)
            asked = cell_codes(table, values, (name, parent))
            kept &= np.isin(asked, seen)
    if kept.all():
        return table, counts
    return table[kept].reset_index(drop=True), None if counts is None else counts[kept]
