"""Errors and warnings; every error that a user can cause is a `PymackayError`."""

from __future__ import annotations

from collections.abc import Iterable


class PymackayError(Exception):
    """Base class of all errors that a user can cause.

    The message names the argument, its value, what was expected, and what to do.
    """


def listed(names: Iterable[object], most: int = 12) -> str:
    """Return names as text for a message, at most `most` of them."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


class ArgumentError(PymackayError, ValueError):
    """An argument has a value that the function cannot use."""


class DataError(PymackayError, ValueError):
    """The data do not suit the model: a missing column, text instead of numbers, one level."""


class FormulaError(PymackayError, ValueError):
    """A formula cannot be parsed, or uses syntax that is not supported.

    Attributes
    ----------
    formula : str
        The formula.
    position : int or None
        0-based position at which parsing failed; the message shows a caret under it.
    """

    def __init__(self, message: str, formula: str = "", position: int | None = None) -> None:
        self.formula = formula
        self.position = position
        if formula and position is not None:
            message = f"{message}\n  {formula}\n  {' ' * position}^"
        super().__init__(message)


class ConvergenceError(PymackayError, RuntimeError):
    """An iteration ended without a usable result."""


class SeparationError(ConvergenceError):
    """The response is separated: the likelihood of a generalised model has no maximum.

    Attributes
    ----------
    direction : dict of str to float
        Change of each fixed effect along which the likelihood rises for ever.
    """

    def __init__(self, message: str, direction: dict[str, float] | None = None) -> None:
        self.direction = {} if direction is None else direction
        super().__init__(message)


class CollapseError(ConvergenceError):
    """MacKay's literal loop has reduced the variance of some combination of effects to zero.

    Attributes
    ----------
    term : str
        The random-effects term, named as in `Fit.varcorr`.
    iteration : int
        The 1-based iteration in which this happened.
    correlation : float
        The correlation with the largest absolute value (nan for a scalar term).
    direction : dict of str to float
        Effect to its coefficient in the combination; empty if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        term: str,
        iteration: int,
        correlation: float = float("nan"),
        direction: dict[str, float] | None = None,
    ) -> None:
        self.term = term
        self.iteration = iteration
        self.correlation = correlation
        self.direction = {} if direction is None else direction
        super().__init__(message)


class RUnavailableError(PymackayError, RuntimeError):
    """R, lme4 or rpy2 is missing and there is no recording; the message says how to get them."""


class RError(PymackayError, RuntimeError):
    """R stopped with an error; the message contains R's message."""


class RecordingError(PymackayError, RuntimeError):
    """A recording of lme4's answer is missing, damaged, or of another formula or other data."""


class PymackayWarning(UserWarning):
    """Base class of the package's warnings."""


class ConvergenceWarning(PymackayWarning):
    """The optimiser could not certify its optimum; the message says why."""


class RWarning(PymackayWarning):
    """A warning from R."""
