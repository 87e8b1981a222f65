"""Random models with structures end where a dense likelihood from many starts ends."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tolerances import tol

import pymackay as pm
from benchmarks.structure_valleys import RESIDUALS, Dense, random_model

RESIDUAL = (4, 8, 11, 34, 46, 54, 101)
"""Models with residual structures: one of each kind of optimum.

11 and 46 have another, local optimum, and so have 34 and 101, where random effects fit the rows of
one visit nearly without residual, and one visit is better than another; in 54 the correlation is at
its bound, and random effects fill what the residuals' singular matrix does not.
"""


@pytest.mark.parametrize("number", RESIDUAL)
def test_residual_structures_end_in_the_lowest_valley(number: int) -> None:
    rng = np.random.default_rng([0, number])
    residual = str(rng.choice(RESIDUALS))
    formula, reml, data = random_model(rng, residual)
    fit = pm.lmer(formula, data, reml=reml, residual=residual)
    assert fit.convergence.converged, fit.convergence.message
    dense = Dense.of(fit.problem.model, fit.model.terms, reml=reml)
    dense = dense.with_residual(residual, data.loc[fit.model.rows])
    lowest = min(dense.descend(start) for start in dense.starts(rng, 16))
    assert fit.criterion <= lowest + tol("dense descent") * abs(lowest), formula
    assert fit.singular == (number in (4, 46, 54))


@pytest.mark.parametrize("number", range(12))
def test_a_dense_search_from_many_starts_ends_at_the_same_criterion(number: int) -> None:
    rng = np.random.default_rng([5, number])
    formula, reml, data = random_model(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pm.PymackayWarning)
        fit = pm.lmer(formula, data, reml=reml)
    dense = Dense.of(fit.problem.model, fit.model.terms, reml=reml)
    lowest = min(dense.descend(start) for start in dense.starts(rng, 16))
    assert fit.criterion == pytest.approx(lowest, rel=tol("dense descent")), formula
