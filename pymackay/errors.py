"""The tree of errors and warnings: everything a user can cause is a `PymackayError`."""

from __future__ import annotations


class PymackayError(Exception):
    """Base of every error that a user can cause.

    The message names the argument, what came, what was expected and the cure.
    """


class ArgumentError(PymackayError, ValueError):
    """An argument has a value that the function cannot take."""


class DataError(PymackayError, ValueError):
    """The data cannot carry the model: a missing column, text where numbers belong, one level."""


class FormulaError(PymackayError, ValueError):
    """A formula does not parse, or uses what the formula language does not have.

    Attributes
    ----------
    formula : str
        The formula as it came.
    position : int or None
        0-based column of the place that stopped the parser; the message shows a caret under it.
    """

    def __init__(self, message: str, formula: str = "", position: int | None = None) -> None:
        self.formula = formula
        self.position = position
        if formula and position is not None:
            message = f"{message}\n  {formula}\n  {' ' * position}^"
        super().__init__(message)


class ConvergenceError(PymackayError, RuntimeError):
    """An iteration ended without an answer that can be used."""


class CollapseError(ConvergenceError):
    """MacKay's literal loop has driven a direction of a covariance matrix to zero.

    Attributes
    ----------
    term : str
        The random-effects term, named as in `Fit.varcorr`.
    iteration : int
        The 1-based iteration at which the direction was lost.
    correlation : float
        The correlation of largest absolute value that was reached (nan for a scalar term).
    direction : dict of str to float
        Effect to its coefficient in the combination that varies no more; empty where unknown.
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
    """R, lme4 or rpy2 is not there and no recording answers; the message says how to get them."""


class RError(PymackayError, RuntimeError):
    """R stopped with an error; the message is R's own."""


class RecordingError(PymackayError, RuntimeError):
    """A recording of lme4's answer cannot be used: other data, other formula, or damaged."""


class PymackayWarning(UserWarning):
    """Base of the package's warnings."""


class ConvergenceWarning(PymackayWarning):
    """The optimiser could not certify its answer; the message says what it saw."""


class RWarning(PymackayWarning):
    """A warning that R raised, passed on."""
