"""Separation: found where a brute-force search finds it, with columns and direction; else not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from glmm_case_files import glmm_case_names, load_glmm_case
from scipy.optimize import minimize

from pymackay.model.columns.table import Table
from pymackay.model.design.arguments import Arguments
from pymackay.model.design.general import build_general
from pymackay.solve.pirls.separation import find_separation

_SEPARATED = {"separation", "mastitis"}


def separation_of(X, y, weights=None, support="binomial", link="logit"):
    names = [f"x{k}" for k in range(X.shape[1])]
    ones = np.ones(len(y))
    return find_separation(X, names, y, ones if weights is None else weights, support, link)


def _ones_and(*columns):
    return np.column_stack([np.ones(len(columns[0])), *columns]).astype(float)


def test_a_category_without_failures():
    X = _ones_and([0, 0, 1, 1, 0], [0, 0, 0, 0, 1])
    result = separation_of(X, np.array([0.0, 1.0, 1.0, 1.0, 0.3]), np.array([1.0, 1, 4, 2, 10]))
    assert result.direction.to_dict() == pytest.approx({"x1": 1.0})
    assert (result.rows, result.n) == (2, 5)
    assert "direction +1 x1" in result.message


def test_the_reference_category_without_successes():
    X = _ones_and([0, 0, 1, 1, 1])
    result = separation_of(X, np.array([0.0, 0.0, 0.0, 1.0, 1.0]))
    assert result.direction.to_dict() == pytest.approx({"x0": -1.0, "x1": 1.0})


def test_one_outcome_in_all_rows():
    X = _ones_and([0, 1, 2, 3])
    result = find_separation(X, ["(Intercept)", "x"], np.zeros(4), np.ones(4), "count", "log")
    assert result.columns == ("(Intercept)",)
    assert "all rows have the same outcome" in result.message


def test_complete_separation_by_a_number_in_other_units():
    x = 1e6 + np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    result = separation_of(_ones_and(x), np.array([0.0, 0, 0, 1, 1, 1]))
    assert result.rows == 6
    change = _ones_and(x) @ result.direction.to_numpy()
    assert (change[:3] <= 0.0).all() and (change[3:] >= 0.0).all()


def test_a_direction_names_only_what_separates():
    rng = np.random.default_rng(3)
    X = _ones_and(*rng.normal(size=(4, 300)))
    result = separation_of(X, (X[:, 2] > 0.0).astype(float))
    assert result.direction.to_dict() == pytest.approx({"x2": 1.0})
    assert result.rows == 300


def test_overlap_is_no_separation():
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert separation_of(_ones_and(x), np.array([0.0, 0, 1, 0, 1, 1])) is None


def test_rows_of_weight_zero_do_not_count():
    X = _ones_and([0, 0, 1, 1])
    y = np.array([0.0, 1.0, 1.0, 0.0])
    assert separation_of(X, y) is None
    result = separation_of(X, y, np.array([1.0, 1.0, 1.0, 0.0]))
    assert result.columns == ("x1",) and result.rows == 1


def test_counts_are_separated_by_a_category_of_zeros():
    X = _ones_and([0, 0, 1, 1])
    y = np.array([2.0, 0.0, 0.0, 0.0])
    assert separation_of(X, y, support="count", link="log").columns == ("x1",)
    assert separation_of(X, y, support="count", link="sqrt") is None
    assert separation_of(X, y + 1.0, support="count", link="log") is None
    assert separation_of(X, y, support="positive", link="log") is None


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog", "cauchit"])
def test_all_links_that_saturate(link):
    X = _ones_and([0, 0, 1, 1])
    assert separation_of(X, np.array([0.0, 1.0, 1.0, 1.0]), link=link).columns == ("x1",)


def test_a_probability_of_one_is_the_limit_of_a_log_link():
    X = _ones_and([0, 0, 1, 1])
    assert separation_of(X, np.array([0.0, 1.0, 1.0, 1.0]), link="log") is None
    assert separation_of(X, np.array([0.0, 1.0, 0.0, 0.0]), link="log").columns == ("x1",)


def test_random_small_tables_against_directions_on_a_grid():
    rng = np.random.default_rng(5)
    grid = np.array(list(product(np.linspace(-1.0, 1.0, 9), repeat=3)))
    grid = grid[np.abs(grid).max(axis=1) > 0.0]
    actual = 0
    for _ in range(200):
        X = _ones_and(rng.integers(0, 3, 7), rng.integers(-1, 2, 7))
        if np.linalg.matrix_rank(X) < 3:
            continue
        y = rng.integers(0, 2, 7).astype(float)
        change = grid @ X.T * np.where(y == 1.0, 1.0, -1.0)
        on_grid = bool(((change >= -1e-12).all(axis=1) & (change.max(axis=1) > 1e-12)).any())
        result = separation_of(X, y)
        if on_grid:
            assert result is not None
        if result is None:
            assert np.isfinite(_logistic(X, y)).all()
            continue
        actual += 1
        change = X[:, [int(c[1:]) for c in result.columns]] @ result.direction.to_numpy()
        assert (change * np.where(y == 1.0, 1.0, -1.0) >= -1e-8).all()
    assert 50 < actual < 200


def _logistic(X, y):
    """Return the estimates of a logistic regression, nan where they run away."""
    sign = np.where(y == 1.0, 1.0, -1.0)
    answer = minimize(
        lambda b: np.logaddexp(0.0, -sign * (X @ b)).sum(),
        np.zeros(X.shape[1]),
        jac=lambda b: X.T @ (-sign / (1.0 + np.exp(sign * (X @ b)))),
    )
    return answer.x if np.abs(X @ answer.x).max() < 25.0 else np.full(X.shape[1], np.nan)


@pytest.mark.parametrize("name", glmm_case_names())
def test_cases(name):
    case = load_glmm_case(name)
    arguments = Arguments(weights=case.meta["weights"])
    general = build_general(case.meta["formula"], Table(case.data), arguments, case.support)
    model, response = general.model, general.response
    result = find_separation(
        model.X, model.fixed, response.y, response.weights, case.support, case.meta["link"]
    )
    assert (result is not None) == (name in _SEPARATED)
