"""`Plan`: how the columns of any partition of the rows are made.

It is made from the first partition with a complete row. Levels that are not in it get new columns
(see `GrowingSide`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError, FormulaError
from pymackay.formula.expression import Call, walk
from pymackay.formula.specification import Specification
from pymackay.formula.terms import Variable
from pymackay.model.bases.scaling import fixed_basis, independent_columns
from pymackay.model.columns.column import Factor
from pymackay.model.columns.table import Table, category_labels
from pymackay.model.design.arguments import Arguments, fixed_contrasts
from pymackay.model.design.frame import Frame, NoCompleteRow, make_frame
from pymackay.model.design.side import effect_columns
from pymackay.model.stream.growing_side import GrowingSide
from pymackay.model.stream.level_order import GroupOrder
from pymackay.model.stream.response import LINEAR, ResponseKind

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
    kind : ResponseKind
        How the response is read, and whether weights enter the sums.
    """

    specification: Specification
    arguments: Arguments
    sides: tuple[GrowingSide, ...]
    known: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    orders: dict[str, GroupOrder]
    rotation: np.ndarray
    center: np.ndarray
    kind: ResponseKind = LINEAR

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


def make_plan(
    specification: Specification,
    first: pd.DataFrame,
    arguments: Arguments,
    kind: ResponseKind = LINEAR,
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
        frame = complete_frame(specification, table, arguments, kind)
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
    y = response_of(specification, frame, kind)
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
        kind=kind,
    )


def complete_frame(
    specification: Specification, table: Table, arguments: Arguments, kind: ResponseKind
) -> Frame | None:
    """Return the frame of a partition; None where no row is complete."""
    if not table.n:
        return None
    try:
        frame = make_frame(specification, table, arguments, kind.check_weights)
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


def response_of(specification: Specification, frame: Frame, kind: ResponseKind) -> np.ndarray:
    """Return a partition's response as numbers, shape (n,)."""
    name = specification.response.name
    return kind.numbers(frame.columns[name], name, frame.weights)


def _categories(first: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the categories of the categorical columns, in order, as R writes levels."""
    return {
        str(name): tuple(category_labels(first[name].cat.categories, str(name)))
        for name in first.columns
        if isinstance(first[name].dtype, pd.CategoricalDtype)
    }
