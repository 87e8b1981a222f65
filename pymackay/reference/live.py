"""lme4 run in R: takes a `Question` and returns a `Fit` whose merMod stays in R."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pymackay.errors import ArgumentError, RError
from pymackay.reference.answer import Answer, fit_from_answer, plain_answer
from pymackay.reference.question import Question, for_r
from pymackay.reference.r.bridge import robject
from pymackay.reference.r.frame import labels_from_r, labels_to_r
from pymackay.reference.r.session import Outcome, RObject, session
from pymackay.reference.structures import refuse_structures
from pymackay.results import Engine, Fit

_NO_COLUMN = re.compile(
    r"object '(?P<name>.+?)' not found|invalid type \(\w+\) for variable '(?P<other>.+?)'"
)

NO_PEV = {"pev": "lme4 has none for generalised models"}


@dataclass(frozen=True)
class LiveModel:
    """A merMod that stays in R, and what it can still compute.

    Attributes
    ----------
    formula : str
    reml : bool
    index : pandas.Index
        Labels of all rows of the data.
    kept : RObject
        Handle of the merMod in R.
    question : Question or None
        The question that was asked; None for a merMod that was made in R.
    is_general : bool
        Whether it is a merMod by ``glmer``.
    """

    formula: str
    reml: bool
    index: pd.Index
    kept: RObject
    question: Question | None = None
    is_general: bool = False

    def condvar(self) -> dict[str, np.ndarray]:
        """Return Var(b | y, beta) by group, each (levels, q, q)."""
        return self._variances(uncertain_beta=False)

    def pev(self) -> dict[str, np.ndarray]:
        """Return Var(b̂ − b) by group, each (levels, q, q)."""
        return self._variances(uncertain_beta=True)

    def evaluate(self, theta: Any) -> Fit:
        """Return the fit of the same model at another theta.

        That of a generalised model at other parameters: theta followed by beta and, if it is
        estimated, by the shape.
        """
        again, how = "ask_again", for_r("theta", theta)
        if self.is_general:
            again, how = "ask_general_again", {"parameters": np.asarray(theta, dtype=np.float64)}
        outcome = session().call(again, self.kept, how=how)
        return _fit(self.formula, self.reml, self.index, outcome, self.question)

    def mermod(self) -> Any:
        """Return the merMod as an rpy2 object."""
        return robject(session().call("mermod_behind", self.kept).value)

    def _variances(self, *, uncertain_beta: bool) -> dict[str, np.ndarray]:
        blocks = session().call("effect_variances", self.kept, uncertain_beta).value
        return {group: np.ascontiguousarray(np.moveaxis(b, 2, 0)) for group, b in blocks.items()}


def ask(question: Question, how: Any) -> Fit:
    """Run lme4 in R and return its fit.

    Parameters
    ----------
    question : Question
    how : str or array-like, shape (m,)
        ``"default"`` for lmer's default optimiser, ``"tight"`` for a tightened one, or a theta at
        which the model is evaluated without optimisation.

    Raises
    ------
    RUnavailableError, RError, ArgumentError, DataError
        See `pymackay.reference.lme4.lmer`.
    """
    outcome = _call(question, how)
    return _fit(question.formula, bool(question.reml), question.data.index, outcome, question)


def answer_of(question: Question, how: Any) -> Answer:
    """Return R's answer as plain data with condvar and pev, as a recording holds it.

    Parameters and errors are those of `ask`.
    """
    outcome = _call(question, how)
    index = question.data.index
    model = LiveModel(question.formula, bool(question.reml), index, _kept(outcome), question)
    answer = plain_answer(outcome.value, outcome.warnings, outcome.messages, len(index))
    pev = None if question.is_general else model.pev()
    return {**answer, "condvar": model.condvar(), "pev": pev}


def live_model(fit: Fit) -> LiveModel | None:
    """Return the `LiveModel` of a live fit by lme4; None for any other fit."""
    model = getattr(fit.condvar_source, "__self__", None)
    return model if isinstance(model, LiveModel) else None


def fit_of_mermod(mermod: Any) -> Fit:
    """Return the `Fit` of a merMod made in R; see `pymackay.reference.lme4.from_r`."""
    if not (isinstance(mermod, str) or session().owns(mermod)):
        raise ArgumentError(
            f"mermod: an rpy2 object or the name of a variable in R is expected, "
            f"not {type(mermod).__name__}."
        )
    outcome = session().call("answer_of_mermod", mermod)
    (formula,), (reml,) = outcome.value["formula"], outcome.value["reml"]
    return _fit(formula, bool(reml), labels_from_r(outcome.value["row_names"]), outcome, None)


def mermod_of(question: Question, fit: Fit) -> Any:
    """Return a merMod at a fit's parameters, an rpy2 object; see `pymackay.reference.lme4.to_r`.

    Raises
    ------
    ArgumentError
        If R's criterion there is not the fit's: data or arguments differ from the fit's.
    """
    refuse_structures(question.formula, session().versions["lme4"])
    suffix = hashlib.sha256((question.key + question.table.sha256()).encode()).hexdigest()[:8]
    rows = labels_to_r(question.data.index)
    made = session().call(*question.object_call(fit, suffix, rows))
    theirs, ours = float(made.value["criterion"][0]), fit.criterion
    if abs(theirs - ours) > 1e-6 * max(1.0, abs(ours)):
        raise ArgumentError(
            f"fit: its criterion is {ours!r}, and R gets {theirs!r} at the same parameters. Pass "
            "the data, weights, offset, subset and contrasts that the fit was made with."
        )
    return robject(made.value["fit"])


def _call(question: Question, how: Any) -> Outcome:
    refuse_structures(question.formula, session().versions["lme4"])
    try:
        return session().call(*question.call(how))
    except RError as error:
        raise RError(_with_columns(str(error), question.data)) from None


def _fit(
    formula: str, reml: bool, index: pd.Index, outcome: Outcome, question: Question | None
) -> Fit:
    """Return the `Fit` of R's answer, which computes condvar, pev and other thetas in R."""
    is_general = "family" in outcome.value
    model = LiveModel(formula, reml, index, _kept(outcome), question, is_general)
    return fit_from_answer(
        plain_answer(outcome.value, outcome.warnings, outcome.messages, len(index)),
        formula=formula,
        reml=reml,
        index=index,
        engine=Engine("lme4", _versions(formula)),
        not_offered=NO_PEV if is_general else None,
        condvar=model.condvar,
        pev=None if is_general else model.pev,
        evaluate=model.evaluate,
    )


def _kept(outcome: Outcome) -> RObject:
    return session().kept(int(outcome.value["kept"][0]))


def _with_columns(message: str, data: pd.DataFrame) -> str:
    """Add the list of columns to R's message about a name that is not a column."""
    missing = _NO_COLUMN.search(message)
    columns = list(map(str, data.columns))
    name = missing and (missing["name"] or missing["other"])
    if name is None or name in columns:
        return message
    listed = ", ".join(columns)
    return f"{message}: the data have no column {name!r}; the columns of data are {listed}."


def _versions(formula: str) -> dict[str, str]:
    """Return versions; for a double bar, also how R reads it now: an option may have changed."""
    if "||" not in formula:
        return session().versions
    unset = {k: v for k, v in session().versions.items() if k != "doublevert"}
    return {**unset, **session().double_bar()}
