"""Checks of users' arguments: names, flags, words, numbers, seeds and covariance matrices."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError
from pymackay.hints import argument_hint

P = ParamSpec("P")
T = TypeVar("T")
Table = TypeVar("Table", pd.Series, pd.DataFrame)

# In float64, an eigenvalue 0 of a correlation matrix may come out as about -q eps; an eigenvalue
# further below zero is not due to rounding.
_NEGATIVE = 64 * float(np.finfo(np.float64).eps)


def positive_number(name: str, value: object) -> float:
    """Return `value`, one positive finite number (or an array with one), as float.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    number = numbers(name, value)
    if number.size != 1 or not np.isfinite(number).all() or number.min() <= 0:
        raise ArgumentError(f"{name} is {value!r}; it must be one positive finite number.")
    return float(number.reshape(()))


def positive_by_name(name: str, value: object, keys: Sequence[str]) -> list[float]:
    """Return a positive number for each of `keys`: `value`, or its entry in a mapping, or 1.

    Raises
    ------
    ArgumentError
        If a mapping has other keys, or a number is not positive.
    """
    numbers = value if isinstance(value, Mapping) else dict.fromkeys(keys, value)
    unknown = sorted(set(numbers) - set(keys))
    if unknown:
        raise ArgumentError(f"{name} names {unknown}, but the model's terms are {list(keys)}.")
    return [positive_number(name, numbers.get(key, 1.0)) for key in keys]


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Return `value`, an integer of at least `least`, as int.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} is {value!r}; it must be an integer of at least {least}.")
    return int(value)


def probability(name: str, value: object, example: float) -> float:
    """Return `value`, a number strictly between 0 and 1, as float.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1.0:
        return float(value)
    raise ArgumentError(
        f"{name} must be a number between 0 and 1, such as {example:g}, but it is {value!r}."
    )


def flag(name: str, value: object) -> bool:
    """Return `value`, True or False, as bool.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name} must be True or False, but it is {value!r}.")
    return bool(value)


def one_of(name: str, value: object, words: Iterable[str]) -> str:
    """Return `value`, one of the given words.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    words = tuple(words)
    if isinstance(value, str) and value in words:
        return value
    near = difflib.get_close_matches(str(value).lower(), [word.lower() for word in words], n=1)
    hint = "".join(f" Did you mean {word!r}?" for word in words if word.lower() in near)
    raise ArgumentError(
        f"{name} must be one of {', '.join(map(repr, words))}, but it is {value!r}.{hint}"
    )


def instance_of(name: str, value: object, kind: type, source: str) -> None:
    """Check that `value` is what `source`, a function as users call it, returns.

    Raises
    ------
    ArgumentError
        If it is anything else.
    """
    if not isinstance(value, kind):
        raise ArgumentError(f"{name}: expected what {source} returns, got {type(value).__name__}.")


def hinted(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function: an argument's name of another package is refused with ours.

    Raises
    ------
    ArgumentError
        When the function is called with an argument that only other packages have.
    """
    known = set(inspect.signature(function).parameters)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if message := argument_hint(function.__name__, name, known):
                raise ArgumentError(message)
        return function(*args, **kwargs)

    return checked


def random_generator(seed: Any) -> np.random.Generator:
    """Return the random generator that a user's `seed` stands for.

    Raises
    ------
    ArgumentError
        If it is neither None, an integer from 0, nor a generator.
    """
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"seed is {seed!r}, but must be None, a whole number from 0 or a numpy Generator."
        ) from error


def covariance_matrix(name: str, value: object, effects: Sequence[str]) -> np.ndarray:
    """Return `value` as an exactly symmetric, positive semidefinite float64 matrix.

    Parameters
    ----------
    name : str
        Name of the matrix in messages.
    value : array-like, shape (q, q)
    effects : sequence of str, length q
        Names of the rows and columns.

    Raises
    ------
    ArgumentError
        If the shape is another, a value is not finite, the matrix is not symmetric, or its
        correlation matrix has a negative eigenvalue.
    """
    cov, q = numbers(name, value), len(effects)
    if cov.shape != (q, q):
        raise ArgumentError(
            f"{name} has shape {cov.shape}; the effects {', '.join(effects)} need shape {(q, q)}."
        )
    if not np.isfinite(cov).all():
        raise ArgumentError(f"{name} has values that are not finite: {cov.tolist()}.")
    sd = np.sqrt(np.abs(np.diag(cov)))
    if np.any(np.abs(cov - cov.T) > 1e-10 * np.outer(sd, sd)):
        raise ArgumentError(
            f"{name} is not symmetric: {cov.tolist()}. Give (V + V.T) / 2, if that is meant."
        )
    cov = (cov + cov.T) / 2.0
    scale = np.where(sd > 0, sd, 1.0)
    smallest = np.linalg.eigvalsh(cov / np.outer(scale, scale)).min(initial=0.0)
    if smallest < -_NEGATIVE * q:
        raise ArgumentError(
            f"{name} is not a covariance matrix: scaled to correlations it has the eigenvalue "
            f"{smallest:.3g}, and none may be negative. Check the variances on the diagonal "
            f"({np.diag(cov).tolist()}) and that no covariance exceeds what they allow."
        )
    return cov


def numbers(name: str, value: object) -> np.ndarray:
    """Return `value` as an array of float64.

    Raises
    ------
    ArgumentError
        If it does not hold numbers.
    """
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} is {value!r}; it must hold numbers.") from error


def aligned(values: Table, rows: pd.Index, name: str, whole: str) -> Table:
    """Return a Series or a table with the rows of a model or of data, by their labels.

    Parameters
    ----------
    values : pandas.Series or pandas.DataFrame
    rows : pandas.Index, length n
    name, whole : str
        What `values` are, and what the rows belong to, for the message.

    Raises
    ------
    ArgumentError
        If the index does not have each of the labels once.
    """
    if values.index.equals(rows):
        return values
    if not (values.index.is_unique and rows.is_unique and rows.isin(values.index).all()):
        raise ArgumentError(
            f"{name} is a {type(values).__name__} whose index does not hold each of the "
            f"{len(rows)} rows of {whole} once; index it as {whole} is, or pass "
            f"{name}.to_numpy() to go by position"
        )
    return values.loc[rows]


def check_labels(values: Any, labels: pd.Index, what: str) -> None:
    """Check that a Series has the index of the table, in the same order.

    Raises
    ------
    ArgumentError
        If not, because by position its values would be assigned to wrong rows.
    """
    if isinstance(values, pd.Series) and not values.index.equals(labels):
        raise ArgumentError(
            f"{what} is a Series with another index than the data; align it, or pass "
            f"{what}.to_numpy() to go by position"
        )
