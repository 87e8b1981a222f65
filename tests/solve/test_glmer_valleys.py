"""Generalised models with several minima, or with several modes of the random effects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from r_versions import lme4_at_least
from tolerances import tol

import pymackay as pm
from benchmarks.general_valleys import random_model
from pymackay.family.family import Observations
from pymackay.fuzz import generate_general, judge_model
from pymackay.fuzz.density import Density
from pymackay.fuzz.judge_general import family_of_model
from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.solve.pirls.batch.dense import DenseLaplace
from pymackay.solve.pirls.batch.points import STILL
from pymackay.solve.pirls.criteria.laplace import Laplace
from pymackay.solve.pirls.rows import Rows
from pymackay.solve.pirls.starts.first import starting_point

SEVERAL = [
    pm.Binomial("cauchit"),
    pm.Poisson("sqrt"),
    pm.NegativeBinomial("sqrt", theta=2.0),
    pm.Gamma("identity"),
    pm.InverseGaussian("log"),
    pm.Gaussian("log"),
]


@pytest.mark.parametrize("family", SEVERAL, ids=repr)
def test_the_mode_of_each_level_is_the_lowest(family):
    """Beside a fine grid of each level's effect, at large variances and far fixed effects."""
    rng = np.random.default_rng(4)
    n = 16
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 2), "y": rng.gamma(1.0, 3.0, n) + 0.05})
    if family.support == "binomial":
        data["y"] = rng.integers(0, 2, n)
    elif family.support == "count":
        data["y"] = rng.poisson(4.0, n)
    theta, beta = 2.0, 1.5
    fit = pm.evaluate_glmer(
        "y ~ 1 + (1 | g)", data, [theta], [beta], family, dispersion="lme4"
    )  # whose dispersion is one in the mode
    support = family.support
    response = build_general("y ~ 1 + (1 | g)", Table(data), Arguments(), support).response
    density = Density(family.name, family.link, 1.0, getattr(family, "theta", None) or 1.0)
    u = np.linspace(-8.0, 8.0, 64_001)
    eta = beta + theta * u
    with np.errstate(all="ignore"):
        logs = density.log(response, np.repeat(eta[:, None], n, axis=1))
    penalised = -logs[:, ::2] - logs[:, 1::2] + 0.5 * u[:, None] ** 2
    bounded = family.link == "identity"
    penalised[~np.isfinite(penalised) | ((eta <= 0.0)[:, None] & bounded)] = np.inf
    lowest = u[penalised.argmin(axis=0)]
    np.testing.assert_allclose(fit.ranef["g"]["(Intercept)"] / theta, lowest, atol=2.5e-4)


LOG_CONCAVE = [
    *(pm.Binomial(link) for link in ("logit", "probit", "cloglog")),
    *(pm.Poisson(link) for link in ("log", "identity")),
    pm.NegativeBinomial(theta=2.0),
    *(pm.Gamma(link) for link in ("log", "inverse")),
    *(pm.InverseGaussian(link) for link in ("1/mu^2", "inverse")),
    pm.Gaussian("identity"),
]


@pytest.mark.parametrize("family", [*LOG_CONCAVE, *SEVERAL], ids=repr)
def test_log_concave_densities_are_known(family):
    """The second derivative of a log-concave density has one sign, for every response."""
    eta = np.linspace(0.02, 6.0, 400)
    lowest = np.inf
    for y in (0.0, 1.0) if family.support == "binomial" else (0.5, 1.0, 4.0, 0.0):
        if y == 0.0 and family.support == "positive":
            continue
        ones = np.ones(len(eta))
        observed = Observations(np.full(len(eta), y), ones, ones)
        for sign in (1.0,) if family.is_bounded else (1.0, -1.0):
            lowest = min(lowest, family.expand(observed, sign * eta).d2.min())
    barrier = family.name == "poisson" and family.link == "sqrt"  # concave on either side of zero
    assert family.is_log_concave == (lowest > -1e-12 and not barrier)


@pytest.mark.live
@pytest.mark.parametrize("seed", [310368, 300480, 300424, 300344, 300516, 310322])
def test_a_random_model_is_not_undercut_by_lme4(seed):
    """Models of 20 to 131 rows, in which one search from moments ended in a higher minimum."""
    if seed == 310322 and lme4_at_least(2, 1):
        _is_not_undercut_without_moments(generate_general(seed))
        return
    outcome = judge_model(generate_general(seed))
    assert outcome.agrees, outcome.report
    assert outcome.verdict in ("ours lower", "same optimum", "boundary", "flat ridge")


def _is_not_undercut_without_moments(model):
    """Compare with lme4 2.1's earlier modes; at its estimate of the dispersion it ends with NaN."""
    arguments = (model.formula, model.data, family_of_model(model))
    theirs = pm.lme4.glmer(*arguments, control={"disp_method": "old/buggy"}, source="live")
    ours = pm.glmer(*arguments, dispersion="lme4")
    assert ours.criterion < theirs.criterion + tol("certified")


def test_a_saddle_point_is_left():
    """The search from moments ends where one direction of the factors still curves down."""
    model = generate_general(300480)
    fit = pm.glmer(model.formula, model.data, "poisson", **model.arguments)
    assert fit.convergence.converged
    assert fit.criterion < 6951.6283 + tol("certified")  # lme4 ended at 6951.6882


@pytest.mark.parametrize(
    ("seed", "number", "lowest"),
    [(1, 25, 14.00478), (1, 28, 645.88684), (1, 53, 14.2343), (3, 1, 10.07)],
)
def test_a_model_of_few_rows_is_searched_all_over(seed, number, lowest):
    """Random models in which one or two of sixty random starts led lower than those of `glmer`."""
    formula, family, data = random_model(np.random.default_rng([seed, number]))
    fit = pm.glmer(formula, data, family)
    assert fit.convergence.converged
    assert fit.criterion < lowest


def test_many_effects_of_few_rows_are_searched_from_many_starts():
    """A random model in which twelve starts end at 385.6 and lme4 at 375.8368."""
    model, family = generate_general(500174), pm.Gaussian("log")
    fit = pm.glmer(model.formula, model.data, family, **model.arguments, dispersion="lme4")
    assert fit.convergence.converged
    assert fit.criterion < 375.7593


BATCHED = [
    (pm.Binomial("logit"), {}),
    (pm.Binomial("cloglog"), {"determinant": "observed"}),
    (pm.Poisson("sqrt"), {}),
    (pm.NegativeBinomial(theta=2.0), {}),
    (pm.Gamma("log"), {}),
    (pm.Gamma("log"), {"dispersion": "lme4"}),
    (pm.Gaussian("log"), {"dispersion": "lme4"}),
]


@pytest.mark.parametrize("random", ["(x | g)", "(x | g) + (1 | h)"])
@pytest.mark.parametrize(("family", "how"), BATCHED, ids=repr)
def test_the_criterion_side_by_side_is_that_of_one_search(family, how, random):
    """At modes that both begin at zero. Curvatures of several factors leave out different parts."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": rng.integers(0, 6, 40), "h": rng.integers(0, 3, 40)})
    data["x"], data["y"] = rng.normal(size=40), rng.gamma(2.0, 1.0, 40)
    if family.support != "positive":
        data["y"] = np.minimum(np.floor(data["y"]), 1.0 if family.support == "binomial" else 9.0)
    built = build_general(f"y ~ x + {random}", Table(data), Arguments(), family.support)
    response = built.response
    observed = Observations.of(response.y, response.weights, response.totals)
    laplace = Laplace(Rows.of(built.model, observed), family, **how)
    psi = starting_point(laplace) + 0.1 * rng.normal(size=(5, laplace.size))
    dense = DenseLaplace.of(laplace, 5)
    at = dense.at(psi, np.zeros((*dense.levels, 5)), STILL)
    for k in range(5):
        point = laplace.at(psi[k], np.zeros(laplace.rows.n_effects))
        size = 1.0 + np.abs(point.gradient).max()
        assert at.criterion[k] == pytest.approx(point.criterion, rel=tol("oracle"))
        np.testing.assert_allclose(at.gradient[k], point.gradient, atol=tol("oracle") * size)
        pairs = [(at.mode_slopes[:, :, 0, k], point.curvature.mode_slopes)]
        if "h" not in random:
            pairs.append((at.curvature[k], point.curvature.hessian))
        for value, expected in pairs:
            size = 1.0 + np.abs(expected).max()
            np.testing.assert_allclose(value, expected, atol=tol("oracle") * size)


@pytest.mark.parametrize("seed", [310004, 310649, 310778])
def test_a_start_is_no_worse_than_one_mean_for_all_rows(seed):
    """Steps from the data themselves lead to means of e^50, where the deviance has no slope."""
    model = generate_general(seed)
    family = pm.InverseGaussian("log")
    built = build_general(model.formula, Table(model.data), Arguments(), family.support)
    response, model_part = built.response, built.model
    rows = Rows.of(model_part, Observations.of(response.y, response.weights, response.totals))
    beta = starting_point(Laplace(rows, family, dispersion="lme4"))[: rows.p]

    def deviance(eta):
        return float(family.expand(rows.observed, eta).value.sum())

    constant = np.full(rows.n, np.log(response.y.mean()))
    assert deviance(rows.basis.Q @ beta + rows.offset) <= 1.01 * deviance(constant)


def test_variances_that_grow_without_end_are_told():
    """One effect for each yes or no: the criterion falls to log 2 for each row, from 2 log 2."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"row": np.arange(30), "hit": rng.integers(0, 2, 30)})
    with pytest.warns(pm.ConvergenceWarning, match="the variances grow without end"):
        fit = pm.glmer("hit ~ 1 + (1 | row)", data, pm.Binomial("cauchit"))
    assert not fit.convergence.converged
    assert 30 * np.log(2.0) < fit.criterion < 30 * np.log(2.0) + 1.0
