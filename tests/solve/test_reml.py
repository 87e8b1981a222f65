"""The optimiser: closed forms, boundaries, certificates, starts."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.search.limits import Control
from pymackay.solve.search.start import moment_start
from pymackay.solve.search.trust_region import Quadratics

SLEEP = "Reaction ~ Days + (Days | Subject)"


def balanced_one_way(y: np.ndarray) -> tuple[float, float]:
    """Closed-form REML of a balanced one-way table (levels × rows): variance, sigma²."""
    J, m = y.shape
    within = ((y - y.mean(axis=1, keepdims=True)) ** 2).sum() / (J * (m - 1))
    between = m * y.mean(axis=1).var(ddof=1)
    return (between - within) / m, within


@pytest.mark.parametrize("name", ["Dyestuff", "Rail"])
def test_balanced_one_way_has_its_closed_form(name: str) -> None:
    data = pm.load_data(name)
    response, group = {"Dyestuff": ("Yield", "Batch"), "Rail": ("travel", "Rail")}[name]
    fit = pm.lmer(f"{response} ~ 1 + (1 | {group})", data)
    table = np.stack([g[response].to_numpy(float) for _, g in data.groupby(group, observed=True)])
    variance, sigma2 = balanced_one_way(table)
    np.testing.assert_allclose(fit.varcorr[group].iloc[0, 0], variance, rtol=tol("optimum"))
    np.testing.assert_allclose(fit.sigma**2, sigma2, rtol=tol("optimum"))


def test_sleepstudy_has_the_closed_form_of_a_balanced_design() -> None:
    data = pm.load_data("sleepstudy")
    fit = pm.lmer(SLEEP, data)
    X = np.column_stack([np.ones(10), np.arange(10.0)])
    y = data["Reaction"].to_numpy().reshape(18, 10)
    effects = y @ np.linalg.pinv(X).T
    sigma2 = ((y - effects @ X.T) ** 2).sum() / (180 - 36)
    V = np.cov(effects, rowvar=False) - sigma2 * np.linalg.inv(X.T @ X)
    np.testing.assert_allclose(fit.varcorr["Subject"], V, rtol=tol("optimum"))
    np.testing.assert_allclose(fit.sigma**2, sigma2, rtol=tol("optimum"))
    assert fit.convergence.converged
    assert not fit.singular


def test_a_variance_of_zero_is_found_and_said() -> None:
    fit = pm.lmer("Yield ~ 1 + (1 | Batch)", pm.load_data("Dyestuff2"))
    assert fit.varcorr["Batch"].iloc[0, 0] == 0.0
    assert fit.singular
    assert fit.convergence.converged
    assert (fit.ranef["Batch"] == 0.0).all(axis=None)


def test_a_correlation_of_one_is_found_exactly() -> None:
    rng = np.random.default_rng(13)
    g = np.repeat(np.arange(15), 8)
    x = np.tile(np.arange(8.0), 15)
    level = rng.normal(size=15)
    data = pd.DataFrame(
        {"y": level[g] * (3.0 + 0.1 * x) + 3.0 * rng.normal(size=120), "x": x, "g": g.astype(str)}
    )
    fit = pm.lmer("y ~ x + (x | g)", data)
    V = fit.varcorr["g"].to_numpy()
    assert fit.singular
    assert fit.convergence.converged
    np.testing.assert_allclose(V[0, 1] ** 2, V[0, 0] * V[1, 1], rtol=1e-10)


@pytest.mark.parametrize("start", [[1.0, 0.0, 1.0], [1e-3, 0.0, 1e-3], [50.0, -20.0, 9.0]])
def test_every_start_ends_at_the_same_optimum(start: list[float]) -> None:
    data = pm.load_data("sleepstudy")
    fit = pm.lmer(SLEEP, data, start=start)
    best = pm.lmer(SLEEP, data)
    np.testing.assert_allclose(fit.varcorr["Subject"], best.varcorr["Subject"], rtol=1e-7)


def test_running_out_of_iterations_is_said() -> None:
    with pytest.warns(pm.ConvergenceWarning, match="not certified"):
        fit = pm.lmer(SLEEP, pm.load_data("sleepstudy"), start=[9.0, 0.0, 9.0], control=Control(1))
    assert not fit.convergence.converged


def test_certificate_is_in_statistical_units() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = pm.lmer("strength ~ 1 + (1 | batch / cask)", pm.load_data("Pastes"))
    assert fit.convergence.gradient < 1e-6
    assert fit.convergence.curvature > 0.0
    assert fit.convergence.evaluations < 30


def test_trust_region_leaves_a_saddle_without_slope() -> None:
    model = Quadratics.of(np.zeros((1, 2)), np.diag([-1.0, 2.0])[None])
    steps, predicted = model.steps(np.array([0.5]))
    np.testing.assert_allclose(np.abs(steps[0]), [0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(predicted, 0.125)


def test_trust_region_takes_newtons_step_inside() -> None:
    H = np.array([[3.0, 1.0], [1.0, 2.0]])
    g = np.array([0.1, -0.2])
    both = Quadratics.of(np.stack([g, g]), np.stack([H, H]))
    steps, predicted = both.steps(np.array([10.0, 0.01]))
    np.testing.assert_allclose(steps[0], -np.linalg.solve(H, g))
    np.testing.assert_allclose(predicted[0], 0.5 * g @ np.linalg.solve(H, g))
    np.testing.assert_allclose(np.linalg.norm(steps[1]), 0.01, rtol=2e-3)


@pytest.mark.parametrize("size", [1e9, 1e12, 1e160])
def test_a_start_beyond_float64_is_brought_nearer(size: float) -> None:
    """The criterion has no digits there: whether the search got away hung on the machine's BLAS."""
    data = pm.load_data("Machines")
    fit = pm.lmer("score ~ 1 + (0 + Machine | Worker)", data, start=[size, 0, 0, size, 0, size])
    best = pm.lmer("score ~ 1 + (0 + Machine | Worker)", data)
    assert fit.criterion == pytest.approx(best.criterion, abs=tol("certified"))


def test_a_theta_too_large_for_float64_is_refused():
    fit = pm.lmer("Reaction ~ Days + (1 | Subject)", pm.load_data("sleepstudy"))
    with pytest.raises(pm.ArgumentError, match="no digits left at theta"):
        fit.evaluate([1e200])


def test_terms_of_one_group_may_hold_the_same_column():
    """The criterion is lme4's; which of the two terms holds the variance is not determined."""
    data = pm.load_data("sleepstudy")
    twice = pm.lmer("Reaction ~ Days + (Days || Subject) + (0 + Days | Subject)", data)
    once = pm.lmer("Reaction ~ Days + (Days || Subject)", data)
    assert abs(twice.criterion - once.criterion) < tol("certified")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    ("name", "formula"),
    [("sleepstudy", SLEEP), ("Orthodont", "distance ~ age + (age | Subject)")],
)
def test_a_balanced_design_starts_at_its_optimum(name: str, formula: str, reml: bool) -> None:
    fit = pm.lmer(formula, pm.load_data(name), reml=reml)
    assert fit.convergence.converged
    assert fit.convergence.evaluations == 1


@pytest.mark.parametrize("reml", [True, False])
def test_the_start_is_the_solution_of_its_moment_equations(reml: bool) -> None:
    """Against the equations written down with n × n matrices, for an unbalanced design."""
    rng = np.random.default_rng(5)
    group = rng.integers(0, 7, 60)
    x = rng.normal(size=60)
    data = pd.DataFrame({"x": x, "w": rng.normal(size=60), "g": group})
    data["y"] = x + (rng.normal(size=7) + 3.0)[group] * x * 4.0 + rng.normal(size=60)
    gram = cross_products(build_model("y ~ w + (0 + x | g)", data))
    X = gram.basis.Q if reml else np.zeros((60, 0))
    Z = (x / np.sqrt(np.mean(x**2)))[:, None] * (group[:, None] == np.arange(7))
    M = np.eye(60) - X @ X.T
    k = 0.03 * np.trace(Z.T @ Z) / 7
    shrink = np.linalg.inv(Z.T @ Z + k * np.eye(7)) @ Z.T
    left = np.eye(60) - Z @ shrink
    forms = [shrink.T @ shrink, left.T @ left]
    r = gram.response.residual
    expected = [[np.trace(q @ M @ part @ M) for part in (Z @ Z.T, np.eye(60))] for q in forms]
    own, sigma2 = np.linalg.solve(expected, [r @ q @ r for q in forms])
    (factor,) = moment_start(gram, reml=reml)
    assert float(factor[0, 0] ** 2) == pytest.approx(own / sigma2, rel=tol("optimum"))
