"""Generalised models of other packages as fits: of glmm, and statsmodels' Bayesian ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.adapters import as_fit

CBPP = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    g = np.arange(200) % 12
    data = pd.DataFrame({"g": g, "x": draw.normal(size=200)})
    eta = 0.4 * data["x"] + draw.normal(size=12)[g]
    data["y"] = draw.binomial(1, 1.0 / (1.0 + np.exp(-eta)))
    data["t"] = draw.gamma(3.0, np.exp(eta) / 3.0)
    data["k"] = draw.negative_binomial(2, 2.0 / (2.0 + np.exp(0.5 + eta)))
    return data


@pytest.mark.parametrize(
    ("response", "theirs", "ours"),
    [
        ("y", {"family": "binomial"}, pm.Binomial()),
        ("k", {"family": "poisson"}, pm.Poisson()),
        ("k", {"family": "poisson", "nagq": 9}, pm.Poisson()),
        ("t", {"family": "gamma", "link": "log"}, pm.Gamma("log")),
        ("k", {"family": "negativebinomial"}, pm.NegativeBinomial()),
    ],
)
def test_glmm_has_the_same_optimum(data, response, theirs, ours):
    glmm = pytest.importorskip("glmm")
    formula = f"{response} ~ x + (1 | g)"
    other = as_fit(glmm.fit(data, formula, **theirs), formula, data)
    fit = pm.glmer(formula, data, ours, nagq=theirs.get("nagq", 1), determinant="observed")
    comparison = pm.compare(fit, other)
    assert comparison.verdict == "same optimum", comparison.sentence
    assert other.criterion == pytest.approx(fit.criterion, rel=tol("refreshed optimum"))
    distance = (fit.beta - other.beta) / fit.std_error
    np.testing.assert_allclose(distance, 0.0, atol=tol("glmm estimates"))
    np.testing.assert_allclose(other.theta, fit.theta, rtol=tol("glmm estimates"))
    np.testing.assert_allclose(other.std_error, fit.std_error, rtol=tol("glmm standard errors"))
    np.testing.assert_allclose(other.ranef["g"], fit.ranef["g"], atol=1e-4)
    np.testing.assert_allclose(other.residuals, fit.residuals, atol=1e-3)
    assert other.general.shape == pytest.approx(fit.general.shape, rel=1e-4, nan_ok=True)
    assert other.df == fit.df and other.sigma == pytest.approx(fit.sigma, rel=1e-5)


GPBOOST = [
    ("y", "bernoulli_logit", pm.Binomial()),
    ("y", "bernoulli_probit", pm.Binomial("probit")),
    ("k", "poisson", pm.Poisson()),
    ("t", "gamma", pm.Gamma("log")),
    ("over", "negative_binomial", pm.NegativeBinomial()),
    ("z", "gaussian", None),
]


def gpboost_model(data: pd.DataFrame, likelihood: str, response: str) -> Any:
    """Return a fitted GPModel with two crossed factors and a slope of x by g."""
    gpboost = pytest.importorskip("gpboost")
    model = gpboost.GPModel(
        group_data=data[["g", "h"]],
        group_rand_coef_data=data[["x"]].to_numpy(),
        ind_effect_group_rand_coef=[1],
        likelihood=likelihood,
        num_parallel_threads=1,
        matrix_inversion_method="cholesky",
    )
    fixed = pd.DataFrame({"Intercept": 1.0, "x": data["x"]})
    params = {"delta_rel_conv": 1e-12, "maxit": 1000}
    return model.fit(data[response].to_numpy(float), fixed, params=params)


@pytest.fixture(scope="module")
def crossed() -> pd.DataFrame:
    """Two crossed factors, with a slope of x that varies by g, and a response for each family."""
    draw = np.random.default_rng(2)
    n = 1200
    data = pd.DataFrame({"g": draw.integers(0, 30, n), "h": draw.integers(0, 15, n)})
    data["x"] = draw.normal(size=n)
    slopes = 0.3 + 0.6 * draw.normal(size=30)[data["g"]]
    eta = slopes * data["x"] + 0.8 * draw.normal(size=30)[data["g"]]
    eta += 0.7 * draw.normal(size=15)[data["h"]]
    data["y"] = draw.binomial(1, 1.0 / (1.0 + np.exp(-eta)))
    data["t"] = draw.gamma(3.0, np.exp(eta) / 3.0)
    data["k"] = draw.poisson(np.exp(eta))
    data["over"] = draw.negative_binomial(2, 2.0 / (2.0 + np.exp(eta)))
    data["z"] = eta + draw.normal(size=n)
    return data


@pytest.mark.parametrize(("response", "likelihood", "family"), GPBOOST)
def test_gpboost_has_the_same_optimum(crossed, response, likelihood, family):
    formula = f"{response} ~ x + (1 | g) + (1 | h) + (0 + x | g)"
    other = as_fit(gpboost_model(crossed, likelihood, response), formula, crossed)
    if family is None:
        fit = pm.lmer(formula, crossed, reml=False)
    else:
        fit = pm.glmer(formula, crossed, family, determinant="observed")
        np.testing.assert_allclose(other.residuals, fit.residuals, atol=tol("gpboost estimates"))
    comparison = pm.compare(fit, other)
    assert comparison.verdict == "same optimum", comparison.sentence
    distance = (fit.beta - other.beta) / fit.std_error
    np.testing.assert_allclose(distance, 0.0, atol=tol("gpboost estimates"))
    for group, effects in fit.ranef.items():
        theirs = other.ranef[group].reindex_like(effects)
        np.testing.assert_allclose(theirs, effects, atol=tol("gpboost estimates"))


def test_a_gpboost_model_without_a_table_has_its_names(data):
    crossed = data.assign(h=np.arange(200) // 50)
    fit = as_fit(gpboost_model(crossed, "poisson", "k"))
    assert list(fit.beta.index) == ["(Intercept)", "x"]
    assert list(fit.varcorr) == ["g", "h", "g.1"]
    assert list(fit.ranef["g"].columns) == ["(Intercept)", "slope_1"]


def test_what_gpboost_fits_and_a_fit_cannot_hold_is_refused(data):
    gpboost = pytest.importorskip("gpboost")
    model = gpboost.GPModel(group_data=data[["g"]], likelihood="gaussian", num_parallel_threads=1)
    with pytest.raises(pm.ArgumentError, match="a fitted GPModel"):
        as_fit(model)
    model.fit(data["x"].to_numpy())
    with pytest.raises(pm.ArgumentError, match="no fixed effects; give X"):
        as_fit(model)


def test_glmm_of_successes_and_failures():
    glmm = pytest.importorskip("glmm")
    cbpp = pm.load_data("cbpp")
    given = cbpp.assign(f=cbpp["size"] - cbpp["incidence"])
    given[["herd", "period"]] = given[["herd", "period"]].astype(str)
    other = glmm.fit(given, "cbind(incidence, f) ~ period + (1|herd)", family="binomial")
    comparison = pm.compare(pm.glmer(CBPP, cbpp, "binomial"), as_fit(other, CBPP, cbpp))
    assert comparison.verdict == "same optimum", comparison.sentence


@pytest.mark.parametrize("way", ["fit_vb", "fit_map"])
def test_bayesian_models_of_statsmodels_say_what_they_are(data, way):
    bayes = pytest.importorskip("statsmodels.genmod.bayes_mixed_glm")
    engine = bayes.BinomialBayesMixedGLM.from_formula("y ~ x", {"g": "0 + C(g)"}, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = getattr(engine, way)()
    fit = as_fit(result, "y ~ x + (1 | g)", data)
    assert fit.beta.to_dict() == dict(zip(["(Intercept)", "x"], result.fe_mean, strict=True))
    np.testing.assert_allclose(fit.std_error, result.fe_sd)
    assert fit.varcorr["g"].iloc[0, 0] == pytest.approx(np.exp(2.0 * result.vcp_mean[0]))
    by_level = dict(zip([str(k) for k in range(12)], result.vc_mean, strict=True))
    assert fit.ranef["g"]["(Intercept)"].to_dict() == by_level
    eta = result.fe_mean @ [np.ones(200), data["x"]] + result.vc_mean[data["g"]]
    np.testing.assert_allclose(fit.general.linear_predictor, eta)
    assert "Bayesian" in fit.messages[0] and "They differ" in fit.messages[0]
    assert "posterior" in repr(fit) and np.isnan(fit.criterion)
    assert "posterior" in fit.not_offered["criterion"]
    comparison = pm.compare(pm.glmer("y ~ x + (1 | g)", data, "binomial"), fit)
    assert comparison.verdict == "different model" and "posterior" in str(comparison)


def test_poisson_models_of_statsmodels_without_a_table_have_its_names(data):
    bayes = pytest.importorskip("statsmodels.genmod.bayes_mixed_glm")
    engine = bayes.PoissonBayesMixedGLM.from_formula("k ~ x", {"groups": "0 + C(g)"}, data)
    fit = as_fit(engine.fit_vb())
    assert list(fit.varcorr) == ["groups"] and list(fit.beta.index) == ["(Intercept)", "x"]
    assert fit.general.family == pm.Poisson() and len(fit.ranef["groups"]) == 12
