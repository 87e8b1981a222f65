"""Calls of functions in a formula: `Function`, matching of arguments, and the call's `Context`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

from pymackay.errors import FormulaError
from pymackay.formula.expression import Call, Node, deparse
from pymackay.model.columns.column import (
    LOGICAL_LEVELS,
    Column,
    Factor,
    Numeric,
    number_labels,
)

Scalar: TypeAlias = float | bool | str | None
Value: TypeAlias = Column | Scalar | list[Any]
"""Values of an expression: a column, a constant, or a vector ``c(...)`` of constants."""

T = TypeVar("T")


class Context(Protocol):
    """What a function of the closed list can use besides its arguments.

    Attributes
    ----------
    call : Call
        The call being evaluated.
    is_new : bool
        Whether the rows are new data, which need not have all levels of the model's data.
    """

    call: Call
    is_new: bool

    def error(self, message: str) -> FormulaError:
        """Make the error that shows the call's place in the formula."""

    def remember(self, compute: Callable[[], T], key: str = "") -> T:
        """Compute from the data once; for new data, return what the model's data gave.

        What is remembered depends on all rows, so that rows that come in partitions refuse it.
        """

    def with_known_levels(self, factor: Factor) -> Factor:
        """For new data, give the call's factor the codes of the model's data; new levels last.

        The levels of every factor that a call returns are treated so without being asked for.
        """


@dataclass(frozen=True)
class Function:
    """An entry of the closed list.

    Attributes
    ----------
    body : callable
        Called with a `Context` and the matched arguments by name.
    parameters : tuple of str
        In R's order; ``"..."`` takes the rest.
    required : int
        How many of `parameters` must be given.
    quoted : frozenset of str
        Parameters that come as syntax and are not evaluated.
    """

    body: Callable[..., Value]
    parameters: tuple[str, ...]
    required: int = 1
    quoted: frozenset[str] = frozenset()


def match_arguments(
    context: Context, function: Function, evaluate: Callable[[Node], Value]
) -> dict[str, Any]:
    """Match a call's arguments to parameters: by full name, then by position."""
    call = context.call
    named = {name: node for name, node in zip(call.names, call.arguments, strict=True) if name}
    free = [p for p in function.parameters if p not in named]
    matched: dict[str, Any] = {}
    rest: list[tuple[str | None, Node]] = []
    for name, node in zip(call.names, call.arguments, strict=True):
        target = name if name in function.parameters else None
        if target is None and name is None and free and free[0] != "...":
            target = free.pop(0)
        if target is None or target == "...":
            rest.append((name, node))
        elif target in matched:
            raise context.error(f"{call.function}() has its argument '{target}' twice")
        else:
            matched[target] = node if target in function.quoted else evaluate(node)
    if rest or "..." in function.parameters:
        matched["rest"] = _rest(context, function, rest, evaluate)
    missing = [p for p in function.parameters[: function.required] if p not in matched]
    if missing and missing != ["..."]:
        raise context.error(f"{call.function}() needs its argument '{missing[0]}'")
    return matched


def _rest(
    context: Context,
    function: Function,
    rest: list[tuple[str | None, Node]],
    evaluate: Callable[[Node], Value],
) -> list[Value]:
    wrong = next((name for name, _ in rest if name is not None), None)
    if wrong is not None or "..." not in function.parameters:
        has = ", ".join(function.parameters)
        what = f"no argument '{wrong}'" if wrong is not None else f"{len(rest)} arguments too many"
        raise context.error(f"{context.call.function}() has {what}; it takes ({has})")
    return [evaluate(node) for _, node in rest]


def numbers(context: Context, value: Value, matrix: bool = False) -> np.ndarray | float:
    """Read a value as numbers; logical ones count 0 and 1, as in R."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, Numeric):
        if value.values.ndim == 2 and not matrix:
            raise context.error(f"{context.call.function}() takes one column, not a matrix")
        return value.floats
    if isinstance(value, Factor) and value.kind == "logical":
        return np.where(value.codes < 0, np.nan, value.codes.astype(np.float64))
    raise context.error(f"{_shown(context.call)} needs numbers, but gets {kind_of(value)}")


def column_of_numbers(context: Context, value: Value, matrix: bool = False) -> np.ndarray:
    """Read a column of numbers."""
    if not isinstance(value, Numeric | Factor):
        raise context.error(f"{_shown(context.call)} needs a column, but gets {kind_of(value)}")
    return np.asarray(numbers(context, value, matrix))


def constant_numbers(context: Context, value: Value, name: str) -> np.ndarray:
    """Read an argument that is a number or a vector of numbers."""
    values: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(v, bool | int | float) for v in values):
        raise context.error(
            f"the argument '{name}' of {context.call.function}() must be a number or a vector of "
            f"numbers, such as c(1, 2)"
        )
    return np.array([float(v) for v in values])


def constant_integer(context: Context, value: Value, name: str, low: int) -> int:
    """Read an argument that is one whole number, at least `low`."""
    constants = constant_numbers(context, value, name)
    if len(constants) != 1 or not float(constants[0]).is_integer() or constants[0] < low:
        raise context.error(
            f"the argument '{name}' of {context.call.function}() must be a whole number from {low}"
        )
    return int(constants[0])


def flag(context: Context, value: Value, name: str) -> bool:
    """Read an argument that is TRUE or FALSE."""
    if isinstance(value, bool):
        return value
    raise context.error(f"the argument '{name}' of {context.call.function}() must be TRUE or FALSE")


def label_of(value: Any) -> str:
    """Write a constant as a level is written."""
    if isinstance(value, bool):
        return LOGICAL_LEVELS[value]
    return number_labels(np.array([value]), False)[0] if isinstance(value, float) else str(value)


def kind_of(value: Value) -> str:
    """Say what a value is."""
    if isinstance(value, Numeric):
        return "numbers"
    if isinstance(value, Factor):
        names = {"text": "text", "ordered": "an ordered factor", "logical": "logical values"}
        return names.get(value.kind, "a factor" if value.kind == "factor" else value.kind)
    if value is None:
        return "NULL"
    return "a vector" if isinstance(value, list) else f"the constant {value!r}"


def _shown(call: Call) -> str:
    return f"{call.function}()" if call.names else deparse(call)
