"""`GeneralResponse`: the response of a generalised model by R's conventions; `GeneralModel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pymackay.errors import ArgumentError, DataError
from pymackay.model.columns.column import Column, Factor, Numeric
from pymackay.model.model import Model

Support = Literal["binomial", "count", "positive", "real"]
"""What a family's response may be: proportions, counts, positive numbers, any number."""

SUPPORTS: tuple[Support, ...] = ("binomial", "count", "positive", "real")

_WHOLE = 1e-3  # R's tolerance of a number that should be whole


@dataclass(frozen=True, eq=False)
class GeneralResponse:
    """The response of a generalised linear mixed model.

    Attributes
    ----------
    y : numpy.ndarray, shape (n,)
        Proportion of successes (binomial; 0 where the total is 0), or the value as it came.
    weights : numpy.ndarray, shape (n,)
        Prior weights, not negative. For a binomial response they include the numbers of trials.
    totals : numpy.ndarray of shape (n,), or None
        Numbers of trials as R's binomial constant takes them: the row sums of ``cbind``, or the
        weights if no row sum exceeds 1. None for other families.
    given : str
        How it came: ``"cbind"``, ``"proportion"``, ``"zero-one"``, ``"logical"``, ``"factor"``, or
        ``"number"``.
    success : str
        For a factor, the levels that count as success; otherwise empty.
    messages : tuple of str
        What the user should be told, with R's conventions: numbers that should be whole and are
        not.
    """

    y: np.ndarray
    weights: np.ndarray
    totals: np.ndarray | None
    given: str
    success: str = ""
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class GeneralModel:
    """A generalised linear mixed model.

    Attributes
    ----------
    model : Model
        Its `y` and `weights` are those of `response`.
    response : GeneralResponse
    """

    model: Model
    response: GeneralResponse


def read_response(
    column: Column,
    name: str,
    support: Support,
    weights: np.ndarray | None = None,
    family: str | None = None,
    *,
    part: bool = False,
) -> GeneralResponse:
    """Read the response of a generalised model.

    Parameters
    ----------
    column : Numeric or Factor
        Values of the left side of the formula, without missing or infinite ones.
    name : str
        The left side as R deparses it, for messages.
    support : {"binomial", "count", "positive", "real"}
        What the family's response may be.
    weights : numpy.ndarray of shape (n,), optional
        Prior weights as the user gives them; ones by default.
    family : str, optional
        Name of the family, for messages.
    part : bool
        Whether these are some of the rows only, all of which may have weight zero.

    Returns
    -------
    GeneralResponse

    Raises
    ------
    DataError
        If a value, or a weight, is one that the family cannot have.
    ArgumentError
        If `support` is none of those above.

    References
    ----------
    R Core Team, ``stats::binomial()$initialize`` and ``$aic``: totals, weights and their products.

    Examples
    --------
    >>> import numpy as np
    >>> from pymackay.model.columns.column import Numeric
    >>> from pymackay.model.design.general_response import read_response
    >>> successes_failures = Numeric(np.array([[2.0, 12.0], [0.0, 0.0]]), ("s", "f"))
    >>> response = read_response(successes_failures, "cbind(s, f)", "binomial")
    >>> response.y.round(3), response.weights
    (array([0.143, 0.   ]), array([14.,  0.]))
    """
    if support not in SUPPORTS:
        raise ArgumentError(f"support must be one of {', '.join(SUPPORTS)}, not {support!r}")
    prior = np.ones(len(column)) if weights is None else np.asarray(weights, dtype=np.float64)
    check_prior_weights(prior, part=part)
    family = family or support
    if support != "binomial":
        return _read_number(column, name, support, prior, family)
    if isinstance(column, Factor):
        return _read_categories(column, name, prior)
    if column.values.ndim == 2:
        return _read_two_columns(column.floats, name, prior, part)
    return _read_proportion(column.floats, name, prior)


def check_prior_weights(weights: np.ndarray, *, part: bool = False) -> None:
    """Refuse prior weights that are negative, or all zero; single ones may be zero, as in R.

    With `part` they are those of some rows only, which may all be zero.

    Raises
    ------
    DataError
    """
    negative = int(np.count_nonzero(weights < 0.0))
    if negative:
        raise DataError(
            f"weights must not be negative, but {negative} of {len(weights)} are; correct them, or "
            f"take those rows out with subset"
        )
    if not part and not weights.any():
        raise DataError("weights are all zero, so that no row counts; give positive weights")


def _read_two_columns(
    values: np.ndarray, name: str, prior: np.ndarray, part: bool
) -> GeneralResponse:
    """Read ``cbind(successes, failures)``, `values` of shape (n, 2)."""
    if values.shape[1] != 2:
        raise DataError(
            f"the response '{name}' has {values.shape[1]} columns, but a binomial response has "
            f"two: cbind(successes, failures)"
        )
    negative = int(np.count_nonzero((values < 0.0).any(axis=1)))
    if negative:
        raise DataError(
            f"the response '{name}' has negative counts in {negative} of {len(values)} rows; its "
            f"columns must be numbers of successes and of failures, not of trials: write "
            f"cbind(successes, trials - successes)"
        )
    trials = values.sum(axis=1)
    weights = prior * trials
    if not part and not weights.any():
        raise DataError(f"the response '{name}' has no trial in any row; check its columns")
    messages = _not_whole(values, f"counts in the response '{name}'", "counts of successes")
    return GeneralResponse(
        y=np.divide(values[:, 0], trials, out=np.zeros(len(values)), where=trials > 0.0),
        weights=weights,
        totals=trials if (trials > 1.0).any() else weights,
        given="cbind",
        messages=messages,
    )


def _read_categories(column: Factor, name: str, prior: np.ndarray) -> GeneralResponse:
    """Read logical values, or a factor or text whose first level is failure."""
    if column.kind == "logical":
        return _of_trials(column.codes.astype(np.float64), name, prior, "logical")
    if column.kind not in ("factor", "ordered", "text"):
        raise DataError(
            f"the response '{name}' holds values of type {column.kind}, but a binomial response "
            f"is 0 or 1, true or false, a factor, a proportion, or cbind(successes, failures)"
        )
    if len(column.levels) < 2:
        raise DataError(
            f"the response '{name}' has only the level '{column.levels[0]}' in the rows that are "
            f"used, but a binomial response needs two; check subset and missing values"
        )
    success = " or ".join(column.levels[1:])
    y = (column.codes > 0).astype(np.float64)
    return _of_trials(y, name, prior, "factor", success)


def _read_proportion(y: np.ndarray, name: str, prior: np.ndarray) -> GeneralResponse:
    """Read a proportion whose numbers of trials are the weights; 0 and 1 without weights."""
    y = np.where(prior == 0.0, 0.0, y)
    outside = int(np.count_nonzero((y < 0.0) | (y > 1.0)))
    if outside:
        raise DataError(
            f"the response '{name}' lies outside 0 to 1 in {outside} of {len(y)} rows (it ranges "
            f"from {y.min():g} to {y.max():g}), but a binomial response is a proportion, with the "
            f"numbers of trials as weights; for counts write cbind(successes, failures)"
        )
    zero_one = bool(((y == 0.0) | (y == 1.0)).all())
    return _of_trials(y, name, prior, "zero-one" if zero_one else "proportion")


def _of_trials(
    y: np.ndarray, name: str, prior: np.ndarray, given: str, success: str = ""
) -> GeneralResponse:
    """Make the response of proportions `y` whose numbers of trials are the weights."""
    y = np.where(prior == 0.0, 0.0, y)
    cure = "the numbers of trials belong into weights"
    messages = _not_whole(prior * y, f"numbers of successes (weights * {name})", cure)
    return GeneralResponse(y, prior, prior, given, success, messages)


def _read_number(
    column: Column, name: str, support: Support, prior: np.ndarray, family: str
) -> GeneralResponse:
    """Read counts, positive numbers, or any numbers."""
    if isinstance(column, Factor) and column.kind != "logical":
        raise DataError(
            f"the response '{name}' holds categories, but the family {family} needs numbers; for "
            f"two categories use family 'binomial'"
        )
    if isinstance(column, Numeric) and column.values.ndim != 1:
        raise DataError(
            f"the response '{name}' has several columns, but the family {family} has one; "
            f"cbind(successes, failures) belongs to family 'binomial'"
        )
    y = np.array(column.floats if isinstance(column, Numeric) else column.codes, dtype=np.float64)
    _refuse_values_below(y, name, support, family)
    if support != "count":
        return GeneralResponse(y, prior, None, "number")
    messages = _not_whole(y, f"counts in the response '{name}'", f"{family} has whole counts")
    return GeneralResponse(y, prior, None, "number", messages=messages)


def _refuse_values_below(y: np.ndarray, name: str, support: Support, family: str) -> None:
    if support == "real":
        return
    bad = int(np.count_nonzero(y < 0.0 if support == "count" else y <= 0.0))
    if bad:
        needed = "counts from 0" if support == "count" else "positive numbers"
        held = "negative" if support == "count" else "zero or negative"
        raise DataError(
            f"the response '{name}' is {held} in {bad} of {len(y)} rows, but the family {family} "
            f"needs {needed}; take these rows out with subset, or choose another family"
        )


def _not_whole(values: np.ndarray, what: str, why: str) -> tuple[str, ...]:
    """Return R's warning about numbers that should be whole, if any is not."""
    off = np.abs(values - np.round(values)) > _WHOLE
    rows = int(np.count_nonzero(off.reshape(len(values), -1).any(axis=1)))
    if not rows:
        return ()
    return (f"non-integer {what} in {rows} of {len(values)} rows ({why})",)
