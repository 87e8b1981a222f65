"""`assert_parity` outside pytest: any fit, against lme4 in any mode or against another fit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import pymackay as pm
from pymackay.reference.modes import MODES, Lme4
from pymackay.reference.question import Question
from pymackay.results import Engine, Fit
from pymackay.testing import ParityFailure, assert_parity, judge

SLEEP = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep() -> pd.DataFrame:
    return pm.load_data("sleepstudy")


@pytest.fixture(scope="module")
def ours(sleep) -> Fit:
    return pm.lmer(SLEEP, sleep)


def foreign(fit: Fit) -> Fit:
    """The same numbers from an engine that cannot be evaluated elsewhere."""
    return fit.replace(evaluate_source=None, engine=Engine("elsewhere", {"elsewhere": "1.0"}))


def test_a_fit_that_agrees_gives_its_comparison(ours, sleep):
    result = assert_parity(ours, SLEEP, sleep, lme4="recorded")
    assert (result.verdict, result.ok, result.same_theta) == ("same optimum", True, "agreed")
    assert result.reference.engine.source == "recorded"


def test_a_fit_that_does_not_agree_fails_with_the_comparison(ours, sleep):
    early = pm.evaluate(SLEEP, sleep, [0.9, 0.02, 0.23])
    with pytest.raises(AssertionError) as caught:
        assert_parity(early, SLEEP, sleep, lme4="recorded")
    assert isinstance(caught.value, ParityFailure)
    assert caught.value.comparison.verdict == "theirs lower"
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("Theirs lower: our criterion is 0.083 above that of lme4")
    assert lines[1].startswith("To do:    It is a defect of our fit.")
    table = [line.strip() for line in lines]
    assert table.index("out of tolerance") < table.index("fixed effects")
    assert any("variance gap" in line for line in lines)


def test_the_criterion_is_taken_from_the_fit_unless_it_is_given(sleep):
    by_ml = pm.lmer(SLEEP, sleep, reml=False)
    assert not assert_parity(by_ml, SLEEP, sleep, lme4="recorded").reference.reml
    with pytest.raises(ParityFailure, match="Different model: the two fits differ in criterion"):
        assert_parity(by_ml, SLEEP, sleep, reml=True, lme4="recorded")
    parts = {"beta": by_ml.beta, "sigma": by_ml.sigma}
    assert not assert_parity(parts, SLEEP, sleep, reml=False, lme4="recorded").reference.reml


def test_two_fits_are_compared_without_lme4(ours, sleep):
    assert assert_parity(foreign(ours), ours).ok
    parts = {"beta": {"Intercept": 251.4051048485, "Days": 10.4672859596}}
    with pytest.raises(ParityFailure):
        assert_parity(parts, ours)
    named = {"beta": {"(Intercept)": 251.4051048485, "Days": 10.4672859596}}
    assert assert_parity(named, ours, sleep).partial


def test_tolerances_are_the_users_own(ours, sleep):
    beta = ours.beta + 0.005 * ours.std_error
    off = foreign(ours).replace(beta=beta, theta=ours.theta * float("nan"))
    with pytest.raises(ParityFailure, match="at equal variances, beta"):
        assert_parity(off, SLEEP, sleep, lme4="recorded")
    result = assert_parity(off, SLEEP, sleep, lme4="recorded", tolerances={"beta": 0.01})
    assert result.tolerances["beta"].value == 0.01
    assert result.tolerances["beta"].reason.startswith("set by the user; 0.001 by default")
    assert "beta 0.01 instead of 0.001" in str(result)
    assert result.tolerances["sigma"].value == 1e-4
    for wrong in ({"beta": 0.0}, {"beta": float("nan")}, {"beta": "1"}, {"gamma": 1.0}):
        with pytest.raises(pm.ArgumentError, match="tolerances: "):
            assert_parity(off, SLEEP, sleep, lme4="recorded", tolerances=wrong)


# ---- a recording and a fit, neither of which can be evaluated


def test_our_engine_stands_in_once_it_agrees_with_the_recording(ours, sleep):
    result = assert_parity(foreign(ours), SLEEP, sleep, lme4="recorded")
    assert result.same_theta == "agreed"
    assert result.reference.engine.versions["elsewhere"] == f"pymackay {pm.__version__}"
    assert abs(result.excess) < 1e-7
    moved = foreign(ours).replace(sigma=ours.sigma * 1.001)
    with pytest.raises(ParityFailure, match="at one theta in sigma"):
        assert_parity(moved, SLEEP, sleep, lme4="recorded")


def test_a_lower_criterion_counts_where_the_stand_in_has_seen_it(sleep):
    """lme4's own answer, spoilt, stands for an optimiser that stopped early."""
    stopped = pm.evaluate(SLEEP, sleep, [0.9, 0.02, 0.23])
    question = Question(SLEEP, sleep)

    class Early(Lme4):
        def ask(self, question, name="model"):
            return stopped.replace(
                evaluate_source=None, engine=Engine("lme4", {"lme4": "1.0"}, "recorded")
            )

    best = foreign(pm.lmer(SLEEP, sleep))
    result = judge(best, SLEEP, sleep, Early("recorded"))
    assert (result.verdict, result.ok, result.same_theta) == ("ours lower", True, "agreed")
    blind = best.replace(theta=best.theta * float("nan"))
    result = judge(blind, SLEEP, sleep, Early("recorded"))
    assert (result.verdict, result.ok) == ("ours lower", False)
    assert "It does not count here" in str(ParityFailure(result))
    assert Early("recorded").ask(question).criterion > best.criterion


def test_the_stand_in_keeps_out_of_what_it_cannot_reproduce(ours, sleep):
    class Spoilt(Lme4):
        def ask(self, question, name="model"):
            fit = super().ask(question, name)
            return fit.replace(sigma=fit.sigma * 1.01)

    result = judge(foreign(ours), SLEEP, sleep, Spoilt("recorded"))
    assert result.same_theta == "not checked"
    assert not result.ok


def test_terms_in_another_order_are_mapped_for_the_stand_in():
    pastes = pm.load_data("Pastes")
    formula = "strength ~ 1 + (1 | sample) + (1 | batch)"
    fit = pm.lmer(formula, pastes)
    terms = fit.model.terms[::-1]
    turned = foreign(fit).replace(
        model=dataclasses.replace(fit.model, terms=terms),
        theta=fit.theta.iloc[::-1],
    )
    result = assert_parity(turned, formula, pastes, lme4="recorded")
    assert result.same_theta == "agreed"


# ---- modes


def test_modes_and_arguments_that_are_wrong_are_refused(ours, sleep):
    with pytest.raises(
        pm.ArgumentError, match="lme4 must be one of 'auto', 'live', 'recorded', 'rec"
    ):
        assert_parity(ours, SLEEP, sleep, lme4="off")
    with pytest.raises(pm.ArgumentError, match="recordings: give the folder"):
        assert_parity(ours, SLEEP, sleep, lme4="record")
    with pytest.raises(pm.ArgumentError, match="data: the pandas DataFrame"):
        assert_parity(ours, SLEEP)
    with pytest.raises(pm.ArgumentError, match=r"no adapter for builtins\.int"):
        assert_parity(3, SLEEP, sleep)
    assert set(MODES) == {"auto", "live", "recorded", "record", "tight"}


def test_a_missing_recording_says_where_and_how(ours, sleep, tmp_path):
    with pytest.raises(pm.RecordingError) as caught:
        assert_parity(ours, SLEEP, sleep, lme4="recorded", recordings=tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "record it: lme4='record'" in str(caught.value)


@pytest.mark.live
def test_a_recording_is_made_used_and_guarded(ours, sleep, tmp_path):
    made = assert_parity(ours, SLEEP, sleep, lme4="record", recordings=tmp_path, name="first-fit")
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["first_fit"]
    again = assert_parity(ours, SLEEP, sleep, lme4="recorded", recordings=tmp_path)
    pd.testing.assert_series_equal(made.reference.beta, again.reference.beta, check_exact=True)
    assert again.verdict == "same optimum"
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace("251.4", "251.5"))
    with pytest.raises(pm.RecordingError, match="does not match its own checksum"):
        assert_parity(ours, SLEEP, sleep, lme4="recorded", recordings=tmp_path)
    assert_parity(ours, SLEEP, sleep, lme4="record", recordings=tmp_path, name="first-fit")
    assert assert_parity(ours, SLEEP, sleep, lme4="recorded", recordings=tmp_path).ok


@pytest.mark.live
def test_changes_are_told_by_quantity(sleep, tmp_path):
    source = Lme4("record", tmp_path)
    question = Question(SLEEP, sleep)
    source.ask(question, "a")
    source.ask(question, "b")  # the same model stays in its file
    assert [change.kind for change in source.changes] == ["new", "unchanged"]
    assert len(list(tmp_path.iterdir())) == 1
    Lme4("record", tmp_path).ask(Question(SLEEP, sleep.assign(Days=sleep["Days"] * 2.0)), "a")
    later = Lme4("record", tmp_path)
    later.ask(question, "a")
    (change,) = later.changes
    assert change.kind == "changed"
    assert change.lines[0] == "the data: column Days"
    assert any(
        line.startswith("default answer: ") and "beta by up to" in line for line in change.lines
    )


@pytest.mark.live
def test_tight_is_lme4_at_a_tighter_optimum(ours, sleep):
    usual = assert_parity(ours, SLEEP, sleep, lme4="live")
    tight = assert_parity(ours, SLEEP, sleep, lme4="tight")
    assert abs(tight.excess) < abs(usual.excess)
    np.testing.assert_allclose(tight.reference.theta, ours.theta, rtol=1e-6)
