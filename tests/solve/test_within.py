"""One-way layouts with effects that are very large beside the residuals keep all digits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.solve.exact.eliminated import eliminate_levels, left_over
from pymackay.solve.exact.within import WithinLevels


def anova(groups: list[np.ndarray]) -> tuple[Fraction, Fraction]:
    """Mean squares within and between balanced groups, in exact arithmetic."""
    exact = [[Fraction(float(v)) for v in values] for values in groups]
    J, n = len(exact), len(exact[0])
    means = [sum(values) / n for values in exact]
    grand = sum(means) / J
    within = sum((v - m) ** 2 for values, m in zip(exact, means, strict=True) for v in values)
    between = n * sum((m - grand) ** 2 for m in means)
    return within / (J * (n - 1)), between / (J - 1)


@pytest.mark.parametrize("size", [1e4, 1e6, 3e6])
@pytest.mark.parametrize("reml", [True, False])
def test_a_balanced_layout_is_its_analysis_of_variance(size: float, reml: bool) -> None:
    J, n = 10, 5
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(J), n)
    y = size * rng.normal(size=J)[g] + rng.normal(size=J * n)
    within, between = anova([y[g == k] for k in range(J)])
    between *= 1 if reml else Fraction(J - 1, J)
    fit = pm.lmer("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}), reml=reml)
    theta = math.sqrt((between / within - 1) / n)
    nu = J * n - 1 if reml else J * n
    criterion = J * math.log(between / within) + nu * (1 + math.log(2 * math.pi * within))
    criterion += math.log(J * n * within / between) if reml else 0.0
    assert fit.convergence.converged
    assert fit.theta.iloc[0] == pytest.approx(theta, rel=tol("certified"))
    assert fit.sigma == pytest.approx(math.sqrt(within), rel=tol("certified"))
    assert fit.std_error.iloc[0] == pytest.approx(math.sqrt(between / J / n), rel=tol("certified"))
    assert fit.criterion == pytest.approx(criterion, abs=tol("certified"))


@pytest.mark.parametrize("weights", [None, "w"])
@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + f + (1 | g)", "y ~ 0 + (x || g)"])
def test_the_sums_within_levels_are_the_equations(formula: str, weights: str | None) -> None:
    """Where nothing cancels, both ways to K agree; levels of one row have no full rank."""
    rng = np.random.default_rng(8)
    g = np.append(rng.integers(0, 6, 58), [6, 7])
    table = {"x": rng.normal(size=60), "y": rng.normal(size=60), "w": rng.uniform(0.5, 2.0, 60)}
    data = pd.DataFrame({**table, "g": g, "f": rng.integers(0, 2, 60).astype(str)})
    fit = pm.lmer(formula, data, weights=weights)
    gram = fit.problem.solver.bases
    within = WithinLevels.of(gram)
    assert within is not None
    factors = [0.3 * np.eye(layout.q) for layout in gram.layouts]
    half, _, _ = eliminate_levels(gram, factors)
    K = within.left_over(gram.joined(gram.blocks[0], factors))
    np.testing.assert_allclose(K, left_over(gram, half), atol=1e-13)
