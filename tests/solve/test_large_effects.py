"""Effects that dwarf the residuals: derivatives keep their digits, and the optimum is found."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from oracle import dense_as_fit, dense_criterion
from tolerances import tol

import pymackay as pm
from pymackay.errors import ConvergenceError
from pymackay.solve.assemble import factors_from_theta
from pymackay.solve.exact.eliminated import LargeEffects

INTERCEPTS = "y ~ x + (x | g) + (1 | m)"
SLOPES = "y ~ x + (1 | g) + (x | m)"


def precise(formula: str, noise: float = 1e-4) -> pd.DataFrame:
    """Seven levels of g with six rows each, five of m; effects of size 1, residuals of `noise`."""
    rng = np.random.default_rng(1)
    g, x, m = np.repeat(np.arange(7), 6), np.tile(np.arange(6.0), 7), rng.integers(0, 5, 42)
    b, c = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    (b if formula == SLOPES else c)[:, 1] = 0.0
    y = 3.0 + b[g, 0] + b[g, 1] * x + c[m, 0] + c[m, 1] * x + noise * rng.normal(size=42)
    return pd.DataFrame({"y": y, "x": x, "g": g.astype(str), "m": m.astype(str)})


def criterion(fit: pm.Fit, theta: np.ndarray) -> float:
    """By the dense formulas, in long double: at such a theta float64 keeps few digits."""
    return dense_criterion(fit.problem.model, theta, fit.reml, dtype=np.longdouble)


@pytest.mark.parametrize("formula", [INTERCEPTS, SLOPES])
@pytest.mark.parametrize("reml", [True, False])
def test_the_optimum_of_precise_measurements_is_certified(formula: str, reml: bool) -> None:
    fit = pm.lmer(formula, precise(formula), reml=reml)
    assert fit.convergence.converged, fit.convergence.message
    theta = fit.theta.to_numpy()
    assert theta.max() > 1e3
    here = criterion(fit, theta)
    for k in range(len(theta)):
        for change in (-0.03, 0.03):
            there = theta.copy()
            there[k] *= 1.0 + change
            assert criterion(fit, there) > here


@pytest.mark.parametrize("reml", [True, False])
def test_derivatives_keep_their_digits_where_effects_are_large(reml: bool) -> None:
    theta = np.array([6e3, 1e3, 4e3, 9e3])  # what a noise of 1e-4 leads to
    fit = pm.evaluate(INTERCEPTS, precise(INTERCEPTS), theta, reml=reml)
    solver = fit.problem.solver
    factors = factors_from_theta(solver.bases, theta)
    result, G = solver.evaluate(factors), factors[1][0, 0] ** 2
    h = 1e-2
    below, here, above = (
        criterion(fit, theta * [1.0, 1.0, 1.0, np.sqrt(1.0 + step)]) for step in (-h, 0.0, h)
    )
    assert result.exact
    slope, bend = (above - below) / (2.0 * h), (above - 2.0 * here + below) / h**2
    assert result.score[1][0, 0] * G == pytest.approx(slope, rel=tol("large effects"))
    assert result.curvature[3, 3] * G**2 == pytest.approx(bend, rel=tol("large effects"))


def test_directions_are_told_apart_by_size() -> None:
    factor = np.array([[3.0, 0.0], [4.0, 0.0]])  # one direction of sd 5, one that is dead
    large = LargeEffects.of([factor, np.array([[0.5]])])
    G = factor @ factor.T
    np.testing.assert_allclose(large.inverse[0], np.linalg.pinv(G), atol=1e-15)
    np.testing.assert_allclose(large.small[0] @ G, 0.0, atol=1e-14)
    assert (large.small[1].item(), large.inverse[1].item()) == (1.0, 0.0)
    rng = np.random.default_rng(3)
    a = rng.normal(size=(6, 2))
    np.testing.assert_allclose(large.working(0, a, a @ G), a, rtol=1e-12)
    assert not LargeEffects.of([np.eye(2)]).some


@pytest.mark.parametrize("formula", [INTERCEPTS, SLOPES, "y ~ x + (x | g)"])
def test_a_response_without_residuals_is_told_so(formula: str) -> None:
    """The criterion falls without end: no number is nan, and what is said names the reason."""
    data = precise(formula, noise=0.0)
    if "m" not in formula:
        g = data["g"].astype(int)
        data["y"] = np.sin(g) + np.cos(3.0 * g) * data["x"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.warns(pm.ConvergenceWarning, match="hardly anything is left over"):
            fit = pm.lmer(formula, data)
        assert np.isfinite([fit.criterion, fit.sigma, *fit.fitted]).all()
        for update in ("gamma", "diagonal"):
            with pytest.raises(ConvergenceError, match="no digits left"):
                pm.mackay(formula, data, update=update)
    with pytest.raises(pm.ArgumentError, match="no digits left"):
        fit.evaluate(1e9 * np.ones(len(fit.theta)))


def test_a_loop_reaches_the_optimum_of_precise_measurements() -> None:
    data = precise(INTERCEPTS, noise=1e-3)
    fit, loop = pm.lmer(INTERCEPTS, data), pm.mackay(INTERCEPTS, data, tolerance=1e-6)
    assert loop.sigma == pytest.approx(fit.sigma, rel=tol("large effects"))


@pytest.mark.parametrize("formula", ["y ~ 1 + (x || g)", "y ~ x + (x || g) + (1 | m)"])
def test_error_variances_keep_their_digits_in_a_level_of_one_row(formula: str) -> None:
    """Two effects that are nearly one, which a row cannot tell apart, beside a fixed effect."""
    data = precise(SLOPES, noise=1.0).assign(x=lambda d: 100.0 + d["x"])
    data = data.drop(index=range(1, 6))
    theta = [3e3, 0.1, 0.6][: 2 + formula.count("m)")]
    fit = pm.evaluate(formula, data, theta)
    exact = dense_as_fit(fit.problem.model, fit.theta, True, dtype=np.longdouble)
    for what in ("condvar", "pev"):
        mine, right = (getattr(f, what)["g"] for f in (fit, exact))
        unit = np.sqrt(np.diagonal(right, axis1=1, axis2=2))
        error = np.abs(mine - right) / (unit[:, :, None] * unit[:, None, :])
        assert error.max() < tol("error variances")
