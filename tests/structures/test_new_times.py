"""Predictions at times that a fit has not seen, against the dense conditional Gaussian."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from tolerances import tol

import pymackay as pm
from pymackay.covariance.process import Process

DAYS = [0, 1, 2, 4, 5, 7, 8, 9]
NEW = pd.DataFrame(
    {
        "Days": [3.0, 4.0, 6.5, 9.0, 12.0, 3.0, 5.0],
        "t": [3.0, 4.0, 6.5, 9.0, 12.0, 3.0, 5.0],
        "Subject": ["308", "308", "309", "372", "372", "new", "new"],
    }
)


def sleep(days: list[int]) -> pd.DataFrame:
    data = pm.load_data("sleepstudy")
    data = data[data["Days"].isin(days)]
    return data.assign(t=pd.Categorical(data["Days"].astype(int)))


@pytest.fixture(scope="module")
def by_time() -> pm.Fit:
    return pm.lmer("Reaction ~ Days + ou(0 + t | Subject) + (1 | Subject)", sleep(DAYS))


@pytest.fixture(scope="module")
def by_step() -> pm.Fit:
    return pm.lmer("Reaction ~ Days + ar1(0 + t | Subject)", sleep(list(range(8))))


def conditional(
    fit: pm.Fit, data: pd.DataFrame, new: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and error variance of ``x'β + z'b`` at new rows, from Var(y, z'b), all dense."""
    process = next(term for term in fit.model.terms if term.structure)
    V = fit.varcorr[process.name].to_numpy()
    variance, rho = V[0, 0], V[0, 1] / V[0, 0]
    intercept = next((t.name for t in fit.model.terms if not t.structure), None)
    shared = fit.varcorr[intercept].iat[0, 0] if intercept else 0.0
    t = np.concatenate([data["Days"], new["Days"]]).astype(float)
    g = np.concatenate([data["Subject"].astype(str), new["Subject"]])
    same = g[:, None] == g
    K = np.where(same, variance * rho ** np.abs(np.subtract.outer(t, t)) + shared, 0.0)
    n = len(data)
    inverse = np.linalg.inv(K[:n, :n] + fit.sigma**2 * np.eye(n))
    X = np.column_stack([np.ones(len(t)), t])
    old, expected, c = X[:n], X[n:], K[:n, n:]
    information = np.linalg.inv(old.T @ inverse @ old)
    beta = information @ old.T @ inverse @ data["Reaction"].to_numpy()
    mean = expected @ beta + c.T @ inverse @ (data["Reaction"].to_numpy() - old @ beta)
    rest = expected - c.T @ inverse @ old
    error = np.diag(K[n:, n:] - c.T @ inverse @ c + rest @ information @ rest.T)
    return mean, error


def check(fit: pm.Fit, data: pd.DataFrame, new: pd.DataFrame) -> None:
    mean, error = conditional(fit, data, new)
    table = fit.predict(new, allow_new_levels=True, se_fit=True, interval="confidence")
    np.testing.assert_allclose(table["fit"], mean, rtol=tol("tight"))
    np.testing.assert_allclose(table["se"], np.sqrt(error), rtol=tol("tight"))
    reach = float(ndtri(0.975)) * np.sqrt(error + fit.sigma**2)
    limits = fit.predict(new, allow_new_levels=True, interval="prediction")
    np.testing.assert_allclose(limits["upper"] - mean, reach, rtol=tol("tight"))


def test_by_time_they_are_the_conditional_distribution(by_time: pm.Fit) -> None:
    """Between two times, outside, at a known time, and of a new subject."""
    check(by_time, sleep(DAYS), NEW)


def test_by_step_they_are_the_conditional_distribution(by_step: pm.Fit) -> None:
    whole = NEW[NEW["t"] % 1 == 0]
    check(by_step, sleep(list(range(8))), whole)
    categories = whole.assign(t=pd.Categorical(whole["t"].astype(int).astype(str)))
    pd.testing.assert_series_equal(
        by_step.predict(categories, allow_new_levels=True),
        by_step.predict(whole, allow_new_levels=True),
    )


def test_a_subject_drawn_anew_has_the_whole_variance(by_time: pm.Fit) -> None:
    limits = by_time.predict(NEW, re_form="~0", interval="prediction")
    spread = sum(by_time.varcorr[term.name].iat[0, 0] for term in by_time.model.terms)
    X = np.column_stack([np.ones(len(NEW)), NEW["Days"]])
    fixed = np.einsum("ni,ij,nj->n", X, by_time.vcov.to_numpy(), X)
    reach = float(ndtri(0.975)) * np.sqrt(spread + fixed + by_time.sigma**2)
    np.testing.assert_allclose(limits["upper"] - limits["fit"], reach, rtol=tol("tight"))


def test_a_missing_time_gives_a_missing_prediction(by_time: pm.Fit) -> None:
    new = NEW.assign(t=NEW["t"].where(NEW["t"] != 6.5))
    result = by_time.predict(new, allow_new_levels=True)
    expected = by_time.predict(NEW, allow_new_levels=True).where(NEW["t"] != 6.5)
    pd.testing.assert_series_equal(result, expected)


@pytest.mark.parametrize("rho", [0.0, 1e-9, 0.3, 1.0 - 1e-13, 1.0])
def test_weights_are_those_of_a_dense_solution(rho: float) -> None:
    """At rho = 1 the effects are one number, which any weights with the sum one give."""
    times, t = np.array([0.0, 1.0, 3.0, 7.0]), np.array([-1.0, 0.25, 2.0, 5.0, 9.0])
    process = Process(times, rho)
    weights = process.weights(t)
    R = np.power(rho, np.abs(np.subtract.outer(times, times)))
    r = np.power(rho, np.abs(np.subtract.outer(t, times)))
    if rho < 0.9:
        np.testing.assert_allclose(weights, np.linalg.solve(R, r.T).T, atol=1e-12)
    np.testing.assert_allclose(weights @ R, r, atol=1e-12)
    np.testing.assert_allclose(process.unpredicted(t), 1.0 - (weights * r).sum(1), atol=1e-12)


def test_a_negative_correlation_alternates() -> None:
    process = Process(np.arange(3.0), -0.5)
    np.testing.assert_allclose(process.weights(np.array([4.0, -1.0])), [[0, 0, 0.25], [-0.5, 0, 0]])
    np.testing.assert_allclose(process.unpredicted(np.array([4.0, -1.0])), [1 - 0.5**4, 0.75])


@pytest.mark.parametrize(
    ("term", "cure"),
    [
        ("ar1(0 + t | Subject)", r"fit ou\(0 \+ t \| g\)"),
        ("ar1(0 + t | Subject, hom = FALSE)", "with hom = TRUE"),
        ("cs(0 + t | Subject, hom = TRUE)", "says nothing about others"),
        ("toep(0 + t | Subject, hom = TRUE)", "says nothing about others"),
    ],
)
def test_what_no_structure_says_is_refused(term: str, cure: str) -> None:
    data = sleep([0, 1, 2, 3])
    fit = pm.lmer(f"Reaction ~ Days + {term}", data)
    with pytest.raises(pm.DataError, match=cure):
        fit.predict(NEW.iloc[[2]])
