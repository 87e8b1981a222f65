"""Criteria with more than one optimum: the lowest is found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.model.design.build import build_model
from pymackay.model.sums.gram import cross_products
from pymackay.solve.exact.solver import Exact
from pymackay.solve.search.start import further_starts
from pymackay.solve.solver import criterion_value


def off_zero(seed: int) -> pd.DataFrame:
    """A slope that two groups share, of a covariate a hundred standard deviations off zero."""
    rng = np.random.default_rng(seed)
    z, m = rng.normal(size=120), rng.integers(0, 2, 120)
    y = 0.5 * z + 0.3 * m + rng.normal(size=120)
    return pd.DataFrame({"x": 100.0 + z, "m": m.astype(str), "h": np.arange(120) % 7, "y": y})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reml", [True, False])
def test_a_slope_that_the_intercept_nearly_carries_is_found(seed: int, reml: bool) -> None:
    """One variance fits the groups' levels, a larger one, of 5 to 30 units less, the slope."""
    fit = pm.lmer("y ~ 1 + (0 + x | m)", off_zero(seed), reml=reml)
    assert fit.convergence.converged
    grid = [fit.evaluate([theta]).criterion for theta in np.geomspace(1e-4, 10.0, 30)]
    assert fit.criterion < min(grid)


def test_the_same_beside_a_crossed_factor() -> None:
    fit = pm.lmer("y ~ 1 + (1 | h) + (0 + x | m)", off_zero(4))
    theta = fit.theta.to_numpy()
    grid = [fit.evaluate([theta[0], t]).criterion for t in np.geomspace(1e-4, 10.0, 30)]
    assert fit.criterion < min(grid)


def test_the_same_with_correlated_effects() -> None:
    rng = np.random.default_rng(5)
    data = off_zero(2).assign(z=50.0 + rng.normal(size=120))
    formula = "y ~ 1 + (0 + x + z | m)"
    fit = pm.lmer(formula, data)
    other = pm.lmer(formula, data, start=[0.1, 0.0, 0.1])
    assert fit.criterion < other.criterion + tol("certified")


def test_effects_that_are_nearly_one_are_found_together_or_alone() -> None:
    """Large variances that cancel are an optimum, two units above the one at zero."""
    rng = np.random.default_rng(7)
    z, m = rng.normal(size=120), rng.integers(0, 4, 120)
    rng.integers(0, 5, 120)
    rng.normal(size=120)
    rng.choice(["a", "b"], 120)
    y = 0.5 * z + 0.3 * rng.normal(size=4)[m] + rng.normal(size=120)
    data = pd.DataFrame({"x": 100.0 + z, "m": m.astype(str), "y": y})
    fit = pm.lmer("y ~ 1 + (x || m)", data)
    cancelling = pm.lmer("y ~ 1 + (x || m)", data, start=[18.0, 0.6])
    assert cancelling.convergence.converged
    assert fit.criterion < cancelling.criterion - 1.0


def test_starts_are_given_only_where_there_is_reason() -> None:
    sleep = pm.load_data("sleepstudy")
    fit = pm.lmer("Reaction ~ Days + (Days | Subject)", sleep)
    gram = fit.problem.solver.bases
    sure, worse = np.array([True, False, True]), np.array([False, False, True])
    starts = further_starts(gram, (np.eye(2)[None],), sure=sure, worse_than_none=worse)
    searched = [which.tolist() for _, which in starts]
    doubtful, no_effects_are_better = [False, True, False], [False, False, True]
    assert searched == [doubtful, doubtful, no_effects_are_better]
    calm = further_starts(gram, (np.eye(2)[None],), sure=sure[:1], worse_than_none=worse[:1])
    assert not list(calm)


@pytest.mark.parametrize("reml", [True, False])
def test_no_random_effects_are_the_linear_model(reml: bool) -> None:
    data = off_zero(0).assign(w=np.linspace(0.5, 2.0, 120))
    gram = cross_products(build_model("y ~ x + (1 | m)", data, weights="w"))
    solved = Exact(gram, reml).evaluate([np.zeros((1, 1))]).criterion
    message = criterion_value(gram, reml=reml, logdet_v=0.0, logdet_x=0.0, r2=1.0)
    assert message == pytest.approx(solved, rel=1e-13)
