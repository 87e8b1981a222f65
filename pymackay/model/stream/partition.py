"""What one partition of the rows adds to the cross-products, with levels of its own.

A `Plan`, made from the first partition with a complete row, says how columns are made.
`sum_partition` needs a plan and the rows only, so that partitions can be summed in any process, in
any order, and more than once. Levels that are not in the plan get new columns (see `GrowingSide`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError, FormulaError
from pymackay.formula.bars import Bar
from pymackay.formula.expression import Call, walk
from pymackay.formula.specification import Specification
from pymackay.formula.terms import Variable
from pymackay.model.bases.scaling import fixed_basis, independent_columns
from pymackay.model.columns.column import Factor, Numeric, number_labels, number_levels
from pymackay.model.columns.table import Table, category_labels
from pymackay.model.design.arguments import Arguments, fixed_contrasts
from pymackay.model.design.frame import Frame, NoCompleteRow, make_frame
from pymackay.model.design.side import effect_columns, group_rows
from pymackay.model.model import level_gram, level_products
from pymackay.model.stream.digest import digest_response
from pymackay.model.stream.growing_side import GrowingSide
from pymackay.model.stream.level_keys import Levels
from pymackay.model.stream.level_order import GroupOrder
from pymackay.model.sums.level_pairs import LevelPairs, compact, sum_pairs

_CONTRASTS = (
    "C() makes contrasts for the levels of one partition; where the rows come in partitions, give "
    "contrasts for all levels by the argument contrasts, such as contrasts={'f': 'contr.sum'}."
)
_ALL_ROWS = (
    "the formula has a function that needs all rows at once (such as poly, scale or mean), "
    "but the rows come in partitions; compute the column beforehand."
)
_OF_ALL_ROWS = frozenset(
    ["poly", "scale", "ns", "bs", "cut", "quantile"]  # refuse few rows, with other messages
)
_OF_LEVELS = frozenset(["factor", "ordered", "relevel"])
_ONE_PARTITION = (
    "The rows come in partitions, and a function of a factor sees only the levels of one; make the "
    "column beforehand, or categorical with all its categories in every partition."
)


@dataclass(frozen=True, eq=False)
class Plan:
    """How the columns of any partition are made.

    Attributes
    ----------
    specification : Specification
    arguments : Arguments
        Weights and offset are columns or expressions.
    sides : tuple of GrowingSide
        The fixed part, and the left side of each bar.
    known : tuple of str
        Columns of the data.
    categories : dict of str to tuple of str
        Categorical columns: all their categories, in order.
    orders : dict of str to GroupOrder
        By grouping factor.
    rotation : numpy.ndarray, shape (p, p)
        ``X @ rotation`` has orthonormal columns in the first partition.
    center : numpy.ndarray, shape (p,)
        Least-squares coefficients of the first partition. Their fit is subtracted from the
        response of every partition, so that the sums keep their digits.
    """

    specification: Specification
    arguments: Arguments
    sides: tuple[GrowingSide, ...]
    known: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    orders: dict[str, GroupOrder]
    rotation: np.ndarray
    center: np.ndarray

    @property
    def p(self) -> int:
        """Number of fixed columns so far."""
        return len(self.sides[0].labels)

    def q(self, bar: int) -> int:
        """Return the number of columns of a bar so far."""
        return len(self.sides[bar + 1].labels)

    def grown(self, sides: Sequence[GrowingSide], X: np.ndarray, y: np.ndarray) -> Plan:
        """Return the plan with the sides to which a partition has added levels.

        Parameters
        ----------
        sides : sequence of GrowingSide
        X : numpy.ndarray, shape (n, p)
            The partition's fixed columns, the new ones included.
        y : numpy.ndarray, shape (n,)
            Its response, without the offset.
        """
        center, new = self._center_among(sides)
        center[new] = _least_squares(X[:, new], y - X @ center)
        rows = np.vstack([self._equivalent_rows(sides[0]), X / np.sqrt(len(X))])
        return replace(self, sides=tuple(sides), rotation=_rotation(rows), center=center)

    def joined(self, other: Plan) -> Plan:
        """Return the plan with the columns of another one added; itself if none is new."""
        sides = [ours.joined(theirs) for ours, theirs in zip(self.sides, other.sides, strict=True)]
        if all(new is old for new, old in zip(sides, self.sides, strict=True)):
            return self
        center, new = self._center_among(sides)
        places = other.sides[0].places_in(sides[0])
        added = np.isin(places, new)
        center[places[added]] = other.center[added]
        rows = np.vstack([self._equivalent_rows(sides[0]), other._equivalent_rows(sides[0])])
        return replace(self, sides=tuple(sides), rotation=_rotation(rows), center=center)

    def _center_among(self, sides: Sequence[GrowingSide]) -> tuple[np.ndarray, np.ndarray]:
        """Return the centre with zeros for new fixed columns, (p',), and the places of these."""
        places = self.sides[0].places_in(sides[0])
        center = np.zeros(len(sides[0].labels))
        center[places] = self.center
        return center, np.setdiff1d(np.arange(len(center)), places)

    def _equivalent_rows(self, fixed: GrowingSide) -> np.ndarray:
        """Return p rows, (p, p'), with X'X/n of the rows that `rotation` was computed from."""
        rows = np.zeros((self.p, len(fixed.labels)))
        rows[:, self.sides[0].places_in(fixed)] = np.linalg.inv(self.rotation)
        return rows

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Grouping factor to the positions of its bars, in the formula's order."""
        positions: dict[str, tuple[int, ...]] = {}
        for i, bar in enumerate(self.specification.bars):
            positions[bar.group_name] = (*positions.get(bar.group_name, ()), i)
        return positions


@dataclass(frozen=True, eq=False)
class GroupSums:
    """What a partition adds to the sums of one grouping factor.

    Attributes
    ----------
    levels : tuple of str or numpy.ndarray, length J
        Of this partition: labels or, where the factor is one column of numbers, these in rising
        order.
    integer : bool
        Whether R would store the numbers as integers.
    diagonal : numpy.ndarray, shape (J, q, q)
        ``Z_j'Z_j``.
    dense : numpy.ndarray, shape (J, q, p + 1)
        ``Z_j'[W e]`` with the rotated columns W and the centred response e.
    """

    levels: Levels
    integer: bool
    diagonal: np.ndarray
    dense: np.ndarray


@dataclass(frozen=True, eq=False)
class PartitionSums:
    """What a partition adds to all sums.

    Attributes
    ----------
    n, dropped : int
        Rows used, and rows left out for missing values.
    log_weights : float
    squared_response : float
        Weighted sum of squares of the response, not centred: what its residual is compared with.
    dense_gram : numpy.ndarray, shape (p + 1, p + 1)
    groups : dict of str to GroupSums
    pairs : dict of (str, str) to LevelPairs
        By the places of the levels in `GroupSums`.
    digest : numpy.ndarray of uint64, shape (1,)
        Of the response (see `digest_response`).
    plan : Plan
        The plan by which the columns were made, with the partition's new levels.
    """

    n: int
    dropped: int
    log_weights: float
    squared_response: float
    dense_gram: np.ndarray
    groups: dict[str, GroupSums]
    pairs: dict[tuple[str, str], LevelPairs]
    digest: np.ndarray
    plan: Plan


class _OwnLevels(NamedTuple):
    """The level of each row, shape (rows,), and the levels as in `GroupSums`."""

    codes: np.ndarray
    levels: Levels
    integer: bool


def make_plan(
    specification: Specification, first: pd.DataFrame, arguments: Arguments
) -> Plan | None:
    """Determine the columns of a formula from the first partition.

    Returns
    -------
    Plan or None
        None where the partition has no complete row.

    Raises
    ------
    FormulaError, DataError, ArgumentError
        If the formula needs all rows at once, or an argument is wrong. What concerns the whole
        table, such as whether a factor has two levels, is checked when all rows are summed.
    """
    for name, value in (("weights", arguments.weights), ("offset", arguments.offset)):
        if value is not None and not isinstance(value, str):
            raise ArgumentError(
                f"{name} must be the name of a column where the rows come in partitions, not "
                f"{type(value).__name__}; put the numbers into a column of the source."
            )
    table = Table(first)
    try:
        frame = _complete_frame(specification, table, arguments)
    except (FormulaError, DataError) as error:
        if any(_calls(variable, _OF_ALL_ROWS) for variable in specification.variables):
            raise DataError(_ALL_ROWS) from error
        raise
    if frame is None:
        return None
    if any(not key.startswith("levels of ") for key in frame.memory):
        raise DataError(_ALL_ROWS)
    fixed_contrasts(arguments.contrasts, specification.fixed, frame.columns, table.names)
    sides = [GrowingSide.of(specification.fixed, frame.columns)]
    for bar in specification.bars:
        sides.append(GrowingSide.of(bar.effects, effect_columns(bar, frame.columns)))
    y = _response(specification, frame)
    X = sides[0].matrix(frame.columns, frame.n).values
    y = y if frame.offset is None else y - frame.offset
    categories = _categories(first)
    return Plan(
        specification=specification,
        arguments=arguments,
        sides=tuple(sides),
        known=tuple(table.names),
        categories=categories,
        orders={
            bar.group_name: GroupOrder.of(bar.group, frame.columns, categories)
            for bar in specification.bars
        },
        rotation=_rotation(X) * np.sqrt(frame.n),
        center=_least_squares(X, y),
    )


def _complete_frame(
    specification: Specification, table: Table, arguments: Arguments
) -> Frame | None:
    """Return the frame of a partition; None where no row is complete."""
    if not table.n:
        return None
    try:
        frame = make_frame(specification, table, arguments)
    except NoCompleteRow:
        return None
    except DataError as error:
        if any(map(_sets_contrasts, specification.variables)):
            raise DataError(f"{error}. {_CONTRASTS}") from error
        raise
    except FormulaError as error:
        if any(_calls(v, _OF_LEVELS) for v in specification.variables):
            raise DataError(f"{error}\n{_ONE_PARTITION}") from error
        raise
    for variable in filter(_sets_contrasts, specification.variables):
        column = frame.columns[variable.name]
        if isinstance(column, Factor) and column.contrasts is None:
            raise DataError(f"'{variable.name}' lacks levels in a partition. {_CONTRASTS}")
    return frame


def _calls(variable: Variable, functions: Collection[str]) -> bool:
    """Say whether a variable is made with one of these functions."""
    return any(isinstance(n, Call) and n.function in functions for n in walk(variable.node))


def _sets_contrasts(variable: Variable) -> bool:
    node = variable.node
    return isinstance(node, Call) and node.function == "C" and len(node.arguments) > 1


def _rotation(X: np.ndarray) -> np.ndarray:
    """Return ``R⁻¹``, (p, p), with X = Q R, (n, p), for the columns that do not depend on others.

    A rotation says how to make columns that are well conditioned in all rows that it was made of.
    Of a column that depends on others it takes their combination off, at unit length: where it
    depends on them in all rows, what is summed up of it is rounding.
    """
    kept = independent_columns(X)
    rotation = np.eye(X.shape[1])
    basis = fixed_basis(X[:, kept] if len(kept) < X.shape[1] else X)
    rotation[np.ix_(kept, kept)] = np.linalg.inv(basis.R)
    for column in np.setdiff1d(np.arange(X.shape[1]), kept):
        rotation[kept, column] = -basis.from_basis(basis.Q.T @ X[:, column])
        rotation[:, column] /= np.linalg.norm(X[:, column]) or 1.0
    return rotation


def _least_squares(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the coefficients of y, (n,), on X, (n, p); zero for columns that depend on others."""
    kept = independent_columns(X)
    coefficients = np.zeros(X.shape[1])
    basis = fixed_basis(X[:, kept] if len(kept) < X.shape[1] else X)
    coefficients[kept] = basis.from_basis(basis.Q.T @ y)
    return coefficients


def sum_partition(plan: Plan, data: pd.DataFrame) -> PartitionSums:
    """Sum the rows of one partition."""
    table = Table(data.set_axis(pd.RangeIndex(len(data)), axis=0))
    frame = _complete_frame(plan.specification, table, plan.arguments)
    if frame is None:
        return no_rows(plan, table.n)
    bars = plan.specification.bars
    by_side = [frame.columns, *(effect_columns(bar, frame.columns) for bar in bars)]
    sides = [side.grown(columns) for side, columns in zip(plan.sides, by_side, strict=True)]
    root = None if frame.weights is None else np.sqrt(frame.weights)
    X, *of_bars = (
        side.matrix(columns, frame.n).values for side, columns in zip(sides, by_side, strict=True)
    )
    response = _response(plan.specification, frame)
    y = response if frame.offset is None else response - frame.offset
    if any(new is not old for new, old in zip(sides, plan.sides, strict=True)):
        plan = plan.grown(sides, X, y)
    squared = float(y @ y if frame.weights is None else y @ (frame.weights * y))
    dense = np.column_stack([X @ plan.rotation, y - X @ plan.center])
    if root is not None:
        dense *= root[:, None]
    groups, coded, columns = {}, {}, {}
    for name, positions in plan.groups.items():
        coded[name] = codes, levels, integer = _own_levels(bars[positions[0]], frame)
        Z = np.column_stack([of_bars[i] for i in positions])
        columns[name] = Z = Z if root is None else Z * root[:, None]
        diagonal = level_gram(codes, Z, len(levels))
        sums = level_products(codes, Z, dense, len(levels))
        groups[name] = GroupSums(levels, integer, diagonal, sums)
    names = list(groups)
    return PartitionSums(
        n=frame.n,
        dropped=table.n - frame.n,
        log_weights=0.0 if frame.weights is None else float(np.log(frame.weights).sum()),
        squared_response=squared,
        dense_gram=dense.T @ dense,
        groups=groups,
        pairs={
            (a, b): _pair_sums(coded[a], columns[a], coded[b], columns[b])
            for i, b in enumerate(names)
            for a in names[:i]
        },
        digest=digest_response(response),
        plan=plan,
    )


def no_rows(plan: Plan, dropped: int) -> PartitionSums:
    """Return the sums of a partition none of whose rows is complete."""
    empty = np.zeros((plan.p + 1,) * 2)
    digest = digest_response(np.zeros(0))
    return PartitionSums(0, dropped, 0.0, 0.0, empty, {}, {}, digest, plan)


def _response(specification: Specification, frame: Frame) -> np.ndarray:
    column = frame.columns[specification.response.name]
    if isinstance(column, Factor) or column.values.ndim != 1:
        raise DataError(
            f"the response '{specification.response.name}' must be one column of numbers."
        )
    return column.floats


def _own_levels(bar: Bar, frame: Frame) -> _OwnLevels:
    """Return the levels of a grouping factor: numbers if it is one numeric column, else labels."""
    column = frame.columns.get(bar.group_name)
    if not isinstance(column, Numeric) or column.values.ndim != 1:
        factor = group_rows(bar.group, frame.columns, bar.group_name)
        return _OwnLevels(factor.codes, factor.levels, False)
    codes, numbers = number_levels(column)
    if numbers.dtype.kind == "u":  # beyond 63 bits, where other partitions may have signed numbers
        return _OwnLevels(codes, tuple(number_labels(numbers, column.integer)), False)
    return _OwnLevels(codes, numbers, column.integer)


def _categories(first: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the categories of the categorical columns, in order, as R writes levels."""
    return {
        str(name): tuple(category_labels(first[name].cat.categories, str(name)))
        for name in first.columns
        if isinstance(first[name].dtype, pd.CategoricalDtype)
    }


def _pair_sums(first: _OwnLevels, a: np.ndarray, second: _OwnLevels, b: np.ndarray) -> LevelPairs:
    shape = (len(first.levels), len(second.levels))
    sums = [
        sum_pairs(first.codes, second.codes, a[:, i] * b[:, j], shape)
        for i in range(a.shape[1])
        for j in range(b.shape[1])
    ]
    joined = np.stack([part.data for part in sums], axis=1) if len(sums) > 1 else sums[0].data
    return LevelPairs.of(sums[0], compact(joined).reshape(-1, a.shape[1], b.shape[1]))
