"""The dense oracle of generalised models against lme4, glmmTMB and likelihoods of parity cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from glmm_case_files import glmm_case_names, load_glmm_case
from scipy import stats
from tolerances import tol

import pymackay as pm
from pymackay.fuzz import generate_general
from pymackay.fuzz.dense_general import dense_adaptive, dense_laplace, dense_quadrature
from pymackay.fuzz.density import Density
from pymackay.fuzz.oracle_general import GeneralOracle
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general

_BINOMIAL = Density("binomial", "logit")


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(11)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 6), "x": rng.normal(size=36)})
    data["m"] = rng.integers(1, 9, 36)
    data["s"] = rng.binomial(data["m"], 0.4)
    return build_general("cbind(s, m - s) ~ x + (x | g)", Table(data), Arguments(), "binomial")


def test_without_random_effects_it_is_a_binomial_likelihood(small):
    beta, response = np.array([-0.3, 0.2]), small.response
    mu = 1.0 / (1.0 + np.exp(-(small.model.X @ beta)))
    logs = stats.binom.logpmf(np.round(response.y * response.totals), response.totals, mu)
    for value in (
        dense_laplace(small, _BINOMIAL, np.zeros(3), beta).criterion,
        dense_quadrature(small, _BINOMIAL, np.zeros(3), beta),
    ):
        assert value == pytest.approx(-2.0 * logs.sum(), rel=1e-12)


def test_a_gaussian_identity_model_is_the_normal_density(small):
    data = pd.DataFrame({"y": np.arange(12.0) ** 1.5, "g": np.repeat(list("abcd"), 3)})
    weights = np.linspace(0.5, 2.0, 12)
    general = build_general("y ~ 1 + (1 | g)", Table(data), Arguments(weights), "real")
    density = Density("gaussian", "identity", dispersion=4.0)
    cov = 4.0 * np.diag(1.0 / weights) + 9.0 * np.kron(np.eye(4), np.ones((3, 3)))
    expected = -2.0 * stats.multivariate_normal(np.full(12, 11.0), cov).logpdf(data["y"])
    theta, beta = np.array([3.0]), np.array([11.0])
    for value in (
        dense_laplace(general, density, theta, beta).criterion,
        dense_adaptive(general, density, theta, beta, 5),
        dense_quadrature(general, density, theta, beta),
    ):
        assert value == pytest.approx(expected, rel=1e-12)


def test_quadrature_of_two_effects_is_the_limit_of_the_product_rule(small):
    theta, beta = np.array([0.9, -0.3, 0.7]), np.array([-0.3, 0.2])
    exact = dense_quadrature(small, _BINOMIAL, theta, beta)
    one = dense_laplace(small, _BINOMIAL, theta, beta).criterion
    assert dense_adaptive(small, _BINOMIAL, theta, beta, 1) == pytest.approx(one, rel=1e-12)
    gaps = [abs(dense_adaptive(small, _BINOMIAL, theta, beta, k) - exact) for k in (1, 5, 15, 25)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[3] < 1e-9


@pytest.mark.parametrize(
    ("family", "link"),
    [
        *(("binomial", link) for link in ("logit", "probit", "cloglog", "cauchit", "log")),
        *(("poisson", link) for link in ("log", "sqrt", "identity")),
        *(("negative binomial", link) for link in ("log", "sqrt")),
        *(("Gamma", link) for link in ("log", "inverse", "identity")),
        *(("inverse.gaussian", link) for link in ("log", "1/mu^2")),
        *(("gaussian", link) for link in ("log", "inverse")),
    ],
)
def test_scores_are_slopes_of_log_densities(family, link):
    support = {"binomial": "binomial", "poisson": "count", "negative binomial": "count"}
    data = pd.DataFrame({"y": [1.0, 0.0, 1.0, 1.0], "g": list("aabb"), "w": [1.0, 2.0, 3.0, 1.0]})
    if family not in support:
        data["y"] = [1.2, 0.3, 2.0, 0.8]
    kind = support.get(family, "positive")
    response = build_general("y ~ 1 + (1 | g)", Table(data), Arguments("w"), kind).response
    density = Density(family, link, dispersion=0.7 if kind == "positive" else 1.0, shape=1.7)
    eta = np.array([0.4, 0.9, 0.5, 1.3]) * (-1.0 if (family, link) == ("binomial", "log") else 1.0)
    h = 1e-5
    slope = (density.log(response, eta + h) - density.log(response, eta - h)) / (2.0 * h)
    curve = (density.score(response, eta + h) - density.score(response, eta - h)) / (2.0 * h)
    np.testing.assert_allclose(density.score(response, eta), slope, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(density.observed(response, eta), -curve, rtol=1e-7, atol=1e-7)


def test_the_mode_is_reached_where_weights_are_negative():
    """The criterion is then linear in an error of the mode."""
    model = generate_general(330573)
    general = build_general(
        model.formula, Table(model.data), Arguments(**model.arguments), "positive"
    )
    density = Density("inverse.gaussian", "log", dispersion=0.0898)
    theta, beta = np.array([0.119, 1.2304, 0.001, 0.0]), np.array([1.406, -1.317])
    at = dense_laplace(general, density, theta, beta)
    assert (density.observed(general.response, at.eta) < 0.0).any()
    score = density.score(general.response, at.eta)
    np.testing.assert_allclose(at.score, score, rtol=0.0, atol=tol("oracle"))


@pytest.mark.parametrize("family", [pm.Gamma("log"), pm.InverseGaussian("log"), pm.Gaussian("log")])
def test_lme4s_criterion_of_a_family_with_a_dispersion(family):
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 6), "w": rng.integers(1, 4, 48)})
    data["y"] = np.exp(0.4 * rng.normal(size=8)[data["g"]]) * rng.gamma(4.0, 0.25, 48)
    fit = pm.glmer("y ~ 1 + (1 | g)", data, family, weights="w", dispersion="lme4")
    general = build_general("y ~ 1 + (1 | g)", Table(data), Arguments("w"), "positive")
    theta, beta = fit.theta.to_numpy() + 0.1, fit.beta.to_numpy() - 0.1
    moved = fit.replace(theta=fit.theta + 0.1, beta=fit.beta - 0.1)
    expected = fit._at_parameters_of(moved)
    oracle = GeneralOracle.of(fit, general)
    eta = expected.general.linear_predictor.to_numpy()
    at_predictor, slope = oracle.at_predictor(theta, beta, eta)
    for value in (oracle.criterion(theta, beta), at_predictor):
        assert value == pytest.approx(expected.criterion, rel=tol("oracle"))
    assert slope < 1e-6 < oracle.at_predictor(theta, beta, 0.99 * eta)[1]


def _has_likelihood(name: str) -> bool:
    """Say whether lme4's criterion of a small case is that of a likelihood."""
    meta = load_glmm_case(name).meta
    return meta["rows"] <= 600 and meta["nAGQ"] > 0 and "dispersion" not in meta["tags"]


_DENSE_CASES = list(filter(_has_likelihood, glmm_case_names()))


@pytest.mark.parametrize("name", _DENSE_CASES)
def test_cases(name):
    case = load_glmm_case(name)
    expected, meta = case.expected, case.meta
    arguments = Arguments(weights=meta["weights"])
    general = build_general(meta["formula"], Table(case.data), arguments, case.support)
    at = expected["lme4_criterion_optimum"]
    shape = at.get("nb_theta") or meta["nb_theta"] or 1.0
    density = Density(
        "negative binomial" if meta["family"] == "negbin" else meta["family"],
        meta["link"],
        shape=shape,
    )
    if meta["nAGQ"] == 1:
        value = dense_laplace(general, density, at["theta"], at["beta"]).criterion
        assert value == pytest.approx(at["criterion"], abs=tol("oracle") * (1 + abs(value)))
    exact = expected["likelihood_optimum"]
    if exact and len(general.model.terms) == 1 and meta["family"] != "negbin":
        value = dense_quadrature(general, density, exact["theta"], exact["beta"])
        assert value == pytest.approx(exact["criterion"], abs=tol("oracle") * (1 + abs(value)))


_DISPERSION_CASES = [n for n in glmm_case_names() if "dispersion" in load_glmm_case(n).meta["tags"]]


@pytest.mark.parametrize("name", _DISPERSION_CASES)
def test_cases_with_a_dispersion(name):
    case = load_glmm_case(name)
    meta = case.meta
    general = build_general(meta["formula"], Table(case.data), Arguments(), case.support)
    laplace, exact = (case.expected[k] for k in ("true_laplace_optimum", "likelihood_optimum"))
    for at, value in (
        (laplace, lambda d, t, b: dense_laplace(general, d, t, b, "observed").criterion),
        (exact, lambda d, t, b: dense_quadrature(general, d, t, b)),
    ):
        density = Density(meta["family"], meta["link"], dispersion=at["phi"])
        criterion = value(density, at["theta"], at["beta"])
        assert criterion == pytest.approx(at["criterion"], abs=tol("oracle") * (1 + abs(criterion)))
