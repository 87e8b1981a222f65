"""Optima that a single start misses: correlations of the other sign, and at a bound."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.solve.search.newton import find_optimum, optimise


def crossed(seed: int, q: int, levels: int, repeats: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g, f = (
        np.repeat(np.arange(levels), q * repeats),
        np.tile(np.repeat(np.arange(q), repeats), levels),
    )
    effects = rng.normal(size=(levels, q))
    y = effects[g, f] + rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "g": g, "f": pd.Categorical(f)})


@pytest.mark.parametrize("term", ["cs(0 + f | g)", "cs(0 + f | g, hom = TRUE)", "ar1(0 + f | g)"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_grid_of_starts_leads_lower(term: str, seed: int) -> None:
    data = crossed(seed, 4, 8, 2)
    fit = pm.lmer(f"y ~ 1 + {term}", data)
    solver = fit.problem.solver
    (layout,) = solver.bases.layouts
    structure = layout.structure
    low, high = structure.bounds(4)
    for share in (0.05, 0.3, 0.7, 0.95):
        for sd in (0.3, 2.0):
            par = np.append(np.full(structure.n_sd(4), sd), low + share * (high - low))
            elsewhere = optimise(solver, [structure.factor(par, 4)])
            assert fit.criterion < elsewhere.evaluation.criterion + tol("tight criterion")


def test_a_correlation_that_is_well_known_costs_no_further_search() -> None:
    sleep = pm.load_data("sleepstudy").astype({"Days": int})
    sleep["Day"] = pd.Categorical(sleep["Days"])
    fit = pm.lmer("Reaction ~ Days + ar1(0 + Day | Subject)", sleep)
    assert fit.convergence.evaluations < 10
    vague = pm.lmer("Reaction ~ Days + cs(Days | Subject)", sleep)
    assert vague.convergence.evaluations > 10
    again = find_optimum(vague.problem.solver)
    assert again.evaluation.criterion == pytest.approx(vague.criterion, abs=1e-9)


@pytest.mark.parametrize(
    ("term", "named"),
    [
        ("cs(0 + Day | Subject, hom = TRUE)", ["Subject.*", "Subject.rho"]),
        ("diag(0 + Day | Subject, hom = TRUE)", ["Subject.*"]),
        ("(1 | Subject) + diag(0 + Day | Subject, hom = TRUE)", ["Subject.*"]),
        ("cs(0 + Day | Subject)", []),
        ("ar1(0 + Day | Subject)", []),
    ],
)
def test_parameters_that_one_row_for_each_cell_leaves_open_are_named(
    term: str, named: list[str]
) -> None:
    sleep = pm.load_data("sleepstudy").astype({"Days": int})
    sleep["Day"] = pd.Categorical(sleep["Days"])
    fit = pm.lmer(f"Reaction ~ Days + {term}", sleep)
    ridges = [message for message in fit.messages if message.startswith("flat ridge")]
    assert len(ridges) == bool(named)
    assert all(name in ridges[0] for name in named)
