"""The lowest valleys of many responses' criteria, looked for side by side."""

from __future__ import annotations

import numpy as np
import pytest
from infer_tables import crossed_table
from tolerances import tol

import pymackay as pm
from benchmarks import valleys
from pymackay.model.design.many_responses import build_many
from pymackay.model.sums.gram import cross_products
from pymackay.solve.many import descent
from pymackay.solve.many.responses import Design
from pymackay.solve.many.together import ManySolver, _Together
from pymackay.solve.search.start import noise_levels
from pymackay.solve.search.valleys.basins import coordinates, factors_at
from pymackay.solve.search.valleys.spread import spread

FORMULAS = ["y ~ x + (x | g)", "y ~ x + (x + z | g)", "y ~ x + (1 | g) + (0 + x + z | g)"]
RESPONSES = 6


def landscape_of(formula: str, *, reml: bool) -> _Together:
    """The criteria of some responses of 60 rows."""
    data = crossed_table().iloc[::2]
    Y = np.random.default_rng(4).normal(size=(len(data), RESPONSES))
    none = {"weights": None, "offset": None, "subset": None, "contrasts": None}
    model, responses, _ = build_many(formula, data, Y, none)
    gram = cross_products(model)
    solver = ManySolver(gram, reml)
    assert solver.kinds is not None
    return _Together(solver.kinds, solver.kinds.sums(Design(model, gram).responses(responses)))


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", FORMULAS)
def test_derivatives_are_those_of_the_criterion(formula: str, reml: bool) -> None:
    landscape = landscape_of(formula, reml=reml)
    layouts = landscape.gram.layouts
    x = coordinates(spread(layouts, noise_levels(landscape.gram), RESPONSES), layouts)
    x = np.clip(x, -3.0, 3.0)
    values = landscape.evaluate(factors_at(x, layouts))
    np.testing.assert_allclose(
        landscape.criteria(factors_at(x, layouts)), values.criterion, rtol=tol("oracle")
    )
    gradient, H = descent._derivatives(values, x, layouts)
    size, step = np.abs(x).max(axis=1, keepdims=True), 1e-5
    for k, move in enumerate(step * np.eye(x.shape[1])):
        up, down = factors_at(x + size * move, layouts), factors_at(x - size * move, layouts)
        slope = (landscape.criteria(up) - landscape.criteria(down)) / (2.0 * step)
        scale = np.abs(gradient * size).max(axis=1) + 1.0
        np.testing.assert_allclose(
            slope / scale, gradient[:, k] * size[:, 0] / scale, atol=tol("difference")
        )
        first, _ = descent._derivatives(landscape.evaluate(up), x + size * move, layouts)
        last, _ = descent._derivatives(landscape.evaluate(down), x - size * move, layouts)
        change = (first - last) * size / (2.0 * step)
        scale = np.abs(H * size[:, :, None] ** 2).max(axis=(1, 2)) + 1.0
        np.testing.assert_allclose(
            change / scale[:, None], H[:, k] * size**2 / scale[:, None], atol=tol("difference")
        )


def test_responses_are_taken_as_often_as_they_are_named() -> None:
    landscape = landscape_of(FORMULAS[0], reml=True)
    which = np.array([3, 3, 0, 5, 5, 1])
    assert len(which) == len(landscape)
    factors = spread(landscape.gram.layouts, noise_levels(landscape.gram), RESPONSES)
    repeated = landscape.take(which).criteria(factors)
    alone = [
        landscape.take(np.array([k])).criteria(tuple(f[[place]] for f in factors))[0]
        for place, k in enumerate(which)
    ]
    np.testing.assert_allclose(repeated, alone, rtol=tol("oracle"))


@pytest.mark.parametrize("seed", [(21, 61), (21, 159), (21, 170)])
def test_many_responses_reach_the_valleys_that_one_does(seed: tuple[int, int]) -> None:
    """The first response of each design has a lower valley than the one that is reached first."""
    rng = np.random.default_rng(seed)
    formula, reml, data = valleys.random_model(rng)
    noise = rng.normal(size=(len(data), 2))
    Y = np.column_stack([data["y"], data["y"].to_numpy()[:, None] + noise])
    many = pm.lmer_many(formula, data, Y, reml=reml)
    with valleys.scan(is_on=False):
        nearest = pm.lmer_many(formula, data, Y, reml=reml)
    assert many.criterion[0] < nearest.criterion[0] - 0.1
    for k, y in enumerate(Y.T):
        one = pm.lmer(formula, data.assign(y=y), reml=reml)
        assert many.converged[k] and one.convergence.converged
        assert many.criterion[k] == pytest.approx(one.criterion, rel=tol("many"))
