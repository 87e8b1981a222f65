"""The register of differences: nothing of ours is missing in it, and nothing in it is stale."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from bundled import IDS, LISTED, comparison, ours

import pymackay as pm
from benchmarks.divergence_findings import Finding, case_name, findings
from benchmarks.divergence_reasons import REASONS, UNEXPLAINED, reasons
from benchmarks.divergence_refit import ENGINE, lme4_version, refitted
from benchmarks.divergences import (
    FOLDER,
    found_by_the_fuzzer,
    lme4_findings,
    page_text,
    register_text,
)
from pymackay.fuzz import judge_model, load

TEXT = (FOLDER / "register.json").read_text(encoding="utf-8")
ROWS: list[dict[str, Any]] = json.loads(TEXT)
LME4 = {False: "lme4", True: "lme4 tight"}
# another BLAS may move a number over its tolerance, and one that the data do not tell anywhere
SLACK = 1.1
ANYWHERE = ("not determined", "boundary")
REFRESH = "; `python -m benchmarks.divergences --only {}` writes the register anew"


def found(number: int, *, tight: bool, loose: float) -> dict[str, Finding]:
    data, question = LISTED[number]
    compared = comparison(number, "tight" if tight else "default")
    listed = lme4_findings(compared, data, question, tight=tight, loose=loose)
    return {finding.quantity: finding for finding in listed}


def registered(number: int, *, tight: bool) -> dict[str, dict[str, Any]]:
    case = case_name(*LISTED[number])
    mine = (row for row in ROWS if (row["engine"], row["case"]) == (LME4[tight], case))
    return {row["quantity"]: row for row in mine}


@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
@pytest.mark.parametrize("tight", [False, True], ids=["default", "tight"])
@pytest.mark.parametrize("number", range(len(LISTED)), ids=IDS)
def test_register_holds_what_differs_from_lme4_and_no_more(number: int, tight: bool) -> None:
    rows, how = registered(number, tight=tight), REFRESH.format(f"'{LME4[tight]}'")
    for quantity, finding in found(number, tight=tight, loose=SLACK).items():
        assert quantity in rows, f"unregistered: {finding}{how}"
        row = rows[quantity]
        if finding.size is not None and row["reason"] not in ANYWHERE:
            assert finding.size == pytest.approx(row["size"], rel=0.2), f"{finding}{how}"
    if rows:
        stale = set(rows) - set(found(number, tight=tight, loose=1.0 / SLACK))
        assert not stale, f"no longer so: {stale}{how}"


def test_every_row_has_a_reason_and_is_of_a_model_that_is_there() -> None:
    cases = {case_name(data, question) for data, question in LISTED}
    for row in ROWS:
        assert row["reason"] in REASONS, row
        assert row["case"] in cases, row
    assert {"lme4", "nlme", "glmmTMB", "statsmodels"} <= {row["engine"] for row in ROWS}


def test_page_says_what_the_register_says() -> None:
    assert register_text(ROWS) == TEXT
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert page_text(ROWS, dict(enumerate(LISTED))) == page


@pytest.mark.live
@pytest.mark.filterwarnings("ignore::pymackay.RWarning")
@pytest.mark.parametrize("fixed", ["Days", "1"])
def test_refit_of_a_reml_fit_is_right_with_one_fixed_effect_only(fixed: str) -> None:
    """Where a later lme4 has mended it, the register must be written anew."""
    if lme4_version() != next(row["version"] for row in ROWS if row["engine"] == ENGINE):
        pytest.skip("the register is of another lme4")
    fit = pm.lmer(f"Reaction ~ {fixed} + (1 | Subject)", pm.load_data("sleepstudy"))
    again = refitted(fit)
    assert isinstance(again, pm.Fit)
    assert (abs(again.criterion - fit.criterion) > 1.0) == (fixed == "Days")


def test_refit_differs_from_reml_fits_with_several_fixed_effects_alone() -> None:
    rows = [row for row in ROWS if row["engine"] == ENGINE]
    assert {row["reason"] for row in rows} == {"one degree of freedom"}
    several = {
        case_name(*LISTED[number])
        for number in range(len(LISTED))
        if LISTED[number][1].reml and len(ours(number).beta) > 1
    }
    assert {row["case"] for row in rows} <= several


@pytest.mark.live
@pytest.mark.parametrize("row", found_by_the_fuzzer(), ids=lambda row: row["file"])
def test_what_the_fuzzer_found_is_still_so(row: dict[str, Any]) -> None:
    outcome = judge_model(load(FOLDER / "found" / row["file"]))
    assert outcome.verdict == row["verdict"], f"{row['reason']}\n{outcome.report}"


# ---- the instrument itself


def of(engine: str, **changes: Any) -> dict[str, Finding]:
    """Compare a fit with itself, changed."""
    fit = ours(0)
    compared = pm.compare(fit, fit.replace(**changes))
    return {f.quantity: f for f in findings(compared, engine, "1", "a case")}


def test_equal_fits_give_no_finding() -> None:
    assert of("lme4") == {}


def test_an_early_stop_is_measured_by_our_arithmetic() -> None:
    fit = ours(0)
    elsewhere = fit.evaluate(1.1 * fit.theta)
    compared = pm.compare(fit, elsewhere.replace(criterion=elsewhere.criterion + 5.0))
    listed = {f.quantity: f for f in findings(compared, "glmm", "1", "a case")}
    assert listed["criterion"].size == pytest.approx(elsewhere.criterion - fit.criterion)
    assert listed["criterion value"].size == pytest.approx(5.0)
    why = {finding.quantity: reason for finding, reason in reasons(listed.values()).items()}
    assert why["variance"] == "not the optimum"


def test_another_definition_is_told_from_another_theta() -> None:
    listed = of("glmmTMB", vcov=1.1 * ours(0).vcov)
    assert "std_error at one theta" in listed
    assert "variance" not in listed
    assert set(reasons(listed.values()).values()) == {"joint information"}


def test_what_nobody_has_explained_stays_so() -> None:
    listed = of("somebody", vcov=1.1 * ours(0).vcov)
    assert set(reasons(listed.values()).values()) == {UNEXPLAINED}


def test_another_model_is_called_that() -> None:
    fit = ours(0)
    model = replace(fit.model, fixed=("(Intercept)", "Tage"))
    renamed = fit.replace(model=model, beta=fit.beta.set_axis(["(Intercept)", "Tage"]))
    compared = pm.compare(fit, renamed)
    listed = list(findings(compared, "somebody", "1", "a case"))
    assert set(reasons(listed).values()) == {"reads another model"}
