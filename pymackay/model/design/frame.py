"""`Frame`: the variables of a model on the rows that are used, as R's ``model.frame`` makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError
from pymackay.formula.expression import Name, Node
from pymackay.formula.parser import parse_expression
from pymackay.formula.specification import Specification
from pymackay.formula.terms import Variable
from pymackay.model.columns.column import Column, Factor, Numeric, read_column
from pymackay.model.columns.factors import drop_unused
from pymackay.model.columns.table import Table
from pymackay.model.functions.evaluate import Evaluator

__all__ = [
    "Frame",
    "Selection",
    "evaluate_variables",
    "make_frame",
    "read_extra",
    "sum_offsets",
]

WEIGHTS, OFFSET = "(weights)", "(offset)"


@dataclass(frozen=True, eq=False)
class Selection:
    """What chooses and weights the rows: the arguments beside the formula.

    Attributes
    ----------
    weights, offset : str, array-like or None
        A column's name, an R expression of columns, or one number for each row.
    subset : str, array-like or None
        An R expression, or one truth value for each row.
    """

    weights: Any = None
    offset: Any = None
    subset: Any = None


@dataclass(frozen=True, eq=False)
class Frame:
    """Variables evaluated, rows chosen, unused levels dropped.

    Attributes
    ----------
    columns : dict of str to Column
        By R's names of the variables.
    rows : pandas.Index, length n
        Labels of the rows kept.
    weights, offset : numpy.ndarray of shape (n,) or None
        `offset` sums the argument and the ``offset(...)`` terms.
    memory : dict
        What functions such as ``poly`` remember for new data.
    messages : tuple of str
    """

    columns: dict[str, Column]
    rows: pd.Index
    weights: np.ndarray | None
    offset: np.ndarray | None
    memory: dict[str, Any]
    messages: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of rows kept."""
        return len(self.rows)


def make_frame(specification: Specification, table: Table, selection: Selection) -> Frame:
    """Evaluate the variables of a formula and choose the rows.

    As in R, variables are computed on all rows; then `subset` is taken, then rows with a missing
    value in any variable, weight or offset are dropped, then levels without rows.

    Raises
    ------
    FormulaError, DataError, ArgumentError
    """
    evaluator = Evaluator(specification.formula, table)
    columns = evaluate_variables(evaluator, specification.variables)
    given = _read_extras(evaluator, selection)
    chosen = _chosen_rows(table, selection.subset)
    keep, messages = _complete_rows(table, {**columns, **given}, chosen)
    if keep is not None:
        columns = {name: column.take(keep) for name, column in columns.items()}
        given = {name: column.take(keep) for name, column in given.items()}
    _refuse_infinite({**columns, **given})
    weights = given.get(WEIGHTS)
    if weights is not None:
        _check_weights(weights.values)
    return Frame(
        columns={name: _used_levels(column) for name, column in columns.items()},
        rows=table.index if keep is None else table.index[keep],
        weights=None if weights is None else weights.values,
        offset=sum_offsets(specification, columns, given.get(OFFSET)),
        memory=evaluator.memory,
        messages=messages,
    )


def _read_extras(evaluator: Evaluator, selection: Selection) -> dict[str, Numeric]:
    """Read the weights and the offset that are given, under R's names for them."""
    extras = {
        WEIGHTS: read_extra(evaluator, selection.weights, "weights"),
        OFFSET: read_extra(evaluator, selection.offset, "offset"),
    }
    return {name: extra for name, extra in extras.items() if extra is not None}


def evaluate_variables(evaluator: Evaluator, variables: Sequence[Variable]) -> dict[str, Column]:
    """Evaluate variables on all rows of a table."""
    return {v.name: evaluator.column(v.node, v.name) for v in variables}


def sum_offsets(
    specification: Specification, columns: dict[str, Column], argument: Numeric | None
) -> np.ndarray | None:
    """Add the ``offset(...)`` terms and the argument `offset`; None where there is none."""
    parts = [columns[v.name] for v in specification.offsets]
    total = None if argument is None else argument.values
    for part in parts:
        if isinstance(part, Numeric):
            total = np.array(part.floats) if total is None else total + part.floats
    return total


def read_extra(evaluator: Evaluator, given: Any, what: str) -> Numeric | None:
    """Read `weights` or `offset`, a fresh array on all rows."""
    if given is None:
        return None
    if isinstance(given, str):
        column: Any = _evaluate_argument(evaluator, given, what)
        if isinstance(column, Factor) or column.values.ndim != 1:
            held = "categories" if isinstance(column, Factor) else "several columns"
            raise DataError(f"{what} '{given}' must be one column of numbers, but holds {held}")
        return Numeric(np.array(column.values, dtype=np.float64))
    return Numeric(_read_array(given, evaluator.table, what))


def _evaluate_argument(evaluator: Evaluator, given: str, what: str) -> Column:
    """Evaluate an argument given as a column's name or an R expression."""
    if given in evaluator.table:
        node: Node = Name(given)
    else:
        node = parse_expression(given, what=what)
    within = Evaluator(given, evaluator.table, evaluator.memory, evaluator.is_new)
    return within.column(node, f"{what} '{given}'")


def _read_array(given: Any, table: Table, what: str) -> np.ndarray:
    """Read one number for each row of the data."""
    _check_alignment(given, table, what)
    column = read_column(given, what)
    if isinstance(column, Factor) or column.values.ndim != 1:
        raise ArgumentError(
            f"{what} must be a column's name or one number for each row, not a "
            f"{type(given).__name__} of other values"
        )
    return np.array(column.values, dtype=np.float64)


def _check_alignment(given: Any, table: Table, what: str) -> None:
    """Check that an array goes with the rows of the data."""
    if np.ndim(given) != 1:
        raise ArgumentError(
            f"{what} must be a column's name or one value for each row, not {type(given).__name__}"
        )
    if len(given) != table.n:
        raise ArgumentError(f"{what} has {len(given)} values, but the data have {table.n} rows")
    if isinstance(given, pd.Series) and not given.index.equals(table.index):
        raise ArgumentError(
            f"{what} is a Series with another index than the data; align it, or pass "
            f"{what}.to_numpy() to go by position"
        )


def _chosen_rows(table: Table, subset: Any) -> np.ndarray | None:
    """Return the rows that `subset` chooses, as a mask; a missing answer is no."""
    if subset is None:
        return None
    if isinstance(subset, str):
        column = _evaluate_argument(Evaluator(subset, table), subset, "subset")
        if not (isinstance(column, Factor) and column.kind == "logical"):
            raise ArgumentError(
                f"subset '{subset}' must be true or false for each row, such as "
                f"'x > 3 & g != \"a\"'"
            )
        return column.codes == 1
    _check_alignment(subset, table, "subset")
    column = read_column(subset, "subset")
    if not (isinstance(column, Factor) and column.kind == "logical"):
        raise ArgumentError(
            "subset must be an R expression or one boolean for each row, not values of another kind"
        )
    return column.codes == 1


def _complete_rows(
    table: Table, columns: dict[str, Column], chosen: np.ndarray | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the rows to keep, as a mask, None for all; and what to tell about it."""
    keep = chosen
    for column in columns.values():
        missing = column.missing()
        if missing is not None:
            keep = ~missing if keep is None else keep & ~missing
    if keep is None:
        return None, ()
    asked = table.n if chosen is None else int(np.count_nonzero(chosen))
    if asked == 0:
        raise DataError("subset chooses no row; loosen it")
    kept = int(np.count_nonzero(keep))
    if kept == 0:
        raise DataError(_all_missing(columns, chosen))
    dropped = asked - kept
    message = f"dropped {dropped} of {asked} rows with missing values"
    return keep, (message,) if dropped else ()


def _all_missing(columns: dict[str, Column], chosen: np.ndarray | None) -> str:
    """Say that no row is complete, and whose fault it is."""
    shares = []
    for name, column in columns.items():
        missing = column.missing()
        if missing is not None:
            among = missing if chosen is None else missing[chosen]
            shares.append(f"{name}: {np.count_nonzero(among)} of {len(among)}")
    return (
        f"no row is complete: every one has a missing value in some variable "
        f"({', '.join(shares)}); leave the emptiest out or fill it"
    )


def _refuse_infinite(columns: dict[str, Column]) -> None:
    for name, column in columns.items():
        infinite = column.infinite()
        if infinite is not None:
            raise DataError(
                f"'{name}' is infinite in {np.count_nonzero(infinite)} rows; take them out with "
                f"subset, or set them missing"
            )


def _check_weights(weights: np.ndarray) -> None:
    if not np.all(weights > 0.0):
        bad = int(np.count_nonzero(weights <= 0.0))
        raise DataError(
            f"weights must be positive, but {bad} of {len(weights)} are zero or negative; take "
            f"rows of weight zero out with subset"
        )


def _used_levels(column: Column) -> Column:
    """Drop levels without rows; logical values keep both."""
    if isinstance(column, Factor) and column.kind != "logical":
        return drop_unused(column)
    return column
