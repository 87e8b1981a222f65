"""R's lme4, asked live over rpy2 or answered from recordings: `lmer` and `evaluate`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from pymackay._resources import r_reference_path
from pymackay.errors import ArgumentError, RecordingError, RUnavailableError, RWarning
from pymackay.reference.live import ask, fit_of_mermod, live_model, mermod_of
from pymackay.reference.question import Question
from pymackay.reference.r.session import session, why_unavailable
from pymackay.reference.recorded import RecordedStore
from pymackay.results import Fit
from pymackay.reticulate import SAFE

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
        A column's name, an R expression of columns, or numbers; a Series has the index of `data`.
    subset : str or array of bool of shape (n,), optional
        An R expression, or which rows to keep; a Series has the index of `data`.
    contrasts : dict, optional
        Column to the name of R's contrasts (``"contr.sum"``; ``"sum"`` does too), a matrix, or a
        data frame: its columns name the contrasts, its index the levels.
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
        return ask(question, "tight" if tight else "default")
    return _recorded(question, "tight" if tight else "default", source)


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
    source: Source = "auto",
) -> Fit:
    """Return all that lme4 says of a model at a given `theta`, without optimisation.

    Parameters
    ----------
    theta : array-like, shape (m,)
        Relative covariance parameters in lme4's order; a Series is matched by lme4's names.
    formula, data, reml, weights, offset, subset, contrasts, control, source
        As in `lmer`. A recording answers for the theta that it was made at, to 12 digits.

    Raises
    ------
    RUnavailableError
        If R is not there and no recording answers.
    RecordingError
        If recordings are asked and none is of this model at this theta.
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
    question = Question(
        formula, data, reml, weights, offset, subset, contrasts, control=control, theta=theta
    )
    if _live(source):
        return ask(question, theta)
    return _recorded(question, "evaluate", source)


def to_r(
    fit: Fit,
    data: pd.DataFrame | None = None,
    *,
    weights: str | np.ndarray | None = None,
    offset: str | np.ndarray | None = None,
    subset: str | np.ndarray | None = None,
    contrasts: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Any:
    """Return a genuine merMod at the fit's theta, without optimising again.

    R's ``summary``, ``predict``, ``simulate``, ``anova``, ``update``, emmeans, lmerTest and
    pbkrtest work on it. Data, and weights or offset given as arrays, stand in the environment of
    its formula, where these functions look, under names that begin with ``pymackay_``; in R's
    global environment stands nothing but what `name` names. Rows are named by the index where it
    holds text or whole numbers without repetition, and else numbered.

    Parameters
    ----------
    fit : Fit
        Of any engine.
    data, weights, offset, subset, contrasts
        What the fit was made with. Not needed for a fit by this package, which remembers it, for a
        live fit of lme4, nor for one from `from_r`, whose own merMod is given back.
    name : str, optional
        The merMod also becomes a variable of this name in R's global environment.

    Returns
    -------
    rpy2.robjects.methods.RS4
        To be used in the way that rpy2 asks for.

    Raises
    ------
    ArgumentError
        If `data` is needed, R's criterion at this theta is not the fit's, or `name` is no name.
    RUnavailableError, RError
        If R is not there, or stops with an error.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> mermod = pm.lme4.to_r(fit, name="m")  # doctest: +SKIP
    """
    if name is not None and not (isinstance(name, str) and name):
        raise ArgumentError(f"name: a name for R's global environment is expected, not {name!r}.")
    given = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    mermod = _mermod(fit, {"data": data, **given} if data is not None else _given(fit))
    if name is not None:
        session().call("name_globally", name, mermod)
    return mermod


def frame(name: str) -> pd.DataFrame:
    """Return a data frame that R holds as a pandas one.

    A factor becomes a categorical with the same levels in the same order; integers and truth
    values of which some are NA become ``Int64`` and ``boolean``; text is text; dates, times and
    durations are pandas' own, times in their time zone, or in UTC where they name none. A matrix of
    one column, as ``scale()`` makes it, is a column. Names of rows become the index; numbers count
    from 0 here, and from 1 there.

    Parameters
    ----------
    name : str
        The variable's name in R: of a function that has called Python, or global.

    Warns
    -----
    RWarning
        If a column has no counterpart here (complex numbers, lists, matrices). It is left out.

    Raises
    ------
    ArgumentError
        If there is no such data frame, or two of its columns have one name.
    RUnavailableError
        If R is not there.

    Examples
    --------
    >>> pm.lme4.frame("sleep").dtypes  # doctest: +SKIP
    """
    if not isinstance(name, str):
        raise ArgumentError(f"name: a string is expected, not {type(name).__name__}.")
    outcome = session().call("frame_named", name)
    for message in outcome.warnings:
        warnings.warn(message, RWarning, stacklevel=2)
    found: pd.DataFrame = outcome.value
    found.attrs[SAFE] = True
    return found


def from_r(mermod: Any) -> Fit:
    """Return the `Fit` of a merMod that R has made.

    Rows are labelled as in R's data frame; numbers count from 0 here, and from 1 there. The fit is
    evaluated on the data that the merMod itself holds, whatever has become of its data frame.

    Parameters
    ----------
    mermod : rpy2 object or str
        What ``lmer`` gave in R, or the name of the variable in R that holds it: reticulate cannot
        hand over the object.

    Raises
    ------
    ArgumentError
        If it is no fit by ``lmer``, or R has no variable of this name.

    Examples
    --------
    >>> import rpy2.robjects as ro  # doctest: +SKIP
    >>> m = ro.r("lme4::lmer(Yield ~ 1 + (1 | Batch), lme4::Dyestuff)")  # doctest: +SKIP
    >>> pm.lme4.from_r(m).n_obs  # doctest: +SKIP
    30
    """
    return fit_of_mermod(mermod)


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


def _given(fit: Fit) -> Mapping[str, Any] | None:
    """Return data and arguments that a fit remembers, if it does."""
    given = getattr(getattr(fit.problem, "model", None), "given", None)
    if not given or given["data"] is None:
        return None
    return {**given, "data": pd.DataFrame(given["data"])}


def _mermod(fit: Fit, given: Mapping[str, Any] | None) -> Any:
    model = live_model(fit)
    if given is not None:
        question = Question(fit.formula, reml=fit.reml, **given)
    elif model is None:
        raise ArgumentError(
            "data: this fit does not hold the data that it was made with, and R needs them. Pass "
            "data=, and weights, offset, subset and contrasts if the fit had them."
        )
    elif model.question is None:
        return model.mermod()
    else:
        question = model.question
    return mermod_of(question, fit.theta, fit.criterion)


def _live(source: Source) -> bool:
    if source not in ("auto", "live", "recorded"):
        raise ArgumentError(f"source: 'auto', 'live' or 'recorded' is expected, not {source!r}.")
    if source == "live":
        session()
    return source == "live" or (source == "auto" and available())


def _recorded(question: Question, how: str, source: Source) -> Fit:
    folder = r_reference_path("recorded_at" if how == "evaluate" else "recorded")
    try:
        return RecordedStore(folder).fit(question, how)
    except RecordingError as error:
        if source == "recorded":
            raise
        reason = why_unavailable()
        raise RUnavailableError(f"{reason} No recording answers either: {error}") from None
