"""Random models with structures end where a dense likelihood from many starts ends."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tolerances import tol

import pymackay as pm
from benchmarks.structure_valleys import Dense, random_model


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
