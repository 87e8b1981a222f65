"""Evaluation of expressions over the columns of a table, by the closed list of functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from pymackay.errors import DataError, FormulaError
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
from pymackay.model.columns.column import Column, Factor, Numeric
from pymackay.model.columns.factors import recode
from pymackay.model.columns.table import Table
from pymackay.model.functions.arithmetic import OPERATORS
from pymackay.model.functions.call import Value, match_arguments
from pymackay.model.functions.closed_list import find_function

__all__ = ["Evaluator"]

T = TypeVar("T")

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
        if isinstance(column, Factor):
            return self._with_known_levels(node.name, column)
        return column

    def _unknown_column(self, node: Name) -> str:
        suggestion = near_names(node.name, self.table.names)
        shown = ", ".join(self.table.names[:12]) + (", ..." if len(self.table.names) > 12 else "")
        return str(
            fault(
                f"the data have no column '{node.name}'{suggestion or f'; they have {shown}'}",
                self.text,
                node.position,
            )
        )

    def _with_known_levels(self, name: str, column: Factor) -> Factor:
        """Give a factor of new data the codes of the model's data; new levels come last."""
        known, kind = self.remember(lambda: (column.levels, column.kind), f"levels of {name}")
        if not self.is_new:
            return column
        in_model = set(known)
        levels = known + tuple(level for level in column.levels if level not in in_model)
        codes, _ = recode(column, levels)
        return Factor(codes, levels, kind)

    def operator(self, call: Call) -> Value:
        """Evaluate a chain of operators without recursion to the left."""
        if len(call.arguments) == 1:
            return self._apply(call, [self.evaluate(call.arguments[0])])
        first, links = left_spine(call, OPERATORS)
        if not links:
            raise fault(f"'{call.function}' cannot stand here", self.text, call.position)
        value = self.evaluate(first)
        for link, right in links:
            value = self._apply(link, [value, self.evaluate(right)])
        return value

    def _apply(self, call: Call, operands: list[Value]) -> Value:
        if call.function not in OPERATORS:
            raise fault(f"'{call.function}' cannot stand here", self.text, call.position)
        return OPERATORS[call.function](_CallContext(self, call), *operands)

    def function(self, call: Call) -> Value:
        """Call a function of the closed list."""
        function = find_function(call, self.text)
        context = _CallContext(self, call)
        arguments = match_arguments(context, function, self.evaluate)
        return function.body(context, **{k.replace(".", "_"): v for k, v in arguments.items()})

    def remember(self, compute: Callable[[], T], key: str) -> T:
        """Compute once from the model's data, and give the same answer for new data."""
        if key not in self.memory:
            self.memory[key] = compute()
        return self.memory[key]


class _CallContext:
    """One call under evaluation, as its function sees it."""

    def __init__(self, evaluator: Evaluator, call: Call) -> None:
        self.evaluator = evaluator
        self.call = call

    def error(self, message: str) -> FormulaError:
        return fault(message, self.evaluator.text, self.call.position)

    def remember(self, compute: Callable[[], T], key: str = "") -> T:
        return self.evaluator.remember(compute, f"{deparse(self.call)} {key}")
