"""The closed list: every function a formula may call, and those that work value by value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pymackay.formula.expression import Call, Name
from pymackay.formula.functions import check_function
from pymackay.model.columns.column import Factor, Numeric
from pymackay.model.columns.objects import read_text
from pymackay.model.functions.arithmetic import logical, truth
from pymackay.model.functions.call import (
    Context,
    Function,
    Value,
    column_of_numbers,
    constant_numbers,
    flag,
    kind_of,
    numbers,
)
from pymackay.model.functions.indicators import INDICATOR_FUNCTIONS
from pymackay.model.functions.of_bases import BASIS_FUNCTIONS
from pymackay.model.functions.of_factors import FACTOR_FUNCTIONS, text_column


def _elementwise(compute: Callable[[Any], Any]) -> Function:
    def body(context: Context, x: Value) -> Value:
        result = compute(numbers(context, x, matrix=True))
        if not isinstance(result, np.ndarray):
            return float(result)
        return Numeric(result, x.names if isinstance(x, Numeric) else None)

    return Function(body, ("x",))


def _log(context: Context, x: Value, base: Value = None) -> Value:
    result = np.log(numbers(context, x, matrix=True))
    if base is not None:
        result = result / math.log(_positive(context, base))
    return Numeric(result) if isinstance(result, np.ndarray) else float(result)


def _positive(context: Context, value: Value) -> float:
    constants = constant_numbers(context, value, "base")
    if len(constants) != 1 or not constants[0] > 0.0 or constants[0] == 1.0:
        raise context.error("the base of a logarithm must be a positive number other than 1")
    return float(constants[0])


def _round(context: Context, x: Value, digits: Value = 0.0) -> Value:
    places = constant_numbers(context, digits, "digits")
    if len(places) != 1 or not -300 <= places[0] <= 300:
        raise context.error("digits of round() must be one number")
    result = _nearest_decimal(np.asarray(numbers(context, x)), int(places[0]))
    return Numeric(result) if result.ndim else float(result)


def _nearest_decimal(x: np.ndarray, digits: int) -> np.ndarray:
    """Round as R does since version 4: to the closer of two decimals, ties to the even digit."""
    power = 10.0 ** abs(digits)
    scaled = x * power if digits >= 0 else x / power
    below, above = np.floor(scaled), np.ceil(scaled)
    low, high = (v / power if digits >= 0 else v * power for v in (below, above))
    down = (x - low < high - x) | ((x - low == high - x) & (below % 2.0 == 0.0))
    exact = ~(np.abs(scaled) < _EXACT)
    return np.where(exact, x, np.where(down, low, high))


def _as_is(context: Context, x: Value) -> Value:
    """Protect arithmetic from the formula's operators; the value stays what it is."""
    return x


def _offset(context: Context, object: Value) -> Value:
    return Numeric(column_of_numbers(context, object))


def _vector(context: Context, rest: list[Value] | None = None) -> Value:
    values: list[Any] = []
    for value in rest or []:
        if isinstance(value, Numeric | Factor):
            raise context.error("c() takes constants, such as c(1, 2), not columns")
        if value is not None:
            values.extend(value if isinstance(value, list) else [value])
    return values


def _columns_side_by_side(context: Context, rest: Sequence[Value] = ()) -> Value:
    """``cbind(successes, failures)``; as in R, columns given by name keep it."""
    parts = [numbers(context, value) for value in rest]
    lengths = {len(part) for part in parts if isinstance(part, np.ndarray)}
    if len(lengths) != 1:
        raise context.error("cbind() needs columns, such as cbind(successes, failures)")
    if len(parts) == 1:
        return Numeric(np.asarray(parts[0]))
    names = [node.name if isinstance(node, Name) else "" for node in context.call.arguments]
    if not any(names):
        names = [str(k + 1) for k in range(len(parts))]
    (n,) = lengths
    return Numeric(np.column_stack([np.broadcast_to(part, n) for part in parts]), tuple(names))


def _is_missing(context: Context, x: Value) -> Value:
    if not isinstance(x, Numeric | Factor):
        raise context.error(f"is.na() needs a column, but gets {kind_of(x)}")
    missing = x.missing()
    return logical(np.zeros(len(x), dtype=bool) if missing is None else missing)


def _if_else(context: Context, test: Value, yes: Value, no: Value) -> Value:
    true, missing = truth(context, test)
    if not true.ndim:
        raise context.error("the first argument of ifelse() must be a column, such as x > 3")
    if any(isinstance(v, str) or (isinstance(v, Factor) and v.kind == "text") for v in (yes, no)):
        labels = [text_column(context, v, len(true)) for v in (yes, no)]
        chosen = np.where(true, labels[0].astype(object), labels[1].astype(object))
        return _text_or_missing(chosen, missing)
    result = np.where(true, numbers(context, yes), numbers(context, no)).astype(np.float64)
    result[missing] = np.nan
    return Numeric(result)


def _text_or_missing(values: np.ndarray, missing: np.ndarray) -> Factor:
    values[missing] = None
    return read_text(values)


def _parallel(compute: Callable[[Any, Any], Any]) -> Function:
    def body(context: Context, rest: list[Value], na_rm: Value = False) -> Value:
        flag(context, na_rm, "na.rm")
        if not rest:
            raise context.error(f"{context.call.function}() needs columns or numbers")
        result = numbers(context, rest[0])
        for value in rest[1:]:
            result = compute(result, numbers(context, value))
        return Numeric(result) if isinstance(result, np.ndarray) else float(result)

    return Function(body, ("...", "na.rm"))


def _summary(compute: Callable[[np.ndarray], Any]) -> Function:
    """Make a function that reduces a column to one number, remembered for new data."""

    def body(context: Context, x: Value, na_rm: Value = False) -> Value:
        values = column_of_numbers(context, x)
        without = flag(context, na_rm, "na.rm")
        kept = values[~np.isnan(values)] if without else values
        return context.remember(lambda: float(compute(kept)) if len(kept) else float("nan"))

    return Function(body, ("x", "na.rm"))


def _quantile(
    context: Context, x: Value, probs: Value, na_rm: Value = False, names: Value = True
) -> Value:
    values = column_of_numbers(context, x)
    without = flag(context, na_rm, "na.rm")
    kept = values[~np.isnan(values)] if without else values
    shares = constant_numbers(context, probs, "probs")
    if not ((shares >= 0.0) & (shares <= 1.0)).all():
        raise context.error("probs of quantile() must lie between 0 and 1")
    if not len(kept) or np.isnan(kept).any():
        raise context.error("quantile() meets missing values; write na.rm = TRUE")
    quantiles: list[Any] = context.remember(lambda: np.quantile(kept, shares)).tolist()
    return quantiles if len(quantiles) > 1 else quantiles[0]


_EXACT = 1e15
"""Doubles of this size or more have no decimals, so that rounding does not change them."""

_ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceiling": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "expm1": np.expm1,
    "floor": np.floor,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "plogis": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)),
    "qlogis": lambda x: np.log(x) - np.log1p(-x),
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
    "trunc": np.trunc,
}
_SUMMARIES: dict[str, Callable[[np.ndarray], Any]] = {
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "min": np.min,
    "sd": lambda x: np.std(x, ddof=1),
    "sum": np.sum,
    "var": lambda x: np.var(x, ddof=1),
}

FUNCTIONS: dict[str, Function] = {
    **{name: _elementwise(compute) for name, compute in _ELEMENTWISE.items()},
    **{name: _summary(compute) for name, compute in _SUMMARIES.items()},
    **FACTOR_FUNCTIONS,
    **INDICATOR_FUNCTIONS,
    **BASIS_FUNCTIONS,
    "I": Function(_as_is, ("x",)),
    "c": Function(_vector, ("...",), required=0),
    "cbind": Function(_columns_side_by_side, ("...",)),
    "ifelse": Function(_if_else, ("test", "yes", "no"), required=3),
    "is.na": Function(_is_missing, ("x",)),
    "log": Function(_log, ("x", "base")),
    "offset": Function(_offset, ("object",)),
    "pmax": _parallel(np.maximum),
    "pmin": _parallel(np.minimum),
    "quantile": Function(_quantile, ("x", "probs", "na.rm", "names"), required=2),
    "round": Function(_round, ("x", "digits")),
}


def find_function(call: Call, text: str) -> Function:
    """Return the entry of the closed list that a call names.

    Raises
    ------
    FormulaError
        If there is none.
    """
    check_function(call, text)
    return FUNCTIONS[call.function]
