"""What one partition of the rows adds to the cross-products, with levels of its own.

A `Plan`, made from the first partition, says how columns are made; `sum_partition` needs nothing
else, so that partitions may be summed anywhere, in any order, and again if need be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.formula.bars import Bar
from pymackay.formula.specification import Specification
from pymackay.model.bases.scaling import fixed_basis
from pymackay.model.columns.column import Column, Factor, Numeric, number_labels, number_levels
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.build import FixedPart, build_fixed_part
from pymackay.model.design.frame import Frame, make_frame
from pymackay.model.design.side import (
    SideBlueprint,
    effect_columns,
    group_rows,
    make_side,
    with_levels,
)
from pymackay.model.model import level_gram, level_products
from pymackay.model.stream.level_keys import Levels
from pymackay.model.sums.level_pairs import LevelPairs, compact, sum_pairs

_UNKNOWN_LEVELS = (
    "'{name}' has levels that the first partition has not: {unknown}; put a row of every level "
    "into the first partition."
)


@dataclass(frozen=True, eq=False)
class Plan:
    """How the columns of any partition are made.

    Attributes
    ----------
    specification : Specification
    arguments : Arguments
        Weights and offset are columns or expressions.
    fixed : FixedPart
        Without rows.
    sides : tuple of SideBlueprint
        Left side of each bar.
    effects : tuple of tuple of str
        Names of each bar's columns.
    categories : dict of str to tuple of str
        Grouping factors that are categorical columns: all their categories, in order.
    rotation : numpy.ndarray, shape (p, p)
        ``X @ rotation`` is well conditioned, judged by the first partition.
    center : numpy.ndarray, shape (p,)
        Least-squares fit of the first partition, taken off the response so that sums keep digits.
    """

    specification: Specification
    arguments: Arguments
    fixed: FixedPart
    sides: tuple[SideBlueprint, ...]
    effects: tuple[tuple[str, ...], ...]
    categories: dict[str, tuple[str, ...]]
    rotation: np.ndarray
    center: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fixed columns, length p."""
        return self.fixed.names

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Grouping factor to the positions of its bars, in the formula's order."""
        positions: dict[str, tuple[int, ...]] = {}
        for i, bar in enumerate(self.specification.bars):
            positions[bar.group_name] = (*positions.get(bar.group_name, ()), i)
        return positions


@dataclass(frozen=True, eq=False)
class GroupSums:
    """One grouping factor's part.

    Attributes
    ----------
    levels : tuple of str or numpy.ndarray, length J
        Those of this partition; where the factor is one column of numbers, these, rising.
    integer : bool
        Whether R would hold the numbers as integers.
    diagonal : numpy.ndarray, shape (J, q, q)
    dense : numpy.ndarray, shape (J, q, p + 1)
        With X's rotated columns and the centred response.
    """

    levels: Levels
    integer: bool
    diagonal: np.ndarray
    dense: np.ndarray


@dataclass(frozen=True, eq=False)
class PartitionSums:
    """All that a partition adds.

    Attributes
    ----------
    n, dropped : int
        Rows used, and rows left out for missing values.
    log_weights : float
    squared_response : float
        Weighted sum of squares of the response as it came: what its residual is judged by.
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
    groups : dict of str to GroupSums
    pairs : dict of (str, str) to LevelPairs
        By the places of the levels in `GroupSums`.
    """

    n: int
    dropped: int
    log_weights: float
    squared_response: float
    dense_gram: np.ndarray
    groups: dict[str, GroupSums]
    pairs: dict[tuple[str, str], LevelPairs]


class _OwnLevels(NamedTuple):
    """The level of each row, shape (rows,), and the levels as in `GroupSums`."""

    codes: np.ndarray
    levels: Levels
    integer: bool


def make_plan(specification: Specification, first: pd.DataFrame, arguments: Arguments) -> Plan:
    """Learn from the first partition what the columns of a formula are.

    Raises
    ------
    FormulaError, DataError, ArgumentError
        As `build_model`; and if the formula needs all rows at once.
    """
    for name, given in (("weights", arguments.weights), ("offset", arguments.offset)):
        if given is not None and not isinstance(given, str):
            raise ArgumentError(
                f"{name} must be the name of a column where the rows come in partitions, not "
                f"{type(given).__name__}; put the numbers into a column of the source."
            )
    table = Table(first)
    frame = make_frame(specification, table, arguments)
    _refuse_memory(frame)
    fixed = build_fixed_part(specification.fixed, frame, arguments.contrasts, table.names)
    if fixed.dropped:
        raise DataError(
            f"in the first partition the columns {', '.join(fixed.dropped)} depend on the others; "
            f"make the first partition larger, or take them out of the formula."
        )
    made = [
        make_side(bar.effects, effect_columns(bar, frame.columns), {}, frame.n)
        for bar in specification.bars
    ]
    basis = fixed_basis(fixed.X)
    rotation = np.linalg.inv(basis.R)
    target = _target(specification, frame)
    return Plan(
        specification=specification,
        arguments=arguments,
        fixed=replace(fixed, X=np.zeros((0, len(fixed.names)))),
        sides=tuple(side for side, _ in made),
        effects=tuple(matrix.names for _, matrix in made),
        categories=_categories(specification.bars, first),
        rotation=rotation * np.sqrt(frame.n),
        center=rotation @ (basis.Q.T @ target),
    )


def sum_partition(plan: Plan, data: pd.DataFrame) -> PartitionSums:
    """Sum the rows of one partition up."""
    table = Table(data)
    frame = make_frame(plan.specification, table, plan.arguments)
    root = None if frame.weights is None else np.sqrt(frame.weights)
    X = _columns_again(plan.fixed.side, frame.columns, frame.n)
    y = _target(plan.specification, frame)
    size = float(y @ y if frame.weights is None else y @ (frame.weights * y))
    dense = np.column_stack([X @ plan.rotation, y - X @ plan.center])
    if root is not None:
        dense *= root[:, None]
    groups, coded, columns = {}, {}, {}
    for name, own in plan.groups.items():
        coded[name] = codes, levels, integer = _own_levels(plan.specification.bars[own[0]], frame)
        Z = np.column_stack([_effects_again(plan, i, frame) for i in own])
        columns[name] = Z = Z if root is None else Z * root[:, None]
        diagonal = level_gram(codes, Z, len(levels))
        sums = level_products(codes, Z, dense, len(levels))
        groups[name] = GroupSums(levels, integer, diagonal, sums)
    names = list(groups)
    return PartitionSums(
        n=frame.n,
        dropped=table.n - frame.n,
        log_weights=0.0 if frame.weights is None else float(np.log(frame.weights).sum()),
        squared_response=size,
        dense_gram=dense.T @ dense,
        groups=groups,
        pairs={
            (a, b): _pair_sums(coded[a], columns[a], coded[b], columns[b])
            for i, b in enumerate(names)
            for a in names[:i]
        },
    )


def _columns_again(side: SideBlueprint, columns: dict[str, Column], n: int) -> np.ndarray:
    """Return a side's columns for the `n` rows of a partition, by the first partition's levels."""
    known = {
        name: with_levels(columns[name], levels, name, _UNKNOWN_LEVELS)
        for name, levels in side.levels.items()
    }
    return side.matrix({**columns, **known}, n).values


def _effects_again(plan: Plan, i: int, frame: Frame) -> np.ndarray:
    """Return the columns of the i-th bar for a partition, shape (n, q)."""
    bar = plan.specification.bars[i]
    return _columns_again(plan.sides[i], effect_columns(bar, frame.columns), frame.n)


def _refuse_memory(frame: Frame) -> None:
    if any(not key.startswith("levels of ") for key in frame.memory):
        raise DataError(
            "the formula has a function that needs all rows at once (such as poly, scale or mean), "
            "but the rows come in partitions; compute the column beforehand."
        )


def _target(specification: Specification, frame: Frame) -> np.ndarray:
    column = frame.columns[specification.response.name]
    if isinstance(column, Factor) or column.values.ndim != 1:
        raise DataError(
            f"the response '{specification.response.name}' must be one column of numbers."
        )
    y = column.floats
    return y if frame.offset is None else y - frame.offset


def _own_levels(bar: Bar, frame: Frame) -> _OwnLevels:
    """Find the levels of a grouping factor; labels are made only where numbers will not do."""
    column = frame.columns.get(bar.group_name)
    if not isinstance(column, Numeric) or column.values.ndim != 1:
        factor = group_rows(bar.group, frame.columns, bar.group_name)
        return _OwnLevels(factor.codes, factor.levels, False)
    codes, numbers = number_levels(column)
    if numbers.dtype.kind == "u":  # beyond 63 bits: numbers of other partitions may be signed
        return _OwnLevels(codes, tuple(number_labels(numbers, column.integer)), False)
    return _OwnLevels(codes, numbers, column.integer)


def _categories(bars: Sequence[Bar], first: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    found = {}
    for bar in bars:
        column = first.get(bar.group_name)
        if column is not None and isinstance(column.dtype, pd.CategoricalDtype):
            found[bar.group_name] = tuple(map(str, column.cat.categories))
    return found


def _pair_sums(first: _OwnLevels, a: np.ndarray, second: _OwnLevels, b: np.ndarray) -> LevelPairs:
    shape = (len(first.levels), len(second.levels))
    found = [
        sum_pairs(first.codes, second.codes, a[:, i] * b[:, j], shape)
        for i in range(a.shape[1])
        for j in range(b.shape[1])
    ]
    joined = np.stack([part.data for part in found], axis=1) if len(found) > 1 else found[0].data
    return LevelPairs.of(found[0], compact(joined).reshape(-1, a.shape[1], b.shape[1]))
