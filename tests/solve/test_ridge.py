"""Variances that the data do not determine: the criterion is flat, and the fit says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tolerances import tol

import pymackay as pm


@pytest.fixture(scope="module")
def wards() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    ward, arm = np.tile(np.arange(12), 10), rng.integers(0, 3, 120)
    score = rng.normal(size=12)[ward] + 0.3 * rng.normal(size=(12, 3))[ward, arm]
    columns = {"ward": [f"w{k:02}" for k in ward], "arm": np.array(list("abc"))[arm]}
    big = np.where(ward < 6, "u", "v")
    dose, score = rng.normal(size=120), score + rng.normal(size=120)
    return pd.DataFrame({**columns, "big": big, "dose": dose, "score": score})


def ridges(fit: pm.Fit) -> list[str]:
    return [message for message in fit.messages if message.startswith("flat ridge")]


def test_a_variance_that_the_fixed_effects_take_up_is_named(wards: pd.DataFrame) -> None:
    fit = pm.lmer("score ~ factor(ward) + (1 | ward)", wards)
    criteria = [fit.evaluate([theta]).criterion for theta in (0.0, 1.0, 100.0)]
    np.testing.assert_allclose(criteria, fit.criterion, atol=tol("certified"))
    (message,) = ridges(fit)
    assert "the variance of (Intercept) (ward)" in message
    assert message in fit.convergence.message
    assert not fit.singular


def test_maximum_likelihood_determines_it(wards: pd.DataFrame) -> None:
    fit = pm.lmer("score ~ factor(ward) + (1 | ward)", wards, reml=False)
    assert fit.theta.tolist() == [0.0]
    assert not ridges(fit)


def test_the_same_term_twice_is_said_once(wards: pd.DataFrame) -> None:
    fit = pm.lmer("score ~ dose + (1 | ward) + (1 | ward)", wards)
    theta = fit.theta.to_numpy()
    criteria = [fit.evaluate(t).criterion for t in (theta[::-1], [0.0, np.hypot(*theta)])]
    np.testing.assert_allclose(criteria, fit.criterion, atol=tol("certified"))
    assert sum("cannot be told apart" in m or m.startswith("flat") for m in fit.messages) == 1
    assert "flat ridge" in fit.convergence.message


@pytest.mark.parametrize("reml", [True, False])
def test_an_intercept_that_a_factor_contains(wards: pd.DataFrame, reml: bool) -> None:
    (message,) = ridges(pm.lmer("score ~ arm + (arm || ward)", wards, reml=reml))
    assert "the variance of (Intercept) (ward)" in message
    assert "arma, armb, armc (ward.1)" in message


@pytest.mark.parametrize("reml", [True, False])
def test_a_covariance_of_a_factor_that_is_constant_in_groups(
    wards: pd.DataFrame, reml: bool
) -> None:
    fit = pm.lmer("score ~ dose + (0 + big | ward)", wards, reml=reml)
    (message,) = ridges(fit)
    assert "the covariance of bigu and bigv (ward)" in message
    assert "variance of bigu" not in message.replace("covariance of bigu", "")
    theta = fit.theta.to_numpy()
    other = fit.evaluate([theta[0], 0.0, np.hypot(theta[1], theta[2])])
    assert other.criterion == pytest.approx(fit.criterion, abs=tol("certified"))


@pytest.mark.parametrize(
    "formula",
    [
        "score ~ dose + (1 | ward)",
        "score ~ dose + (dose | ward)",
        "score ~ arm + (dose || ward)",
        "score ~ big + (1 | ward) + (1 | arm)",
    ],
)
def test_what_is_determined_is_not_doubted(wards: pd.DataFrame, formula: str) -> None:
    fit = pm.lmer(formula, wards)
    assert fit.messages == ()
    assert "flat" not in fit.convergence.message


RIDGES = [
    ("factor(ward) + (1 | ward)", True),
    ("dose + (0 + big | ward)", True),
    ("arm + (arm || ward)", True),
    ("dose + (1 | ward)", False),
    ("arm + (dose | ward)", False),
    ("big + (1 | ward) + (1 | arm)", False),
]


@pytest.mark.parametrize(("right", "is_flat"), RIDGES)
def test_many_responses_say_it_once(wards: pd.DataFrame, right: str, is_flat: bool) -> None:
    rng = np.random.default_rng(5)
    Y = wards[["score"]].to_numpy() + rng.normal(size=(120, 6))
    many = pm.lmer_many(f"score ~ {right}", wards, Y)
    said = [message for message in many.messages if message.startswith("flat ridge")]
    assert len(said) == is_flat
    if is_flat:
        single = [ridges(pm.lmer(f"score ~ {right}", wards.assign(score=y))) for y in Y.T]
        assert said[0] in [message for messages in single for message in messages]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "formula",
    [
        "score ~ arm + (1 | ward) + (1 | arm)",
        "score ~ big + (1 | ward) + (1 | big)",
        "score ~ dose + (1 | ward) + (big | ward) + (1 | arm)",
        "score ~ dose + (0 + big | ward) + (1 | arm)",
        "score ~ dose + (arm | ward) + (1 | big)",
    ],
)
def test_the_iterative_solver_names_the_same(wards: pd.DataFrame, formula: str, reml: bool) -> None:
    exact = pm.lmer(formula, wards, reml=reml)
    iterative = pm.lmer(formula, wards, reml=reml, solver="iterative")
    assert [m.split(";")[0] for m in ridges(iterative)] == [m.split(";")[0] for m in ridges(exact)]
    assert ("flat ridge" in iterative.convergence.message) == (
        "flat ridge" in exact.convergence.message
    )
