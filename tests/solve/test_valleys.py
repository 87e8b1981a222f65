"""Small data whose criterion has several minima: the lowest is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from benchmarks import valleys
from pymackay.solve.search import limits
from pymackay.solve.search.newton import OneResponse
from pymackay.solve.search.optima import GLOBAL, LOCAL, VALLEYS
from pymackay.solve.search.start import noise_levels
from pymackay.solve.search.valleys.spread import spread

X = [-4.2, 336.9, 10.2, 12.7, 42.3, -126.3, -123.9, 72.2, -82.8, -183.9]
Y = [1.997, -5.788, 1.684, 0.640, 6.136, -3.431, -4.337, 2.289, -3.157, -3.733]
TWO_VALLEYS = pd.DataFrame({"x": X, "y": Y, "g": list("2021213234")})
FORMULA = "y ~ x + (1 | g)"
FORMULAS = ("y ~ x + (1 | g)", "y ~ x + (x | g)", "y ~ 0 + (x || g)", "y ~ x + (1 | g) + (x | h)")


def scanned(data: pd.DataFrame, formula: str, reml: bool) -> float:
    """The lowest criterion on a fine grid of the only theta."""
    thetas = np.append(0.0, np.geomspace(1e-2, 1e2, 400))
    fit = pm.evaluate(formula, data, [1.0], reml=reml)
    return min(fit.evaluate([theta]).criterion for theta in thetas)


def random_table(seed: int, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {"x": rng.normal(size=n), "y": rng.standard_t(2, size=n)}
    groups = {"g": rng.integers(0, 5, n).astype(str), "h": rng.integers(0, 4, n).astype(str)}
    return pd.DataFrame({**columns, **groups})


def test_the_lower_of_two_valleys_is_found() -> None:
    fit = pm.lmer(FORMULA, TWO_VALLEYS)
    assert fit.convergence.converged
    assert GLOBAL in fit.convergence.message
    assert fit.theta.iloc[0] > 1.0  # the other valley is below 0.5
    assert fit.criterion < scanned(TWO_VALLEYS, FORMULA, True) + tol("certified")


def test_many_responses_find_it_too() -> None:
    Y = np.column_stack([TWO_VALLEYS["y"], TWO_VALLEYS["y"][::-1], TWO_VALLEYS["y"] ** 2])
    many = pm.lmer_many(FORMULA, TWO_VALLEYS, Y)
    one = [pm.lmer(FORMULA, TWO_VALLEYS.assign(y=y)) for y in Y.T]
    np.testing.assert_allclose(many.criterion, [f.criterion for f in one], rtol=tol("certified"))
    assert many.theta[0, 0] > 1.0


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_no_grid_is_lower_than_the_whole_profile(seed: int, reml: bool) -> None:
    data = random_table(seed, 12)
    fit = pm.lmer("y ~ 0 + x + (1 | g)", data, reml=reml)
    assert fit.criterion < scanned(data, "y ~ 0 + x + (1 | g)", reml) + tol("certified")


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("reml", [True, False])
def test_the_profile_is_the_criterion(formula: str, reml: bool) -> None:
    fit = pm.lmer(formula, random_table(3, 40), reml=reml)
    solver = fit.problem.solver
    factors = tuple(
        factor[:20] for factor in spread(solver.bases.layouts, noise_levels(solver.bases), 40)
    )
    profile = OneResponse(solver).profile()
    assert profile is not None
    values = profile.criteria(factors)[:, 0]
    exact = [solver.evaluate([factor[k] for factor in factors]).criterion for k in range(20)]
    np.testing.assert_allclose(values, exact, atol=tol("certified"))


def test_the_certificate_says_how_far_it_reaches() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    assert len(sleep) > limits.FEW_ROWS
    assert LOCAL in fit.convergence.message
    few = pm.lmer("y ~ x + (x | g)", random_table(3, 40))
    assert VALLEYS in few.convergence.message


def test_a_criterion_without_end_has_no_certificate() -> None:
    """By maximum likelihood, three levels take up what two coefficients leave of five rows."""
    data = pd.DataFrame({"y": [2.8, -1.7, -0.6, 2.4, 1.6], "z": [1.4, 0.8, -1.5, 0.5, -1.8]})
    data = data.assign(x=[1.0, -0.2, 0.6, -0.5, 0.4], g=list("12323"))
    with pytest.warns(pm.ConvergenceWarning):
        fit = pm.lmer("y ~ x + z + (x + z || g)", data, reml=False)
    assert not fit.convergence.converged
    assert "sigma goes to zero" in fit.convergence.message


@pytest.mark.parametrize("reml", [True, False])
def test_effects_beyond_the_digits_of_float64_are_not_said_to_have_no_optimum(reml: bool) -> None:
    """Levels with replicates leave a residual, however large their differences are."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(8), 5)
    data = pd.DataFrame({"y": 3e7 * rng.normal(size=8)[g] + rng.normal(size=40), "g": g})
    with pytest.warns(pm.ConvergenceWarning, match="so large beside the residuals that float64"):
        fit = pm.lmer("y ~ 1 + (1 | g)", data, reml=reml)
    assert not fit.convergence.converged
    assert "sigma goes to zero" not in fit.convergence.message


NARROW = [(11, 816), (11, 1242), (11, 1438)]
"""Seeds of random models with a second valley that few starts lead to."""


@pytest.mark.parametrize("seed", NARROW)
def test_a_narrow_valley_of_several_variances_is_found(seed: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    formula, reml, data = valleys.random_model(rng)
    fit = pm.lmer(formula, data, reml=reml)
    ends = [fit.problem.solver.find_optimum(s, start_only=True) for s in starts(fit, rng)]
    lowest = min(end.evaluation.criterion for end in ends if end.convergence.converged)
    assert fit.convergence.converged
    assert fit.criterion < lowest + tol("certified")


def starts(fit: pm.Fit, rng: np.random.Generator) -> list[list[np.ndarray]]:
    """Return twelve random starts for a search of its own each."""
    q = [layout.q for layout in fit.problem.solver.bases.layouts]
    sizes = 10.0 ** rng.uniform(-1.0, 1.0, size=(12, len(q)))
    return [
        [size * np.tril(rng.normal(size=(k, k))) for size, k in zip(row, q, strict=True)]
        for row in sizes
    ]


def test_a_valley_beside_the_optimum_is_found() -> None:
    """From the lowest of the basins, another term has a lower valley that no basin leads to."""
    formula, reml, data = valleys.random_model(np.random.default_rng([14, 844]))
    fit = pm.lmer(formula, data, reml=reml)
    grid = np.geomspace(1e-2, 1e3, 60)
    at = [pm.evaluate(formula, data, [a, b], reml=reml).criterion for a in grid[::3] for b in grid]
    assert fit.criterion < min(at)
    assert fit.theta.gt(1.0).all()  # the other valley has no variance of the slopes
