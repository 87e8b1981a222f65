"""What one partition of the rows adds to the cross-products, with levels of its own.

A `Plan`, made from the first partition, says how columns are made; `sum_partition` needs nothing
else, so that partitions may be summed anywhere, in any order, and again if need be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.formula.bars import Bar
from pymackay.formula.expression import Name
from pymackay.formula.specification import Specification, specify
from pymackay.model.bases.scaling import fixed_basis
from pymackay.model.columns.column import Column, Factor, Numeric, number_labels
from pymackay.model.columns.factors import as_factor, number_levels, recode
from pymackay.model.columns.table import Table
from pymackay.model.design.blueprint import SideBlueprint
from pymackay.model.design.fixed_part import build_fixed_part, make_side
from pymackay.model.design.frame import Frame, Selection, make_frame
from pymackay.model.design.grouping import group_rows
from pymackay.model.design.matrix import Design, make_design
from pymackay.model.stream.level_keys import Levels
from pymackay.model.sums.level_pairs import LevelPairs, compact, sum_pairs

__all__ = ["GroupSums", "PartitionSums", "Plan", "make_plan", "sum_partition"]


@dataclass(frozen=True, eq=False)
class Plan:
    """How the columns of any partition are made.

    Attributes
    ----------
    specification : Specification
    weights, offset : str or None
        Columns or expressions.
    fixed : SideBlueprint
    names : tuple of str, length p
    contrasts : dict of str to str
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
    messages : tuple of str
    """

    specification: Specification
    weights: str | None
    offset: str | None
    fixed: SideBlueprint
    names: tuple[str, ...]
    contrasts: dict[str, str]
    sides: tuple[SideBlueprint, ...]
    effects: tuple[tuple[str, ...], ...]
    categories: dict[str, tuple[str, ...]]
    rotation: np.ndarray
    center: np.ndarray
    messages: tuple[str, ...]

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Grouping factor to the positions of its bars, in the formula's order."""
        found: dict[str, tuple[int, ...]] = {}
        for i, bar in enumerate(self.specification.bars):
            found[bar.group_name] = (*found.get(bar.group_name, ()), i)
        return found


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


@dataclass(frozen=True, eq=False)
class _OwnLevels:
    """The level of each row, shape (rows,), and the levels as in `GroupSums`."""

    codes: np.ndarray
    levels: Levels
    integer: bool


def make_plan(
    formula: str,
    first: pd.DataFrame,
    *,
    weights: str | None,
    offset: str | None,
    contrasts: Mapping[str, Any] | None,
) -> Plan:
    """Read a formula, and learn from the first partition what its columns are.

    Raises
    ------
    FormulaError, DataError, ArgumentError
        As `build_model`; and if the formula needs all rows at once.
    """
    for name, given in (("weights", weights), ("offset", offset)):
        if given is not None and not isinstance(given, str):
            raise ArgumentError(
                f"{name} must be the name of a column where the rows come in partitions, not "
                f"{type(given).__name__}; put the numbers into a column of the source."
            )
    table = Table(first)
    specification = specify(formula, table.names)
    frame = make_frame(specification, table, Selection(weights, offset, None))
    _refuse_memory(frame)
    fixed = build_fixed_part(specification.fixed, frame, contrasts, table.names)
    if fixed.dropped:
        raise DataError(
            f"in the first partition the columns {', '.join(fixed.dropped)} depend on the others; "
            f"make the first partition larger, or take them out of the formula."
        )
    sides = tuple(_side(bar, frame) for bar in specification.bars)
    designs = [
        _columns(side, bar, frame) for side, bar in zip(sides, specification.bars, strict=True)
    ]
    basis = fixed_basis(fixed.X)
    rotation = np.linalg.inv(basis.R)
    target = _target(specification, frame)
    return Plan(
        specification=specification,
        weights=weights,
        offset=offset,
        fixed=fixed.side,
        names=fixed.names,
        contrasts=fixed.contrasts,
        sides=tuple(
            replace(side, assign=tuple(design.assign.tolist()))
            for side, design in zip(sides, designs, strict=True)
        ),
        effects=tuple(design.names for design in designs),
        categories=_categories(specification.bars, first),
        rotation=rotation * np.sqrt(frame.n),
        center=rotation @ (basis.Q.T @ target),
        messages=(*specification.messages, *fixed.messages),
    )


def sum_partition(plan: Plan, data: pd.DataFrame) -> PartitionSums:
    """Sum the rows of one partition up."""
    table = Table(data)
    frame = make_frame(plan.specification, table, Selection(plan.weights, plan.offset, None))
    root = None if frame.weights is None else np.sqrt(frame.weights)
    X = _fixed_columns(plan, frame)
    y = _target(plan.specification, frame)
    size = float(y @ y if frame.weights is None else y @ (frame.weights * y))
    dense = np.column_stack([X @ plan.rotation, y - X @ plan.center])
    if root is not None:
        dense *= root[:, None]
    groups, coded, columns = {}, {}, {}
    for name, own in plan.groups.items():
        bar = plan.specification.bars[own[0]]
        own_levels = _own_levels(bar, frame)
        Z = np.column_stack(
            [_columns(plan.sides[i], plan.specification.bars[i], frame).values for i in own]
        )
        columns[name] = Z if root is None else Z * root[:, None]
        coded[name] = own_levels
        groups[name] = _group_sums(own_levels, columns[name], dense)
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


def _side(bar: Bar, frame: Frame) -> SideBlueprint:
    return make_side(bar.effects, _grouped(bar, frame), {}, frame.n)


def _grouped(bar: Bar, frame: Frame) -> dict[str, Column]:
    """Return the frame's columns; one that also groups counts as a factor."""
    columns = dict(frame.columns)
    for variable in bar.effects.variables:
        if isinstance(variable.node, Name) and variable.name in bar.group_columns:
            columns[variable.name] = as_factor(columns[variable.name], variable.name)
    return columns


def _columns(side: SideBlueprint, bar: Bar, frame: Frame) -> Design:
    columns = _with_levels(_grouped(bar, frame), side)
    return make_design(side.terms, columns, side.contrasts, frame.n)


def _fixed_columns(plan: Plan, frame: Frame) -> np.ndarray:
    columns = _with_levels(dict(frame.columns), plan.fixed)
    return make_design(plan.fixed.terms, columns, plan.fixed.contrasts, frame.n).values


def _with_levels(columns: dict[str, Column], side: SideBlueprint) -> dict[str, Column]:
    """Give factors the levels that the first partition has."""
    for name, levels in side.levels.items():
        factor = as_factor(columns[name], name)
        codes, unknown = recode(factor, levels)
        if unknown:
            raise DataError(
                f"'{name}' has levels that the first partition has not: {', '.join(unknown)}; put "
                f"a row of every level into the first partition."
            )
        columns[name] = Factor(codes, levels)
    return columns


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


def _categories(bars: tuple[Bar, ...], first: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    found = {}
    for bar in bars:
        column = first.get(bar.group_name)
        if column is not None and isinstance(column.dtype, pd.CategoricalDtype):
            found[bar.group_name] = tuple(map(str, column.cat.categories))
    return found


def _group_sums(own: _OwnLevels, columns: np.ndarray, dense: np.ndarray) -> GroupSums:
    J, q = len(own.levels), columns.shape[1]
    codes = own.codes.astype(np.intp)  # once, not in every bincount
    diagonal, sums = np.empty((J, q, q)), np.empty((J, q, dense.shape[1]))
    for a in range(q):
        for b in range(a + 1):
            product = columns[:, a] * columns[:, b]
            diagonal[:, a, b] = np.bincount(codes, weights=product, minlength=J)
            diagonal[:, b, a] = diagonal[:, a, b]
        for j in range(dense.shape[1]):
            product = columns[:, a] * dense[:, j]
            sums[:, a, j] = np.bincount(codes, weights=product, minlength=J)
    return GroupSums(own.levels, own.integer, diagonal, sums)


def _pair_sums(first: _OwnLevels, a: np.ndarray, second: _OwnLevels, b: np.ndarray) -> LevelPairs:
    shape = (len(first.levels), len(second.levels))
    found = [
        sum_pairs(first.codes, second.codes, a[:, i] * b[:, j], shape)
        for i in range(a.shape[1])
        for j in range(b.shape[1])
    ]
    joined = np.stack([part.data for part in found], axis=1) if len(found) > 1 else found[0].data
    return LevelPairs.of(found[0], compact(joined).reshape(-1, a.shape[1], b.shape[1]))
