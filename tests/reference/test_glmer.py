"""lme4's glmer: refreshed criterion, optima and quadrature against parity cases and the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from glmm_case_files import glmm_case_names, load_glmm_case
from r_versions import lme4_at_least
from tolerances import tol

import pymackay as pm
from pymackay._resources import r_reference_path
from pymackay.family.named import FAMILIES, family_of
from pymackay.fuzz.dense_general import dense_adaptive, dense_laplace
from pymackay.fuzz.density import Density
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.reference.r.scripts import script_hashes
from pymackay.reference.record import listed_questions
from pymackay.reference.recorded import RecordedStore

FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
THETA, BETA = [0.64], [-1.4, -1.0, -1.1, -1.6]


@pytest.fixture(scope="module")
def cbpp():
    return pm.load_data("cbpp")


@pytest.fixture(scope="module")
def default(cbpp):
    return pm.lme4.glmer(FORMULA, cbpp, "binomial", source="live")


def refreshes() -> bool:
    """Whether lme4 itself takes its criterion with the factor at the final mode, as since 2.1."""
    return lme4_at_least(2, 1)


@pytest.mark.live
def test_reported_and_refreshed_criterion(default):
    case = load_glmm_case("cbpp") if "cbpp" in glmm_case_names() and not refreshes() else None
    reported, refreshed, deviance = 184.05313277906, 184.0525724034, 73.4742835742572
    if refreshes():
        reported, refreshed, deviance = 184.0525637490, 184.0525637355, 73.4715448898
    assert default.general.lme4_criterion == pytest.approx(reported, abs=1e-8)
    assert default.criterion == pytest.approx(refreshed, abs=1e-8)
    assert default.general.family == pm.Binomial()
    assert (default.sigma, default.df, default.reml) == (1.0, 5, False)
    assert default.general.deviance == pytest.approx(deviance, abs=1e-6)
    if case is not None:
        expected = case.expected["lme4_default"]
        recorded_here = "lme4 " + default.engine.versions["lme4"] in case.expected["versions"]
        rtol = 1e-9 if recorded_here else errors_of_differences(default)
        np.testing.assert_allclose(default.std_error, expected["se_hessian"], rtol=rtol)
        np.testing.assert_allclose(default.beta, expected["beta"], rtol=1e-9)


def errors_of_differences(fit):
    """Relative error by rounding of standard errors from second differences over steps of 1e-4.

    lme4's are such, so that two builds of it agree to these digits only.
    """
    return 4.0 * np.finfo(float).eps * abs(fit.criterion) * fit.std_error.max() ** 2 / 1e-4**2


@pytest.mark.live
def test_the_tight_fit_is_the_optimum(cbpp):
    tight = pm.lme4.glmer(FORMULA, cbpp, "binomial", tight=True, source="live")
    assert tight.criterion == pytest.approx(184.0525637295142, abs=1e-9)
    right = [0.23247199232849344, 0.30664249791308, 0.32663785051044, 0.42743658646494]
    np.testing.assert_allclose(tight.std_error, right, rtol=1e-5)
    gained = "6.03e-09" if refreshes() else "8.67e-06"
    assert f"{gained} below where glmer() stops" in tight.convergence.message


@pytest.mark.live
@pytest.mark.parametrize(
    "family", ["binomial", "probit", "cloglog", "poisson", "negative binomial"]
)
def test_the_refreshed_criterion_is_the_oracles(cbpp, family):
    data = cbpp.assign(y=cbpp["incidence"])
    link = {"probit": "probit", "cloglog": "cloglog", "binomial": "logit"}.get(family)
    formula = FORMULA if link else "y ~ period + offset(log(size)) + (1 | herd)"
    kind = family_of("binomial" if link else family)
    chosen = type(kind)(link=link or "log")
    shape = 2.5 if family == "negative binomial" else None
    theirs = pm.lme4.evaluate_glmer(formula, data, THETA, BETA, chosen, shape=shape, source="live")
    support = "binomial" if link else "count"
    general = build_general(formula, Table(data), Arguments(), support)
    density = Density(chosen.name, chosen.link, shape=shape or 1.0)
    ours = dense_laplace(general, density, THETA, BETA)
    assert theirs.criterion == pytest.approx(ours.criterion, rel=tol("criterion"))
    np.testing.assert_allclose(theirs.ranef["herd"].to_numpy()[:, 0], ours.b, atol=1e-6)
    spread = np.diag(ours.condvar)
    np.testing.assert_allclose(theirs.condvar["herd"].ravel(), spread, rtol=1e-5)
    np.testing.assert_allclose(theirs.general.linear_predictor, ours.eta, atol=1e-6)
    np.testing.assert_array_equal(theirs.model.weights, general.response.weights)


@pytest.mark.live
@pytest.mark.parametrize("nodes", [2, 9, 25])
def test_quadrature_on_the_scale_of_the_likelihood(cbpp, nodes):
    theirs = pm.lme4.evaluate_glmer(
        FORMULA, cbpp, THETA, BETA, "binomial", nagq=nodes, source="live"
    )
    general = build_general(FORMULA, Table(cbpp), Arguments(), "binomial")
    ours = dense_adaptive(general, Density("binomial", "logit"), THETA, BETA, nodes)
    assert theirs.criterion == pytest.approx(ours, rel=tol("criterion"))
    assert theirs.criterion - theirs.general.lme4_criterion == pytest.approx(83.9567, abs=1e-4)


@pytest.mark.live
def test_evaluate_takes_one_vector_or_names(default, cbpp):
    again = default.evaluate(np.array([*THETA, *BETA]))
    named = pm.lme4.evaluate_glmer(
        FORMULA, cbpp, THETA, default.beta[::-1] * 0 + BETA[::-1], "binomial", source="live"
    )
    assert again.criterion == named.criterion
    assert list(again.beta) == BETA


@pytest.mark.live
def test_the_shape_of_a_negative_binomial_is_estimated():
    data = pm.load_data("grouseticks")
    fit = pm.lme4.glmer("TICKS ~ cHEIGHT + (1 | BROOD)", data, "negative binomial", source="live")
    assert fit.general.shape_estimated and fit.df == 4
    assert fit.general.family == pm.NegativeBinomial(theta=fit.general.shape)
    here = fit.evaluate(np.r_[fit.theta, fit.beta, fit.general.shape])
    assert here.criterion == pytest.approx(fit.criterion, abs=1e-8)


@pytest.mark.live
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nagq": 26}, "whole numbers from 0 to 25"),
        ({"nagq": 0, "tight": True}, "with nagq = 0 there is no such fit"),
        ({"family": "gaussian"}, "use pymackay.lme4.lmer"),
        ({"family": pm.NegativeBinomial("sqrt")}, "with the log link only"),
        ({"family": "binomal"}, "family must be one of"),
        ({"weights": "nothing"}, "no column 'nothing'"),
    ],
)
def test_what_glmer_refuses(cbpp, arguments, message):
    with pytest.raises(pm.PymackayError, match=message):
        pm.lme4.glmer(FORMULA, cbpp, **{"family": "binomial", **arguments}, source="live")


@pytest.mark.live
@pytest.mark.parametrize("name", glmm_case_names())
def test_cases(name):
    """lme4's refreshed criterion at the case's optimum, and where its default search ends."""
    case = load_glmm_case(name)
    at, meta = case.expected["lme4_criterion_optimum"], case.meta
    kind = FAMILIES[family_of(meta["family"]).name]
    shape = at.get("nb_theta") or meta["nb_theta"]
    family = kind(link=meta["link"], **({"theta": shape} if shape else {}))
    asked = (meta["formula"], case.data, at["theta"], at["beta"], family)
    if case.expected["lme4_default"]["failed"]:
        with pytest.raises(pm.RError, match="valid starting values"):
            pm.lme4.evaluate_glmer(*asked, source="live")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pm.lme4.evaluate_glmer(
            *asked, nagq=meta["nAGQ"], weights=meta["weights"], source="live"
        )
    own = theirs.general.lme4_criterion
    assert own == pytest.approx(at["criterion"], abs=1e-6 * (1.0 + abs(own)))


def test_recorded_answers_are_read_without_r():
    store = RecordedStore()
    questions = [q for _, q in listed_questions(r_reference_path("glmer_models.toml"))]
    files = set(r_reference_path("recorded_glmer").glob("*.json"))
    assert {store.find(question).path for question in questions} == files
    for question in questions:
        recording = store.find(question)
        assert recording.content["made_by"]["scripts"] == script_hashes(True), "record again"
        default, tight = (recording.fit(question, how) for how in ("default", "tight"))
        assert tight.criterion <= default.criterion
        assert tight.general.family == default.general.family or tight.general.shape_estimated
        assert default.n_obs == len(question.data)


def test_a_recording_is_found_by_family_link_and_nodes(cbpp):
    fit = pm.lme4.glmer(FORMULA, cbpp, "binomial", nagq=9, source="recorded")
    assert fit.general.nagq == 9
    with pytest.raises(pm.RecordingError, match="is not recorded"):
        pm.lme4.glmer(FORMULA, cbpp, pm.Binomial("cauchit"), source="recorded")


# --- R's own objects


@pytest.mark.live
@pytest.mark.parametrize(
    ("formula", "data", "family", "arguments"),
    [
        (FORMULA, "cbpp", "binomial", {}),
        (FORMULA, "cbpp", pm.Binomial("cloglog"), {}),
        (FORMULA, "cbpp", "binomial", {"nagq": 9}),
        ("incidence / size ~ period + (1 | herd)", "cbpp", "binomial", {"weights": "size"}),
        ("TICKS ~ cHEIGHT + (1 | BROOD)", "grouseticks", "negative binomial", {}),
        ("TICKS ~ cHEIGHT + (1 | BROOD)", "grouseticks", pm.NegativeBinomial(theta=1.5), {}),
    ],
)
def test_our_fit_is_a_mermod_in_r_and_back(formula, data, family, arguments):
    ours = pm.glmer(formula, pm.load_data(data), family, **arguments)
    theirs = pm.lme4.from_r(pm.lme4.to_r(ours))
    rough = tol("refreshed criterion, other links")
    assert theirs.criterion == pytest.approx(ours.criterion, rel=rough)
    assert theirs.general.family.name == ours.general.family.name
    assert theirs.general.shape == pytest.approx(ours.general.shape, nan_ok=True)
    for group, table in ours.ranef.items():
        np.testing.assert_allclose(theirs.ranef[group], table, atol=1e-6)
    np.testing.assert_allclose(theirs.fitted, ours.fitted, rtol=1e-5)
    shape = [theirs.general.shape] if theirs.general.shape_estimated else []
    again = theirs.evaluate(np.r_[1.1 * theirs.theta, theirs.beta, shape])
    assert again.criterion > theirs.criterion


@pytest.mark.live
def test_r_predicts_updates_and_tests_our_fit(cbpp):
    import rpy2.robjects as ro

    pm.lme4.to_r(pm.glmer(FORMULA, cbpp, "binomial"), name="ours_in_r")
    smaller = ro.r("lme4::fixef(update(ours_in_r, . ~ . - period))")
    expected = pm.glmer("cbind(incidence, size - incidence) ~ 1 + (1 | herd)", cbpp, "binomial")
    assert smaller[0] == pytest.approx(expected.beta.iloc[0], abs=1e-3)
    ro.r("rm(ours_in_r)")


@pytest.mark.live
def test_what_lme4_cannot_hold_is_refused(cbpp):
    fit = pm.glmer(FORMULA, cbpp, pm.Binomial("cloglog"), determinant="observed")
    with pytest.raises(pm.ArgumentError, match="lme4 has another criterion"):
        pm.lme4.to_r(fit)
