"""`simulate` and `refit`: moments from first principles, seeds, and equal optima."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from infer_tables import crossed_table, relative_covariance
from oracle import random_design
from tolerances import tol

import pymackay as pm

FORMULA = "y ~ x + (x | g) + (1 | h)"
SIX_SIGMA = 6.0  # standard errors: no draw of a correct program goes there


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    return crossed_table()


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame) -> pm.Fit:
    return pm.lmer(FORMULA, data, weights="w", offset="o")


def _moments(fit: pm.Fit, given: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the response with the effects `given` at their predictions."""
    model = fit.problem.model
    Z, D = random_design(model), relative_covariance(model, fit.theta.to_numpy())
    b = np.concatenate([fit.ranef["g"].to_numpy().ravel(), fit.ranef["h"].to_numpy().ravel()])
    is_given = np.concatenate([np.full(18, 0 in given), np.full(5, 1 in given)])
    mean = model.X @ fit.beta.to_numpy() + model.offset + (Z * is_given) @ b
    free = Z * ~is_given
    return mean, fit.sigma**2 * (free @ D @ free.T + np.diag(1.0 / model.weights))


@pytest.mark.parametrize(
    ("form", "given"), [("~0", []), (None, [0, 1]), ("~ (1 | h)", [1]), ("~ (x | g)", [0])]
)
def test_moments(fit: pm.Fit, form: Any, given: list[int]) -> None:
    draws = 4000
    drawn = fit.simulate(draws, seed=11, re_form=form).to_numpy()
    mean, covariance = _moments(fit, given)
    error = np.sqrt(np.diag(covariance) / draws)
    assert np.abs((drawn.mean(axis=1) - mean) / error).max() < SIX_SIGMA
    result = np.cov(drawn)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    spread = np.sqrt((covariance**2 + scale**2) / draws)
    assert np.abs((result - covariance) / spread).max() < SIX_SIGMA


def test_seeds_and_names(fit: pm.Fit) -> None:
    one = fit.simulate(3, seed=4)
    assert one.columns.tolist() == ["sim_1", "sim_2", "sim_3"]
    assert one.index.equals(fit.fitted.index)
    pd.testing.assert_frame_equal(one, fit.simulate(3, np.random.default_rng(4)))
    assert not fit.simulate(3, seed=5).equals(one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nsim": 0}, "nsim is 0"),
        ({"nsim": 2.5}, "nsim is 2.5"),
        ({"seed": "today"}, "seed is 'today'"),
        ({"seed": -1}, "seed is -1"),
        ({"re_form": "~ (1 | g)"}, "some effects of the term 'g' as given"),
        ({"re_form": "~ (1 | k)"}, "grouping factors are"),
    ],
)
def test_what_cannot_be_drawn(fit: pm.Fit, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(pm.ArgumentError, match=message):
        fit.simulate(**arguments)


REFITS = [
    pytest.param("{} ~ x + f + (x | g) + (1 | h)", {}, id="crossed"),
    pytest.param("{} ~ x + (x || g) + (1 | h)", {"weights": "w", "offset": "o"}, id="weighted"),
    pytest.param("{} ~ x + (x | g)", {"reml": False}, id="one group, ML"),
]


@pytest.mark.parametrize(("formula", "given"), REFITS)
def test_refit_ends_where_a_fit_does(formula: str, given: dict[str, Any]) -> None:
    data = crossed_table()
    data.loc[data.index[5], "x"] = np.nan
    data["new"] = 0.5 * data["y"] + np.random.default_rng(2).normal(size=len(data)) + data["z"]
    result = pm.lmer(formula.format("y"), data, **given).refit(data["new"])
    direct = pm.lmer(formula.format("new"), data, **given)
    assert result.criterion == pytest.approx(direct.criterion, rel=tol("criterion"))
    assert result.convergence.converged
    np.testing.assert_allclose(
        (result.beta - direct.beta) / direct.std_error, 0.0, atol=tol("invariance")
    )
    np.testing.assert_allclose(result.fitted, direct.fitted, atol=tol("invariance"))
    pd.testing.assert_index_equal(result.fitted.index, direct.fitted.index)
    assert result.reml == direct.reml


def test_refit_of_a_boundary_fit_leaves_the_boundary() -> None:
    data = crossed_table()
    flat = data.assign(y=data["x"] + np.random.default_rng(1).normal(size=len(data)))
    fit = pm.evaluate("y ~ x + (x | g)", flat, [0.0, 0.0, 0.0])
    result, direct = fit.refit(data["y"]), pm.lmer("y ~ x + (x | g)", data)
    assert result.criterion == pytest.approx(direct.criterion, rel=tol("criterion"))


def test_responses_that_do_not_fit(data: pd.DataFrame) -> None:
    fit = pm.lmer("y ~ x + (1 | g)", data)
    with pytest.raises(pm.ArgumentError, match=r"y has shape \(7,\), but the model has 120 rows"):
        fit.refit(np.zeros(7))
    with pytest.raises(pm.DataError, match="missing or infinite in 1 of the 120 rows"):
        fit.refit(data["y"].where(data.index != 105))
    with pytest.raises(
        pm.ArgumentError, match="does not hold each of the 120 rows of the model once"
    ):
        fit.refit(data["y"].iloc[1:])
    with pytest.raises(pm.ArgumentError, match="must be 120 numbers"):
        fit.refit(data["f"].to_numpy())
    with pytest.raises(pm.DataError, match="exact linear function"):
        fit.refit(2.0 * data["x"])
    with pytest.raises(pm.PymackayError, match="refit needs"):
        fit.replace(problem=None).refit(data["y"])


def test_a_simulated_response_can_be_refitted(fit: pm.Fit) -> None:
    drawn = fit.simulate(1, seed=3)["sim_1"]
    again = fit.refit(drawn)
    assert again.convergence.converged
    np.testing.assert_allclose(again.fitted + again.residuals, drawn, rtol=tol("design"))


def test_refit_by_the_iterative_solver() -> None:
    formula, data = "diameter ~ 1 + (1 | plate) + (1 | sample)", pm.load_data("Penicillin")
    fit = pm.lmer(formula, data, solver="iterative")
    y = data["diameter"] + np.random.default_rng(6).normal(size=len(data))
    result, direct = fit.refit(y), pm.lmer(formula, data.assign(diameter=y))
    assert result.criterion == pytest.approx(direct.criterion, abs=tol("certified"))
    assert type(result.problem.solver) is type(fit.problem.solver)
