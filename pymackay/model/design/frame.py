"""`Frame`: the variables of a formula, evaluated on the rows that are used; and their `Evaluator`.

A frame is what R's ``model.frame`` makes. Expressions call functions of the closed list only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, DataError, FormulaError, listed
from pymackay.formula.expression import (
    Call,
    Constant,
    Name,
    Node,
    Number,
    String,
    deparse,
    left_spine,
)
from pymackay.formula.functions import near_names
from pymackay.formula.lexer import fault
from pymackay.formula.parser import parse_expression
from pymackay.formula.specification import Specification
from pymackay.formula.terms import Variable
from pymackay.model.columns.column import (
    Column,
    Factor,
    Numeric,
    as_factor,
    drop_unused,
    recode,
)
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments, check_weights, read_numbers, read_truth
from pymackay.model.functions.arithmetic import OPERATORS
from pymackay.model.functions.call import Value, match_arguments
from pymackay.model.functions.closed_list import find_function

T = TypeVar("T")

WEIGHTS, OFFSET = "(weights)", "(offset)"
_NAMED_CONSTANTS: dict[str, Value] = {"pi": float(np.pi), "T": True, "F": False}
_CONSTANTS: dict[str, Value] = {"TRUE": True, "FALSE": False, "NULL": None, "NA": float("nan")}


class Evaluator:
    """Evaluates the expressions of one formula over one table.

    Parameters
    ----------
    text : str
        The formula, for error messages.
    table : Table
    memory : dict, optional
        What is remembered: bases of ``poly``, centres of ``scale``, levels. Filled here.
    is_new : bool
        Whether the table holds new data, and `memory` what the model's own data gave.
    """

    def __init__(
        self,
        text: str,
        table: Table,
        memory: dict[str, Any] | None = None,
        is_new: bool = False,
    ) -> None:
        self.text = text
        self.table = table
        self.memory: dict[str, Any] = {} if memory is None else memory
        self.is_new = is_new

    def column(self, node: Node, name: str) -> Column:
        """Evaluate an expression that must give one value for each row.

        Raises
        ------
        FormulaError
            If it uses what the language does not have.
        DataError
            If the data do not have the columns, or the wrong kind.
        """
        if isinstance(node, Name):
            value = self.name(node)
        else:
            with np.errstate(all="ignore"):
                value = self.evaluate(node)
        if isinstance(value, Numeric | Factor) and len(value) == self.table.n:
            return value
        raise fault(
            f"{name} does not have one value for each of the {self.table.n} rows; use columns of "
            f"the data",
            self.text,
            node.position,
        )

    def evaluate(self, node: Node) -> Value:
        """Evaluate an expression."""
        if isinstance(node, Name):
            return self.name(node)
        if isinstance(node, Number | String):
            return node.value
        if isinstance(node, Constant):
            return _CONSTANTS[node.text]
        if node.function == "(":
            return self.evaluate(node.arguments[0])
        if not node.names and node.arguments:
            return self.operator(node)
        return self.function(node)

    def name(self, node: Name) -> Value:
        """Return a column, or a constant such as ``pi`` where no column has its name."""
        if node.name not in self.table:
            if node.name in _NAMED_CONSTANTS:
                return _NAMED_CONSTANTS[node.name]
            raise DataError(self._unknown_column(node))
        column = self.table.column(node.name)
        key = f"levels of {node.name}"
        was_factor = self.is_new and self.memory.get(key, ((), "logical"))[1] != "logical"
        if isinstance(column, Numeric) and was_factor and column.values.ndim == 1:
            column = as_factor(column, node.name)
        if isinstance(column, Factor):
            return self.with_known_levels(column, key)
        return self._with_known_digits(column, f"{key} as numbers")

    def _with_known_digits(self, column: Numeric, key: str) -> Numeric:
        """Give whole numbers of new data the flag `integer` of the same column at the fit.

        R prints 100000 as ``100000`` in a column of integers, and as ``1e+05`` in a column of
        doubles. A column is one of integers only if its largest value fits into 32 bits.
        """
        _, kind = self.remember(lambda: ((), "integer" if column.integer else "double"), key)
        integer = kind == "integer"
        if integer == column.integer or not column.is_whole:
            return column
        return replace(column, integer=integer)

    def _unknown_column(self, node: Name) -> str:
        names = self.table.names
        nameless = "none that is named by text: name them, as in pandas.DataFrame(x, columns=...)"
        cure = near_names(node.name, names) or f"; they have {listed(names) or nameless}"
        return str(fault(f"the data have no column '{node.name}'{cure}", self.text, node.position))

    def with_known_levels(self, column: Factor, key: str) -> Factor:
        """Give a factor of new data the codes of the model's data; new levels come last."""
        known, kind = self.remember(lambda: (column.levels, column.kind), key)
        if not self.is_new:
            return column
        in_model = set(known)
        levels = known + tuple(level for level in column.levels if level not in in_model)
        codes, _ = recode(column, levels)
        return Factor(codes, levels, kind)

    def operator(self, call: Call) -> Value:
        """Evaluate a chain of operators without recursion to the left."""
        if call.function not in OPERATORS:
            raise fault(f"'{call.function}' cannot stand here", self.text, call.position)
        if len(call.arguments) == 1:
            operand = self.evaluate(call.arguments[0])
            return OPERATORS[call.function](_CallContext(self, call), operand)
        first, links = left_spine(call, OPERATORS)
        value = self.evaluate(first)
        for link, right in links:
            value = OPERATORS[link.function](_CallContext(self, link), value, self.evaluate(right))
        return value

    def function(self, call: Call) -> Value:
        """Call a function of the closed list."""
        function = find_function(call, self.text)
        context = _CallContext(self, call)
        arguments = match_arguments(context, function, self.evaluate)
        value = function.body(context, **{k.replace(".", "_"): v for k, v in arguments.items()})
        return context.with_known_levels(value) if isinstance(value, Factor) else value

    def argument(self, expression: str, what: str) -> Column:
        """Evaluate an argument that is a column's name or an R expression."""
        node = (
            Name(expression)
            if expression in self.table
            else parse_expression(expression, what=what)
        )
        within = Evaluator(expression, self.table, self.memory, self.is_new)
        return within.column(node, f"{what} '{expression}'")

    def remember(self, compute: Callable[[], T], key: str) -> T:
        """Compute once from the model's data, and give the same answer for new data."""
        if key not in self.memory:
            self.memory[key] = compute()
        return self.memory[key]


class _CallContext:
    """The `Context` that a function of the closed list gets: one call and its evaluator."""

    def __init__(self, evaluator: Evaluator, call: Call) -> None:
        self.evaluator = evaluator
        self.call = call
        self.is_new = evaluator.is_new

    def error(self, message: str) -> FormulaError:
        return fault(message, self.evaluator.text, self.call.position)

    def with_known_levels(self, factor: Factor) -> Factor:
        return self.evaluator.with_known_levels(factor, f"levels of {deparse(self.call)}")

    def remember(self, compute: Callable[[], T], key: str = "") -> T:
        return self.evaluator.remember(compute, f"{deparse(self.call)} {key}")


class NoCompleteRow(DataError):
    """Every row has a missing value."""


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


def make_frame(
    specification: Specification,
    table: Table,
    arguments: Arguments,
    check: Callable[[np.ndarray], None] = check_weights,
) -> Frame:
    """Evaluate the variables of a formula and choose the rows; `check` refuses wrong weights.

    As in R, variables are computed on all rows; then `subset` is taken, then rows with a missing
    value in any variable, weight or offset are dropped, then levels without rows.

    Raises
    ------
    FormulaError, DataError, ArgumentError
    """
    evaluator = Evaluator(specification.formula, table)
    columns = evaluate_variables(evaluator, specification.variables)
    extras = _read_extras(evaluator, arguments)
    chosen = _chosen_rows(table, arguments.subset)
    keep, messages = _complete_rows(table, {**columns, **extras}, chosen)
    if keep is not None:
        columns = {name: column.take(keep) for name, column in columns.items()}
        extras = {name: column.take(keep) for name, column in extras.items()}
    _refuse_infinite({**columns, **extras})
    weights = extras.get(WEIGHTS)
    if weights is not None:
        check(weights.values)
    return Frame(
        columns={name: _used_levels(column) for name, column in columns.items()},
        rows=table.index if keep is None else table.index[keep],
        weights=None if weights is None else weights.values,
        offset=sum_offsets(specification, columns, extras.get(OFFSET)),
        memory=evaluator.memory,
        messages=messages,
    )


def _read_extras(evaluator: Evaluator, arguments: Arguments) -> dict[str, Numeric]:
    """Read the weights and the offset that the user passes, under R's names for them."""
    extras = {
        WEIGHTS: read_extra(evaluator, arguments.weights, "weights"),
        OFFSET: read_extra(evaluator, arguments.offset, "offset"),
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


def read_extra(evaluator: Evaluator, argument: Any, what: str) -> Numeric | None:
    """Read `weights` or `offset`, a fresh array on all rows."""
    if argument is None:
        return None
    if not isinstance(argument, str):
        return Numeric(read_numbers(argument, evaluator.table, what))
    column = evaluator.argument(argument, what)
    if isinstance(column, Factor) or column.values.ndim != 1:
        content = "categories" if isinstance(column, Factor) else "several columns"
        raise DataError(f"{what} '{argument}' must be one column of numbers, but holds {content}")
    return Numeric(np.array(column.floats))


def _chosen_rows(table: Table, subset: Any) -> np.ndarray | None:
    """Return the rows that `subset` chooses, as a mask; a missing answer is no."""
    if subset is None:
        return None
    if not isinstance(subset, str):
        return read_truth(subset, table)
    column = Evaluator(subset, table).argument(subset, "subset")
    if not (isinstance(column, Factor) and column.kind == "logical"):
        raise ArgumentError(
            f"subset '{subset}' must be true or false for each row, such as 'x > 3 & g != \"a\"'"
        )
    return column.codes == 1


def _complete_rows(
    table: Table, columns: dict[str, Column], chosen: np.ndarray | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the rows without missing values and a message about the number of rows dropped.

    Parameters
    ----------
    table : Table
    columns : dict of str to Column
        Variables, weights and offset, each with n values.
    chosen : numpy.ndarray of bool, shape (n,), or None
        Rows of `subset`; None for all.

    Returns
    -------
    tuple
        The rows to keep, a mask of shape (n,) or None for all; and the messages.
    """
    keep = chosen
    for column in columns.values():
        missing = column.missing()
        if missing is not None:
            keep = ~missing if keep is None else keep & ~missing
    if keep is None:
        return None, ()
    n_rows = table.n if chosen is None else int(np.count_nonzero(chosen))
    if n_rows == 0:
        raise DataError("subset selects no rows; use a condition that some rows meet")
    kept = int(np.count_nonzero(keep))
    if kept == 0:
        raise NoCompleteRow(_all_missing(columns, chosen))
    dropped = n_rows - kept
    message = f"dropped {dropped} of {n_rows} rows with missing values"
    return keep, (message,) if dropped else ()


def _all_missing(columns: dict[str, Column], chosen: np.ndarray | None) -> str:
    """Return the error message for data without a complete row, which names each column's share."""
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


def _used_levels(column: Column) -> Column:
    """Drop levels without rows; logical values keep both."""
    if isinstance(column, Factor) and column.kind != "logical":
        return drop_unused(column)
    return column
