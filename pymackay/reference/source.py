"""`answered`: lme4's answer to a question from R, or from the recordings of the package."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pymackay._resources import r_reference_path
from pymackay.arguments import one_of
from pymackay.errors import RecordingError, RUnavailableError
from pymackay.reference.live import ask
from pymackay.reference.question import Question
from pymackay.reference.r.session import session, why_unavailable
from pymackay.reference.recorded import RecordedStore
from pymackay.results import Fit

Source = Literal["auto", "live", "recorded"]


def answered(question: Question, how: Any, source: Source) -> Fit:
    """Return lme4's answer.

    Parameters
    ----------
    question : Question
    how : {"default", "tight"} or array-like
        How to fit, or the parameters to evaluate at.
    source : {"auto", "live", "recorded"}

    Raises
    ------
    RUnavailableError, RecordingError, RError, ArgumentError, DataError
        See `pymackay.reference.lme4.lmer`.
    """
    if _is_live(source):
        return ask(question, how)
    return _recorded(question, how if isinstance(how, str) else "evaluate", source)


def available() -> bool:
    """Whether R, lme4 and rpy2 are installed. Starts R."""
    try:
        session()
    except RUnavailableError:
        return False
    return True


def _is_live(source: Source) -> bool:
    one_of("source", source, get_args(Source))
    if source == "live":
        session()
    return source == "live" or (source == "auto" and available())


def _recorded(question: Question, how: str, source: Source) -> Fit:
    folders = [r_reference_path("recorded_at")] if how == "evaluate" else []
    try:
        return RecordedStore(*folders).fit(question, how)
    except RecordingError as error:
        if source == "recorded":
            raise
        reason = why_unavailable()
        raise RUnavailableError(
            f"{reason} There is no matching recording either: {error}"
        ) from None
