"""Formulas that lme4 reads otherwise than some users mean: the fit says so, and what to write."""

from __future__ import annotations

import re

import pytest

import pymackay as pm
from pymackay.model.design.build import build_model

CAKE = pm.load_data("cake")
BAR = "angle ~ recipe + (recipe || replicate)"


def messages(formula: str, **arguments: object) -> tuple[str, ...]:
    return build_model(formula, CAKE, **arguments).messages  # type: ignore[arg-type]


def test_a_factor_beside_a_double_bar_is_named_with_what_may_be_meant() -> None:
    (message,) = messages(BAR)
    assert message.startswith("(recipe || replicate): the effects of recipe, a factor, keep")
    diagonal = re.search(r"it is (diag\(.+?\)); with", message)
    nested = re.search(r"all levels, (.+)$", message)
    assert diagonal is not None and nested is not None
    independent = build_model(f"angle ~ recipe + {diagonal[1]}", CAKE)
    assert [len(term.effects) for term in independent.terms] == [3]
    assert independent.terms[0].structure is not None
    one = build_model(f"angle ~ recipe + {nested[1]}", CAKE)
    assert {term.group for term in one.terms} == {"replicate", "replicate:recipe"}


def test_it_is_said_in_the_fit_and_its_summary() -> None:
    fit = pm.lmer("angle ~ recipe + (0 + recipe || replicate)", CAKE)
    assert any("a factor, keep their" in message for message in fit.messages)
    assert "a factor, keep their" in str(fit.summary())


@pytest.mark.parametrize(
    "formula",
    [
        "angle ~ recipe + (temp || replicate)",
        "angle ~ recipe + (recipe | replicate)",
        "angle ~ recipe + (1 || replicate)",
    ],
)
def test_what_is_plain_has_no_message(formula: str) -> None:
    assert messages(formula) == ()


def test_numbers_made_of_a_factor_and_interactions() -> None:
    assert messages("angle ~ 1 + (as.integer(recipe) || replicate)") == ()
    (message,) = messages("angle ~ 1 + (temp:recipe || replicate)")
    assert "the effects of recipe, a factor" in message


def test_double_bars_that_are_read_as_diag_have_their_own_message() -> None:
    fit = pm.lmer(BAR, CAKE, double_bar="diag")
    assert not any("a factor, keep" in message for message in fit.messages)


def test_contrasts_do_not_reach_random_terms_and_it_is_said() -> None:
    chosen = {"recipe": "contr.sum"}
    (message,) = messages("angle ~ recipe + (recipe | replicate)", contrasts=chosen)
    assert message == (
        "contrasts of 'recipe' apply to the fixed part only, as in lme4; (recipe | replicate) has "
        "the default contrasts"
    )
    assert messages("angle ~ recipe + (0 + recipe | replicate)", contrasts=chosen) == ()
    assert messages("angle ~ recipe + (1 | replicate)", contrasts=chosen) == ()
    (unused,) = messages("angle ~ 1 + (recipe | replicate)", contrasts=chosen)
    assert "is no variable of the fixed part" in unused


@pytest.mark.live
def test_lme4_has_the_same_columns() -> None:
    chosen = {"recipe": "contr.sum"}
    for formula in (BAR, "angle ~ recipe + (recipe | replicate)"):
        ours = build_model(formula, CAKE, contrasts=chosen).summary()
        theirs = pm.lme4.lmer(formula, CAKE, contrasts=chosen, source="live").model
        assert [term.effects for term in ours.terms] == [term.effects for term in theirs.terms]
