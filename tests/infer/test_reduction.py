"""Smaller models: against lmerTest's ranova, drop1 and step and lme4's rePCA, asked live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.reference.columns import table
from pymackay.reference.r.session import session


def sleep() -> pd.DataFrame:
    data = pm.load_data("sleepstudy")
    data["f"] = (data["Days"] % 3).astype(int).map({0: "a", 1: "b", 2: "c"})
    return data.assign(z=np.random.default_rng(1).normal(size=len(data)))


DATA = {
    "sleep": sleep,
    **{name: lambda name=name: pm.load_data(name) for name in ("cake", "Machines", "Penicillin")},
}
MODELS = [
    ("sleep", "Reaction ~ Days + (Days | Subject)"),
    ("sleep", "Reaction ~ Days * f + z + (1 | Subject) + (0 + Days | Subject)"),
    ("sleep", "Reaction ~ Days + f + z + (Days + z | Subject)"),
    ("cake", "angle ~ recipe * temperature + (1 | recipe:replicate)"),
    ("Machines", "score ~ Machine + (Machine | Worker)"),
    ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
]
STEPS = MODELS[1:4]


@pytest.fixture(scope="module")
def probe():
    session().call("source", str(Path(__file__).parents[1] / "support" / "reduction_probe.R"))
    answers: dict[str, Any] = {}

    def ask(model: tuple[str, str]) -> Any:
        name, formula = model
        if formula not in answers:
            fit = pm.lmer(formula, DATA[name]())
            theirs = (
                session()
                .call("probe_reduction", formula, table(DATA[name]()), model in STEPS)
                .value
            )
            answers[formula] = fit, theirs
        return answers[formula]

    return ask


def frame(recorded: Any) -> pd.DataFrame:
    columns = [np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in recorded["values"]]
    names = np.atleast_1d(recorded["columns"])
    return pd.DataFrame(
        dict(zip(names, columns, strict=True)), index=np.atleast_1d(recorded["rows"])
    )


def assert_tables_agree(mine: pd.DataFrame, theirs: pd.DataFrame, rtol: float) -> None:
    assert list(mine.index) == list(theirs.index)
    for column in theirs.columns:
        own, other = mine[column].to_numpy(float), theirs[column].to_numpy(float)
        if column == "LRT":  # lme4 may stop above the smaller model's optimum
            other = np.maximum(other, 0.0)
        np.testing.assert_allclose(own, other, rtol=rtol, atol=tol("default criterion"))


@pytest.mark.live
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m[1])
def test_random_tests_are_lmertests_ranova(model: tuple[str, str], probe: Any) -> None:
    fit, theirs = probe(model)
    assert_tables_agree(fit.random_tests(), frame(theirs["random"]), tol("r's functions"))


@pytest.mark.live
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m[1])
def test_drop1_is_lmertests(model: tuple[str, str], probe: Any) -> None:
    fit, theirs = probe(model)
    assert_tables_agree(fit.drop1(), frame(theirs["drop1"]), tol("r's functions"))


@pytest.mark.live
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m[1])
def test_directions_are_those_of_repca(model: tuple[str, str], probe: Any) -> None:
    fit, theirs = probe(model)
    pca = fit.random_effects_pca()
    for group, expected in theirs["pca"].items():
        own = pca[group]
        rtol = tol("lme4 stops") * 10.0
        np.testing.assert_allclose(own["sd"], np.atleast_1d(expected["sd"]), rtol=rtol, atol=1e-3)
        rotation = np.atleast_2d(expected["rotation"]).T
        mine = own.iloc[:, 3:].to_numpy()
        signs = np.sign(np.einsum("ij,ij->i", mine, rotation))
        np.testing.assert_allclose(mine, signs[:, None] * rotation, atol=0.02)


@pytest.mark.live
@pytest.mark.parametrize("model", STEPS, ids=lambda m: m[1])
def test_step_is_lmertests(model: tuple[str, str], probe: Any) -> None:
    fit, theirs = probe(model)
    mine = pm.step(fit)
    assert_tables_agree(mine.random, frame(theirs["step"]["random"]), tol("r's functions"))
    assert_tables_agree(mine.fixed, frame(theirs["step"]["fixed"]), 1e-3)


def test_the_boundary_has_its_mixture_beside_the_plain_p_value() -> None:
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep())
    row = fit.random_tests().loc["Days in (Days | Subject)"]
    one = fit.variance_test(("Subject", "Days")).iloc[0]
    assert row["LRT"] == pytest.approx(one["Chisq"], rel=tol("optimum"))
    assert row["Pr(>Mixture)"] == pytest.approx(one["Pr(>Mixture)"], rel=1e-6)
    assert row["Pr(>Chisq)"] == pytest.approx(stats.chi2.sf(row["LRT"], 2), rel=1e-12)


def test_a_singular_fit_names_its_empty_direction_and_a_simpler_formula() -> None:
    data = pm.load_data("Dyestuff2").assign(x=lambda d: np.tile(np.arange(5.0), 6))
    fit = pm.lmer("Yield ~ x + (1 | Batch) + (0 + x | Batch)", data)
    assert fit.singular
    pca = fit.random_effects_pca()
    names = [d for directions in pca.empty.values() for d in directions]
    assert names and set(names) <= {"(Intercept)", "x"}
    (advice,) = [text for text in pca.advice if "simpler formula" in text]
    formula = advice.split("formula ")[1].split(" has")[0]
    assert pm.lmer(formula, data).criterion == pytest.approx(fit.criterion, abs=1e-6)


def test_a_correlation_of_one_has_a_direction_of_both_effects() -> None:
    data = sleep()
    rank_one = 20.0 * data["Subject"].cat.codes * (1.0 + data["Days"])
    noise = np.random.default_rng(3).normal(size=len(data))
    fit = pm.lmer("y ~ Days + (Days | Subject)", data.assign(y=rank_one + noise))
    pca = fit.random_effects_pca()
    assert len(pca["Subject"]) == 2
    if fit.singular:
        assert "(Intercept)" in pca.empty["Subject"][0] and "Days" in pca.empty["Subject"][0]
        assert any("No formula with one effect less" in text for text in pca.advice)


def test_step_keeps_the_last_random_effect_and_says_so() -> None:
    data = pm.load_data("Dyestuff2")
    result = pm.step(pm.lmer("Yield ~ 1 + (1 | Batch)", data))
    assert result.formula == "Yield ~ 1 + (1 | Batch)"
    assert "a linear model may do" in repr(result)


def test_step_refuses_other_rows_and_fits_without_data(tmp_path: Path) -> None:
    data = sleep()
    data.loc[::20, "z"] = np.nan
    with pytest.raises(pm.DataError, match="would use 180 rows, but the fit has 171"):
        pm.step(pm.lmer("Reaction ~ Days + z + (Days | Subject)", data))
    again = pm.load_fit(
        pm.lmer("Reaction ~ z + Days + (Days | Subject)", sleep()).save(tmp_path / "fit")
    )
    with pytest.raises(pm.PymackayError, match="does not hold any more"):
        pm.step(again)


def test_step_keeps_contrasts_weights_and_offset() -> None:
    data = (
        sleep().rename(columns={"f": "a"}).assign(w=lambda d: 1.0 + d["z"] ** 2, o=lambda d: d["z"])
    )
    fit = pm.lmer(
        "Reaction ~ a + Days + offset(o) + (Days | Subject)",
        data, weights="w", contrasts={"a": "contr.sum"},
    )  # fmt: skip
    expected = pm.lmer("Reaction ~ Days + offset(o) + (Days | Subject)", data, weights="w")
    assert pm.step(fit).fit.criterion == pytest.approx(expected.criterion, abs=tol("certified"))
