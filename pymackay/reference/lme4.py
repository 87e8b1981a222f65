"""R's lme4, asked live over rpy2 or answered from recordings: `lmer` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, RecordingError, RError, RUnavailableError
from pymackay.reference.answer import Answer, fit_from_answer, plain_answer
from pymackay.reference.question import Question
from pymackay.reference.r_session import Outcome, RObject, session, why_unavailable
from pymackay.reference.recorded import RecordedStore
from pymackay.results import Engine, Fit

__all__ = ["available", "evaluate", "lmer", "versions"]

Source = Literal["auto", "live", "recorded"]


def lmer(
    formula: str,
    data: pd.DataFrame,
    *,
    reml: bool = True,
    weights: str | np.ndarray | None = None,
    offset: str | np.ndarray | None = None,
    subset: str | np.ndarray | None = None,
    contrasts: Mapping[str, Any] | None = None,
    start: np.ndarray | None = None,
    control: Mapping[str, Any] | None = None,
    tight: bool = False,
    source: Source = "auto",
) -> Fit:
    """Fit a linear mixed model with R's ``lme4::lmer``.

    Parameters
    ----------
    formula : str
        lme4's formula.
    data : pandas.DataFrame
        Strings are factors whose levels are sorted by code point; a categorical keeps its levels.
    reml : bool
        REML criterion (True) or maximum likelihood (False).
    weights, offset : str or array of shape (n,), optional
        A column's name, or numbers.
    subset : str or array of bool of shape (n,), optional
        An R expression, or which rows to keep.
    contrasts : dict, optional
        Column to the name of R's contrasts (``"contr.sum"``) or a matrix.
    start : array of shape (m,), optional
        Theta to start from.
    control : dict, optional
        Arguments of ``lmerControl``: ``{"optimizer": "bobyqa"}``.
    tight : bool
        False: as a user gets it. True: lme4's own criterion driven to a tight optimum.
    source : {"auto", "live", "recorded"}
        ``"auto"`` asks R where it is there and else reads a recorded answer; ``"live"`` insists on
        R; ``"recorded"`` never starts R.

    Returns
    -------
    Fit
        R's warnings come as `RWarning`, and are kept with its messages in ``messages``.

    Raises
    ------
    RError
        If R stops with an error.
    RUnavailableError
        If R is not there and no recording answers.
    RecordingError
        If recordings are asked and none fits: another formula, or other data.
    DataError, ArgumentError
        If an argument cannot be handed to R.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lme4.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> fit.beta.round(4).to_dict()
    {'(Intercept)': 251.4051, 'Days': 10.4673}
    """
    question = Question(formula, data, reml, weights, offset, subset, contrasts, start, control)
    if _live(source):
        return _ask(question, "tight" if tight else "default")
    return _recorded(question, tight, source)


def evaluate(
    formula: str,
    data: pd.DataFrame,
    theta: np.ndarray | pd.Series,
    *,
    reml: bool = True,
    weights: str | np.ndarray | None = None,
    offset: str | np.ndarray | None = None,
    subset: str | np.ndarray | None = None,
    contrasts: Mapping[str, Any] | None = None,
    control: Mapping[str, Any] | None = None,
) -> Fit:
    """Return all that lme4 says of a model at a given `theta`, without optimisation.

    Parameters
    ----------
    theta : array-like, shape (m,)
        Relative covariance parameters in lme4's order; a Series is matched by lme4's names.
    formula, data, reml, weights, offset, subset, contrasts, control
        As in `lmer`.

    Raises
    ------
    RUnavailableError
        If R is not there: recordings hold optima only.
    ArgumentError
        If `theta` has not as many values as the model, or one is below its bound.
    RError, DataError
        As in `lmer`.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> pm.lme4.evaluate("Reaction ~ 1 + (1 | Subject)", sleep, [1.0]).n_obs  # doctest: +SKIP
    180
    """
    question = Question(formula, data, reml, weights, offset, subset, contrasts, None, control)
    return _ask(question, theta)


def available() -> bool:
    """Whether R, lme4 and rpy2 are there. Starts R."""
    try:
        session()
    except RUnavailableError:
        return False
    return True


def versions() -> dict[str, str]:
    """Return versions of R and of what lme4 uses, and the paths of BLAS and LAPACK. Starts R.

    Raises
    ------
    RUnavailableError
        If R is not there; the message says what is missing and how to get it.
    """
    return dict(session().libraries)


def _live(source: Source) -> bool:
    if source not in ("auto", "live", "recorded"):
        raise ArgumentError(f"source: 'auto', 'live' or 'recorded' is expected, not {source!r}.")
    if source == "live":
        session()
    return source == "live" or (source == "auto" and available())


@dataclass(frozen=True)
class _LiveModel:
    """A fit that R holds, and the questions about it that R can still answer."""

    question: Question
    kept: RObject

    def condvar(self) -> dict[str, np.ndarray]:
        return self._variances(uncertain_beta=False)

    def pev(self) -> dict[str, np.ndarray]:
        return self._variances(uncertain_beta=True)

    def evaluate(self, theta: np.ndarray) -> Fit:
        return _fit(self.question, session().call("ask_again", self.kept, how=_theta(theta)))

    def _variances(self, *, uncertain_beta: bool) -> dict[str, np.ndarray]:
        blocks = session().call("effect_variances", self.kept, uncertain_beta).value
        return {group: np.ascontiguousarray(np.moveaxis(b, 2, 0)) for group, b in blocks.items()}


def answer_of(question: Question, how: str) -> Answer:
    """Return R's answer as plain data, with condvar and pev: what a recording holds.

    Parameters
    ----------
    question : Question
    how : {"default", "tight"}

    Raises
    ------
    RUnavailableError, RError
        If R is not there, or stops with an error.
    """
    outcome = _call(question, how)
    model = _LiveModel(question, session().kept(int(outcome.value["kept"][0])))
    answer = _plain(question, outcome)
    return {**answer, "condvar": model.condvar(), "pev": model.pev()}


def _ask(question: Question, how: Any) -> Fit:
    return _fit(question, _call(question, how if isinstance(how, str) else _theta(how)))


def _call(question: Question, how: Any) -> Outcome:
    arguments = (question.formula, question.table, bool(question.reml), question.arguments, how)
    try:
        return session().call("ask", *arguments)
    except RError as error:
        raise RError(_with_columns(str(error), question.data)) from None


def _fit(question: Question, outcome: Outcome) -> Fit:
    model = _LiveModel(question, session().kept(int(outcome.value["kept"][0])))
    answer = _plain(question, outcome)
    return fit_from_answer(
        answer,
        formula=question.formula,
        reml=bool(question.reml),
        index=question.data.index,
        engine=Engine("lme4", session().versions),
        condvar=model.condvar,
        pev=model.pev,
        evaluate=model.evaluate,
    )


def _plain(question: Question, outcome: Outcome) -> Answer:
    rows = len(question.data)
    return plain_answer(outcome.value, outcome.warnings, outcome.messages, rows)


def _recorded(question: Question, tight: bool, source: Source) -> Fit:
    try:
        return RecordedStore().fit(question, "tight" if tight else "default")
    except RecordingError as error:
        if source == "recorded":
            raise
        reason = why_unavailable()
        raise RUnavailableError(f"{reason} No recording answers either: {error}") from None


def _theta(theta: Any) -> dict[str, Any]:
    """Return theta for R: numbers, with names where a Series has them."""
    try:
        values = np.asarray(theta, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ArgumentError(f"theta: numbers are expected, not {theta!r}.") from None
    named = isinstance(theta, pd.Series) and all(isinstance(name, str) for name in theta.index)
    return {"values": values, "names": list(theta.index) if named else None}


def _with_columns(message: str, data: pd.DataFrame) -> str:
    """Add what the data have to R's complaint about a name that it does not find."""
    if "not found" not in message:
        return message
    return f"{message}. The columns of data are {', '.join(map(str, data.columns))}."
