"""`assert_parity`: asserts that any engine's fit agrees with lme4's, in any test framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import pymackay as pm
from pymackay.compare.align import align, map_theta, match_terms
from pymackay.compare.distances import same_theta_rows
from pymackay.compare.model_diff import model_diff
from pymackay.compare.show.text import as_failure
from pymackay.errors import ArgumentError, PymackayError
from pymackay.reference.asker import Asker
from pymackay.reference.general.question import general_question_of
from pymackay.reference.modes import Lme4
from pymackay.reference.question import Question


class ParityFailure(AssertionError):
    """A fit does not agree with its reference; the message has the differences and advice.

    Attributes
    ----------
    comparison : Comparison
    """

    def __init__(self, comparison: pm.Comparison) -> None:
        self.comparison = comparison
        super().__init__(as_failure(comparison))


def assert_parity(
    fit: Any,
    reference: Any,
    data: pd.DataFrame | None = None,
    *,
    reml: bool | None = None,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    tolerances: Mapping[str, float] | None = None,
    lme4: str = "auto",
    recordings: str | Path | None = None,
    name: str = "",
) -> pm.Comparison:
    """Assert that a fit agrees with lme4's, or with another fit.

    Parameters
    ----------
    fit : object
        Anything that `pymackay.adapters.as_fit` takes: a `Fit`, a result of another package, a
        mapping.
    reference : str or object
        The formula of lme4's fit, or another fit to compare with.
    data : pandas.DataFrame, optional
        The data that the model was fitted to; required with a formula.
    reml : bool, optional
        The criterion; by default that of `fit`.
    weights, offset, subset, contrasts : optional
        As in `pymackay.lme4.lmer`.
    tolerances : mapping of str to float, optional
        As in `pymackay.compare`, with the names of `pymackay.compare.tolerances.TOLERANCES`.
    lme4 : {"auto", "live", "recorded", "record", "tight"}
        Where lme4's answer comes from; see `pymackay.reference.modes.MODES`.
    recordings : path-like, optional
        Folder of the recordings; by default that of the package.
    name : str
        Beginning of the file name of a new recording. Use one name for one table: recording it
        again with other data replaces the file. By default it contains a checksum of the data.

    Returns
    -------
    Comparison
        The comparison, if the fit agrees.

    Raises
    ------
    ParityFailure
        If it does not; an `AssertionError` that carries the comparison.
    PymackayError
        If lme4's answer is not available, or an argument is wrong.

    Examples
    --------
    >>> import pymackay as pm
    >>> sleep = pm.load_data("sleepstudy")
    >>> formula = "Reaction ~ Days + (Days | Subject)"
    >>> fit = pm.lmer(formula, sleep)
    >>> pm.testing.assert_parity(fit, formula, sleep, lme4="recorded").verdict
    'same optimum'
    """
    __tracebackhide__ = True
    how = {"weights": weights, "offset": offset, "subset": subset, "contrasts": contrasts}
    if isinstance(reference, str):
        source = Lme4(lme4, None if recordings is None else Path(recordings))
        comparison = judge(
            fit, reference, data, source, name=name, tolerances=tolerances, reml=reml, **how
        )
    else:
        ours = pm.adapters.as_fit(fit, None, data, reml=reml, **how)
        formula = ours.formula or None
        theirs = pm.adapters.as_fit(reference, formula, data, reml=reml, **how)
        comparison = pm.compare(ours, theirs, tolerances=tolerances)
    if not comparison.ok:
        raise ParityFailure(comparison)
    return comparison


def judge(
    fit: Any,
    formula: str,
    data: pd.DataFrame | None,
    source: Lme4,
    *,
    name: str | Asker = "",
    tolerances: Mapping[str, float] | None = None,
    reml: bool | None = None,
    **arguments: Any,
) -> pm.Comparison:
    """Compare a fit with lme4's fit of the same model; the parameters are as in `assert_parity`.

    Lme4's ``glmer`` is asked, with family and nodes of the fit, if it is of a generalised model.

    Raises
    ------
    PymackayError
        As in `assert_parity`. A fit that does not agree raises nothing.
    """
    if not isinstance(data, pd.DataFrame):
        raise ArgumentError(
            f"data: the pandas DataFrame that the model was fitted to is expected, "
            f"not {type(data).__name__}."
        )
    ours = pm.adapters.as_fit(fit, formula, data, reml=reml, **arguments)
    if ours.general is not None:
        asked = general_question_of(ours.general, formula, data, **arguments)
        return pm.compare(ours, source.ask(asked, name), tolerances=tolerances)
    question = Question(formula, data, ours.reml if reml is None else reml, **arguments)
    theirs = source.ask(question, name)
    has_theta = len(ours.theta) > 0 and bool(np.isfinite(ours.theta).all())
    if has_theta and ours.evaluate_source is None and theirs.evaluate_source is None:
        theirs = _with_evaluation(theirs, question)
    return pm.compare(ours, theirs, tolerances=tolerances)


def _with_evaluation(recorded: pm.Fit, question: Question) -> pm.Fit:
    """Return a recorded fit that our engine evaluates at other thetas, if the two agree.

    Neither the recording nor the fit can be evaluated elsewhere. If our numbers at the recorded
    theta equal lme4's to rounding error, ours at another theta stand for lme4's numbers there.
    """
    try:
        ours = _at_theta_of(recorded, question)
    except (
        PymackayError
    ):  # our engine cannot fit the model; the report says that it was not checked
        return recorded
    if ours is None or model_diff(ours, recorded):
        return recorded
    if any(row.ok is False for row in same_theta_rows(ours, align(recorded, ours.model))):
        return recorded

    def at(theta: np.ndarray) -> pm.Fit:
        return ours.evaluate(map_theta(theta, recorded.model.terms, ours.model.terms))

    versions = {**recorded.engine.versions, "elsewhere": f"pymackay {pm.__version__}"}
    return recorded.replace(evaluate_source=at, engine=replace(recorded.engine, versions=versions))


def _at_theta_of(recorded: pm.Fit, question: Question) -> pm.Fit | None:
    """Return our fit at the recorded theta; None if our engine has no such model."""
    names = ("weights", "offset", "subset", "contrasts")
    arguments = {name: getattr(question, name) for name in names}
    model = pm.adapters.Context(question.formula, question.data, **arguments).model
    if model is None:
        return None
    terms, recorded_terms = model.summary().terms, recorded.model.terms
    if None in match_terms(terms, recorded_terms) or len(terms) != len(recorded_terms):
        return None
    theta = map_theta(recorded.theta.to_numpy(), recorded_terms, terms)
    return pm.evaluate(question.formula, question.data, theta, reml=question.reml, **arguments)
