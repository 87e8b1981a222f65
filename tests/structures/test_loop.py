"""MacKay's loop on covariance structures: the optimum of `lmer`, and rules without a meaning."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm
from pymackay.covariance.chart import Chart
from pymackay.covariance.kinds.autoregressive import Autoregressive
from pymackay.covariance.kinds.compound import CompoundSymmetry
from pymackay.solve.loop.rules.structured import _minimised

MODELS = {
    "diag": ("sleepstudy", "Reaction ~ Days + diag(Days | Subject)"),
    "diag hom": ("sleepstudy", "Reaction ~ Days + diag(Days | Subject, hom = TRUE)"),
    "cs": ("Machines", "score ~ Machine + cs(0 + Machine | Worker)"),
    "cs hom": ("Machines", "score ~ Machine + cs(0 + Machine | Worker, hom = TRUE)"),
    "ar1": ("sleepstudy", "Reaction ~ Days + ar1(0 + Dayf | Subject)"),
    "ar1 het": ("sleepstudy", "Reaction ~ Days + ar1(0 + Dayf | Subject, hom = FALSE)"),
    "two terms": ("Pastes", "strength ~ 1 + (1 | batch) + diag(1 | sample)"),
}


def table(name: str) -> pd.DataFrame:
    data = pm.load_data(name)
    if "Days" in data:
        data = data.assign(Dayf=pd.Categorical(data["Days"].astype(int).astype(str)))
    return data


@pytest.mark.parametrize("update", ["gamma", "em"])
@pytest.mark.parametrize("name", MODELS)
def test_the_loop_ends_at_the_optimum(name: str, update: str) -> None:
    data, formula = MODELS[name]
    for reml in (True, False):
        loop = pm.mackay(formula, table(data), update=update, reml=reml)
        fit = pm.lmer(formula, table(data), reml=reml)
        assert loop.convergence.converged
        assert loop.criterion == pytest.approx(fit.criterion, abs=tol("tight criterion"))
        np.testing.assert_allclose(loop.par.to_numpy(), fit.par.to_numpy(), rtol=tol("tight"))


def test_the_criterion_never_rises_and_the_structure_is_kept() -> None:
    data, formula = MODELS["ar1"]
    for update in ("gamma", "em"):
        with pytest.warns(pm.ConvergenceWarning, match="40 iterations"):
            loop = pm.mackay(formula, table(data), update=update, acceleration=False, iterations=40)
        trace = loop.trace
        assert np.diff(trace["criterion"]).max() < tol("rounding of a criterion")
        variances = trace.filter(regex=r"Dayf\d\.var$")
        np.testing.assert_allclose(
            variances.to_numpy(), variances.iloc[:, [0]].to_numpy().repeat(10, 1)
        )


@pytest.mark.parametrize("update", ["raw", "diagonal"])
def test_literal_rules_say_why_they_have_no_meaning(update: str) -> None:
    data, formula = MODELS["ar1"]
    with pytest.raises(pm.ArgumentError, match=r"no meaning.*update='em' or 'gamma'"):
        pm.mackay(formula, table(data), update=update)


def test_a_start_must_have_the_structure() -> None:
    data, formula = MODELS["cs hom"]
    right = 20.0 * np.eye(3) + 10.0
    loop = pm.mackay(formula, table(data), start=right)
    assert loop.convergence.converged
    with pytest.raises(pm.ArgumentError, match="no covariance matrix of the structure cs"):
        pm.mackay(formula, table(data), start=np.diag([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("structure", [CompoundSymmetry(True), Autoregressive(True)], ids=str)
def test_a_matrix_of_the_structure_is_its_own_projection(structure: CompoundSymmetry) -> None:
    """EM's step is the minimum of log|G| + tr(G⁻¹E): for E of the structure it is E itself."""
    target = structure.covariance(np.array([1.7, 0.4]), 4)
    start = Chart.at(structure, 4, np.array([0.6, -0.1]))
    best = _minimised(start, target, np.arange(2))
    np.testing.assert_allclose(best.par, [1.7, 0.4], rtol=tol("tight"))


def test_compound_symmetry_has_its_projection_in_closed_form() -> None:
    """Mean diagonal and mean off-diagonal (Szatrowski 1980, Ann. Statist. 8)."""
    rng = np.random.default_rng(4)
    A = rng.normal(size=(4, 6))
    E = A @ A.T
    best = _minimised(Chart.at(CompoundSymmetry(True), 4, np.array([1.0, 0.1])), E, np.arange(2))
    variance = np.trace(E) / 4
    rho = (E.sum() - np.trace(E)) / 12 / variance
    np.testing.assert_allclose(best.par, [np.sqrt(variance), rho], rtol=tol("tight"))
