"""Every recorded answer of lme4 against ours: same model, never above it, the same numbers."""

from __future__ import annotations

import functools

import pytest
from deviations import deviations, truth_of_fit
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.reference.question import Question
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore

LISTED = list(listed_questions(r_reference_path("models.toml")))
IDS = [
    f"{name}: {question.formula} {'reml' if question.reml else 'ml'} {i}"
    for i, (name, question) in enumerate(LISTED)
]
# no subject has both sexes: nothing in the data tells the correlation
UNIDENTIFIED = ("distance ~ age + (0 + Sex | Subject)",)

pytestmark = [
    pytest.mark.parametrize("number", range(len(LISTED)), ids=IDS),
    pytest.mark.filterwarnings("ignore::pymackay.RWarning"),
]


@functools.cache
def ours(number: int) -> pm.Fit:
    question = LISTED[number][1]
    return pm.lmer(
        question.formula,
        question.data,
        reml=question.reml,
        weights=question.weights,
        offset=question.offset,
        subset=question.subset,
        contrasts=question.contrasts,
    )


def theirs(number: int, how: str) -> pm.Fit:
    return RecordedStore().fit(_question(number), how)


def _question(number: int) -> Question:
    return LISTED[number][1]


def test_estimates_are_those_of_lme4s_tight_optimum(number: int) -> None:
    fit = ours(number)
    identified = _question(number).formula not in UNIDENTIFIED
    found = deviations(fit, truth_of_fit(theirs(number, "tight"), identified=identified))
    assert [d for d in found if not d.ok] == []
    assert fit.convergence.converged


def test_never_above_what_a_user_of_lme4_gets(number: int) -> None:
    assert ours(number).criterion <= theirs(number, "default").criterion + tol("certified")


@pytest.mark.parametrize("how", ["tight", "default"])
def test_the_comparison_holds(number: int, how: str) -> None:
    result = pm.compare(ours(number), theirs(number, how))
    assert result.ok, str(result)
    assert result.verdict != "theirs lower"
