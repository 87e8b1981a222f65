"""Covariance structures in generalised models: gradient, dense likelihood, glmmTMB's answers."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.api.criterion import observations
from pymackay.covariance.layout import lower_factor
from pymackay.fuzz.dense_general import dense_laplace
from pymackay.fuzz.density import Density
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.criteria.nodes import Nodes
from pymackay.solve.pirls.criteria.quadrature import Quadrature
from pymackay.solve.pirls.rows import Rows

TERMS = (
    "ar1(0 + t | g)",
    "ar1(0 + t | g, hom = FALSE)",
    "cs(0 + t | g)",
    "cs(0 + t | g, hom = TRUE) + (1 | h)",
    "diag(1 + x | g)",
    "diag(1 + x | h, hom = TRUE) + ar1(0 + t | g)",
    "ar1(0 + t | g) + (1 | g)",
)


def panel(seed: int, sd: float = 0.8, rho: float = 0.7, levels: int = 20) -> pd.DataFrame:
    """Return counts and zeros and ones of subjects at four times, correlated by their distance."""
    random = np.random.default_rng(seed)
    T, repeats = 4, 2
    g = np.repeat(np.arange(levels), T * repeats)
    t = np.tile(np.repeat(np.arange(T), repeats), levels)
    R = rho ** np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    b = sd * random.normal(size=(levels, T)) @ np.linalg.cholesky(R).T
    x, h = random.normal(size=len(g)), random.integers(0, 6, len(g))
    eta = 0.3 + 0.4 * x + b[g, t]
    return pd.DataFrame(
        {
            "count": random.poisson(np.exp(eta)),
            "yes": (random.uniform(size=len(g)) < 1.0 / (1.0 + np.exp(-eta))).astype(int),
            "size": random.gamma(4.0, np.exp(eta) / 4.0),
            "x": x,
            "g": g.astype(str),
            "h": h.astype(str),
            "t": pd.Categorical(t.astype(str)),
        }
    )


def laplace_of(formula: str, data: pd.DataFrame, family: pm.Binomial) -> Laplace:
    """Return the criterion of a model."""
    general = build_general(formula, Table(data), Arguments(), family.support)
    return Laplace(Rows.of(general.model, observations(general)), family)


@pytest.mark.parametrize("family", [pm.Poisson(), pm.Gamma("log")], ids=["poisson", "Gamma"])
@pytest.mark.parametrize("term", TERMS)
def test_gradient_by_the_parameters_of_structures_is_exact(term, family):
    response = "count" if family.support == "count" else "size"
    laplace = laplace_of(f"{response} ~ x + {term}", panel(1), family)
    psi = 0.3 + 0.3 * np.random.default_rng(2).uniform(size=laplace.size)
    _same_as_differences(laplace, psi)


def test_gradient_of_the_product_rule_with_a_structure():
    laplace = laplace_of("yes ~ x + cs(1 + x | g)", panel(1), pm.Binomial())
    _same_as_differences(Quadrature(laplace, Nodes.hermite(5, 2)), np.full(laplace.size, 0.4))


def _same_as_differences(criterion, psi: np.ndarray) -> None:
    step = 1e-5
    ends = [
        [criterion.at(psi + sign * move).criterion for sign in (1.0, -1.0)]
        for move in step * np.eye(len(psi))
    ]
    slopes = np.array([(above - below) / (2.0 * step) for above, below in ends])
    gradient = criterion.at(psi).gradient
    np.testing.assert_allclose(gradient, slopes, atol=1e-6 * np.abs(slopes).max(), rtol=0.0)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("term", TERMS)
def test_the_dense_likelihood_has_the_same_value_and_no_lower_neighbour(term, seed):
    data, formula = panel(10 + seed), f"count ~ x + {term}"
    with warnings.catch_warnings():
        warnings.simplefilter("error", pm.ConvergenceWarning)
        fit = pm.glmer(formula, data, "poisson")
    general = build_general(_without_structures(formula), Table(data), Arguments(), "count")
    density, theta = Density("poisson", "log"), _full_theta(fit)
    lowest = dense_laplace(general, density, theta, fit.beta).criterion
    assert abs(fit.criterion - lowest) < tol("refreshed criterion") * (1.0 + abs(lowest))
    random = np.random.default_rng(seed)
    for _ in range(4):
        psi = fit.problem.psi * (1.0 + 0.02 * random.normal(size=len(fit.problem.psi)))
        moved = fit.problem.laplace.at(psi)
        assert moved.criterion > fit.criterion


def _without_structures(formula: str) -> str:
    """Return the formula with plain terms: their covariances are the structured ones at a theta."""
    return re.sub(r"(ar1|cs|diag)(\([^,)]*)(, hom = \w+)?\)", r"\2)", formula)


def _full_theta(fit: pm.Fit) -> np.ndarray:
    """Return the lower triangles of the covariances' factors, column by column."""
    factors = []
    for V in fit.varcorr.values():
        values, vectors = np.linalg.eigh(V.to_numpy())
        factors.append(lower_factor(vectors * np.sqrt(np.maximum(values, 0.0))))
    return np.concatenate([L.T[np.triu_indices(len(L))] for L in factors])


@pytest.mark.parametrize("term", TERMS[:3])
def test_a_fit_and_its_theta_and_parameters_name_the_same_point(term):
    data, formula = panel(3), f"yes ~ x + {term}"
    fit = pm.glmer(formula, data, "binomial")
    again = pm.evaluate_glmer(formula, data, fit.theta, fit.beta, "binomial")
    assert again.criterion == pytest.approx(fit.criterion, rel=1e-12)
    pd.testing.assert_series_equal(again.free_par, fit.free_par, rtol=1e-9)
    begun = pm.glmer(formula, data, "binomial", start=fit.theta)
    assert begun.criterion == pytest.approx(fit.criterion, abs=1e-8)


def test_a_variance_of_zero_is_certified():
    """The slope of x does not vary in the data; its variance ends at zero, as without structure."""
    fit = pm.glmer("count ~ x + diag(1 + x | g)", panel(7, sd=0.0, levels=8), "poisson")
    same = pm.glmer("count ~ x + (x || g)", panel(7, sd=0.0, levels=8), "poisson")
    assert fit.convergence.converged
    np.testing.assert_allclose(fit.free_par, same.theta, atol=1e-7)
    assert fit.criterion == pytest.approx(same.criterion, abs=1e-8)
    assert fit.singular


GLMMTMB = {
    # panel(42, levels=40): −2 log L, beta, standard errors, sds of g, first correlation. Made by
    # glmmTMB 1.1.5 with R 4.2.2: glmmTMB(count ~ x + ar1(0 + t | g), panel, poisson) and so on.
    "count ~ x + ar1(0 + t | g)": (
        [1042.74866127, 0.208655330, 0.338900829, 0.099083942, 0.054155886],
        [0.698836169, 0.698836169, 0.698836169, 0.698836169],
        0.527824144,
    ),
    "yes ~ x + ar1(0 + t | g)": (
        [430.39273974, 0.14005402, 0.35182592, 0.15359277, 0.13777766],
        [0.87689292, 0.87689292, 0.87689292, 0.87689292],
        0.36856395,
    ),
    "count ~ x + cs(0 + t | g)": (
        [1043.70115783, 0.185879985, 0.329168940, 0.094053546, 0.053669269],
        [0.442626169, 0.615924856, 0.711145707, 0.829454350],
        0.370339534,
    ),
    "count ~ x + diag(1 + x | g)": (
        [1112.12911711, 0.310661199, 0.321713184, 0.100956562, 0.053149724],
        [0.542132407, 0.141775247],
        0.0,
    ),
    "yes ~ x + us(1 + x | g)": (
        [430.242263687, 0.13537064, 0.34485517, 0.14720325, 0.15717147],
        [0.50197505, 0.50723596],
        -0.36340217,
    ),
}


@pytest.mark.parametrize("formula", GLMMTMB)
def test_answers_of_glmmtmb(formula):
    numbers, sds, correlation = GLMMTMB[formula]
    family = "poisson" if formula.startswith("count") else "binomial"
    fit = pm.glmer(formula, panel(42, levels=40), family)
    assert fit.criterion == pytest.approx(numbers[0], rel=1e-9)
    np.testing.assert_allclose(fit.beta, numbers[1:3], atol=1e-4 * min(fit.std_error))
    np.testing.assert_allclose(fit.std_error, numbers[3:], rtol=1e-5)
    V = fit.varcorr["g"].to_numpy()
    sd = np.sqrt(np.diag(V))
    np.testing.assert_allclose(sd, sds, rtol=1e-3)
    assert V[1, 0] / (sd[0] * sd[1]) == pytest.approx(correlation, abs=1e-3)


def test_names_and_degrees_of_freedom():
    fit = pm.glmer("count ~ x + ar1(0 + t | g)", panel(3), "poisson")
    assert list(fit.free_par.index) == ["g.*", "g.rho"]
    assert fit.df == 4
    assert fit.varcorr["g"].shape == (4, 4)
