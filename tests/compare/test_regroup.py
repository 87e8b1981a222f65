"""``diag(x | g)`` and ``(x || g)`` of a number are one model, and compared as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.reference.structures import double_bar_message

WRITTEN = {
    "diag": "diag(Days | Subject)",
    "double bar": "(Days || Subject)",
    "turned round": "(0 + Days | Subject) + (1 | Subject)",
}


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy").assign(one=1.0)


@pytest.fixture(scope="module")
def fits(sleep: pd.DataFrame) -> dict[str, pm.Fit]:
    return {name: pm.lmer(f"Reaction ~ Days + {term}", sleep) for name, term in WRITTEN.items()}


@pytest.mark.parametrize("ours", ["diag", "double bar", "turned round"])
@pytest.mark.parametrize("theirs", ["diag", "double bar", "turned round"])
def test_one_model_written_otherwise_is_the_same(
    fits: dict[str, pm.Fit], ours: str, theirs: str
) -> None:
    """All numbers are compared: the effects and their error variances too, by name."""
    comparison = pm.compare(fits[ours], fits[theirs])
    assert comparison.verdict == "same optimum" and comparison.same_theta == "agreed"
    assert comparison.ok and not comparison.partial
    assert comparison.table["distance"].max() < 1e-9
    reference = comparison.reference
    for quantity in ("condvar", "pev"):
        theirs_now = getattr(reference, quantity)["Subject"]
        np.testing.assert_allclose(theirs_now, getattr(fits[ours], quantity)["Subject"], rtol=1e-8)
    pd.testing.assert_frame_equal(reference.ranef["Subject"], fits[ours].ranef["Subject"])
    otherwise = any("written in another way" in message for message in reference.messages)
    assert otherwise == ("diag" in (ours, theirs) and ours != theirs)


def test_a_wrong_number_is_seen_in_either_writing(fits: dict[str, pm.Fit]) -> None:
    wrong = fits["double bar"].ranef["Subject"].copy()
    wrong.iloc[3, 1] += 1.0
    reference = fits["double bar"].replace(ranef={"Subject": wrong}, evaluate_source=None)
    comparison = pm.compare(fits["diag"], reference)
    table = comparison.table
    assert not comparison.ok
    assert set(table[table["ok"].eq(False)]["quantity"]) & {"b"}


def test_other_parameters_are_another_optimum(fits: dict[str, pm.Fit], sleep: pd.DataFrame) -> None:
    moved = pm.evaluate("Reaction ~ Days + (Days || Subject)", sleep, [1.0, 0.1])
    assert pm.compare(fits["diag"], moved).verdict == "ours lower"
    assert pm.compare(moved, fits["diag"]).verdict == "theirs lower"


@pytest.mark.parametrize(
    "term",
    [
        "(Days | Subject)",
        "diag(Days | Subject, hom = TRUE)",
        "cs(Days | Subject)",
        "(1 | Subject)",
        "(Days || Subject) + (0 + one | Subject)",
    ],
)
def test_other_models_stay_different(
    fits: dict[str, pm.Fit], sleep: pd.DataFrame, term: str
) -> None:
    other = pm.lmer(f"Reaction ~ Days + {term}", sleep)
    for ours in ("diag", "double bar"):
        assert pm.compare(fits[ours], other).verdict == "different model"


def test_a_factor_keeps_its_correlations_in_a_double_bar() -> None:
    """``(Machine || Worker)`` is not diagonal, so that the two are different models."""
    data = pm.load_data("Machines")
    split = pm.lmer("score ~ Machine + (0 + Machine || Worker)", data)
    diagonal = pm.lmer("score ~ Machine + diag(0 + Machine | Worker)", data)
    assert pm.compare(split, diagonal).verdict == "different model"


def test_beside_a_term_with_correlations(tmp_path: Path) -> None:
    data = pm.load_data("sleepstudy").assign(half=lambda d: np.where(d["Days"] > 4, "b", "a"))
    rest = "+ (1 | half) + (Days || Subject)"
    split = pm.lmer(f"Reaction ~ Days {rest}", data)
    diagonal = pm.lmer(f"Reaction ~ Days {rest}", data, double_bar="diag")
    again = pm.load_fit(diagonal.save(tmp_path / "a.fit"))
    expected = pm.compare(split, split).verdict
    for fit in (diagonal, again):
        for comparison in (pm.compare(split, fit), pm.compare(fit, split)):
            assert comparison.ok and comparison.verdict == expected


@pytest.mark.live
def test_lme4_without_structures_is_a_reference_for_diag(fits: dict[str, pm.Fit]) -> None:
    reference = pm.lme4.lmer(
        "Reaction ~ Days + (Days || Subject)", pm.load_data("sleepstudy"), tight=True
    )
    comparison = pm.compare(fits["diag"], reference)
    assert comparison.ok and comparison.verdict == "same optimum"
    assert comparison.same_theta == "agreed"


def by_lme4(fit: pm.Fit, option: str | None, lme4: str = "2.1-0") -> pm.Fit:
    """Return a fit as lme4 would give it whose R had an option for double bars."""
    versions = {"R": "4.6.1", "lme4": lme4} | ({} if option is None else {"doublevert": option})
    told = double_bar_message(fit.formula, versions)
    engine = replace(fit.engine, name="lme4", versions=versions)
    return fit.replace(engine=engine, messages=(*fit.messages, *told))


def test_the_option_of_r_for_double_bars_is_told(sleep: pd.DataFrame) -> None:
    formula = "Reaction ~ Days + (Days || Subject)"
    split = pm.lmer(formula, sleep)
    diagonal = by_lme4(pm.lmer(formula, sleep, double_bar="diag"), "diag_special")
    comparison = pm.compare(split, diagonal)
    assert comparison.verdict == "same optimum"
    assert "lme4.doublevert.default is 'diag_special'" in " ".join(str(comparison).split())
    for option, version in ((None, "2.1-0"), ("split", "2.1-0"), ("diag_special", "1.1-37")):
        assert double_bar_message(formula, {"lme4": version, "doublevert": option or "split"}) == ()
    assert double_bar_message("y ~ (x | g)", diagonal.engine.versions) == ()


def test_the_option_of_r_explains_another_model_of_a_factor() -> None:
    data = pm.load_data("Machines")
    formula = "score ~ Machine + (0 + Machine || Worker)"
    split = pm.lmer(formula, data)
    diagonal = by_lme4(pm.lmer(formula, data, double_bar="diag"), "diag_special")
    comparison = pm.compare(split, diagonal)
    assert comparison.verdict == "different model"
    assert "double_bar='diag'" in " ".join(str(comparison).split())
    again = pm.lmer(formula, data, double_bar="diag")
    assert pm.compare(again, diagonal).verdict == "same optimum"


@pytest.mark.live
def test_the_option_is_read_when_r_answers(sleep: pd.DataFrame) -> None:
    from pymackay.reference.r.session import session

    assert session().double_bar() in ({}, {"doublevert": "split"})
    fit = pm.lme4.lmer("Reaction ~ Days + (Days || Subject)", sleep)
    assert not any("doublevert" in message for message in fit.messages)
