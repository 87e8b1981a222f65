"""Comparisons of generalised models: lag and distance, families, and what is not compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from r_versions import lme4_at_least

import pymackay as pm
from pymackay.results import Engine
from pymackay.solve.pirls.fit import evaluate_general

FORMULA = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
COUNTS = "TICKS ~ YEAR + cHEIGHT + (1 | BROOD)"


@pytest.fixture(scope="module")
def cbpp():
    return pm.load_data("cbpp")


@pytest.fixture(scope="module")
def ours(cbpp):
    return pm.glmer(FORMULA, cbpp, "binomial")


def recorded(data, formula=FORMULA, family="binomial", **arguments):
    return pm.lme4.glmer(formula, data, family, source="recorded", **arguments)


@pytest.fixture(scope="module")
def default(cbpp):
    return recorded(cbpp)


@pytest.fixture(scope="module")
def positive():
    """A response for Gamma models."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "x": rng.normal(size=72)})
    data["y"] = rng.gamma(3.0, np.exp(0.5 + 0.3 * data["x"] + 0.4 * rng.normal(size=12)[data["g"]]))
    return data


def test_lag_and_distance_of_lme4s_default(ours, default):
    result = pm.compare(ours, default)
    assert (result.verdict, result.ok, result.same_theta) == ("ours lower", True, "agreed")
    assert result.excess == pytest.approx(-8.67e-6, rel=1e-2)
    assert result.lag == pytest.approx(5.604e-4, rel=1e-3)
    assert "reports a criterion 5.6e-04 above its own at these estimates" in " ".join(
        str(result).split()
    )
    assert "binomial (logit), Laplace, 56 rows" in str(result)


def test_the_tight_fit_agrees_in_every_number(ours, cbpp):
    result = pm.compare(ours, recorded(cbpp, tight=True))
    assert (result.verdict, result.lag) == ("same optimum", 0.0)
    judged = {row.quantity for row in result.rows if row.ok}
    assert judged >= {"criterion", "beta", "std_error", "variance", "b", "condvar", "fitted"}
    assert "sigma" not in judged
    assert "lag" not in str(result)


def with_other_errors(fit, version, errors=1.01, **changes):
    """Return the fit as lme4's default of a version, its standard errors multiplied."""
    return fit.replace(
        engine=Engine("lme4", {"lme4": version}), vcov=fit.vcov * errors**2,
        convergence=replace(fit.convergence, message="Nelder_Mead: 0"), **changes,
    )  # fmt: skip


def standard_errors(result):
    return [row for row in result.rows if row.quantity == "std_error"]


def test_standard_errors_of_a_criterion_that_lags_are_shown_and_not_judged(ours):
    result = pm.compare(ours, with_other_errors(ours, "1.1-31"))
    assert result.verdict == "same optimum"
    assert {row.ok for row in standard_errors(result)} == {None}
    assert all("lags; ask for its tight fit" in row.note for row in standard_errors(result))


def test_standard_errors_since_lme4_2_1_are_judged(ours):
    result = pm.compare(ours, with_other_errors(ours, "2.1-0"))
    assert (result.verdict, result.ok) == ("different model", False)
    assert {row.ok for row in standard_errors(result)} == {False}
    same = pm.compare(ours, with_other_errors(ours, "2.1-0", 1.0001))
    assert (same.verdict, {row.ok for row in standard_errors(same)}) == ("same optimum", {True})


def test_standard_errors_that_differences_cannot_give_are_not_judged(cbpp):
    """Of a column in tiny units; those of the intercept are judged still."""
    data = cbpp.assign(x=1e-3 * np.random.default_rng(1).normal(size=len(cbpp)))
    fit = pm.glmer("cbind(incidence, size - incidence) ~ x + (1 | herd)", data, "binomial")
    result = pm.compare(fit, with_other_errors(fit, "2.1-0"))
    judged = {row.name: row.ok for row in standard_errors(result)}
    assert judged == {"(Intercept)": False, "x": None}
    assert "rescale the column" in next(r.note for r in standard_errors(result) if r.name == "x")


def test_what_lme4_2_1_scales_by_moments_is_not_judged(positive):
    fit = pm.glmer("y ~ x + (1 | g)", positive, pm.Gamma("log"), dispersion="lme4")
    general = replace(fit.general, lme4_criterion=fit.criterion - 2.0)
    scaled = {"general": general, "sigma": 1.1 * fit.sigma}
    result = pm.compare(fit, with_other_errors(fit, "2.1-0", 1.1, **scaled))
    assert (result.verdict, result.lag) == ("same optimum", pytest.approx(-2.0))
    unjudged = {row.quantity for row in result.rows if "by moments" in row.note}
    assert unjudged >= {"std_error", "sigma"}
    assert "beta" not in unjudged
    assert "leaves out a constant of 2" in " ".join(str(result).split())
    earlier = pm.compare(fit, with_other_errors(fit, "1.1-37", 1.1, **scaled))
    assert not any("by moments" in row.note for row in earlier.rows)


@pytest.mark.live
@pytest.mark.parametrize("nodes", [1, 9])
def test_the_lag_of_the_lme4_that_is_here(cbpp, nodes):
    """Since lme4 2.1 there is none, and with several nodes its number has all constants."""
    fit = pm.glmer(FORMULA, cbpp, "binomial", nagq=nodes)
    theirs = pm.lme4.glmer(FORMULA, cbpp, "binomial", nagq=nodes, source="live")
    result = pm.compare(fit, theirs)
    if lme4_at_least(2, 1):
        assert (result.verdict, result.ok) == ("same optimum", True)
        assert {row.ok for row in standard_errors(result)} == {True}
        assert abs(result.lag) < 1e-6
    else:
        assert result.lag == pytest.approx({1: 5.604e-4, 9: 0.0}[nodes], abs=1e-6)


def test_a_shape_is_compared():
    data = pm.load_data("grouseticks")
    fit = pm.glmer(COUNTS, data, "negative binomial")
    result = pm.compare(fit, recorded(data, COUNTS, "negative binomial", tight=True))
    assert result.ok
    (row,) = (row for row in result.rows if row.quantity == "shape" and row.stage == "optimum")
    assert row.ok and row.ours == fit.general.shape
    assert "shape" in str(result)


@pytest.mark.parametrize(
    ("change", "aspect"),
    [
        ({"family": pm.Binomial("probit")}, "link"),
        ({"determinant": "observed", "family": pm.Binomial("cloglog")}, "determinant"),
    ],
)
def test_another_link_or_determinant_is_another_model(cbpp, default, change, aspect):
    fit = pm.glmer(FORMULA, cbpp, **change)
    reference = default
    if aspect == "determinant":
        reference = recorded(cbpp, family=pm.Binomial("cloglog"))
    result = pm.compare(fit, reference)
    assert (result.verdict, result.ok) == ("different model", False)
    assert [d.aspect for d in result.differences] == [aspect]


def test_a_linear_and_a_generalised_model_are_two_kinds(cbpp, default):
    linear = pm.lmer("incidence ~ period + (1 | herd)", cbpp)
    assert "kind of model" in pm.compare(linear, default).sentence


def test_another_response_is_seen(ours, cbpp, default):
    other = cbpp.assign(incidence=np.where(cbpp.index == 3, 1, cbpp["incidence"]))
    result = pm.compare(pm.glmer(FORMULA, other, "binomial"), default)
    assert {d.aspect for d in result.differences} == {"response"}


def test_lme4s_criterion_of_a_gamma_model_is_no_likelihood(positive):
    arguments = ("y ~ x + (1 | g)", positive, pm.Gamma("log"))
    likelihood, lme4s = pm.glmer(*arguments), pm.glmer(*arguments, dispersion="lme4")
    result = pm.compare(likelihood, lme4s)
    assert (result.verdict, result.ok) == ("not a likelihood", False)
    assert "maximum likelihood here, by lme4's criterion there" in result.sentence
    assert all(row.ok is None for row in result.rows)
    assert "do not use its AIC" in str(result)
    assert pm.compare(lme4s, lme4s).verdict == "same optimum"


def test_a_separated_response_has_no_optimum():
    data = pd.DataFrame({"y": [0, 1, 0, 1, 1, 1], "z": [0, 0, 0, 1, 1, 1], "g": list("aabbcc")})
    formula = "y ~ z + (1 | g)"
    stopped = [pm.evaluate_glmer(formula, data, [1.0], [0.0, b], "binomial") for b in (9.0, 20.0)]
    result = pm.compare(*stopped)
    assert (result.verdict, result.ok) == ("no optimum", False)
    assert "+1 z" in result.sentence


def test_effects_at_another_mode_are_told():
    """With the link sqrt, a mean of a row has two linear predictors, one of them negative."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"row": np.arange(30), "y": rng.poisson((2.0 + rng.normal(size=30)) ** 2)})
    ours = pm.glmer("y ~ 1 + (1 | row)", data, pm.Poisson("sqrt"))
    eta = ours.general.linear_predictor.to_numpy().copy()
    eta[int(data["y"].argmax())] *= -1.0
    theirs = evaluate_general(ours.problem.laplace, 1, ours.problem.psi, eta)
    result = pm.compare(ours, theirs)
    assert (result.verdict, result.ok, result.same_theta) == ("another mode", True, "agreed")
    assert f"{theirs.criterion:.6g} at their random effects" in result.sentence
    assert f"{ours.criterion:.6g} at the lowest mode" in result.sentence
    off = theirs.replace(criterion=theirs.criterion + 0.01)
    assert pm.compare(ours, off).verdict == "different model"


def test_html_and_json_have_the_lag(ours, default, tmp_path):
    result = pm.compare(ours, default)
    result.to_html(tmp_path / "page.html")
    assert "iteration old" in (tmp_path / "page.html").read_text(encoding="utf-8")
    result.to_json(tmp_path / "page.json")
    assert '"lag": 0.00056' in (tmp_path / "page.json").read_text(encoding="utf-8")


def test_assert_parity_asks_glmer_with_family_and_nodes(ours, cbpp):
    assert pm.testing.assert_parity(ours, FORMULA, cbpp, lme4="recorded").verdict == "ours lower"
    wrong = ours.replace(beta=ours.beta + 0.5 * ours.std_error)
    with pytest.raises(AssertionError, match=r"fixed effects|beta"):
        pm.testing.assert_parity(wrong.replace(problem=None), FORMULA, cbpp, lme4="recorded")


@pytest.mark.live
def test_the_fixture_compares_generalised_models(lme4_parity, ours, cbpp):
    lme4_parity.check(ours, FORMULA, cbpp)
    theirs = lme4_parity.reference(FORMULA, cbpp, family="binomial")
    assert theirs.general.family == pm.Binomial()
