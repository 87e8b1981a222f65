"""`pymackay.lme4`: lme4 run in R over rpy2, or read from recordings; fits to and from R."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pymackay.arguments import hinted
from pymackay.errors import ArgumentError, RWarning
from pymackay.incoming.reticulate import SAFE
from pymackay.reference.general.glmer import evaluate_glmer as evaluate_glmer
from pymackay.reference.general.glmer import glmer as glmer
from pymackay.reference.general.question import general_question_of
from pymackay.reference.live import fit_of_mermod, live_model, mermod_of
from pymackay.reference.question import Question
from pymackay.reference.r.session import session
from pymackay.reference.source import Source, answered
from pymackay.reference.source import available as available
from pymackay.results import Fit


@hinted
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
        Strings become factors with levels sorted by code point; a categorical keeps its levels.
    reml : bool
        REML criterion (True) or maximum likelihood (False).
    weights, offset : str or array of shape (n,), optional
        A column's name, an R expression of columns, or numbers; a Series must have the index of
        `data`.
    subset : str or array of bool of shape (n,), optional
        An R expression, or a mask of the rows to keep; a Series must have the index of `data`.
    contrasts : dict, optional
        Column to the name of R's contrasts (``"contr.sum"`` or ``"sum"``), a matrix, or a data
        frame whose columns name the contrasts and whose index names the levels.
    start : array of shape (m,), optional
        Theta to start from.
    control : dict, optional
        Arguments of ``lmerControl``: ``{"optimizer": "bobyqa"}``.
    tight : bool
        False: lmer with its default optimiser. True: the same criterion, minimised to tight
        tolerances.
    source : {"auto", "live", "recorded"}
        ``"auto"`` runs R if it is installed and otherwise reads a recorded answer; ``"live"`` fails
        without R; ``"recorded"`` never starts R.

    Returns
    -------
    Fit
        R's warnings are issued as `RWarning`, and are also part of the fit's ``messages``.

    Raises
    ------
    RError
        If R stops with an error.
    RUnavailableError
        If R is not installed and there is no matching recording.
    RecordingError
        If ``source="recorded"`` and no recording has this formula, these arguments and data.
    DataError, ArgumentError
        If an argument cannot be passed to R.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lme4.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> fit.beta.round(4).to_dict()
    {'(Intercept)': 251.4051, 'Days': 10.4673}
    """
    question = Question(formula, data, reml, weights, offset, subset, contrasts, start, control)
    return answered(question, "tight" if tight else "default", source)


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
    """Return lme4's fit of a model at a given `theta`, without optimisation.

    Parameters
    ----------
    theta : array-like, shape (m,)
        Relative covariance parameters in lme4's order; a Series is matched by lme4's names.
    formula, data, reml, weights, offset, subset, contrasts, control, source
        As in `lmer`. A recording is found if its theta is the same to 12 digits.

    Raises
    ------
    RUnavailableError
        If R is not installed and there is no matching recording.
    RecordingError
        If ``source="recorded"`` and no recording is of this model at this theta.
    ArgumentError
        If `theta` does not have the model's number of values, or one is below its bound.
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
    return answered(question, theta, source)


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
    """Return a merMod object of R at the fit's parameters, without optimising again.

    R's ``summary``, ``predict``, ``simulate``, ``anova``, ``update``, emmeans, lmerTest and
    pbkrtest work on it. The data, and weights or offset given as arrays, are stored in the
    environment of its formula, where these functions look them up, under names that begin with
    ``pymackay_``; R's global environment gets only the variable `name`. Rows are named by the
    index if it holds unique texts or whole numbers, and otherwise numbered.

    Parameters
    ----------
    fit : Fit
        A fit by any engine.
    data, weights, offset, subset, contrasts
        The arguments that the fit was made with. They are not needed for a fit by this package or
        a live fit by lme4, which store them, or for a fit from `from_r`, whose merMod is returned.
    name : str, optional
        Name of a variable in R's global environment that the merMod is assigned to.

    Returns
    -------
    rpy2.robjects.methods.RS4
        An object for use with rpy2.

    Raises
    ------
    ArgumentError
        If `data` is needed, R's criterion at these parameters is not the fit's, lme4 has no such
        criterion, or `name` is not a non-empty string.
    RUnavailableError, RError
        If R is not installed, or stops with an error.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    >>> mermod = pm.lme4.to_r(fit, name="m")  # doctest: +SKIP
    """
    if name is not None and not (isinstance(name, str) and name):
        raise ArgumentError(f"name: a name for R's global environment is expected, not {name!r}.")
    if fit.residual_covariance is not None:
        raise ArgumentError(
            f"fit: lme4 has no residual structures such as {fit.residual_covariance.text!r}, so "
            f"there is no merMod of this model. In R, fit it with nlme, glmmTMB or mmrm."
        )
    options = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    arguments = _stored_arguments(fit) if data is None else {"data": data, **options}
    mermod = _mermod(fit, arguments)
    if name is not None:
        session().call("name_globally", name, mermod)
    return mermod


def frame(name: str) -> pd.DataFrame:
    """Return a data frame of R as a pandas data frame.

    A factor becomes a categorical with the same levels in the same order; integer and logical
    columns with NA become ``Int64`` and ``boolean``; text stays text; dates, times and durations
    get pandas' types, with the time zone of the times, or UTC if they have none. A matrix of one
    column, such as ``scale()`` returns, becomes a column. Row names become the index; row numbers
    are reduced by 1, so that they start at 0.

    Parameters
    ----------
    name : str
        Name of a variable in R, in a function that has called Python or in the global environment.

    Warns
    -----
    RWarning
        If pandas has no type for a column (complex numbers, lists, matrices). It is left out.

    Raises
    ------
    ArgumentError
        If there is no such data frame, or two of its columns have the same name.
    RUnavailableError
        If R is not installed.

    Examples
    --------
    >>> pm.lme4.frame("sleep").dtypes  # doctest: +SKIP
    """
    if not isinstance(name, str):
        raise ArgumentError(f"name: a string is expected, not {type(name).__name__}.")
    outcome = session().call("frame_named", name)
    for message in outcome.warnings:
        warnings.warn(message, RWarning, stacklevel=2)
    data: pd.DataFrame = outcome.value
    data.attrs[SAFE] = True
    return data


def from_r(mermod: Any) -> Fit:
    """Return the `Fit` of a merMod that was made in R.

    Rows are labelled as in R's data frame, with row numbers reduced by 1. The fit is evaluated on
    the data stored in the merMod, even if the data frame has been changed or removed since.

    Parameters
    ----------
    mermod : rpy2 object or str
        The value of ``lmer`` or ``glmer`` in R, or the name of the variable in R that holds it
        (reticulate cannot pass the object itself).

    Raises
    ------
    ArgumentError
        If it is not a fit by ``lmer`` or ``glmer``, or R has no variable of this name.

    Examples
    --------
    >>> import rpy2.robjects as ro  # doctest: +SKIP
    >>> m = ro.r("lme4::lmer(Yield ~ 1 + (1 | Batch), lme4::Dyestuff)")  # doctest: +SKIP
    >>> pm.lme4.from_r(m).n_obs  # doctest: +SKIP
    30
    """
    return fit_of_mermod(mermod)


def versions() -> dict[str, str]:
    """Return versions of R, lme4 and Matrix, and the paths of BLAS and LAPACK. Starts R.

    Raises
    ------
    RUnavailableError
        If R is not installed; the message says what is missing and how to install it.
    """
    return dict(session().libraries)


def _stored_arguments(fit: Fit) -> Mapping[str, Any] | None:
    """Return the data and arguments stored in a fit, or None if it has none."""
    arguments = getattr(getattr(fit.problem, "model", None), "given", None)
    if not arguments or arguments["data"] is None:
        return None
    return {**arguments, "data": pd.DataFrame(arguments["data"])}


def _mermod(fit: Fit, arguments: Mapping[str, Any] | None) -> Any:
    """Return the merMod of a fit, from the arguments, or else from what a live fit stores."""
    model = live_model(fit)
    if arguments is not None:
        question = _question(fit, arguments)
    elif model is None:
        raise ArgumentError(
            "data: this fit does not hold the data that it was made with, and R needs them. Pass "
            "data=, and weights, offset, subset and contrasts if the fit had them."
        )
    elif model.question is None:
        return model.mermod()
    else:
        question = model.question
    return mermod_of(question, fit)


def _question(fit: Fit, arguments: Mapping[str, Any]) -> Question:
    """Return the question whose answer is the fit, if lme4 has its criterion."""
    general = fit.general
    if general is None:
        return Question(fit.formula, reml=fit.reml, **arguments)
    expected = general.determinant == "expected" or general.family.is_canonical
    if general.dispersion_by == "ml" or not expected:
        raise ArgumentError(
            f"fit: lme4 has another criterion for the family {general.family.name} with the link "
            f"{general.family.link}. Fit with determinant='expected' and dispersion='lme4'."
        )
    return general_question_of(general, fit.formula, **arguments)
