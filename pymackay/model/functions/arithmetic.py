"""Operators inside a term: arithmetic, comparison and logic on columns, with R's missing values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pymackay.model.columns.column import (
    LOGICAL_LEVELS,
    Factor,
    Numeric,
    as_factor,
    recode,
)
from pymackay.model.functions.call import Context, Value, kind_of, label_of, numbers

MAX_SEQUENCE = 10_000


def logical(values: np.ndarray, missing: np.ndarray | None = None) -> Factor:
    """Make a column of logical values."""
    codes = values.astype(np.int8)
    if missing is not None:
        codes[missing] = -1
    return Factor(codes, LOGICAL_LEVELS, "logical")


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    def operator(context: Context, left: Value, right: Value) -> Value:
        result = compute(numbers(context, left), numbers(context, right))
        return Numeric(result) if isinstance(result, np.ndarray) else float(result)

    return operator


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, float) and exponent == 2.0:
        return base * base
    return np.power(base, exponent)


def _signed(compute: Callable[[Any, Any], Any]) -> Callable[..., Value]:
    """Make plus and minus, which also stand before one operand."""
    binary = _arithmetic(compute)

    def operator(context: Context, left: Value, right: Value = None) -> Value:
        if len(context.call.arguments) == 2:
            return binary(context, left, right)
        if isinstance(left, list):
            return [float(compute(0.0, v)) for v in left]
        return binary(context, 0.0, left)

    return operator


def _comparison(compute: Callable[[Any, Any], Any], equality: bool) -> Callable[..., Value]:
    def operator(context: Context, left: Value, right: Value) -> Value:
        if _is_text(left) or _is_text(right):
            return _compare_labels(context, compute, equality, left, right)
        a, b = numbers(context, left), numbers(context, right)
        missing = np.isnan(a) | np.isnan(b)
        result = compute(a, b)
        if isinstance(missing, np.ndarray):
            return logical(np.asarray(result), missing)
        return float("nan") if missing else bool(result)

    return operator


def _is_text(value: Value) -> bool:
    return isinstance(value, str) or (isinstance(value, Factor) and value.kind != "logical")


def _compare_labels(
    context: Context, compute: Callable[[Any, Any], Any], equality: bool, left: Value, right: Value
) -> Value:
    """Compare categories: by name, or by the order of an ordered factor's levels."""
    if isinstance(left, str) and isinstance(right, str):
        return bool(compute(left, right))
    a, b = _as_labels(context, left), _as_labels(context, right)
    columns = [value for value in (left, right) if isinstance(value, Factor)]
    order = _common_order(context, columns, equality, a, b)
    codes = [recode(value, order)[0] for value in (a, b)]
    missing = (codes[0] < 0) | (codes[1] < 0)
    return logical(compute(codes[0], codes[1]), missing)


def _common_order(
    context: Context, columns: Sequence[Factor], equality: bool, a: Factor, b: Factor
) -> list[str]:
    """Return all labels of both sides in the order by which they are compared."""
    if not equality and any(column.kind == "factor" for column in columns):
        raise context.error(
            f"the levels of a factor have no order, so that '{context.call.function}' says "
            f"nothing; make it ordered, or name the levels with %in%"
        )
    ordered = next((column.levels for column in columns if column.kind == "ordered"), None)
    labels = set(a.levels) | set(b.levels)
    if ordered is None or equality:
        return sorted(labels)
    if unknown := labels - set(ordered):
        raise context.error(f"'{min(unknown)}' is not among the levels {', '.join(ordered)}")
    return list(ordered)


def _as_labels(context: Context, value: Value) -> Factor:
    if isinstance(value, Factor):
        return value
    if isinstance(value, Numeric) and value.values.ndim == 1:
        return as_factor(value, context.call.function)
    if isinstance(value, bool | float | str):
        return Factor(np.zeros(1, dtype=np.int32), (label_of(value),))
    raise context.error(f"'{context.call.function}' cannot compare {kind_of(value)}")


def truth(context: Context, value: Value) -> tuple[Any, Any]:
    """Return where a value is true and where it is missing."""
    if isinstance(value, Factor) and value.kind == "logical":
        return value.codes == 1, value.codes < 0
    values = numbers(context, value)
    return np.asarray((values != 0.0) & ~np.isnan(values)), np.asarray(np.isnan(values))


def _as_value(true: np.ndarray, missing: np.ndarray) -> Value:
    if true.ndim:
        return logical(true, missing)
    return float("nan") if missing else bool(true)


def _and(context: Context, left: Value, right: Value) -> Value:
    (a, a_missing), (b, b_missing) = truth(context, left), truth(context, right)
    false = (~a & ~a_missing) | (~b & ~b_missing)
    return _as_value(np.asarray(a & b), np.asarray((a_missing | b_missing) & ~false))


def _or(context: Context, left: Value, right: Value) -> Value:
    (a, a_missing), (b, b_missing) = truth(context, left), truth(context, right)
    true = np.asarray(a | b)
    return _as_value(true, np.asarray((a_missing | b_missing) & ~true))


def _not(context: Context, value: Value) -> Value:
    true, missing = truth(context, value)
    return _as_value(np.asarray(~true & ~missing), np.asarray(missing))


def _long_form(context: Context, *operands: Value) -> Value:
    raise context.error(
        f"'{context.call.function}' compares single values; for columns write "
        f"'{context.call.function[0]}'"
    )


def _sequence(context: Context, left: Value, right: Value) -> Value:
    if not (isinstance(left, float) and isinstance(right, float)):
        raise context.error(
            "':' between columns is an interaction and stands outside of functions; inside, it "
            "makes a sequence of numbers such as 1:3"
        )
    if not abs(right - left) < MAX_SEQUENCE:
        raise context.error(f"a sequence may have {MAX_SEQUENCE} numbers at most")
    step = 1.0 if right >= left else -1.0
    return [left + step * i for i in range(int(abs(right - left) + 1e-10) + 1)]


def _within(context: Context, left: Value, right: Value) -> Value:
    """Answer ``x %in% c(...)``; a missing value is in no set."""
    members: list[Any] = right if isinstance(right, list) else [right]
    if any(isinstance(v, Numeric | Factor) for v in members):
        raise context.error("on the right of %in% stands a set of constants, such as c('a', 'b')")
    if isinstance(left, Numeric) and all(isinstance(v, float | bool) for v in members):
        return logical(np.isin(left.floats, [float(v) for v in members]))
    if isinstance(left, Numeric | Factor):
        column = _as_labels(context, left)
        labels = {label_of(v) for v in members}
        hits = np.array([*(level in labels for level in column.levels), False])
        return logical(hits[column.codes])
    return label_of(left) in {label_of(v) for v in members}


OPERATORS: dict[str, Callable[..., Value]] = {
    "+": _signed(lambda a, b: a + b),
    "-": _signed(lambda a, b: a - b),
    "*": _arithmetic(lambda a, b: a * b),
    "/": _arithmetic(np.divide),
    "^": _arithmetic(_power),
    "%%": _arithmetic(np.mod),
    "%/%": _arithmetic(np.floor_divide),
    "==": _comparison(lambda a, b: a == b, equality=True),
    "!=": _comparison(lambda a, b: a != b, equality=True),
    "<": _comparison(lambda a, b: a < b, equality=False),
    "<=": _comparison(lambda a, b: a <= b, equality=False),
    ">": _comparison(lambda a, b: a > b, equality=False),
    ">=": _comparison(lambda a, b: a >= b, equality=False),
    "&": _and,
    "|": _or,
    "!": _not,
    "&&": _long_form,
    "||": _long_form,
    ":": _sequence,
    "%in%": _within,
}
