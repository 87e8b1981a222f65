"""Every model whose answer by lme4 is recorded: ours, theirs, and how they compare, made once."""

from __future__ import annotations

import functools

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.compare.comparison import Comparison
from pymackay.reference.question import Question
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore

__all__ = ["IDS", "LISTED", "comparison", "ours", "question", "theirs"]

LISTED = list(listed_questions(r_reference_path("models.toml")))
IDS = [
    f"{name}: {question.formula} {'reml' if question.reml else 'ml'} {i}"
    for i, (name, question) in enumerate(LISTED)
]


def question(number: int) -> Question:
    """Return what was asked."""
    return LISTED[number][1]


@functools.cache
def ours(number: int) -> pm.Fit:
    """Fit the model."""
    asked = question(number)
    return pm.lmer(
        asked.formula,
        asked.data,
        reml=asked.reml,
        weights=asked.weights,
        offset=asked.offset,
        subset=asked.subset,
        contrasts=asked.contrasts,
    )


def theirs(number: int, how: str) -> pm.Fit:
    """Return lme4's recorded answer, ``"default"`` or ``"tight"``."""
    return RecordedStore().fit(question(number), how)


@functools.cache
def comparison(number: int, how: str) -> Comparison:
    """Compare the two."""
    return pm.compare(ours(number), theirs(number, how))
